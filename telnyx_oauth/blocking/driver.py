"""The private event loop of the blocking client, and leases on it. The thread that makes a call runs the loop for it.

One thread at a time runs the loop: the leader. Calls that other threads make meanwhile run on the same loop: their threads
are followers, and each waits for a lock. A leader leaves when its own call is done, and one of the followers takes its place.
Without followers the loop rests, unless a task is left on it (a background refresh, a grant that is being saved): then a
thread, the keeper, runs the loop until the task ends.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from math import inf
from types import FrameType, TracebackType
from typing import Any, Final, Generic, Literal, TypeVar, TypeVarTuple, Unpack

from ..errors import BlockingCallError, ClientClosedError
from ..protocol.secret import Uncopied
from ..transport.threads import Threads

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

# On Windows a signal does not interrupt a wait for a lock, so there each wait is short and is repeated.
_WAIT: Final = 0.1 if os.name == "nt" else -1
# Seconds that an interrupted leader waits for its cancelled call to end. After that a keeper waits for it.
_GRACE: Final = 0.05
# Signals whose Python handlers often raise: Ctrl-C, the end that a service manager asks for, and the time limits
# of task queues (RQ: SIGALRM, Celery: SIGUSR1). Plain integers are quicker to pass than the enum's members.
_SIGNALS: Final = tuple(
    int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGUSR1") if hasattr(signal, name)
)

if sys.platform == "win32":
    _BaseLoop = asyncio.ProactorEventLoop
else:
    _BaseLoop = asyncio.SelectorEventLoop


class _Loop(_BaseLoop):
    """asyncio's own loop, under any policy, without its thread pool, and with a list of the tasks on it."""

    def __init__(self) -> None:
        super().__init__()
        # In debug mode asyncio would report slow steps, of code that is not the user's.
        self.slow_callback_duration = inf
        self.tasks: set[asyncio.Task[Any]] = set()
        self.ending: set[asyncio.Task[Any]] = set()
        """Calls that end the loop: nothing cancels them."""
        self.on_idle: Callable[[], object] = lambda: None
        self._threads = Threads("telnyx-oauth-lookup")
        self.set_task_factory(self._new_task)

    def _new_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return self.keep(asyncio.Task(coro, loop=loop, **options))

    def keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        """List a task until it is done. Calls themselves are not listed until they are cancelled."""
        self.tasks.add(task)
        task.add_done_callback(self._drop)
        return task

    def _drop(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not self.tasks:
            self.on_idle()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Args]], _T], *args: *_Args
    ) -> asyncio.Future[_T]:
        """Run `func` in a thread; name lookups come here, too.

        asyncio's own pool refuses work once the main thread has ended, and its threads outlive the loop.
        """
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        return self.create_task(self._threads.run(partial(func, *args)))

    def complete(self, work: Coroutine[Any, Any, object]) -> None:
        """Run until `work` is done. Unlike `run_until_complete`, go on after a `stop` that was for an earlier run."""
        task = self.create_task(work)
        task.add_done_callback(lambda _: self.stop())
        while not task.done():
            self.run_forever()

    def end(self) -> None:
        """Cancel the tasks, wait for all of them, close connections and the loop."""
        self.on_idle = lambda: None
        try:
            while tasks := set(self.tasks):
                for task in asyncio.all_tasks(self):
                    task.cancel()
                self.complete(asyncio.wait(tasks))
            self.complete(self.shutdown_asyncgens())
        finally:
            self.close()


