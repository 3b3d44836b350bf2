"""Blocking calls off the event loop, in a few threads that end with their work: a loop's own pool would outlive the manager."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar, cast

from .fork import on_fork

T = TypeVar("T")
_MOST: Final = 32


class Threads:
    """At most 32 daemon threads. Calls wait their turn; a thread ends when none is left.

    Daemons, so that a call that hangs (a dead network drive, a keyring that asks a person) does not keep the program
    from ending.
    """

    def __init__(self, name: str = "telnyx-oauth-store") -> None:
        self._name = name
        self._lock = threading.Lock()  # guards the two below
        self._waiting: deque[Callable[[], object]] = deque()
        self._running = 0
        on_fork(self, Threads._reset_after_fork)

    async def run(self, call: Callable[[], T], undo: Callable[[], object] | None = None, *, always: bool = False) -> T:
        """The outcome of `call`. If its caller is gone by then, `undo` takes back what it did. A caller that is gone before
        the call has begun takes it along, unless it is to be made `always`.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(outcome: T | Exception, *, failed: bool) -> None:
            if answer.cancelled():
                if undo is not None and not failed:
                    self._start(undo)
            elif failed:
                answer.set_exception(cast("Exception", outcome))
            else:
                answer.set_result(cast("T", outcome))

        def work() -> None:
            if answer.cancelled() and not always:
                return
            outcome: T | Exception
            try:
                outcome, failed = call(), False
            except Exception as exc:  # noqa: BLE001 - carried over to the caller
                outcome, failed = exc, True
            try:
                loop.call_soon_threadsafe(partial(settle, outcome, failed=failed))
            except RuntimeError:  # the loop has been closed
                if undo is not None and not failed:
                    undo()

        self._start(work)
        return await answer

    def _start(self, work: Callable[[], object]) -> None:
        with self._lock:
            self._waiting.append(work)
            if self._running >= _MOST:
                return
            self._running += 1
        try:
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        except RuntimeError:
            # An interpreter that ends starts no thread any more, and what is on the wire must be stored all the same.
            self._serve()

    def _serve(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                work = self._waiting.popleft()
            work()

    def _reset_after_fork(self) -> None:
        """Start over: the parent's threads and its calls are not in the child."""
        self._lock = threading.Lock()
        self._waiting.clear()
        self._running = 0
