"""The token manager: its cache, its refreshes under way, and who waits for them."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import random
from collections.abc import Callable, Coroutine, Iterable
from functools import lru_cache
from math import inf
from typing import Any, Final, assert_never

import attrs

from ..errors import (
    APIError,
    ClientClosedError,
    ReauthenticationRequiredError,
    TokenBackoffError,
    TokenError,
    TokenRejectedError,
)
from ..messages import Response, check_number
from ..protocol import freshness
from ..protocol.arguments import expect, expect_a
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
from ..protocol.secret import Uncopied
from ..protocol.token import Token, TokenKey, lasting_scopes
from ..protocol.token_endpoint import TokenGrant
from ..transport.clock import Clock, SystemClock
from .drain import run_to_end
from .events import (
    Announcer,
    BackoffStarted,
    ServedStale,
    TokenAdopted,
    TokenHook,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenRejected,
    TokenRequested,
)
from .flight import Flight, Job, Renewed, replica
from .home import Home
from .refresh import IssuedVerifier, Proof, Renewal, code_of, is_terminal
from .sources import ApiKey, TokenSource
from .stores.base import STORE, STORE_METHODS, TokenStore


@attrs.frozen
class TokenStatus:
    """What is served for a key, and why. Holds no secret; times are Unix seconds, durations seconds."""

    key: TokenKey
    phase: Phase
    generation: int | None
    scopes: frozenset[str]
    expires_at: float | None
    expires_in: float
    renewing: bool
    waiters: int
    failures: int
    retry_in: float
    last_error: str | None
    durable: bool


_LEAST_TEND = 1.0
_SOON = 0.5
_numbers = itertools.count(1)  # of flights, over all managers, so that a hook may serve several


class Entry:
    """One key: a snapshot that any thread may read, and what only the home loop touches."""

    __slots__ = ("flight", "keep", "key", "saving", "snapshot", "timer", "used")

    def __init__(self, key: TokenKey) -> None:
        self.key = key
        self.snapshot: Snapshot = freshness.EMPTY
        self.flight: Flight | None = None
        self.keep = False
        self.timer: asyncio.TimerHandle | None = None
        self.saving = False
        self.used = 0.0


class Tower:
    """Launches renewals and lands them. Works on the manager's home loop, and nowhere else."""

    def __init__(
        self,
        renewal: Renewal,
        policy: RefreshPolicy,
        clock: Clock,
        announce: Announcer,
        jitter: Callable[[], float],
        default: TokenKey,
    ) -> None:
        self.default = Entry(default)
        self.entries: dict[TokenKey, Entry] = {default: self.default}
        self.closed = False
        self.generation = 0
        self._renewal = renewal
        self._policy = policy
        self._clock = clock
        self._boot = clock.boot
        self._wall = clock.wall
        self._announce = announce
        self._jitter = jitter
        self._tasks: set[asyncio.Task[None]] = set()
        self._abandoned: list[set[asyncio.Task[None]]] = []
        self._landed = 0  # since keys were dropped last

    def entry(self, key: TokenKey) -> Entry:
        """What is known of a key, made on first use."""
        if self.closed:
            raise _closed()
        entry = self.entries.get(key)
        if entry is None:
            excess = len(self.entries) + 1 - self._policy.max_keys
            if excess > 0:
                self._evict(max(excess, self._policy.max_keys // 16))  # or each new key would cost a look at all
            entry = self.entries[key] = Entry(key)
        entry.used = self._boot()
        return entry

    def _evict(self, some: int) -> None:
        """Drop so many keys: of those that have nothing under way or unsaved, the ones that were used longest ago."""
        idle = [
            entry
            for entry in self.entries.values()
            if entry.flight is None and entry.snapshot.durable and not entry.keep and entry is not self.default
        ]
        for oldest in heapq.nsmallest(some, idle, key=lambda entry: entry.used):
            del self.entries[oldest.key]

    def valid(self, entry: Entry) -> Token | None:
        """The token, if it has not ended on any clock and was not rejected."""
        state = entry.snapshot
        return state.token if state.remaining(self._boot(), self._wall()) > 0 else None

    def launch(self, entry: Entry, delay: float = 0.0) -> Flight:
        """Start a renewal that nobody's cancellation reaches and that inherits nobody's context."""
        job = self.job(entry, next(_numbers))
        self.save_later(entry)  # where the loop that did so has ended
        flight = entry.flight = Flight(job, self._boot(), lambda: self.valid(entry), sleeping=delay > 0)
        entry.snapshot = attrs.evolve(entry.snapshot, renewing=True)
        flight.task = self._spawn(self._fly(entry, flight, delay))
        if not delay:
            self._announce(TokenRequested(entry.key, self._wall(), job.flight))
        return flight

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def job(self, entry: Entry, number: int = 0) -> Job:
        """What a renewal of this key is told."""

        def offer(renewed: Renewed) -> None:
            self.publish(entry, renewed, self.token(entry, renewed))
            entry.snapshot = attrs.evolve(entry.snapshot, renewing=True)

        return Job(entry.key, number, lambda: entry.snapshot, offer, self.number)

    async def _fly(self, entry: Entry, flight: Flight, delay: float) -> None:
        try:
            if delay:
                await self._clock.sleep(delay)
                flight.sleeping = False
                flight.started = self._boot()
                self._announce(TokenRequested(entry.key, self._wall(), flight.job.flight))
                if (token := self._quiet(entry)) is not None:  # accepted while this one slept
                    self._settle(entry, flight)
                    flight.land(token)
                    return
            else:
                await asyncio.sleep(0)  # where tasks are eager: nothing lands before its first waiter is on board
            renewed = await self._renewal.run(flight.job)
            self._land(entry, flight, renewed)
        except asyncio.CancelledError:
            self._settle(entry, flight)
            flight.crash(_closed())
            raise
        except TimeoutError:
            self._crash(entry, flight, TokenError("The renewal took too long and was given up."))
        except Exception as exc:  # noqa: BLE001 - a source may be the user's own
            self._crash(entry, flight, exc)

    def _quiet(self, entry: Entry) -> Token | None:
        state = entry.snapshot
        age = state.age(self._boot(), self._wall())
        return state.token if age < state.advisory and not state.rejected and self.valid(entry) is not None else None

    def _settle(self, entry: Entry, flight: Flight) -> None:
        """Take the flight off the board, before anyone wakes: a new caller never joins a finished one."""
        if entry.flight is flight:
            entry.flight = None
            entry.snapshot = attrs.evolve(entry.snapshot, renewing=False)
        self._landed += 1
        excess = len(self.entries) - self._policy.max_keys
        # After a storm of new keys, which could not be dropped while they were renewed: all at once, or a few of many.
        if excess > 0 and self._landed >= min(excess, 256):
            self._landed = 0
            self._evict(excess)

    def disown(self, entry: Entry) -> None:
        """What the renewal under way comes to is for its waiters alone."""
        if entry.flight is not None and not entry.flight.sleeping:
            entry.flight.job.forgotten = True

    def clear(self, entry: Entry) -> None:
        """Drop the token; where one grant serves all keys, that of each. What the server has refused stays known."""
        for each in [*self.entries.values(), entry] if self._renewal.one_for_all else [entry]:
            self.disown(each)
            each.snapshot = attrs.evolve(freshness.EMPTY, refused=each.snapshot.refused)

    def _land(self, entry: Entry, flight: Flight, renewed: Renewed) -> None:
        state, boot, wall = entry.snapshot, self._boot(), self._wall()
        if freshness.digest_of(renewed.access_token) in state.refused:
            self._crash(entry, flight, TokenRejectedError("The server issued the token again that it had refused."))
            return
        # A flight that was dropped with its loop, or disowned, answers those who wait for it and changes nothing.
        forgotten = entry.flight is not flight or flight.job.forgotten
        left = None if renewed.lifetime is None else renewed.lifetime - (boot - renewed.since_boot)
        if renewed.lifetime and left is not None and left <= 0:
            self._crash(entry, flight, TokenError("The token expired while it was being stored: the store is slow."))
            return
        token = self.token(entry, renewed)
        if forgotten:
            pass
        elif freshness.is_gain(state, renewed.access_token, boot=boot, wall=wall, lifetime=left):
            self.publish(entry, renewed, token)
        else:
            entry.snapshot = freshness.in_vain(state, boot=boot, wall=wall)
            token = state.token or token
        self._settle(entry, flight)
        self._tell(entry, flight, renewed, token)
        flight.land(token)
        self.tend_later(entry)

    def _tell(self, entry: Entry, flight: Flight, renewed: Renewed, token: Token) -> None:
        wall = self._wall()
        if renewed.adopted:
            self._announce(TokenAdopted(entry.key, wall, flight.job.flight, token.generation, renewed.lifetime))
            return
        seconds = self._boot() - flight.started
        self._announce(
            TokenRefreshed(
                entry.key, wall, flight.job.flight, token.generation, renewed.lifetime, seconds, durable=renewed.durable
            )
        )

    def _crash(self, entry: Entry, flight: Flight, error: Exception) -> None:
        boot, wall = self._boot(), self._wall()
        after = error.retry_after if isinstance(error, APIError) else None
        terminal = is_terminal(error) and not isinstance(error, TokenRejectedError)
        state = freshness.failed(
            entry.snapshot,
            error,
            boot=boot,
            jitter=self._jitter(),
            terminal=terminal,
            retry_after=after,
            policy=self._policy,
        )
        if entry.flight is not flight:
            flight.crash(error)
            return
        entry.snapshot = state
        self._settle(entry, flight)
        self.save_later(entry)
        status, request_id = (error.status_code, error.request_id) if isinstance(error, APIError) else (None, None)
        number, kind, seconds = flight.job.flight, type(error).__name__, boot - flight.started
        self._announce(TokenRefreshFailed(entry.key, wall, number, code_of(error), kind, status, request_id, seconds))
        remaining = state.remaining(boot, wall)
        pause = (state.retry_boot if remaining > 0 else state.urgent_boot) - boot
        self._announce(BackoffStarted(entry.key, wall, number, pause, state.failures))
        if remaining > 0 and state.token is not None:
            self._announce(ServedStale(entry.key, wall, number, state.token.generation, remaining))
            flight.land(state.token)
        else:
            flight.crash(error)
        self.tend_later(entry)

    def number(self, at_least: int) -> int:
        """The next generation: they rise over all keys, so none ever goes back."""
        self.generation = max(self.generation, at_least) + 1
        return self.generation

    def token(self, entry: Entry, renewed: Renewed) -> Token:
        """The token as callers get it."""
        lifetime = renewed.lifetime
        return Token(
            renewed.access_token,
            scopes=renewed.scopes,
            expires_at=None if lifetime is None else renewed.since_wall + lifetime,
            generation=renewed.generation,
            key=entry.key,
            wall=self._wall,
        )

    def publish(self, entry: Entry, renewed: Renewed, token: Token) -> None:
        """Let everyone see it, by one assignment."""
        entry.snapshot = freshness.issued(
            entry.snapshot,
            token,
            since_boot=renewed.since_boot,
            since_wall=renewed.since_wall,
            lifetime=renewed.lifetime,
            jitter=self._jitter(),
            policy=self._policy,
            durable=renewed.durable,
        )
        self.save_later(entry)

    def save_later(self, entry: Entry) -> None:
        """Go on storing what could not be stored, in the background."""
        if not self._renewal.is_saved(entry.key) and not entry.saving:
            entry.saving = True
            entry.snapshot = attrs.evolve(entry.snapshot, durable=False)
            self._spawn(self._save(entry))

    async def _save(self, entry: Entry) -> None:
        """Store what could not be stored, for as long as that takes."""
        attempt = 0
        job = self.job(entry)
        try:
            while not await self._renewal.save(job):
                if self.closed:
                    return
                # While a refresh token is known to this process alone, every other one waits.
                cap = _SOON if self._renewal.one_for_all else self._policy.backoff_cap
                pause = min(self._policy.backoff_first * 2.0**attempt, cap)
                attempt = min(attempt + 1, 30)
                await self._clock.sleep(max(freshness.LEAST_DELAY, pause * self._jitter()))
            entry.snapshot = attrs.evolve(entry.snapshot, durable=True)
        except asyncio.CancelledError:
            await run_to_end(self._renewal.save(job, last=True))  # the program ends, and this is known to it alone
            raise
        finally:
            entry.saving = False

    def tend_later(self, entry: Entry) -> None:
        """Look at a key that is kept warm again when it is due."""
        self._stop_timer(entry)
        if not entry.keep or self.closed:
            return
        state, boot = entry.snapshot, self._boot()
        usable = state.remaining(boot, self._wall()) > 0
        due = (state.serve_until if usable else state.urgent_boot) - boot
        pause = min(max(due, _LEAST_TEND if not usable else 0.0) + 0.001, self._policy.recheck)
        entry.timer = asyncio.get_running_loop().call_later(pause, self._tend, entry)

    def _tend(self, entry: Entry) -> None:
        decision = freshness.decide(entry.snapshot, boot=self._boot(), wall=self._wall())
        if entry.flight is None and isinstance(decision, (UseAndRenew, Renew)) and not self.closed:
            self.launch(entry)
        elif entry.flight is None:
            self.tend_later(entry)

    def _stop_timer(self, entry: Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None

    # -- loops that end, processes that fork

    async def close(self, drain: float) -> None:
        """End: back-offs at once, renewals and saving after `drain` seconds. `closed` is set already."""
        for entry in self.entries.values():
            self._stop_timer(entry)
            if entry.flight is not None and entry.flight.sleeping and entry.flight.task is not None:
                entry.flight.task.cancel()
        await self._end_tasks(drain)
        for entry in self.entries.values():
            if entry.flight is not None:  # cancelled before it began
                entry.flight.crash(_closed())
                self._settle(entry, entry.flight)
        for entry in [self.default] if self._renewal.one_for_all else list(self.entries.values()):
            await self._renewal.save(self.job(entry), last=True)
        for entry in self.entries.values():
            entry.snapshot = freshness.EMPTY

    async def _end_tasks(self, drain: float) -> None:
        tasks = set(self._tasks)
        if not tasks:
            return
        try:
            _, late = await asyncio.wait(tasks, timeout=drain)
        except asyncio.CancelledError:
            # Its caller goes on to close the connections, so what has a refresh token on the wire is waited for.
            flights = [entry.flight for entry in self.entries.values()]
            wired = {flight.task for flight in flights if flight and flight.task and flight.job.on_wire}
            if wired:
                await run_to_end(asyncio.wait(wired))
            raise
        for task in late:
            task.cancel()
        await run_to_end(asyncio.wait(tasks))

    def drop_flights(self) -> None:
        """The loop that they were on will never run again. What had been learnt stays."""
        # Held on to: a pending task that is collected runs its clean-up, and lets go of locks that are others' by now.
        self._abandoned.append(self._tasks)
        self._tasks = set()
        for entry in self.entries.values():
            entry.flight = entry.timer = None
            entry.saving = False
            entry.snapshot = attrs.evolve(entry.snapshot, renewing=False)
        self._renewal.leave_loop()

    def enter_child(self) -> None:
        """This is a forked child now."""
        self.drop_flights()
        self._renewal.inherit()


def _closed() -> ClientClosedError:
    return ClientClosedError("This token manager, or the client that it belongs to,", lent=True)


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