class _Call(Generic[_T]):
    """One blocking call: a task on the loop, and the thread that waits for it."""

    __slots__ = (
        "_cancelled",
        "_driver",
        "_loop",
        "_make",
        "can_lead",
        "context",
        "done",
        "error",
        "result",
        "signals",
        "task",
        "woken",
    )

    def __init__(self, make: Callable[[], Awaitable[_T]], driver: Driver, *, can_lead: bool) -> None:
        self._make = make
        self._driver = driver
        self._loop: _Loop
        self._cancelled = False
        self.context = contextvars.copy_context()
        self.can_lead = can_lead
        self.done = False
        self.result: _T
        self.error: BaseException | None = None
        self.task: asyncio.Task[None] | None = None
        self.signals = _Signals(partial(driver._stir, self))
        # A follower waits for this lock. It is released when the call is done, when its thread is to lead, and by signals.
        self.woken = threading.Lock()
        self.woken.acquire()

    def start(self, loop: _Loop) -> None:
        """Begin. Called on the loop, which polls its sockets before the new task takes its first step: so a connection that
        the server closed while the loop rested is known to be closed.
        """
        self._loop = loop
        if not self._cancelled:
            self.task = asyncio.Task(self._serve(), loop=loop, context=self.context)

    def cancel(self) -> None:
        """Cancel the call. Called on the loop, or by the leader while the loop rests."""
        self._cancelled = True
        if self.task is None:
            self.done = True
        elif not self.done:
            self._loop.keep(self.task)
            # Not at once: a task that is cancelled before its first step never runs, so it would not settle the call.
            self._loop.call_soon(self.task.cancel)

    def wake(self) -> None:
        """Wake the follower, which then checks what has changed."""
        with suppress(RuntimeError):  # it is awake already
            self.woken.release()

    async def _serve(self) -> None:
        try:
            self.result = await self._make()
        except asyncio.CancelledError:  # the calling thread has left, or another thread closed the last client
            self.error = ClientClosedError()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that called
            self.error = error
        finally:
            if self.error is None:
                self._driver.settle(self)
            else:  # a turn later, so that the connection of the failed call is closed by then
                self._loop.call_soon(self._driver.settle, self)

    def outcome(self) -> _T:
        """The result of the call; raises its error."""
        if self.error is None:
            return self.result
        try:
            raise self.error
        finally:
            # The error's traceback holds this frame: without this line they would keep each other alive.
            self.error = None


