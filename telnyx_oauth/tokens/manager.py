"""The token manager: a cache of access tokens, and at most one refresh in flight for each key."""

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
from .attempt import Attempt, InFlight, Issued, replica
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
from .refresh import IssuedVerifier, Refresher, Verification, code_of, is_terminal
from .refresh_loop import RefreshLoop
from .sources import ApiKey, TokenSource
from .stores.base import STORE, STORE_METHODS, TokenStore

# The states of a key (`Phase`; docs/explanation/token-states.md has the picture and the reasons):
#
#   EMPTY            no token yet; nothing is in flight
#   FETCHING         no usable token; callers wait for the refresh in flight
#   FRESH            the token is served
#   ADVISORY         the token is served, and one refresh runs in the background
#   MANDATORY        callers wait for the refresh; if it fails, they get the old token
#   EXPIRED          the token has ended; it is never handed out again
#   REJECTED         the server refused the token with a 401; it is never handed out again
#   BACKOFF          a refresh failed and there is no usable token; nothing is sent until the pause is over
#   RESOLVING        a refresh token was sent and the answer was lost; the same one is sent again
#   REAUTH_REQUIRED  the grant is gone; a person must sign in again
#   CLOSED           the manager was closed
#
# A key's state is one frozen `Snapshot`, replaced by one assignment, so that any thread reads a whole state without a
# lock. `freshness.decide` says what a caller gets. `TokenManager` acts on that, `TokenCache` starts refreshes and publishes
# what they bring, `InFlight` holds the waiters, and `Refresher` gets the next token. All but reading runs on one event loop.

_SYSTEM: Final = SystemClock()
_WITHOUT_TOKEN: Final = (Phase.EMPTY, Phase.EXPIRED, Phase.REJECTED, Phase.BACKOFF)


@attrs.frozen
class TokenStatus:
    """The state of a key: which token is served, and why. Holds no secret; times are Unix seconds, durations seconds."""

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


