"""The token manager: one snapshot per key that anyone may read, and at most one renewal per key that nobody owns."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine, Iterable
from math import inf
from typing import Any, Final, assert_never

import attrs

from ..errors import (
    APIError,
    ClientClosedError,
    TelnyxError,
    TokenBackoffError,
    TokenError,
    TokenRejectedError,
)
from ..messages import Response
from ..protocol import freshness
from ..protocol.freshness import (
    DEFAULT_POLICY,
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
from ..protocol.token import Token, TokenKey
from ..transport.clock import Clock, SystemClock
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
from .flight import Flight, replica
from .home import Home
from .renewal import IssuedVerifier, Job, Renewal, Renewed, is_terminal
from .sources import ApiKey, TokenSource
from .stores.record import TokenStore

_SYSTEM: Final = SystemClock()
_LEAST_TEND: Final = 1.0


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


class _Entry:
    __slots__ = ("flight", "job", "keep", "key", "saving", "snapshot", "timer", "used")

    def __init__(self, key: TokenKey, snapshot: Snapshot = freshness.EMPTY) -> None:
        self.key = key
        self.snapshot = snapshot
        self.flight: Flight | None = None
        self.job: Job | None = None
        self.keep = False
        self.timer: asyncio.TimerHandle | None = None
        self.saving = False
        self.used = 0.0


class TokenManager:
    """Keeps access tokens fresh. Safe for any number of tasks, event loops and threads.

    A fresh token costs no lock, no wait and no allocation. Otherwise one renewal runs per key, whoever asks and however
    many; it belongs to the manager, so a caller that is cancelled or times out takes nothing from anybody. `verifier`
    proves each token before anyone gets it, and `demand_proof` refuses those that cannot be proven.
    """

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
        self._policy = policy
        self._clock = clock
        self._boot = clock.boot
        self._wall = clock.wall
        self._jitter = jitter
        self._announce = Announcer(hooks)
        self._renewal = Renewal(
            source, store, policy, clock, self._announce, verifier=verifier, demand_proof=demand_proof
        )
        self._home = Home(self._drop_flights, self._enter_child)
        self._generation = 0
        self._flights = 0
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._abandoned: list[set[asyncio.Task[None]]] = []
        base: TokenKey | None = getattr(source, "key", None)
        self._default = _Entry(base or TokenKey(grant="custom"))
        self._entries: dict[TokenKey, _Entry] = {self._default.key: self._default}
        self.renewable = not isinstance(source, ApiKey)
        """Whether a rejected token can be replaced; an API key cannot."""
        if isinstance(source, ApiKey):
            self._generation = 1
            token = Token(source.grant.access_token, generation=1, key=self._default.key, wall=clock.wall)
            self._default.snapshot = Snapshot(token, lifetime=inf, advisory=inf, mandatory=inf)

    # -- reading

    def peek(self, *, scopes: Iterable[str] | str | None = None, resource: str | None = None) -> Token | None:
        """The token, if there is one that may be used with nothing else to do, else `None`: then `await get()`.

        From any thread; no I/O, no lock, no hop. Once a renewal is due, `None` until one is under way.
        """
        if scopes is None and resource is None:
            state = self._default.snapshot
        else:
            entry = self._entries.get(self._key(scopes, resource))
            if entry is None:
                return None
            entry.used = self._boot()
            state = entry.snapshot
        if self._boot() < state.serve_until and self._wall() < state.serve_until_wall:
            return state.token
        return None

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
        if scopes is None and resource is None and not min_ttl:
            state = self._default.snapshot
            if self._boot() < state.serve_until and self._wall() < state.serve_until_wall and state.token is not None:
                return state.token
        key = self._key(scopes, resource)
        if asyncio.get_running_loop() is self._home.loop:
            return await self._obtain(key, min_ttl, timeout)
        entry = self._entries.get(key)
        if entry is not None:
            decision = freshness.decide(entry.snapshot, boot=self._boot(), wall=self._wall(), min_ttl=min_ttl)
            if isinstance(decision, Use):
                return decision.token
        return await self._home.run(lambda: self._obtain(key, min_ttl, timeout), timeout)

    def status(self, *, scopes: Iterable[str] | str | None = None, resource: str | None = None) -> TokenStatus:
        """What is served and why, from any thread. Holds no secret."""
        key = self._key(scopes, resource)
        entry = self._entries.get(key) or _Entry(key)
        state, flight, job, boot, wall = entry.snapshot, entry.flight, entry.job, self._boot(), self._wall()
        usable = state.remaining(boot, wall) > 0 and state.token is not None
        retry = state.retry_boot if usable else state.urgent_boot
        return TokenStatus(
            key,
            self._phase(state, job, boot, wall),
            None if state.token is None else state.token.generation,
            key.scopes if state.token is None else state.token.scopes,
            None if state.token is None else state.token.expires_at,
            state.remaining(boot, wall),
            flight is not None,
            0 if flight is None else len(flight.waiters),
            state.failures,
            max(0.0, retry - boot),
            None if state.error is None else _code(state.error),
            state.durable,
        )

    def _phase(self, state: Snapshot, job: Job | None, boot: float, wall: float) -> Phase:
        if self._closed:
            return Phase.CLOSED
        if job is not None and job.resolving:
            return Phase.RESOLVING
        return freshness.phase(state, boot=boot, wall=wall)

    # -- changing

    async def replace(
        self, rejected: Token, *, timeout: float | None = 30.0, response: Response | None = None
    ) -> Token:
        """Another token in the place of one that a server refused with 401 (`response`, if at hand).

        A late refusal of an old token gives the current one. Raises `TokenRejectedError` where renewing would go on
        for ever: for an API key, for a token that was itself a replacement and only just issued, for a server that
        issues it again.
        """
        if not self.renewable:
            raise TokenRejectedError("The server refuses the API key, which cannot be renewed.", response=response)
        if rejected.key.family_key != self._default.key.family_key:
            raise ValueError("This token came from another manager.")

        async def judge() -> Token:
            entry = self._entry(rejected.key)
            self._reject(entry, rejected, response)
            return await self._obtain(entry.key, 0.0, timeout)

        return await self._home.run(judge, timeout)

    async def forget(self, *, scopes: Iterable[str] | str | None = None, resource: str | None = None) -> None:
        """Drop the token, and its record in the store. A renewal under way still answers its waiters, and is then
        forgotten.
        """
        key = self._key(scopes, resource)

        async def drop() -> None:
            entry = self._entry(key)
            self._disown(entry)
            entry.snapshot = attrs.evolve(freshness.EMPTY, refused=entry.snapshot.refused)
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
        key = self._key(scopes, resource)

        async def heat() -> None:
            self._entry(key).keep = keep
            await self._obtain(key, 0.0, timeout)
            self._tend_later(self._entry(key))

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
        served.
        """
        key = self._key(scopes, resource)

        async def take() -> Token:
            entry = self._entry(key)
            job = self._job(entry, 0, 0.0)
            renewed = await self._renewal.accept(job, grant, age)
            self._disown(entry)
            token = self._token(entry, renewed)
            self._publish(entry, renewed, token)
            return token

        return await self._home.run(take)

    async def aclose(self, *, drain: float = 5.0) -> None:
        """End. Renewals under way get `drain` seconds to finish, since what they bring may be all there is of a
        grant.
        """
        self._closed = True

        async def end() -> None:
            for entry in self._entries.values():
                self._stop_timer(entry)
                if entry.flight is not None and entry.flight.task is not None and entry.job is None:
                    entry.flight.task.cancel()  # it only waits for a back-off to end
            await self._finish(set(self._tasks), drain)
            for entry in self._entries.values():
                if entry.flight is not None:  # cancelled before it began
                    entry.flight.crash(ClientClosedError("This token manager"))
                    self._settle(entry, entry.flight)
                if not entry.snapshot.durable:
                    await self._renewal.save(self._job(entry, 0, 0.0))
                entry.snapshot = freshness.EMPTY

        await self._home.run(end)

    async def _finish(self, tasks: set[asyncio.Task[None]], drain: float) -> None:
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=drain)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)

    # -- on the home loop

    def _key(self, scopes: Iterable[str] | str | None, resource: str | None) -> TokenKey:
        if not self.renewable or (scopes is None and resource is None):
            return self._default.key
        return self._default.key.narrowed(scopes, resource)

    def _entry(self, key: TokenKey) -> _Entry:
        if self._closed:
            raise ClientClosedError("This token manager")
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._policy.max_keys:
                self._evict()
            entry = self._entries[key] = _Entry(key)
        entry.used = self._boot()
        return entry

    def _evict(self) -> None:
        """Make room: the key that was used longest ago and has nothing under way or unsaved goes."""
        idle = [
            entry
            for entry in self._entries.values()
            if entry.flight is None and entry.snapshot.durable and not entry.keep and entry is not self._default
        ]
        if idle:
            oldest = min(idle, key=lambda entry: entry.used)
            del self._entries[oldest.key]

    async def _obtain(self, key: TokenKey, min_ttl: float, timeout: float | None) -> Token:
        entry = self._entry(key)
        state, boot, wall = entry.snapshot, self._boot(), self._wall()
        flight = entry.flight
        decision = freshness.decide(state, boot=boot, wall=wall, min_ttl=min_ttl)
        match decision:
            case Use(token):
                return token
            case UseAndRenew(token):
                if flight is None:
                    self._launch(entry, 0.0, 0.0)
                return token
            case Refuse(error):
                raise replica(error)
            case HoldOff(until):
                if timeout is not None and boot + timeout <= until:
                    raise self._backing_off(state, until - boot, wall)
                flight = flight or self._launch(entry, min_ttl, until - boot)
            case Renew():
                flight = flight or self._launch(entry, min_ttl, 0.0)
            case _:
                assert_never(decision)
        flight.min_ttl = max(flight.min_ttl, min_ttl)
        self._announce.joined(flight.number)
        return await flight.wait(timeout, lambda: self._valid(entry))

    def _valid(self, entry: _Entry) -> Token | None:
        state = entry.snapshot
        return state.token if state.remaining(self._boot(), self._wall()) > 0 else None

    def _backing_off(self, state: Snapshot, seconds: float, wall: float) -> TokenBackoffError:
        said = "unknown" if state.error is None else _code(state.error)
        error = TokenBackoffError(retry_at=wall + seconds, retry_after=seconds, last_error=said)
        error.__cause__ = state.error
        return error

    def _reject(self, entry: _Entry, token: Token, response: Response | None) -> None:
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

    # -- flights

    def _launch(self, entry: _Entry, min_ttl: float, delay: float) -> Flight:
        """Start a renewal that nobody's cancellation reaches and that inherits nobody's context."""
        self._flights += 1
        flight = entry.flight = Flight(self._flights, self._boot(), min_ttl)
        entry.snapshot = attrs.evolve(entry.snapshot, renewing=True)
        flight.task = self._spawn(self._fly(entry, flight, delay))
        if not delay:
            self._announce(TokenRequested(entry.key, self._wall(), flight.number))
        return flight

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _job(self, entry: _Entry, number: int, min_ttl: float) -> Job:
        def offer(renewed: Renewed) -> None:
            self._publish(entry, renewed, self._token(entry, renewed))
            entry.snapshot = attrs.evolve(entry.snapshot, renewing=True)

        return Job(entry.key, number, lambda: entry.snapshot, offer, self._number, min_ttl)

    async def _fly(self, entry: _Entry, flight: Flight, delay: float) -> None:
        try:
            if delay:
                await self._clock.sleep(delay)
                self._announce(TokenRequested(entry.key, self._wall(), flight.number))
                if (token := self._quiet(entry)) is not None:  # accepted while this one slept
                    self._settle(entry, flight)
                    flight.land(token)
                    return
            flight.started = self._boot()
            entry.job = self._job(entry, flight.number, flight.min_ttl)
            async with asyncio.timeout(self._policy.flight_timeout):
                renewed = await self._renewal.run(entry.job)
            self._land(entry, flight, renewed)
        except asyncio.CancelledError:
            self._settle(entry, flight)
            flight.crash(ClientClosedError("This token manager"))
            raise
        except TimeoutError:
            self._crash(entry, flight, TokenError("The renewal took too long and was given up."))
        except Exception as exc:  # noqa: BLE001 - a source may be the user's own
            self._crash(entry, flight, exc)

    def _quiet(self, entry: _Entry) -> Token | None:
        state = entry.snapshot
        age = state.age(self._boot(), self._wall())
        return state.token if age < state.advisory and not state.rejected and self._valid(entry) is not None else None

    def _settle(self, entry: _Entry, flight: Flight) -> None:
        """Take the flight off the board, before anyone wakes: a new caller never joins a finished one."""
        if entry.flight is flight:
            entry.flight = entry.job = None
            entry.snapshot = attrs.evolve(entry.snapshot, renewing=False)

    def _disown(self, entry: _Entry) -> None:
        """What the renewal under way comes to is for its waiters alone."""
        if entry.job is not None:
            entry.job.forgotten = True

    def _land(self, entry: _Entry, flight: Flight, renewed: Renewed) -> None:
        state, boot, wall = entry.snapshot, self._boot(), self._wall()
        if freshness.digest_of(renewed.access_token) in state.refused:
            self._crash(entry, flight, TokenRejectedError("The server issued the token again that it had refused."))
            return
        # A flight that was dropped with its loop, or disowned, answers those who wait for it and changes nothing.
        forgotten = entry.flight is not flight or entry.job is None or entry.job.forgotten
        left = None if renewed.lifetime is None else renewed.lifetime - (boot - renewed.since_boot)
        token = self._token(entry, renewed)
        if forgotten:
            pass
        elif freshness.is_gain(state, renewed.access_token, boot=boot, wall=wall, lifetime=left):
            self._publish(entry, renewed, token)
        else:
            entry.snapshot = freshness.in_vain(state, boot=boot, wall=wall)
            token = state.token or token
        self._settle(entry, flight)
        self._tell(entry, flight, renewed, token)
        flight.land(token)
        self._tend_later(entry)

    def _tell(self, entry: _Entry, flight: Flight, renewed: Renewed, token: Token) -> None:
        wall = self._wall()
        if renewed.adopted:
            self._announce(TokenAdopted(entry.key, wall, flight.number, token.generation, renewed.lifetime))
            return
        seconds = self._boot() - flight.started
        self._announce(
            TokenRefreshed(
                entry.key, wall, flight.number, token.generation, renewed.lifetime, seconds, durable=renewed.durable
            )
        )

    def _crash(self, entry: _Entry, flight: Flight, error: Exception) -> None:
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
        status, request_id = (error.status_code, error.request_id) if isinstance(error, APIError) else (None, None)
        number, kind, seconds = flight.number, type(error).__name__, boot - flight.started
        self._announce(TokenRefreshFailed(entry.key, wall, number, _code(error), kind, status, request_id, seconds))
        remaining = state.remaining(boot, wall)
        pause = (state.retry_boot if remaining > 0 else state.urgent_boot) - boot
        self._announce(BackoffStarted(entry.key, wall, number, pause, state.failures))
        if remaining > 0 and state.token is not None:
            self._announce(ServedStale(entry.key, wall, number, state.token.generation, remaining))
            flight.land(state.token)
        else:
            flight.crash(error)
        self._tend_later(entry)

    def _number(self, at_least: int) -> int:
        self._generation = max(self._generation, at_least) + 1
        return self._generation

    def _token(self, entry: _Entry, renewed: Renewed) -> Token:
        lifetime = renewed.lifetime
        return Token(
            renewed.access_token,
            scopes=renewed.scopes,
            expires_at=None if lifetime is None else renewed.since_wall + lifetime,
            generation=renewed.generation,
            key=entry.key,
            wall=self._wall,
        )

    def _publish(self, entry: _Entry, renewed: Renewed, token: Token) -> None:
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
        if not renewed.durable and not entry.saving:
            entry.saving = True
            self._spawn(self._save(entry))

    async def _save(self, entry: _Entry) -> None:
        """Store what could not be stored, for as long as that takes."""
        attempt = 0
        job = self._job(entry, 0, 0.0)
        try:
            while not await self._renewal.save(job):
                if self._closed:
                    return
                pause = min(self._policy.backoff_first * 2.0**attempt, self._policy.backoff_cap)
                attempt = min(attempt + 1, 30)
                await self._clock.sleep(max(freshness.LEAST_DELAY, pause * self._jitter()))
            entry.snapshot = attrs.evolve(entry.snapshot, durable=True)
        finally:
            entry.saving = False

    # -- keeping warm

    def _tend_later(self, entry: _Entry) -> None:
        """Look at a key that is kept warm again when it is due."""
        self._stop_timer(entry)
        if not entry.keep or self._closed:
            return
        state, boot = entry.snapshot, self._boot()
        usable = state.remaining(boot, self._wall()) > 0
        due = (state.serve_until if usable else state.urgent_boot) - boot
        pause = min(max(due, _LEAST_TEND if not usable else 0.0) + 0.001, self._policy.recheck)
        entry.timer = asyncio.get_running_loop().call_later(pause, self._tend, entry)

    def _tend(self, entry: _Entry) -> None:
        decision = freshness.decide(entry.snapshot, boot=self._boot(), wall=self._wall())
        if entry.flight is None and isinstance(decision, (UseAndRenew, Renew)) and not self._closed:
            self._launch(entry, 0.0, 0.0)
        elif entry.flight is None:
            self._tend_later(entry)

    def _stop_timer(self, entry: _Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None

    # -- loops that end, processes that fork

    def _drop_flights(self) -> None:
        """The loop that they were on will never run again. What had been learnt stays."""
        # Held on to: a pending task that is collected runs its clean-up, and lets go of locks that are others' by now.
        self._abandoned.append(self._tasks)
        self._tasks = set()
        for entry in self._entries.values():
            entry.flight = entry.job = entry.timer = None
            entry.saving = False
            entry.snapshot = attrs.evolve(entry.snapshot, renewing=False)

    def _enter_child(self) -> None:
        self._drop_flights()
        self._renewal.inherit()


def _code(error: BaseException) -> str:
    code = error.code if isinstance(error, TelnyxError) else None
    return code or type(error).__name__
