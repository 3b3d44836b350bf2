"""The token manager: one snapshot per key that anyone may read, and at most one renewal per key that nobody owns."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from functools import lru_cache
from math import inf
from typing import Final, assert_never

import attrs

from ..errors import ReauthenticationRequiredError, TokenBackoffError, TokenRejectedError
from ..messages import Response, check_number
from ..protocol import freshness
from ..protocol.expected import expect, expect_a
from ..protocol.freshness import (
    DEFAULT_POLICY,
    POLICY,
    HoldOff,
    Phase,
    RefreshPolicy,
    Refuse,
    Renew,
    Snapshot,
    Use,
    UseAndRenew,
)
from ..protocol.grants import TokenGrant
from ..protocol.token import Token, TokenKey, lasting_scopes
from ..protocol.uncopied import Uncopied
from ..transport.clock import Clock, SystemClock
from .events import Announcer, TokenHook, TokenRejected
from .flight import Flight, replica
from .home import Home
from .outcomes import code_of
from .proof import IssuedVerifier, Proof
from .renewal import Renewal
from .sources import ApiKey, TokenSource
from .status import TokenStatus
from .stores.record import STORE, STORE_METHODS, TokenStore
from .tower import Entry, Tower

_SYSTEM: Final = SystemClock()
_WITHOUT_TOKEN: Final = (Phase.EMPTY, Phase.EXPIRED, Phase.REJECTED, Phase.BACKOFF)


class TokenManager(Uncopied):
    """Keeps access tokens fresh. Safe for any number of tasks, event loops and threads.

    A fresh token costs no lock, no wait and no allocation. Otherwise one renewal runs per key, whoever asks and however
    many; it belongs to the manager, so a caller that is cancelled or times out takes nothing from anybody. `verifier`
    proves each token before anyone gets it, and `demand_proof` refuses those that cannot be proven.
    """

    __slots__ = (
        "__weakref__",
        "_announce",
        "_boot",
        "_default",
        "_home",
        "_jitter",
        "_narrowed",
        "_policy",
        "_renewal",
        "_tower",
        "_wall",
        "renewable",
    )

    def __init__(
        self,
        source: TokenSource,
        *,
        store: TokenStore | None = None,
        policy: RefreshPolicy = DEFAULT_POLICY,
        clock: Clock = _SYSTEM,
        hooks: Iterable[TokenHook] = (),
        verifier: IssuedVerifier | None = None,
        demand_proof: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        expect(source, "source", "a token source, such as ClientCredentials(...) or an async function", "__call__")
        if store is not None:
            expect(store, "store", STORE, *STORE_METHODS)
        expect_a(policy, "policy", POLICY, RefreshPolicy)
        base: TokenKey = getattr(source, "key", TokenKey(grant="custom"))
        self._policy = policy
        self._boot = clock.boot
        self._wall = clock.wall
        self._jitter = jitter
        self._announce = Announcer(hooks)
        proof = Proof(verifier, clock, self._announce, demanded=demand_proof)
        self._renewal = Renewal(source, store, policy, clock, self._announce, proof)
        self._tower = Tower(self._renewal, policy, clock, self._announce, jitter, base)
        self._default = self._tower.default
        # Most callers ask with the same few arguments again and again: for these the key is at hand.
        self._narrowed = lru_cache(policy.max_keys)(self._default.key.narrowed)
        self._home = Home(self._tower.drop_flights, self._tower.enter_child)
        self.renewable = not isinstance(source, ApiKey)
        """Whether a rejected token can be replaced; an API key cannot."""
        if isinstance(source, ApiKey):
            token = Token(
                source.grant.access_token, generation=self._tower.number(0), key=self._default.key, wall=clock.wall
            )
            self._default.snapshot = Snapshot(token, lifetime=inf, advisory=inf, mandatory=inf)

    # -- reading

    def peek(self, *, scopes: Iterable[str] | str | None = None, resource: str | None = None) -> Token | None:
        """The token, if there is one that may be used with nothing else to do, else `None`: then `await get()`.

        From any thread; no I/O, no lock, no hop. Once a renewal is due, `None` until one is under way.
        """
        entry = self._default if scopes is None and resource is None else self._entry(scopes, resource)
        entry.used = now = self._boot()
        state = entry.snapshot
        return state.token if now < state.serve_until else None

    async def get(
        self,
        *,
        scopes: Iterable[str] | str | None = None,
        resource: str | None = None,
        min_ttl: float = 0.0,
        timeout: float | None = 30.0,
    ) -> Token:
        """A token that is valid on every clock, with at least `min_ttl` seconds left where that can be had.

        Waits at most `timeout` seconds (`None`: as long as it takes) and only when there is no usable token or its
        end is near. Raises what the renewal came to (`TokenEndpointError`, `APIConnectionError`, ...),
        `TokenBackoffError` while the next attempt is further off than `timeout`, `TokenWaitTimeoutError`,
        `ReauthenticationRequiredError`.
        """
        entry = self._default if scopes is None and resource is None else self._entry(scopes, resource)
        entry.used = now = self._boot()
        state = entry.snapshot
        if now < state.serve_until and not min_ttl and state.token is not None:
            return state.token
        check_number(timeout, "timeout", optional=True)
        check_number(min_ttl, "min_ttl")
        # What follows is apart because a closure here would turn the parameters into cells, at the fresh path's cost.
        key = entry.key
        if asyncio.get_running_loop() is not self._home.loop:
            return await self._get_from_afar(key, min_ttl, timeout)
        found = self._seek(key, min_ttl, timeout)
        return found if isinstance(found, Token) else await found.wait(timeout)

    def status(self, *, scopes: Iterable[str] | str | None = None, resource: str | None = None) -> TokenStatus:
        """What is served and why, from any thread. Holds no secret."""
        entry = self._entry(scopes, resource)
        key = entry.key
        state, flight, boot, wall = entry.snapshot, entry.flight, self._boot(), self._wall()
        remaining = state.remaining(boot, wall)
        retry = state.retry_boot if remaining > 0 else state.urgent_boot
        return TokenStatus(
            key,
            self._phase(state, flight, boot, wall),
            None if state.token is None else state.token.generation,
            key.scopes if state.token is None else state.token.scopes,
            None if state.token is None else state.token.expires_at,
            remaining,
            flight is not None,
            0 if flight is None else flight.waiters,
            state.failures,
            max(0.0, retry - boot),
            None if state.error is None else code_of(state.error),
            state.durable,
        )

    def _phase(self, state: Snapshot, flight: Flight | None, boot: float, wall: float) -> Phase:
        if self._tower.closed:
            return Phase.CLOSED
        if flight is not None and flight.job.resolving:
            return Phase.RESOLVING
        found = freshness.phase(state, boot=boot, wall=wall)
        if found in _WITHOUT_TOKEN and isinstance(state.error, ReauthenticationRequiredError):
            return Phase.REAUTH_REQUIRED
        return found

    # -- changing

    async def replace(
        self, rejected: Token, *, timeout: float | None = 30.0, response: Response | None = None
    ) -> Token:
        """Another token in the place of one that a server refused with 401 (`response`, if at hand).

        A late refusal of an old token gives the current one. Raises `TokenRejectedError` where renewing would go on
        for ever: for an API key, for a token that was itself a replacement and only just issued, for a server that
        issues it again.
        """
        check_number(timeout, "timeout", optional=True)
        if not self.renewable:
            raise TokenRejectedError("The server refuses the API key, which cannot be renewed.", response=response)
        if rejected.key.family_key != self._default.key.family_key:
            raise ValueError("This token came from another manager.")

        async def judge() -> Token:
            entry = self._tower.entry(rejected.key)
            self._reject(entry, rejected, response)
            return await self._obtain(entry.key, 0.0, timeout)

        return await self._home.run(judge, timeout)

    async def forget(self, *, scopes: Iterable[str] | str | None = None, resource: str | None = None) -> None:
        """Drop the token, and its record in the store; of a refresh token, whose one grant serves them all, those of all
        scopes and resources. A renewal under way still answers its waiters, and is then forgotten. Raises
        `TokenPersistenceError` when the store fails.

        Other processes that share the store go on with the access token they have until it ends. They do not store the
        grant again: that it was forgotten stays in the store for 30 days, without a token, or until the next sign-in.
        """
        key = self._entry(scopes, resource).key

        async def drop() -> None:
            entry = self._tower.entry(key)
            self._tower.clear(entry)
            await self._renewal.forget(key)

        await self._home.run(drop)

    async def warm(
        self,
        *,
        scopes: Iterable[str] | str | None = None,
        resource: str | None = None,
        keep: bool = False,
        timeout: float | None = 30.0,
    ) -> None:
        """Have a token at hand now; with `keep`, also renew it in the background for as long as the manager is open."""
        check_number(timeout, "timeout", optional=True)
        key = self._entry(scopes, resource).key

        async def heat() -> None:
            self._tower.entry(key).keep = keep
            await self._obtain(key, 0.0, timeout)
            self._tower.tend_later(self._tower.entry(key))

        await self._home.run(heat)

    async def accept(
        self,
        grant: TokenGrant,
        *,
        scopes: Iterable[str] | str | None = None,
        resource: str | None = None,
        age: float = 0.0,
    ) -> Token:
        """Take over a grant that was obtained elsewhere (a person has signed in) `age` seconds ago: stored, then
        served. Tokens of the grant before it are dropped. Waits for the store's lock, 10 s at most by default.
        """
        key = self._entry(scopes, resource).key

        async def take() -> Token:
            entry = self._tower.entry(key)
            job = self._tower.job(entry)
            try:
                renewed = await self._renewal.accept(job, grant, age)
            finally:
                self._tower.save_later(entry)
            self._tower.clear(entry)
            token = self._tower.token(entry, renewed)
            self._tower.publish(entry, renewed, token)
            return token

        return await self._home.run(take)

    async def aclose(self, *, drain: float = 5.0) -> None:
        """End. Renewals under way get `drain` seconds to finish, since what they bring may be all there is of a
        grant.
        """
        self._tower.closed = True
        await self._home.run(lambda: self._tower.close(drain))

    # -- what is meant, and what is known of it

    def _entry(self, scopes: Iterable[str] | str | None, resource: str | None) -> Entry:
        """What is known of a key, from any thread: nothing so far of one that has not been asked for."""
        if not self.renewable or (scopes is None and resource is None):
            return self._default
        if scopes is not None and not isinstance(scopes, str):
            scopes = lasting_scopes(scopes)
        try:
            key = self._narrowed(scopes, resource)
        except TypeError:
            key = None
        if key is None:  # what has no hash is no scope either: it is refused here, in words
            key = self._default.key.narrowed(scopes, resource)
        return self._tower.entries.get(key) or Entry(key)

    # -- on the home loop

    async def _get_from_afar(self, key: TokenKey, min_ttl: float, timeout: float | None) -> Token:
        entry = self._tower.entries.get(key)
        if entry is not None:
            decision = freshness.decide(entry.snapshot, boot=self._boot(), wall=self._wall(), min_ttl=min_ttl)
            if isinstance(decision, Use):
                return decision.token
        return await self._home.run(lambda: self._obtain(key, min_ttl, timeout), timeout)

    async def _obtain(self, key: TokenKey, min_ttl: float, timeout: float | None) -> Token:
        found = self._seek(key, min_ttl, timeout)
        return found if isinstance(found, Token) else await found.wait(timeout)

    def _seek(self, key: TokenKey, min_ttl: float, timeout: float | None) -> Token | Flight:
        """A token, or the flight to wait for."""
        entry = self._tower.entry(key)
        state, flight = entry.snapshot, entry.flight
        if flight is None or flight.sleeping or state.token is not None:  # else there is nothing to decide
            found = self._decide(entry, min_ttl, timeout)
            if isinstance(found, Token):
                return found
            flight = found
        flight.job.min_ttl = max(flight.job.min_ttl, min_ttl)
        self._announce.joined(flight.job.flight)
        return flight

    def _decide(self, entry: Entry, min_ttl: float, timeout: float | None) -> Token | Flight:
        state, flight, boot, wall = entry.snapshot, entry.flight, self._boot(), self._wall()
        decision = freshness.decide(state, boot=boot, wall=wall, min_ttl=min_ttl)
        match decision:
            case Use(token):
                return token
            case UseAndRenew(token):
                if flight is None:
                    self._tower.launch(entry)
                return token
            case Refuse(error):
                raise replica(error)
            case HoldOff(until):
                if timeout is not None and boot + timeout <= until:
                    raise self._backing_off(state, until - boot, wall)
                return flight or self._tower.launch(entry, until - boot)
            case Renew():
                return flight or self._tower.launch(entry)
            case _:
                assert_never(decision)

    def _backing_off(self, state: Snapshot, seconds: float, wall: float) -> TokenBackoffError:
        assert state.error is not None  # what sets a back-off sets its reason
        error = TokenBackoffError(retry_at=wall + seconds, retry_after=seconds, last_error=code_of(state.error))
        error.__cause__ = state.error
        return error

    def _reject(self, entry: Entry, token: Token, response: Response | None) -> None:
        """Compare and mark: only the current token can be rejected, and that once."""
        state = entry.snapshot
        current = state.token
        if current is None or current.generation != token.generation:
            # Not cached, or replaced since; in case anyone offers it again, it is remembered all the same.
            if current is None or current.access_token != token.access_token:
                marked = freshness.rejected(attrs.evolve(state, token=token)).refused
                entry.snapshot = attrs.evolve(state, refused=marked)
            return
        if state.rejected:
            return
        self._announce(TokenRejected(entry.key, self._wall(), 0, token.generation))
        boot = self._boot()
        entry.snapshot = freshness.rejected(state)
        if freshness.is_refused_anew(state, boot, self._policy):
            error = TokenRejectedError(response=response)
            entry.snapshot = freshness.failed(
                entry.snapshot, error, boot=boot, jitter=self._jitter(), policy=self._policy
            )
            raise replica(error)