class TokenManager(Uncopied):
    """Keeps access tokens fresh. Safe for any number of tasks, event loops and threads.

    A fresh token costs no lock, no wait and no allocation. Otherwise one refresh runs per key, however many callers wait
    for it. The refresh belongs to the manager, so a caller that is cancelled or times out does not disturb the others.
    `verifier` verifies each token before it is handed out, and `demand_proof` refuses those that cannot be verified.
    """

    __slots__ = (
        "__weakref__",
        "_announce",
        "_boot",
        "_cache",
        "_default",
        "_jitter",
        "_narrowed",
        "_policy",
        "_refresh_loop",
        "_refresher",
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
        verification = Verification(verifier, clock, self._announce, required=demand_proof)
        self._refresher = Refresher(source, store, policy, clock, self._announce, verification)
        self._cache = TokenCache(self._refresher, policy, clock, self._announce, jitter, base)
        self._default = self._cache.default
        # Most callers pass the same few arguments again and again: their keys are kept.
        self._narrowed = lru_cache(policy.max_keys)(self._default.key.narrowed)
        self._refresh_loop = RefreshLoop(self._cache.leave_loop, self._cache.reset_after_fork)
        self.renewable = not isinstance(source, ApiKey)
        """True if a rejected token can be replaced; an API key cannot."""
        if isinstance(source, ApiKey):
            generation = self._cache.next_generation(0)
            token = Token(source.grant.access_token, generation=generation, key=self._default.key, wall=clock.wall)
            self._default.snapshot = Snapshot(token, lifetime=inf, advisory=inf, mandatory=inf)

    # -- reading

    def peek(self, *, scopes: Iterable[str] | str | None = None, resource: str | None = None) -> Token | None:
        """The token, if one may be used and nothing else is to be done; else `None`: then `await get()`.

        From any thread; no I/O, no lock, no hop. Once a refresh is due, `None` until one is in flight.
        """
        entry = self._default if scopes is None and resource is None else self._entry(scopes, resource)
        entry.used = now = self._boot()
        state = entry.snapshot
        # `serve_until` is computed once for each snapshot and covers expiry, rejection, the advisory window and back-off.
        # So this fast path compares one number with one clock.
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

        Waits at most `timeout` seconds (`None`: no limit) and only when there is no usable token or its end is near.
        Raises the error of the refresh (`TokenEndpointError`, `APIConnectionError`, ...), `TokenBackoffError` while the
        next attempt is further off than `timeout`, `TokenWaitTimeoutError`, `ReauthenticationRequiredError`.
        """
        entry = self._default if scopes is None and resource is None else self._entry(scopes, resource)
        entry.used = now = self._boot()
        state = entry.snapshot
        if now < state.serve_until and not min_ttl and state.token is not None:
            return state.token
        check_number(timeout, "timeout", optional=True)
        check_number(min_ttl, "min_ttl")
        # The rest is a method of its own because a closure here would make the parameters cells, which the fast path
        # would pay for.
        key = entry.key
        if asyncio.get_running_loop() is not self._refresh_loop.loop:
            return await self._get_from_another_loop(key, min_ttl, timeout)
        result = self._token_or_in_flight(key, min_ttl, timeout)
        return result if isinstance(result, Token) else await result.wait(timeout)

    def status(self, *, scopes: Iterable[str] | str | None = None, resource: str | None = None) -> TokenStatus:
        """The state of a key, from any thread. Holds no secret."""
        entry = self._entry(scopes, resource)
        key = entry.key
        state, in_flight, boot, wall = entry.snapshot, entry.in_flight, self._boot(), self._wall()
        remaining = state.remaining(boot, wall)
        retry = state.retry_boot if remaining > 0 else state.urgent_boot
        return TokenStatus(
            key,
            self._phase(state, in_flight, boot, wall),
            None if state.token is None else state.token.generation,
            key.scopes if state.token is None else state.token.scopes,
            None if state.token is None else state.token.expires_at,
            remaining,
            in_flight is not None,
            0 if in_flight is None else in_flight.waiters,
            state.failures,
            max(0.0, retry - boot),
            None if state.error is None else code_of(state.error),
            state.durable,
        )

    def _phase(self, state: Snapshot, in_flight: InFlight | None, boot: float, wall: float) -> Phase:
        if self._cache.closed:
            return Phase.CLOSED
        if in_flight is not None and in_flight.attempt.resolving:
            return Phase.RESOLVING
        phase = freshness.phase(state, boot=boot, wall=wall)
        if phase in _WITHOUT_TOKEN and isinstance(state.error, ReauthenticationRequiredError):
            return Phase.REAUTH_REQUIRED
        return phase

    # -- changing

    async def replace(
        self, rejected: Token, *, timeout: float | None = 30.0, response: Response | None = None
    ) -> Token:
        """Replace a token that a server refused with 401 (`response`, if at hand).

        A late refusal of an old token gives the current one. Raises `TokenRejectedError` where refreshing would go on
        for ever: for an API key, for a token that was itself a replacement and only just issued, for a server that
        issues it again.
        """
        check_number(timeout, "timeout", optional=True)
        if not self.renewable:
            raise TokenRejectedError("The server refuses the API key, which cannot be renewed.", response=response)
        if rejected.key.family_key != self._default.key.family_key:
            raise ValueError("This token came from another manager.")

        async def work() -> Token:
            entry = self._cache.entry(rejected.key)
            self._reject(entry, rejected, response)
            return await self._get(entry.key, 0.0, timeout)

        return await self._refresh_loop.run(work, timeout)

    async def forget(self, *, scopes: Iterable[str] | str | None = None, resource: str | None = None) -> None:
        """Drop the token and its record in the store. With a refresh token, where one grant serves all scopes and
        resources, drop the tokens of all of them. A refresh in flight still answers its waiters, and is then forgotten.
        Raises `TokenPersistenceError` when the store fails.

        Other processes that share the store go on with their access token until it ends. They do not store the grant
        again: a mark that it was forgotten, without a token, stays in the store for 30 days or until the next sign-in.
        """
        key = self._entry(scopes, resource).key

        async def work() -> None:
            self._cache.clear(self._cache.entry(key))
            await self._refresher.forget(key)

        await self._refresh_loop.run(work)

    async def warm(
        self,
        *,
        scopes: Iterable[str] | str | None = None,
        resource: str | None = None,
        keep: bool = False,
        timeout: float | None = 30.0,
    ) -> None:
        """Get a token now; with `keep`, also refresh it in the background for as long as the manager is open."""
        check_number(timeout, "timeout", optional=True)
        key = self._entry(scopes, resource).key

        async def work() -> None:
            self._cache.entry(key).keep = keep
            await self._get(key, 0.0, timeout)
            self._cache.check_later(self._cache.entry(key))

        await self._refresh_loop.run(work)

    async def accept(
        self,
        grant: TokenGrant,
        *,
        scopes: Iterable[str] | str | None = None,
        resource: str | None = None,
        age: float = 0.0,
    ) -> Token:
        """Take over a grant that was obtained elsewhere (a person has signed in) `age` seconds ago: store it, then
        serve it. Tokens of the grant before it are dropped. Waits for the store's lock, 10 s at most by default.
        """
        key = self._entry(scopes, resource).key

        async def work() -> Token:
            entry = self._cache.entry(key)
            attempt = self._cache.new_attempt(entry)
            try:
                issued = await self._refresher.accept(attempt, grant, age)
            finally:
                self._cache.save_later(entry)
            self._cache.clear(entry)
            token = self._cache.token_of(entry, issued)
            self._cache.publish(entry, issued, token)
            return token

        return await self._refresh_loop.run(work)

    async def aclose(self, *, drain: float = 5.0) -> None:
        """Close the manager. Refreshes in flight get `drain` seconds to finish: a new refresh token that is lost ends
        its grant.
        """
        self._cache.closed = True
        await self._refresh_loop.run(lambda: self._cache.close(drain))

    # -- from a request to an entry, a token, or a refresh to wait for

    def _entry(self, scopes: Iterable[str] | str | None, resource: str | None) -> Entry:
        """The entry of a key, from any thread; an empty one, which is not kept, if there is none."""
        if not self.renewable or (scopes is None and resource is None):
            return self._default
        if scopes is not None and not isinstance(scopes, str):
            scopes = lasting_scopes(scopes)
        try:
            key = self._narrowed(scopes, resource)
        except TypeError:
            key = None
        if key is None:  # an argument without a hash is no scope either: this call raises an error that says so
            key = self._default.key.narrowed(scopes, resource)
        return self._cache.entries.get(key) or Entry(key)

    async def _get_from_another_loop(self, key: TokenKey, min_ttl: float, timeout: float | None) -> Token:
        entry = self._cache.entries.get(key)
        if entry is not None:
            decision = freshness.decide(entry.snapshot, boot=self._boot(), wall=self._wall(), min_ttl=min_ttl)
            if isinstance(decision, Use):
                return decision.token
        return await self._refresh_loop.run(lambda: self._get(key, min_ttl, timeout), timeout)

    async def _get(self, key: TokenKey, min_ttl: float, timeout: float | None) -> Token:
        """Get a token, or wait for one. On the refresh loop, as all that follows."""
        result = self._token_or_in_flight(key, min_ttl, timeout)
        return result if isinstance(result, Token) else await result.wait(timeout)

    def _token_or_in_flight(self, key: TokenKey, min_ttl: float, timeout: float | None) -> Token | InFlight:
        """A token, or the refresh to wait for, which is started if need be."""
        entry = self._cache.entry(key)
        state, in_flight = entry.snapshot, entry.in_flight
        # Without a token and with a refresh on its way there is nothing to decide: thousands may join at once.
        if in_flight is None or in_flight.backing_off or state.token is not None:
            result = self._decide(entry, min_ttl, timeout)
            if isinstance(result, Token):
                return result
            in_flight = result
        in_flight.attempt.min_ttl = max(in_flight.attempt.min_ttl, min_ttl)
        self._announce.joined(in_flight.attempt.number)
        return in_flight

    def _decide(self, entry: Entry, min_ttl: float, timeout: float | None) -> Token | InFlight:
        state, in_flight, boot, wall = entry.snapshot, entry.in_flight, self._boot(), self._wall()
        decision = freshness.decide(state, boot=boot, wall=wall, min_ttl=min_ttl)
        match decision:
            case Use(token):
                return token
            case UseAndRenew(token):
                if in_flight is None:
                    self._cache.start_refresh(entry)
                return token
            case Refuse(error):
                raise replica(error)
            case HoldOff(until):
                if timeout is not None and boot + timeout <= until:
                    assert state.error is not None  # a back-off always has a reason
                    seconds, code = until - boot, code_of(state.error)
                    raise TokenBackoffError(
                        retry_at=wall + seconds, retry_after=seconds, last_error=code
                    ) from state.error
                return in_flight or self._cache.start_refresh(entry, until - boot)
            case Renew():
                return in_flight or self._cache.start_refresh(entry)
            case _:
                assert_never(decision)

    def _reject(self, entry: Entry, token: Token, response: Response | None) -> None:
        """Mark the current token as rejected, if it is the one that was refused, and only once.

        Generations rise with each token that is published, so comparing them tells a late refusal of an old token from
        the first refusal of the current one: a hundred refusals of one token cause one refresh.
        """
        state = entry.snapshot
        current = state.token
        if current is None or current.generation != token.generation:
            # Not cached, or replaced since. Its digest is kept all the same, should another source offer it again.
            if current is None or current.access_token != token.access_token:
                digests = freshness.rejected(attrs.evolve(state, token=token)).refused
                entry.snapshot = attrs.evolve(state, refused=digests)
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


# -- the cache

_LEAST_PAUSE = 1.0
_SAVE_CAP = 0.5
_numbers = itertools.count(1)  # of attempts, over all managers, so that one hook may serve several


class Entry:
    """The cache entry of one key. Any thread may read `snapshot`; only the refresh loop touches the rest."""

    __slots__ = ("in_flight", "keep", "key", "saving", "snapshot", "timer", "used")

    def __init__(self, key: TokenKey) -> None:
        self.key = key
        self.snapshot: Snapshot = freshness.EMPTY
        self.in_flight: InFlight | None = None
        self.keep = False
        self.timer: asyncio.TimerHandle | None = None
        self.saving = False
        self.used = 0.0


class TokenCache:
    """One entry per key. Starts refreshes and publishes what they bring, on the manager's refresh loop only."""

    def __init__(
        self,
        refresher: Refresher,
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
        self._refresher = refresher
        self._policy = policy
        self._clock = clock
        self._boot = clock.boot
        self._wall = clock.wall
        self._announce = announce
        self._jitter = jitter
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost_tasks: list[set[asyncio.Task[None]]] = []
        self._ended = 0  # refreshes since entries were evicted last

    def entry(self, key: TokenKey) -> Entry:
        """The entry of a key, made on first use."""
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

    def _evict(self, count: int) -> None:
        """Drop the `count` least recently used entries of those with no refresh in flight and nothing unsaved."""
        idle = [
            entry
            for entry in self.entries.values()
            if entry.in_flight is None and entry.snapshot.durable and not entry.keep and entry is not self.default
        ]
        for oldest in heapq.nsmallest(count, idle, key=lambda entry: entry.used):
            del self.entries[oldest.key]

    def valid(self, entry: Entry) -> Token | None:
        """The token, if it has not expired on any clock and was not rejected."""
        state = entry.snapshot
        return state.token if state.remaining(self._boot(), self._wall()) > 0 else None

    def clear(self, entry: Entry) -> None:
        """Drop the token; where one grant serves all keys, the token of each. Rejected tokens stay known as such.

        What a refresh in flight brings goes to its waiters and is not published.
        """
        for each in [*self.entries.values(), entry] if self._refresher.single_grant else [entry]:
            if each.in_flight is not None and not each.in_flight.backing_off:
                each.in_flight.attempt.forgotten = True
            each.snapshot = attrs.evolve(freshness.EMPTY, refused=each.snapshot.refused)

    def next_generation(self, at_least: int) -> int:
        """Return the next generation. It rises over all keys, and over `at_least`, the generation in the store."""
        self.generation = max(self.generation, at_least) + 1
        return self.generation

    def token_of(self, entry: Entry, issued: Issued) -> Token:
        """Make the token that callers get."""
        lifetime = issued.lifetime
        return Token(
            issued.access_token,
            scopes=issued.scopes,
            expires_at=None if lifetime is None else issued.since_wall + lifetime,
            generation=issued.generation,
            key=entry.key,
            wall=self._wall,
        )

    def publish(self, entry: Entry, issued: Issued, token: Token) -> None:
        """Make the token visible to all threads, by one assignment."""
        entry.snapshot = freshness.issued(
            entry.snapshot,
            token,
            since_boot=issued.since_boot,
            since_wall=issued.since_wall,
            lifetime=issued.lifetime,
            jitter=self._jitter(),
            policy=self._policy,
            durable=issued.durable,
        )
        self.save_later(entry)

    # -- one refresh

    def start_refresh(self, entry: Entry, delay: float = 0.0) -> InFlight:
        """Start a refresh, in a task and a context of its own: no caller's cancellation or context variables reach it."""
        attempt = self.new_attempt(entry, next(_numbers))
        self.save_later(entry)  # the task that did so may have ended with its loop
        in_flight = InFlight(attempt, self._boot(), lambda: self.valid(entry), backing_off=delay > 0)
        entry.in_flight = in_flight
        entry.snapshot = attrs.evolve(entry.snapshot, renewing=True)
        in_flight.task = self._spawn(self._run(entry, in_flight, delay))
        if not delay:
            self._announce(TokenRequested(entry.key, self._wall(), attempt.number))
        return in_flight

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def new_attempt(self, entry: Entry, number: int = 0) -> Attempt:
        """Describe an attempt to refresh this key."""

        def publish(issued: Issued) -> None:
            self.publish(entry, issued, self.token_of(entry, issued))
            entry.snapshot = attrs.evolve(entry.snapshot, renewing=True)

        return Attempt(entry.key, number, lambda: entry.snapshot, publish, self.next_generation)

    async def _run(self, entry: Entry, in_flight: InFlight, delay: float) -> None:
        try:
            if delay:
                await self._clock.sleep(delay)
                in_flight.backing_off = False
                in_flight.started = self._boot()
                self._announce(TokenRequested(entry.key, self._wall(), in_flight.attempt.number))
                state = entry.snapshot
                is_early = state.age(self._boot(), self._wall()) < state.advisory
                # A grant may have been accepted during the back-off: then nothing needs to be sent.
                if is_early and state.token is not None and self.valid(entry) is not None:
                    self._end_refresh(entry, in_flight)
                    in_flight.deliver(state.token)
                    return
            else:
                await asyncio.sleep(0)  # with eager tasks, the refresh could end before its first waiter has joined
            issued = await self._refresher.run(in_flight.attempt)
            self._succeed(entry, in_flight, issued)
        except asyncio.CancelledError:
            self._end_refresh(entry, in_flight)
            in_flight.fail(_closed())
            raise
        except TimeoutError:
            self._fail(entry, in_flight, TokenError("The refresh took too long and was given up."))
        except Exception as exc:  # noqa: BLE001 - a source may be the user's own
            self._fail(entry, in_flight, exc)

    def _end_refresh(self, entry: Entry, in_flight: InFlight) -> None:
        """Note that the refresh is over, before its waiters wake: a new caller never joins one that is over."""
        if entry.in_flight is in_flight:
            entry.in_flight = None
            entry.snapshot = attrs.evolve(entry.snapshot, renewing=False)
        self._ended += 1
        excess = len(self.entries) - self._policy.max_keys
        # After a storm of new keys, whose entries could not be evicted while their refreshes were in flight. Evicting looks
        # at all entries, so it happens for many at once.
        if excess > 0 and self._ended >= min(excess, 256):
            self._ended = 0
            self._evict(excess)

    def _succeed(self, entry: Entry, in_flight: InFlight, issued: Issued) -> None:
        state, boot, wall = entry.snapshot, self._boot(), self._wall()
        if freshness.digest_of(issued.access_token) in state.refused:
            self._fail(entry, in_flight, TokenRejectedError("The server issued the token again that it had refused."))
            return
        # A refresh whose loop was left, or whose grant was forgotten, answers its waiters and changes nothing.
        forgotten = entry.in_flight is not in_flight or in_flight.attempt.forgotten
        left = None if issued.lifetime is None else issued.lifetime - (boot - issued.since_boot)
        if issued.lifetime and left is not None and left <= 0:
            self._fail(entry, in_flight, TokenError("The token expired while it was being stored: the store is slow."))
            return
        token = self.token_of(entry, issued)
        if forgotten:
            pass
        elif freshness.is_gain(state, issued.access_token, boot=boot, wall=wall, lifetime=left):
            self.publish(entry, issued, token)
        else:
            entry.snapshot = freshness.in_vain(state, boot=boot, wall=wall)
            token = state.token or token
        self._end_refresh(entry, in_flight)
        wall, number, seconds = self._wall(), in_flight.attempt.number, self._boot() - in_flight.started
        generation, lifetime, durable = token.generation, issued.lifetime, issued.durable
        if issued.adopted:
            self._announce(TokenAdopted(entry.key, wall, number, generation, lifetime))
        else:
            self._announce(TokenRefreshed(entry.key, wall, number, generation, lifetime, seconds, durable=durable))
        in_flight.deliver(token)
        self.check_later(entry)

    def _fail(self, entry: Entry, in_flight: InFlight, error: Exception) -> None:
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
        if entry.in_flight is not in_flight:
            in_flight.fail(error)
            return
        entry.snapshot = state
        self._end_refresh(entry, in_flight)
        self.save_later(entry)
        status, request_id = (error.status_code, error.request_id) if isinstance(error, APIError) else (None, None)
        number, kind, seconds = in_flight.attempt.number, type(error).__name__, boot - in_flight.started
        self._announce(TokenRefreshFailed(entry.key, wall, number, code_of(error), kind, status, request_id, seconds))
        remaining = state.remaining(boot, wall)
        pause = (state.retry_boot if remaining > 0 else state.urgent_boot) - boot
        self._announce(BackoffStarted(entry.key, wall, number, pause, state.failures))
        if remaining > 0 and state.token is not None:
            self._announce(ServedStale(entry.key, wall, number, state.token.generation, remaining))
            in_flight.deliver(state.token)
        else:
            in_flight.fail(error)
        self.check_later(entry)

    # -- saving what the store did not take

    def save_later(self, entry: Entry) -> None:
        """Store in the background what could not be stored."""
        if not self._refresher.is_saved(entry.key) and not entry.saving:
            entry.saving = True
            entry.snapshot = attrs.evolve(entry.snapshot, durable=False)
            self._spawn(self._save(entry))

    async def _save(self, entry: Entry) -> None:
        tries = 0
        attempt = self.new_attempt(entry)
        try:
            while not await self._refresher.save(attempt):
                if self.closed:
                    return
                # While only this process knows the newest refresh token, every other process waits.
                cap = _SAVE_CAP if self._refresher.single_grant else self._policy.backoff_cap
                pause = min(self._policy.backoff_first * 2.0**tries, cap)
                tries = min(tries + 1, 30)
                await self._clock.sleep(max(freshness.LEAST_DELAY, pause * self._jitter()))
            entry.snapshot = attrs.evolve(entry.snapshot, durable=True)
        except asyncio.CancelledError:
            # The program ends and no other process has this token, so the last try is not cancelled.
            await run_to_end(self._refresher.save(attempt, last=True))
            raise
        finally:
            entry.saving = False

    # -- keeping a key warm

    def check_later(self, entry: Entry) -> None:
        """Set a timer for the time when a key that is kept warm needs a refresh."""
        self._cancel_timer(entry)
        if not entry.keep or self.closed:
            return
        state, boot = entry.snapshot, self._boot()
        usable = state.remaining(boot, self._wall()) > 0
        due = (state.serve_until if usable else state.urgent_boot) - boot
        pause = min(max(due, _LEAST_PAUSE if not usable else 0.0) + 0.001, self._policy.recheck)
        entry.timer = asyncio.get_running_loop().call_later(pause, self._check, entry)

    def _check(self, entry: Entry) -> None:
        decision = freshness.decide(entry.snapshot, boot=self._boot(), wall=self._wall())
        if entry.in_flight is None and isinstance(decision, (UseAndRenew, Renew)) and not self.closed:
            self.start_refresh(entry)
        elif entry.in_flight is None:
            self.check_later(entry)

    def _cancel_timer(self, entry: Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None

    # -- loops that end, processes that fork

    async def close(self, drain: float) -> None:
        """End back-offs at once, refreshes and saving after `drain` seconds. `closed` is set already."""
        for entry in self.entries.values():
            self._cancel_timer(entry)
            if entry.in_flight is not None and entry.in_flight.backing_off and entry.in_flight.task is not None:
                entry.in_flight.task.cancel()
        await self._end_tasks(drain)
        for entry in self.entries.values():
            if entry.in_flight is not None:  # its task was cancelled before it began
                entry.in_flight.fail(_closed())
                self._end_refresh(entry, entry.in_flight)
        for entry in [self.default] if self._refresher.single_grant else list(self.entries.values()):
            await self._refresher.save(self.new_attempt(entry), last=True)
        for entry in self.entries.values():
            entry.snapshot = freshness.EMPTY

    async def _end_tasks(self, drain: float) -> None:
        tasks = set(self._tasks)
        if not tasks:
            return
        try:
            _, late = await asyncio.wait(tasks, timeout=drain)
        except asyncio.CancelledError:
            # The caller goes on to close the connections, which would lose the answer to a refresh token that is on the
            # wire. So those refreshes are waited for all the same.
            every = [entry.in_flight for entry in self.entries.values()]
            on_wire = {each.task for each in every if each and each.task and each.attempt.on_wire}
            if on_wire:
                await run_to_end(asyncio.wait(on_wire))
            raise
        for task in late:
            task.cancel()
        await run_to_end(asyncio.wait(tasks))

    def leave_loop(self) -> None:
        """Give up the refreshes in flight: their loop will not run again. The snapshots stay."""
        # The tasks are kept alive. If a pending task is collected, its clean-up code runs, and would release locks that
        # are another process's by then.
        self._lost_tasks.append(self._tasks)
        self._tasks = set()
        for entry in self.entries.values():
            entry.in_flight = entry.timer = None
            entry.saving = False
            entry.snapshot = attrs.evolve(entry.snapshot, renewing=False)
        self._refresher.leave_loop()

    def reset_after_fork(self) -> None:
        """Start over in a forked child, without the parent's refreshes."""
        self.leave_loop()
        self._refresher.reset_after_fork()


def _closed() -> ClientClosedError:
    return ClientClosedError("This token manager, or the client that it belongs to,", lent=True)
