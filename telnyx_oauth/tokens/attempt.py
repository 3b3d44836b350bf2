"""One attempt to refresh a token, what it brings, and the callers that wait for it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

import attrs

from ..errors import TelnyxError, TokenError, TokenWaitTimeoutError
from ..protocol.freshness import Snapshot
from ..protocol.token import Token, TokenKey


@attrs.frozen
class Issued:
    """A token that a refresh has brought. Its lifetime began when the clocks stood at `since_boot` and `since_wall`."""

    access_token: str = attrs.field(repr=False)
    scopes: frozenset[str]
    lifetime: float | None
    since_boot: float
    since_wall: float
    generation: int
    adopted: bool = False
    durable: bool = True


@attrs.define
class Attempt:
    """One attempt to refresh the token of `key`.

    `snapshot`, `publish` and `next_generation` are the cache's; the other fields say how far the attempt has come.
    """

    key: TokenKey
    number: int
    snapshot: Callable[[], Snapshot]
    publish: Callable[[Issued], None]
    next_generation: Callable[[int], int]
    min_ttl: float = 0.0
    resolving: bool = False
    """True once the outcome of sending a refresh token is unknown."""
    forgotten: bool = False
    """True once the grant was forgotten: the result goes to the waiters, and is neither stored nor published."""
    on_wire: bool = False
    """True from the sending of a refresh token until its successor is stored."""
    keys: asyncio.Future[None] | None = None
    """The fetch of the keys that the token will be verified with."""


class InFlight:
    """One attempt in flight and its waiters. The task belongs to the manager; each waiter holds only a future.

    So a waiter that is cancelled or times out removes its own future, and harms neither the task nor another waiter.
    """

    __slots__ = ("attempt", "backing_off", "fallback", "queues", "started", "task", "timers")

    def __init__(
        self, attempt: Attempt, started: float, fallback: Callable[[], Token | None], *, backing_off: bool
    ) -> None:
        self.attempt = attempt
        self.started = started
        self.fallback = fallback
        self.backing_off = backing_off  # nothing has been sent yet: the task sleeps until the back-off is over
        # One queue for each timeout. Waiters join at the end, so a queue is in the order of its deadlines: one timer for
        # its first waiter is enough, and a thousand waiters cost one timer instead of a thousand.
        self.queues: dict[float | None, dict[asyncio.Future[Token], float]] = {}
        self.timers: dict[float, asyncio.TimerHandle] = {}
        self.task: asyncio.Task[None] | None = None

    @property
    def waiters(self) -> int:
        """The number of waiters."""
        return sum(map(len, self.queues.values()))

    async def wait(self, timeout: float | None) -> Token:
        """Wait for the outcome. After `timeout` seconds: a fallback that is still valid, or `TokenWaitTimeoutError`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Token] = loop.create_future()
        queue = self.queues.get(timeout)
        if queue is None:
            queue = self.queues[timeout] = {}
        queue[future] = 0.0 if timeout is None else loop.time() + timeout
        if timeout is not None and timeout not in self.timers:
            self.timers[timeout] = loop.call_later(timeout, self._time_out, timeout)
        try:
            return await future
        finally:
            queue.pop(future, None)

    def _time_out(self, timeout: float) -> None:
        """Answer the waiters whose time is over, and set the timer for the next one."""
        loop = asyncio.get_running_loop()
        del self.timers[timeout]
        queue = self.queues[timeout]
        while queue:
            future = next(iter(queue))
            if queue[future] > loop.time():
                self.timers[timeout] = loop.call_at(queue[future], self._time_out, timeout)
                return
            del queue[future]
            if future.done():
                continue
            token = self.fallback()
            if token is None:
                future.set_exception(TokenWaitTimeoutError(timeout))
            else:
                future.set_result(token)

    def deliver(self, token: Token) -> None:
        """Give the token to every waiter."""
        for future in self._end():
            future.set_result(token)

    def fail(self, error: BaseException) -> None:
        """Give every waiter an exception, each a copy, because each will grow its own traceback."""
        for future in self._end():
            future.set_exception(replica(error))

    def _end(self) -> list[asyncio.Future[Token]]:
        """Stop the timers. Return the waiters' futures."""
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        return [future for queue in self.queues.values() for future in queue if not future.done()]


def replica(error: BaseException) -> Exception:
    """Copy an exception; `error` is the copy's cause. Of one that is not a `TelnyxError` only the class is named."""
    if isinstance(error, TelnyxError):
        twin: Exception = copy.copy(error)
        notes = getattr(error, "__notes__", None)
        if notes is not None:
            twin.__notes__ = list(notes)
    else:
        twin = TokenError(f"The token source failed ({type(error).__name__}).")
    twin.__cause__ = error
    return twin
