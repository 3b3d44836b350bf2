"""The private event loop: one thread per process, there only while a client needs it."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Any, Final, Generic, TypeVar

from ..errors import BlockingCallError, ClientClosedError
from ..protocol.uncopied import Uncopied

_T = TypeVar("_T")
# Windows lets nothing interrupt a wait for a lock, so there it is a short one, again and again.
_PATIENCE: Final = 0.1 if os.name == "nt" else -1


class LoopThread:
    """An event loop in a thread of its own. The first lease starts it and the last one ends it."""

    def __init__(self) -> None:
        # Guards starting and ending the thread, and the number of leases. It is never held during a call.
        self._lock = threading.Lock()
        self._leases = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def lease(self) -> asyncio.AbstractEventLoop:
        """The running loop, kept running until `release`."""
        with self._lock:
            if self._loop is None:
                self._loop, self._thread = _started()
            self._leases += 1
            return self._loop

    def release(self) -> None:
        """Give a lease back; the last one ends the thread, and waits for that unless it is the thread itself."""
        with self._lock:
            self._leases -= 1
            if self._leases or self._loop is None or self._thread is None:
                return
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        _ending.add(thread)
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join()


def _started() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = asyncio.new_event_loop()
    # In debug mode asyncio would tell people who have no code on this loop which of its steps took long.
    loop.slow_callback_duration = inf
    # Taken once, by who closes the loop in the end: its thread, or we, should that never begin.
    ownership = threading.Lock()

    def serve() -> None:
        if ownership.acquire(blocking=False):
            _serve(loop)

    thread = threading.Thread(target=serve, name="telnyx_oauth", daemon=True)
    try:
        thread.start()
    except BaseException:  # no thread can be had, now or any more; or Ctrl-C, and then there may be one
        if ownership.acquire(blocking=False):
            loop.close()
        else:
            loop.call_soon_threadsafe(loop.stop)
        raise
    return loop, thread


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        # Their calls came when the loop had no turn left for them.
        for hop in _waiting.copy():
            hop.abandon(loop)


class Hop(Generic[_T]):
    """One call's way to the loop and its outcome's way back: a callback there, and one lock as the answer."""

    __slots__ = ("_answered", "_call", "_cancelled", "_done", "_error", "_loop", "_result", "_task")

    def __init__(self, call: Callable[[], Awaitable[_T]]) -> None:
        self._call = call
        # Held until the outcome is there; acquiring it is the wait.
        self._answered = threading.Lock()
        self._answered.acquire()
        self._result: _T
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._done = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, loop: asyncio.AbstractEventLoop) -> _T:
        """The call's outcome. A `KeyboardInterrupt` in the waiting thread cancels the call."""
        if _running_here(loop):
            raise BlockingCallError(
                "A blocking call was made on the event loop that would have to serve it. Await AsyncTelnyx here."
            )
        self._loop = loop
        try:
            _waiting.add(self)
            self._ask(loop)
            while not self._answered.acquire(timeout=_PATIENCE):
                pass
        except BaseException:
            with suppress(RuntimeError):  # the loop is closed, and the call over
                loop.call_soon_threadsafe(self._cancel)
            raise
        finally:
            _waiting.discard(self)
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            # The error's traceback holds this frame: without this they would keep each other alive.
            self._error = None

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._start, loop, contextvars.copy_context())
            return
        except RuntimeError:  # the loop has been closed this very moment
            pass
        raise ClientClosedError

    def abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer in the place of a loop that has ended."""
        if self._loop is loop and not self._done:
            self._error = ClientClosedError()
            self._answered.release()

    def _start(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        if not self._cancelled:
            self._task = loop.create_task(self._serve(), context=context)

    def _cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        try:
            self._result = await self._call()
        except asyncio.CancelledError:  # the thread that called has left, or the last client was closed in another
            self._error = ClientClosedError()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that called
            self._error = error
        finally:
            self._done = True
            self._answered.release()


def _running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class Lease(Uncopied):
    """One client's hold on the loop, taken at its first call and ended for good by `close`. A forked child takes it anew."""

    def __init__(self) -> None:
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner: LoopThread | None = None
        # Guards taking and giving back: two threads may make a client's first call at once.
        self._lock = threading.Lock()
        _leases.add(self)

    @property
    def is_held(self) -> bool:
        """Whether there has been a call, in this process."""
        return self._loop is not None

    @property
    def is_closed(self) -> bool:
        """Whether the hold has ended for good."""
        return self._closed

    def run(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """The outcome of a call made on the loop. Raises `BlockingCallError` on the loop's own thread."""
        try:
            return Hop(call).run(self._loop or self._take())
        except Exception:
            if exiting.is_set() and threading.current_thread() is not threading.main_thread():
                # The program ends, and a daemon thread with it: without a word, as in any other call that waits.
                raise SystemExit from None
            raise

    def start(self, call: Callable[[], Awaitable[object]]) -> None:
        """Make a call on the loop and wait for nothing."""
        loop = self._loop or self._take()
        loop.call_soon_threadsafe(Hop(call)._start, loop, contextvars.copy_context())

    def close(self) -> None:
        """End the hold. A later call raises `ClientClosedError`."""
        with self._lock:
            self._closed = True
            owner, self._loop, self._owner = self._owner, None, None
        if owner is not None:
            owner.release()

    def _take(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise ClientClosedError
            if self._loop is None:
                owner = _thread
                self._loop = owner.lease()
                self._owner = owner
            return self._loop

    def forget(self) -> None:
        """Drop a hold on the parent process's loop."""
        self._lock = threading.Lock()
        self._loop = self._owner = None


def join_ending() -> None:
    """Wait for the loops that end by themselves, with the client that was dropped last: they may still have to store a grant."""
    for thread in list(_ending):
        thread.join()


_ending: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
exiting = threading.Event()
"""Set once the interpreter ends. Of the threads that make calls, only the main one and daemons are left by then."""
_thread = LoopThread()
_waiting: set[Hop[Any]] = set()
_leases: weakref.WeakSet[Lease] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """The loop's thread is not in the child: start over, and touch nothing that the parent still uses."""
    global _thread  # noqa: PLW0603 - the one piece of state that a process has and its child must not share
    _inherited.append(_thread)
    _waiting.clear()
    _ending.clear()
    _thread = LoopThread()
    for lease in list(_leases):
        lease.forget()


_inherited: list[LoopThread] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
