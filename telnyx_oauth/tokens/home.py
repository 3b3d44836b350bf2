"""The one event loop on which a manager works, and how others get there."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, TypeVar

from ..errors import TokenWaitTimeoutError

T = TypeVar("T")
_GLANCE = 1.0


class Home:
    """The loop of whoever came first. Once it has ended, or stands still, the next one to come is home.

    `moved` is called when the old loop's work is lost, `forked` in a child process.
    """

    def __init__(self, moved: Callable[[], None], forked: Callable[[], None]) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._moved = moved
        self._forked = forked
        self._election = threading.Lock()  # guards the choice of a new home, nothing else
        _homes.add(self)

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]], timeout: float | None = None) -> T:
        """Do it at home. A caller from elsewhere waits on its own loop, and its cancellation ends its own wait alone.

        `work` keeps to `timeout` itself; here it only helps those whose home is too busy to notice.
        """
        here = asyncio.get_running_loop()
        deadline = inf if timeout is None else here.time() + timeout + _GLANCE
        while True:
            home = self._elect(here)
            if home is here:
                return await work()
            job = work()
            try:
                shared = asyncio.run_coroutine_threadsafe(job, home)
            except RuntimeError:  # it was closed this very moment
                job.close()
                continue
            answer = asyncio.wrap_future(shared)
            answer.add_done_callback(_seen)
            try:
                while not answer.done() and _is_alive(home):
                    if here.time() >= deadline:
                        raise TokenWaitTimeoutError(timeout or 0.0)
                    await asyncio.wait({answer}, timeout=_GLANCE)
            finally:
                if not answer.done() and not home.is_closed():
                    shared.cancel()
            if answer.done() and not answer.cancelled():
                return answer.result()
            self._leave(home)  # it ended, or is about to and has cancelled all that ran there

    def _leave(self, home: asyncio.AbstractEventLoop) -> None:
        with self._election:
            if self.loop is home:
                self._moved()
                self.loop = None

    def _elect(self, here: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
        home = self.loop
        if home is not None and (home is here or _is_alive(home)):
            return home
        with self._election:
            home = self.loop
            if home is None or (home is not here and not _is_alive(home)):
                if home is not None:
                    self._moved()
                home = self.loop = here
            return home

    def enter_child(self) -> None:
        """This is a forked child now: no loop of the parent's runs here, and nobody holds its locks."""
        self.loop = None
        self._election = threading.Lock()
        self._forked()


def _seen(answer: asyncio.Future[Any]) -> None:
    # A caller who leaves at the very moment leaves an error that asyncio would call lost.
    if not answer.cancelled():
        answer.exception()


def _is_alive(loop: asyncio.AbstractEventLoop) -> bool:
    return loop.is_running() and not loop.is_closed()


_homes: weakref.WeakSet[Home] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for home in list(_homes):
        home.enter_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
