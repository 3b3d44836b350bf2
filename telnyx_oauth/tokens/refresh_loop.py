"""The event loop that a manager's refreshes run on, and the way there from other loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, TypeVar

from ..errors import TokenWaitTimeoutError
from ..transport import fork

T = TypeVar("T")
_POLL = 1.0


class RefreshLoop:
    """The loop of the first caller. Once it has ended or stands still, the next caller's loop takes its place.

    `on_change` is called when the work on the old loop is lost, `on_fork` in a child process.
    """

    def __init__(self, on_change: Callable[[], None], on_fork: Callable[[], None]) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._on_change = on_change
        self._on_fork = on_fork
        self._choice = threading.Lock()  # guards the choice of a loop, nothing else
        fork.on_fork(self, RefreshLoop.reset_after_fork)

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]], timeout: float | None = None) -> T:
        """Run `work` there. A caller on another loop waits on its own; cancelling the caller ends only that wait.

        `work` keeps to `timeout` by itself. Here it only helps a caller when the refresh loop is too busy to notice.
        """
        here = asyncio.get_running_loop()
        deadline = inf if timeout is None else here.time() + timeout + _POLL
        while True:
            chosen = self._choose(here)
            if chosen is here:
                return await work()
            coroutine = work()
            try:
                shared = asyncio.run_coroutine_threadsafe(coroutine, chosen)
            except RuntimeError:  # the loop was closed just now
                coroutine.close()
                continue
            answer = asyncio.wrap_future(shared)
            answer.add_done_callback(_retrieve)
            try:
                # A loop that stops running does not say so, and no answer would ever come: look once a second.
                while not answer.done() and _is_alive(chosen):
                    if here.time() >= deadline:
                        raise TokenWaitTimeoutError(timeout or 0.0)
                    await asyncio.wait({answer}, timeout=_POLL)
            finally:
                if not answer.done() and not chosen.is_closed():
                    shared.cancel()
            if answer.done() and not answer.cancelled():
                return answer.result()
            # The loop ended, or is about to: a runner that shuts down cancels every task first.
            with self._choice:
                if self.loop is chosen:
                    self._on_change()
                    self.loop = None

    def _choose(self, here: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
        chosen = self.loop
        if chosen is not None and (chosen is here or _is_alive(chosen)):
            return chosen
        with self._choice:
            chosen = self.loop
            if chosen is None or (chosen is not here and not _is_alive(chosen)):
                if chosen is not None:
                    self._on_change()
                chosen = self.loop = here
            return chosen

    def reset_after_fork(self) -> None:
        """Start over in a forked child: the parent's loop does not run here, and its threads hold no lock here."""
        self.loop = None
        self._choice = threading.Lock()
        self._on_fork()


def _retrieve(answer: asyncio.Future[Any]) -> None:
    # A caller that leaves at the last moment leaves an error that asyncio would report as never retrieved.
    if not answer.cancelled():
        answer.exception()


def _is_alive(loop: asyncio.AbstractEventLoop) -> bool:
    return loop.is_running() and not loop.is_closed()
