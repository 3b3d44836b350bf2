"""A renewal under way and those who wait for it: one outcome, any number of waiters, none of whom can harm another."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

import attrs

from ..errors import TelnyxError, TokenError, TokenWaitTimeoutError
from ..protocol.freshness import Snapshot
from ..protocol.token import Token, TokenKey


@attrs.frozen
class Renewed:
    """A token that a renewal has come to. Its lifetime began when the clocks stood at `since_boot` and `since_wall`."""

    access_token: str = attrs.field(repr=False)
    scopes: frozenset[str]
    lifetime: float | None
    since_boot: float
    since_wall: float
    generation: int
    adopted: bool = False
    durable: bool = True


@attrs.define
class Job:
    """What a renewal is told, and what it tells while it runs."""

    key: TokenKey
    flight: int
    state: Callable[[], Snapshot]
    offer: Callable[[Renewed], None]
    number: Callable[[int], int]
    min_ttl: float = 0.0
    resolving: bool = False
    forgotten: bool = False
    on_wire: bool = False
    """True from the sending of a refresh token until what came of it is stored."""
    keys: asyncio.Future[None] | None = None
    """The fetching of the keys that the token will be proven with."""


class Flight:
    """One renewal of one key. Its task belongs to the manager; callers hold only a future each.

    Waiters stand in queues by their timeout, so that each queue is in the order of its deadlines and needs one timer.
    """

    __slots__ = ("fallback", "job", "queues", "sleeping", "started", "task", "timers")

    def __init__(self, job: Job, started: float, fallback: Callable[[], Token | None], *, sleeping: bool) -> None:
        self.job = job
        self.started = started
        self.fallback = fallback
        self.sleeping = sleeping  # until a back-off is over
        self.queues: dict[float | None, dict[asyncio.Future[Token], float]] = {}
        self.timers: dict[float, asyncio.TimerHandle] = {}
        self.task: asyncio.Task[None] | None = None

    @property
    def waiters(self) -> int:
        """How many wait."""
        return sum(map(len, self.queues.values()))

    async def wait(self, timeout: float | None) -> Token:
        """The outcome. After `timeout` seconds, a fallback that is still valid, else `TokenWaitTimeoutError`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Token] = loop.create_future()
        queue = self.queues.get(timeout)
        if queue is None:
            queue = self.queues[timeout] = {}
        queue[future] = 0.0 if timeout is None else loop.time() + timeout
        if timeout is not None and timeout not in self.timers:
            self.timers[timeout] = loop.call_later(timeout, self._give_up, timeout)
        try:
            return await future
        finally:
            queue.pop(future, None)

    def _give_up(self, timeout: float) -> None:
        """Send away those whose time is over, and look again when the next one's is."""
        loop = asyncio.get_running_loop()
        del self.timers[timeout]
        queue = self.queues[timeout]
        while queue:
            future = next(iter(queue))
            if queue[future] > loop.time():
                self.timers[timeout] = loop.call_at(queue[future], self._give_up, timeout)
                return
            del queue[future]
            if future.done():
                continue
            token = self.fallback()
            if token is None:
                future.set_exception(TokenWaitTimeoutError(timeout))
            else:
                future.set_result(token)

    def land(self, token: Token) -> None:
        """Give everyone the token."""
        for future in self._dismissed():
            future.set_result(token)

    def crash(self, error: BaseException) -> None:
        """Give everyone an exception of their own, since each will grow a traceback of its own."""
        for future in self._dismissed():
            future.set_exception(replica(error))

    def _dismissed(self) -> list[asyncio.Future[Token]]:
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        return [future for queue in self.queues.values() for future in queue if not future.done()]


def replica(error: BaseException) -> Exception:
    """A new exception that says the same, caused by `error`. What is not ours is named by its class alone."""
    if isinstance(error, TelnyxError):
        twin: Exception = copy.copy(error)
        notes = getattr(error, "__notes__", None)
        if notes is not None:
            twin.__notes__ = list(notes)
    else:
        twin = TokenError(f"The token source failed ({type(error).__name__}).")
    twin.__cause__ = error
    return twin
