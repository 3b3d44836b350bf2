"""Work that runs to its end when everything around it is cancelled: a refresh token on the wire can be used only once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def start_unlisted(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task that a loop's shutdown does not find.

    `asyncio.run`, like every other runner, cancels the tasks that `asyncio.all_tasks` lists, then waits for them. The
    caller of this function must be such a task, and wait for the unlisted one when it is cancelled: see `run_to_end`.
    """
    task = asyncio.get_running_loop().create_task(work)
    # A documented function, for this purpose: https://docs.python.org/3/library/asyncio-extending.html
    asyncio._unregister_task(task)
    return task


async def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for `work`, which is not cancelled with the caller. A caller that is cancelled waits all the same, so `work` needs
    its own time limit.
    """
    task = start_unlisted(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # or asyncio would log that it was never retrieved
    raise cancelled
