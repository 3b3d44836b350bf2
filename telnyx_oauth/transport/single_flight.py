"""Single flight: at most one task per key runs at a time, and all callers share its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from functools import partial
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

import attrs

from ..errors import ClientClosedError
from .fork import on_fork

_T = TypeVar("_T")
_Outcome: TypeAlias = Callable[[], _T]
"""A function that returns the work's result or raises its error. A future with an exception that no one retrieves would warn."""


@attrs.define(eq=False)
class _Flight(Generic[_T]):
    loop: asyncio.AbstractEventLoop
    waiters: dict[asyncio.Future[_Outcome[_T]], None]
    task: asyncio.Task[None] | None = None


class _AbandonedError(Exception):
    """The event loop of the work ended before the work did."""


class SingleFlight(Generic[_T]):
    """At most one piece of work per key is in flight; all callers that ask for the key meanwhile get its outcome.

    The work runs in a task of its own, on the event loop of the first caller, in an empty context. Cancelling a caller does
    not cancel the work, even if it was the only caller. Callers may be on any loop in any thread. If the work's loop ends
    first, one of the waiters starts the work again on its own loop.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[_T]] = {}
        self._closed = False
        self._reset_after_fork()
        on_fork(self, type(self)._reset_after_fork)

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Return the work's outcome; start the work unless it is in flight. Each waiter gets its own copy of an error."""
        while True:
            future: asyncio.Future[_Outcome[_T]] = asyncio.get_running_loop().create_future()
            flight = self._join_or_start(key, work, future)
            try:
                return (await future)()
            except _AbandonedError:
                pass
            finally:
                with self._lock:
                    flight.waiters.pop(future, None)

    def start(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        """Start the work unless it is in flight, and do not wait. Its outcome is dropped unless a caller joins."""
        self._join_or_start(key, work, None)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    def __len__(self) -> int:
        return len(self._flights)

    async def aclose(self) -> None:
        """Cancel all work. Its waiters, and all later callers, get a `ClientClosedError`."""
        with self._lock:
            self._closed = True
            tasks = [flight.task for flight in self._flights.values() if flight.task is not None]
        here = asyncio.get_running_loop()
        for task in tasks:
            if task.get_loop() is not here:
                _on(task.get_loop(), task.cancel)
                continue
            task.cancel()
            await asyncio.wait((task,))

    def _reset_after_fork(self) -> None:
        """Forget the parent process's work, and its lock, which another thread may have held."""
        # Guards the flights and their waiters. Never held over an await, nor while other code runs.
        self._lock = threading.Lock()
        self._flights.clear()

    def _join_or_start(
        self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _T]], future: asyncio.Future[_Outcome[_T]] | None
    ) -> _Flight[_T]:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise ClientClosedError
            flight = self._flights.get(key)
            begins = flight is None or not flight.loop.is_running()
            if flight is None or begins:
                # Work on a loop that does not run may never finish, so its waiters move to the new flight.
                flight = self._flights[key] = _Flight(loop, flight.waiters if flight else {})
            if future is not None:
                flight.waiters[future] = None
        if begins:
            # Outside the lock, since a loop with eager tasks runs the work right here.
            flight.task = loop.create_task(self._run(key, flight, work), context=Context())
        return flight

    async def _run(self, key: Hashable, flight: _Flight[_T], work: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        try:
            value = await work()
        except Exception as error:  # noqa: BLE001 - the waiters get it
            self._finish(key, flight, partial(_fail, error))
        except BaseException:  # the task was cancelled, or its loop has ended
            self._finish(key, flight, partial(_fail, ClientClosedError() if self._closed else _AbandonedError()))
            raise
        else:
            self._finish(key, flight, lambda: value)

    def _finish(self, key: Hashable, flight: _Flight[_T], outcome: _Outcome[_T]) -> None:
        # Removed before the waiters are told, so that no new caller joins a flight that is over.
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            waiters = list(flight.waiters)
        for future in waiters:
            if future.get_loop() is flight.loop:
                _deliver(future, outcome)
            else:
                _on(future.get_loop(), _deliver, future, outcome)


def _deliver(future: asyncio.Future[_Outcome[_T]], outcome: _Outcome[_T]) -> None:
    if not future.done():
        future.set_result(outcome)


def _fail(error: Exception) -> NoReturn:
    """Raise a copy: each raise of one shared exception would make its traceback longer for all waiters."""
    try:
        own = copy.copy(error)
    except Exception:  # noqa: BLE001 - an exception that cannot be copied is shared
        raise error from None
    raise own from error


def _on(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> None:
    with contextlib.suppress(RuntimeError):  # that loop is closed, so nothing waits there
        loop.call_soon_threadsafe(call, *args)
