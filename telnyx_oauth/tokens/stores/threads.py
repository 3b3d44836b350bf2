"""Blocking calls off the event loop, in threads that end with them: a loop's own pool would outlive the manager."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def in_thread(call: Callable[[], T], undo: Callable[[], object] | None = None) -> T:
    """What `call` returns or raises. If nobody waits for it any more by then, `undo` takes back what it did."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def succeed(result: T) -> None:
        if not answer.cancelled():
            answer.set_result(result)
        elif undo is not None:
            _start(undo)

    def fail(error: Exception) -> None:
        if not answer.cancelled():
            answer.set_exception(error)

    def work() -> None:
        try:
            result = call()
        except Exception as exc:  # noqa: BLE001 - carried over to whoever waits
            _tell(loop, fail, exc)
        else:
            if not _tell(loop, succeed, result) and undo is not None:
                undo()

    _start(work)
    return await answer


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[U], None], value: U) -> bool:
    try:
        loop.call_soon_threadsafe(callback, value)
    except RuntimeError:  # it has been closed
        return False
    return True


def _start(work: Callable[[], object]) -> None:
    threading.Thread(target=work, name="telnyx-oauth-store", daemon=True).start()
