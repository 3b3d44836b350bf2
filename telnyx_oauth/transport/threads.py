"""Threads for blocking calls. They end with their work, while an event loop's own pool would outlive the token manager."""

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
    """At most 32 daemon threads. Calls wait in a queue; a thread ends when the queue is empty.

    They are daemons, so that a call that hangs (a dead network drive, a keyring that asks a person) does not keep the program
    from ending.
    """

    def __init__(self, name: str = "telnyx-oauth-store") -> None:
        self._name = name
        self._lock = threading.Lock()  # guards the queue and the count
        self._waiting: deque[Callable[[], object]] = deque()
        self._running = 0
        on_fork(self, Threads._reset_after_fork)

    async def run(self, call: Callable[[], T], undo: Callable[[], object] | None = None, *, always: bool = False) -> T:
        """Return the outcome of `call`. If the caller is cancelled meanwhile, `undo` reverts the call. If the caller is
        cancelled before the call begins, the call is skipped, unless it must `always` be made.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def deliver(outcome: T | Exception, *, failed: bool) -> None:
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
            except Exception as exc:  # noqa: BLE001 - raised in the caller
                outcome, failed = exc, True
            try:
                loop.call_soon_threadsafe(partial(deliver, outcome, failed=failed))
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
            # An interpreter that is shutting down starts no threads, but a token that has been issued must still be stored.
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
        """Start over: the child has none of the parent's threads and calls."""
        self._lock = threading.Lock()
        self._waiting.clear()
        self._running = 0
