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


class Flight:
    """One renewal of one key. Its task belongs to the manager; callers hold only a future each."""

    __slots__ = ("job", "sleeping", "started", "task", "waiters")

    def __init__(self, job: Job, started: float, *, sleeping: bool) -> None:
        self.job = job
        self.started = started
        self.sleeping = sleeping  # until a back-off is over
        self.waiters: dict[asyncio.Future[Token], None] = {}
        self.task: asyncio.Task[None] | None = None

    async def wait(self, timeout: float | None, fallback: Callable[[], Token | None]) -> Token:
        """The outcome. After `timeout` seconds, a fallback that is still valid, else `TokenWaitTimeoutError`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Token] = loop.create_future()
        self.waiters[future] = None
        timer = None if timeout is None else loop.call_later(timeout, _give_up, future, timeout, fallback)
        try:
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            self.waiters.pop(future, None)

    def land(self, token: Token) -> None:
        """Give everyone the token."""
        for future in self.waiters:
            if not future.done():
                future.set_result(token)

    def crash(self, error: BaseException) -> None:
        """Give everyone an exception of their own, since each will grow a traceback of its own."""
        for future in self.waiters:
            if not future.done():
                future.set_exception(replica(error))


def _give_up(future: asyncio.Future[Token], timeout: float, fallback: Callable[[], Token | None]) -> None:
    if future.done():
        return
    token = fallback()
    if token is None:
        future.set_exception(TokenWaitTimeoutError(timeout))
    else:
        future.set_result(token)


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
