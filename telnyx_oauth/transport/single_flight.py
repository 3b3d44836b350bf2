"""At most one piece of work per key under way; its outcome goes to all who wait for it."""

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
"""Gives what the work gave, or raises what it raised; so no future ever holds an exception that nobody fetches."""


@attrs.define(eq=False)
class _Flight(Generic[_T]):
    loop: asyncio.AbstractEventLoop
    waiters: dict[asyncio.Future[_Outcome[_T]], None]
    task: asyncio.Task[None] | None = None


class _AbandonedError(Exception):
    """The flight's event loop ended before the work did."""


class Flights(Generic[_T]):
    """At most one piece of work per key is under way; its outcome goes to everyone who asked for it meanwhile.

    The work runs in a task of its own, on the event loop of the first who asked, in an empty context. A caller that is
    cancelled leaves and harms nobody; with no caller left the work goes on. Callers may be on any loop in any thread. If
    the work's loop ends first, one of those who wait begins it again on its own.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[_T]] = {}
        self._closed = False
        self._reset_after_fork()
        on_fork(self, type(self)._reset_after_fork)

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """The work's outcome, begun now unless it is under way. A failure is a copy of one's own, chained to the cause."""
        while True:
            future: asyncio.Future[_Outcome[_T]] = asyncio.get_running_loop().create_future()
            flight = self._board(key, work, future)
            try:
                return (await future)()
            except _AbandonedError:
                pass
            finally:
                with self._lock:
                    flight.waiters.pop(future, None)

    def start(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        """Begin the work unless it is under way, and wait for nothing. What comes of it is the work's own affair."""
        self._board(key, work, None)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    def __len__(self) -> int:
        return len(self._flights)

    async def aclose(self) -> None:
        """End all work. Whoever waits for it gets a `ClientClosedError`, as does whoever asks from now on."""
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
        """Forget work that belongs to the parent process, and the lock that one of its threads may have held."""
        # Guards which flight a key has and who waits for it; never held over an await, nor while anyone's code runs.
        self._lock = threading.Lock()
        self._flights.clear()

    def _board(
        self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _T]], future: asyncio.Future[_Outcome[_T]] | None
    ) -> _Flight[_T]:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise ClientClosedError
            flight = self._flights.get(key)
            begins = flight is None or not flight.loop.is_running()
            if flight is None or begins:
                # A flight on a loop that stands still may never land: those who wait for it come along.
                flight = self._flights[key] = _Flight(loop, flight.waiters if flight else {})
            if future is not None:
                flight.waiters[future] = None
        if begins:
            # Outside the lock, since a loop with eager tasks runs the work at once.
            flight.task = loop.create_task(self._fly(key, flight, work), context=Context())
        return flight

    async def _fly(self, key: Hashable, flight: _Flight[_T], work: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        try:
            value = await work()
        except Exception as error:  # noqa: BLE001 - it is delivered to those who wait
            self._land(key, flight, partial(_fail, error))
        except BaseException:  # the task is cancelled, or its loop is gone
            self._land(key, flight, partial(_fail, ClientClosedError() if self._closed else _AbandonedError()))
            raise
        else:
            self._land(key, flight, lambda: value)

    def _land(self, key: Hashable, flight: _Flight[_T], outcome: _Outcome[_T]) -> None:
        # It ends before anyone is told, so that nobody who comes now joins what is over.
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
    """Raise a copy: an exception that several raise would grow the traceback of all of them."""
    try:
        own = copy.copy(error)
    except Exception:  # noqa: BLE001 - one that cannot be copied is better shared than lost
        raise error from None
    raise own from error


def _on(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> None:
    with contextlib.suppress(RuntimeError):  # that loop has been closed, and nobody waits there any more
        loop.call_soon_threadsafe(call, *args)