class _Signals:
    """Python's signal handlers, held back while the main thread is in a call, as `asyncio.Runner` holds SIGINT back.

    A handler that raises in the middle of the loop would break the calls of other threads. So a signal stops the loop, and its
    handler runs then. A second signal runs its handler at once: the loop may hang.
    """

    __slots__ = ("_handlers", "_holding", "_pending", "_wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._pending: list[tuple[int, FrameType | None]] = []
        # False while handlers are being replaced and put back. An exception of one of them may end that halfway; what is left
        # in its place then passes signals on.
        self._holding = False

    def __enter__(self) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            return  # no handler runs in this thread
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler  # before `_note` can be called
                try:
                    signal.signal(number, self._note)
                except ValueError:  # not allowed in the main thread of a subinterpreter
                    self._handlers.clear()
                    return
        self._holding = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._holding = False
        try:
            self.deliver()
        finally:
            for number, handler in reversed(self._handlers.items()):  # SIGINT last, whose handler nearly always raises
                replaced = signal.signal(number, handler)
                if replaced != self._note:  # set by a hook, for example: it stays
                    signal.signal(number, replaced)

    def _note(self, number: int, frame: FrameType | None) -> None:
        at_once = self._pending or not self._holding
        self._pending.append((number, frame))
        if at_once:
            self.deliver()
        else:
            self._wake()

    def deliver(self) -> None:
        """Run the handlers of the signals that came."""
        while self._pending:
            number, frame = self._pending.pop(0)
            self._handlers[number](number, frame)

    @staticmethod
    def put_back_after_fork() -> None:
        """Put handlers back, in a forked child, that the main thread of the parent holds back."""
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            while isinstance(holder := getattr(handler, "__self__", None), _Signals):
                handler = holder._handlers[number]
                signal.signal(number, handler)


class Driver:
    """The private event loop of a process, and the thread that runs it."""

    def __init__(self) -> None:
        # Guards the four below. It is held for a few lines at a time, and never during a call.
        self._lock = threading.Lock()
        self._loop: _Loop | None = None
        self._leases = 0
        self._leader: _Call[Any] | Literal["keeper"] | None = None
        self._followers: dict[_Call[Any], None] = {}  # in the order of their arrival
        self._keeper: threading.Thread | None = None  # the latest one
        # Threads that are in a call or run the loop. Where threads are patched (gevent, eventlet) these are greenlets.
        self._callers: set[int] = set()
        self._retired = False  # True once the last lease has ended; the next client gets another driver
        self._orphaned = False  # True in a forked child, for the driver of the parent

    def lease(self) -> bool:
        """Count one more lease; `False` if the last one has ended, and the loop with it."""
        with self._lock:
            if not self._retired:
                self._leases += 1
            return not self._retired

    def release(self) -> None:
        """Count one lease less. The last one ends the loop, and the calls that are still on it."""
        with self._lock:
            self._leases -= 1
            self._retired = not self._leases
        if self._retired:
            self.finish()

    def finish(self) -> None:
        """Cancel calls and tasks, wait for those that take time to end, and end the loop."""
        loop = self._loop
        if loop is None:
            return
        if threading.get_ident() in self._callers:  # in a hook
            loop.call_soon(_cancel_all, loop)
            return
        self._run(_cancel_others)
        if self._keeper is not None:
            self._keeper.join()

    def run(self, make: Callable[[], Awaitable[_T]]) -> _T:
        """Make a call on the loop and return its result. Raises `BlockingCallError` in a thread that is in a call already."""
        if self._retired:
            raise ClientClosedError
        return self._run(make)

    def _run(self, make: Callable[[], Awaitable[_T]]) -> _T:
        ident = threading.get_ident()
        if ident in self._callers:
            raise BlockingCallError(
                "A blocking call was made inside another one: in a hook on the client's own event loop, or in a signal "
                "handler. Await AsyncTelnyx in a hook; let a signal handler set a flag, and call when the call is over."
            )
        running = _running_loop()
        # A thread in which another loop runs cannot lead. Where another greenlet of this thread leads, the running loop is
        # the private one itself.
        call = _Call(make, self, can_lead=running is None or running is self._loop)
        # Signals first: an interrupt after `add` would leave this thread on the list, and refuse its calls for ever.
        with call.signals:
            self._callers.add(ident)
            try:
                self._serve(call)
            finally:
                self._callers.discard(ident)
        return call.outcome()

    def settle(self, call: _Call[Any]) -> None:
        """Give the thread of a call its outcome. Called on the loop."""
        call.done = True
        if self._leader is call:
            call._loop.stop()
            return
        with self._lock:
            self._followers.pop(call, None)
        call.wake()
        self._check_keeper()

    def _serve(self, call: _Call[Any]) -> None:
        no_leader = False
        with self._lock:
            loop = self._loop
            if loop is None:
                loop = self._loop = _Loop()
                loop.on_idle = self._check_keeper
            leads = self._leader is None and call.can_lead
            if leads:
                self._leader = call
            else:
                self._followers[call] = None
                if no_leader := self._leader is None:
                    self._leader = "keeper"
        if leads:
            loop.call_soon(call.start, loop, context=call.context)
            self._lead(call, loop)
        else:
            self._follow(call, loop, start_keeper=no_leader)

    def _lead(self, call: _Call[Any], loop: _Loop) -> None:
        """Run the loop until the call is done, then pass it on."""
        try:
            while not call.done:
                loop.run_forever()
                call.signals.deliver()
        except BaseException:
            _give_up(call, loop)
            raise
        finally:
            self._leave(loop)

    def _follow(self, call: _Call[Any], loop: _Loop, *, start_keeper: bool) -> None:
        """Wait until the call is done on the loop that another thread runs, or until this thread becomes the leader."""
        try:
            if start_keeper:
                self._start_keeper(loop)
            loop.call_soon_threadsafe(call.start, loop, context=call.context)
            while not call.done and self._leader is not call:
                while not call.woken.acquire(timeout=_WAIT):
                    pass
                call.signals.deliver()
        except BaseException:
            with self._lock:
                self._followers.pop(call, None)
                leads = self._leader is call
            if leads:
                _give_up(call, loop)
                self._leave(loop)
            else:
                with suppress(RuntimeError):  # the loop is closed, and the call has ended with it
                    loop.call_soon_threadsafe(call.cancel)
            raise
        if self._leader is call:
            self._lead(call, loop)

    def _leave(self, loop: _Loop) -> None:
        """Stop leading. A follower takes over, or a keeper. Otherwise the loop rests, or ends if the last lease has."""
        with self._lock:
            if self._orphaned:
                return
            lasts = not self._retired and not Lease.exiting
            self._elect()
            if self._leader is None and (self._followers or (loop.tasks and lasts)):
                self._leader = "keeper"
            needs_keeper = self._leader == "keeper"
            ends = self._leader is None and not lasts
            if ends:
                self._loop = None
        if ends:
            self._end(loop)
        elif needs_keeper:
            self._start_keeper(loop)

    def _elect(self) -> None:
        """Make the follower that has waited longest the leader, or leave the loop without one. Called under the lock."""
        self._leader = follower = next((each for each in self._followers if each.can_lead), None)
        if follower is not None:
            del self._followers[follower]
            follower.wake()

    def _start_keeper(self, loop: _Loop) -> None:
        keeper = None
        try:
            keeper = _thread(self._keep, loop)
            keeper.start()
        except RuntimeError:  # an ending interpreter starts no threads, and a subinterpreter no daemons
            if _running_loop() is None:
                self._keep(loop)  # in this thread: the call returns once the tasks have ended
                return
            error = BlockingCallError(
                "Where an event loop runs, a blocking call needs a thread, and this interpreter starts none: it ends, or is a "
                "subinterpreter. Await AsyncTelnyx here."
            )
        except BaseException:
            if keeper is None or keeper.ident is None:  # it never began
                with self._lock:
                    self._elect()
            raise
        else:
            self._keeper = keeper
            return
        with self._lock:
            self._elect()
        raise error

    def _keep(self, loop: _Loop) -> None:
        """Run the loop until no task is left on it, and until a follower can run it or none is left."""
        ident = threading.get_ident()
        entered = ident not in self._callers
        self._callers.add(ident)
        try:
            while loop.tasks or (self._followers and not any(each.can_lead for each in list(self._followers))):
                loop.run_forever()
        finally:
            self._leave(loop)
            if entered:
                self._callers.discard(ident)

    def _check_keeper(self) -> None:
        if self._leader == "keeper" and self._loop is not None and not self._loop.tasks:
            self._loop.stop()

    def _end(self, loop: _Loop) -> None:
        if _running_loop() is not None:
            try:
                thread = _thread(self._end, loop)
                thread.start()
            except RuntimeError:  # see `_start_keeper`
                loop.close()
            else:
                thread.join()
            return
        ident = threading.get_ident()
        entered = ident not in self._callers
        self._callers.add(ident)
        try:
            with _Signals(lambda: None):
                loop.end()
        finally:
            if entered:
                self._callers.discard(ident)

    def _stir(self, call: _Call[Any]) -> None:
        """Make the thread of a call check its signals. Called in a signal handler."""
        loop = self._loop
        if self._leader is call and loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        call.wake()

    def orphan(self) -> None:
        """Give up the parent's loop, in a forked child, which has none of the calling threads and must not touch the sockets.

        A call still waits here if it was its thread that forked, in a signal handler or a hook. It ends with an error.
        """
        self._orphaned = True
        self._lock = threading.Lock()
        for call in (self._leader, *self._followers):
            if isinstance(call, _Call):
                call.error = ClientClosedError()
                call.done = True
                call.wake()


class Lease(Uncopied):
    """A client's share in the private loop, from its first call to `close`. A forked child takes a new share.

    A client's resources, pages and responses hold its lease. So `Telnyx().oauth.retrieve_jwks()` works, though the client is
    collected before the call is made.

    Args:
        end: Closes the client's connections and ends its tasks.
        unclosed: The text of the `ResourceWarning` for a client that is dropped unclosed; empty for none.
        lender: The lease of the client whose connections a copy uses: it lasts as long as the copy's.
    """

    exiting = False  # True once the interpreter has begun to exit

    def __init__(
        self,
        end: Callable[[], Awaitable[object]] | None = None,
        unclosed: Callable[[], str] = str,
        lender: Lease | None = None,
    ) -> None:
        self._close_client = end
        self._unclosed = unclosed
        self._lender = lender
        self._closed = False
        self._driver: Driver | None = None
        # Guards `_driver`: two threads may make a client's first call at once.
        self._lock = threading.Lock()
        _leases.add(self)

    @property
    def is_held(self) -> bool:
        """True from the first call in this process until the lease ends."""
        return self._driver is not None

    @property
    def is_closed(self) -> bool:
        """True once the lease has ended."""
        return self._closed

    def run(self, make: Callable[[], Awaitable[_T]]) -> _T:
        """Make a call on the loop and return its result. Raises `BlockingCallError` inside another call.

        Raises `ClientClosedError` after `close`.
        """
        if Lease.exiting and threading.current_thread() is not threading.main_thread():
            # A daemon thread ends in silence with the program, as it does in any other blocking call.
            raise SystemExit
        try:
            return (self._driver or self._take()).run(make)
        except Exception:
            if Lease.exiting and threading.current_thread() is not threading.main_thread():
                raise SystemExit from None
            raise

    def start(self, make: Callable[[], Awaitable[object]]) -> None:
        """Make a call in a new thread, without waiting for it. Safe in the garbage collector."""
        if self._driver is not None and not Lease.exiting:
            # The interpreter exits; or this is gevent's hub, which starts the thread but may not wait for its start.
            with suppress(Exception):
                _thread(self._run_quietly, make).start()

    def end(self) -> None:
        """Close the client's connections, then end the lease. A later call raises `ClientClosedError`."""
        if self._driver is not None:
            try:
                self.run(self._close_fully)
            except ClientClosedError:  # another thread has ended the lease meanwhile
                pass
        self.close()

    def close(self) -> None:
        """End the lease alone."""
        with self._lock:
            self._closed = True
            driver, self._driver = self._driver, None
        if driver is not None:
            driver.release()

    def forget(self) -> None:
        """Drop the lease on the parent process's loop."""
        self._lock = threading.Lock()
        self._driver = None

    def _take(self) -> Driver:
        with self._lock:
            if self._closed:
                raise ClientClosedError
            if self._driver is None:
                self._driver = _lease_driver()
            return self._driver

    async def _close_fully(self) -> None:
        if self._close_client is not None:
            await self._close_client()
            # asyncio closes a socket in the turn after `close`.
            await asyncio.sleep(0)

    def _run_quietly(self, make: Callable[[], Awaitable[object]]) -> None:
        with suppress(ClientClosedError, SystemExit):
            self.run(make)
        if make == self._close_fully:
            self.close()

    def __del__(self) -> None:
        if self._driver is None or self._closed or self.exiting:
            return
        self.start(self._close_fully)
        # Last, because a filter may turn the warning into an error.
        if text := self._unclosed():
            warnings.warn(text, ResourceWarning, source=self)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _give_up(call: _Call[Any], loop: _Loop) -> None:
    """Cancel the leader's own call, and let it end if that takes no longer than `_GRACE`."""
    call.cancel()
    if not call.done:
        limit = loop.call_later(_GRACE, loop.stop)
        with suppress(BaseException):  # of another signal: the caller raises the first one's
            loop.run_forever()
        limit.cancel()


def _cancel_all(loop: _Loop) -> None:
    for task in asyncio.all_tasks(loop):
        loop.call_soon(_cancel, loop, task)  # after its first step, as in `_Call.cancel`


def _cancel(loop: _Loop, task: asyncio.Task[Any]) -> None:
    if task not in loop.ending:
        task.cancel()


async def _cancel_others() -> None:
    """Cancel every call and task, and wait for them. Two threads may do this at once: neither cancels the other."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _Loop)
    loop.ending.update(filter(None, [asyncio.current_task()]))
    _cancel_all(loop)
    await asyncio.sleep(0)  # another thread's call of this function may have begun in this turn
    if left := (asyncio.all_tasks() | loop.tasks) - loop.ending:
        await asyncio.wait(left)


def _lease_driver() -> Driver:
    global _driver  # noqa: PLW0603 - a process has one at a time
    with _replacing:
        if not _driver.lease():
            _driver = Driver()
            _driver.lease()
        return _driver


def _thread(target: Callable[[Any], object], argument: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=(argument,), name="telnyx_oauth", daemon=True)
    _threads.add(thread)
    return thread


@atexit.register
def _end_all() -> None:
    """End the loop of clients that were never closed."""
    Lease.exiting = True
    _driver.finish()
    for thread in list(_threads):
        if thread.is_alive():
            thread.join()


_driver = Driver()
_replacing = threading.Lock()  # guards `_driver`
_leases: weakref.WeakSet[Lease] = weakref.WeakSet()
_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_inherited: list[Driver] = []


def _after_fork_in_child() -> None:
    """Start over with a new driver, and leave the parent's alone."""
    global _driver, _replacing
    # Kept alive, because a collected loop closes its sockets, which the parent still uses.
    _inherited.append(_driver)
    _driver.orphan()
    _threads.clear()
    _driver, _replacing = Driver(), threading.Lock()
    for lease in list(_leases):
        lease.forget()
    _Signals.put_back_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
