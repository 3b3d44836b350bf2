from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from telnyx_oauth.blocking.driver import Driver, Lease
from telnyx_oauth.errors import BlockingCallError, ClientClosedError
from tests.blocking.programs import ROOT

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "telnyx_oauth"]


@pytest.fixture
def lease():
    lease = Lease()
    yield lease
    lease.close()
    assert loop_threads() == []


def until(what) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.001)


async def value() -> int:
    return 7


class Forever:
    """A call that never ends by itself."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def test_a_call_gives_what_it_comes_to(lease):
    assert lease.run(value) == 7

    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        lease.run(fail)


def test_a_call_made_on_the_private_loop_is_refused(lease):
    async def inside():
        lease.run(value)

    with pytest.raises(BlockingCallError, match="Await AsyncTelnyx"):
        lease.run(inside)
    assert lease.run(value) == 7


async def test_a_call_may_be_made_where_another_loop_runs(lease):
    assert lease.run(value) == 7


def test_the_callers_context_reaches_the_call(lease):
    async def read():
        return VARIABLE.get()

    VARIABLE.set("mine")
    assert lease.run(read) == "mine"
    assert contextvars.Context().run(lease.run, read) == "unset"


def in_thread(call):
    outcome = []

    def target():
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    return thread, outcome


def test_an_error_does_not_keep_its_call_alive(lease):
    class Result:
        pass

    kept = []

    async def fail():
        result = Result()
        kept.append(weakref.ref(result))
        raise KeyError(1)

    for _ in range(2):
        try:
            lease.run(fail)
        except KeyError:
            pass
    assert [each() for each in kept] == [None, None]


# --- leader and followers


def test_the_calling_thread_runs_the_loop_and_no_thread_is_started(lease):
    async def where():
        return threading.current_thread(), threading.active_count()

    before = threading.active_count()
    assert lease.run(where) == (threading.current_thread(), before)
    assert threading.active_count() == before


def test_clients_share_one_loop_and_connections_stay_open_between_calls():
    async def loop():
        return asyncio.get_running_loop()

    one, two = Lease(), Lease()
    first = one.run(loop)
    assert two.run(loop) is first
    one.close()
    assert not first.is_closed()
    assert two.run(loop) is first
    two.close()
    two.close()
    assert first.is_closed()
    three = Lease()
    assert three.run(loop) is not first
    three.close()


def test_a_closed_lease_says_so():
    for used in (True, False):
        lease = Lease()
        if used:
            lease.run(value)
        lease.close()
        assert lease.is_closed
        assert not lease.is_held
        with pytest.raises(ClientClosedError):
            lease.run(value)


def test_many_threads_make_their_first_call_at_once():
    leases = [Lease() for _ in range(4)]
    gate = threading.Barrier(16)
    results = []

    async def slept():
        await asyncio.sleep(0.001)
        return 7

    def use(lease):
        gate.wait()
        results.extend(lease.run(slept) for _ in range(20))

    threads = [threading.Thread(target=use, args=(lease,)) for lease in leases for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [7] * 320
    assert loop_threads() == []
    for lease in leases:
        lease.close()


def test_a_follower_takes_over_from_a_leader_whose_call_is_done(lease):
    """Three calls of different lengths at once: each returns when it is done, whichever thread runs the loop."""
    came = []

    def call(seconds):
        async def sleep():
            await asyncio.sleep(seconds)

        lease.run(sleep)
        came.append(seconds)

    threads = [threading.Thread(target=call, args=(seconds,)) for seconds in (0.05, 0.15, 0.1, 0.2)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert came == [0.05, 0.1, 0.15, 0.2]
    assert time.monotonic() - began < 0.4


def test_a_call_from_a_thread_that_its_own_hook_waits_for_is_served(lease):
    async def inside():
        return await asyncio.to_thread(lease.run, value)

    assert lease.run(inside) == 7


# --- what goes on between calls


def test_a_task_that_is_left_on_the_loop_goes_on_and_no_thread_stays_after_it(lease):
    go, ended = threading.Event(), threading.Event()

    async def background():
        await asyncio.to_thread(go.wait, 10)
        ended.set()

    async def call():
        lease.task = asyncio.create_task(background())

    lease.run(call)
    assert len(loop_threads()) == 1
    assert lease.run(value) == 7
    go.set()
    assert ended.wait(10)
    until(lambda: loop_threads() == [])
    assert lease.run(value) == 7
    assert loop_threads() == []


def test_a_name_lookup_needs_no_pool_of_the_loop(lease):
    async def look_up():
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo("localhost", 80)
        return addresses, [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncio")]

    addresses, pool = lease.run(look_up)
    assert addresses
    assert pool == []


# --- where another loop runs


async def test_where_another_loop_runs_a_thread_leads_for_the_call_alone(lease):
    here = threading.current_thread()

    async def where():
        return threading.current_thread()

    mine = asyncio.get_running_loop()
    for _ in range(3):
        assert lease.run(where) is not here
        until(lambda: loop_threads() == [])
    assert asyncio.get_running_loop() is mine


async def test_threads_lead_for_each_other_and_for_one_that_cannot(lease):
    begun, go = threading.Event(), threading.Event()

    async def slow():
        begun.set()
        await asyncio.to_thread(go.wait, 10)
        return 1

    thread, outcome = in_thread(lambda: lease.run(slow))
    assert begun.wait(10)
    assert lease.run(value) == 7
    go.set()
    thread.join(10)
    assert outcome == [1]


async def test_closing_where_another_loop_runs_ends_the_loop_at_once():
    async def loop():
        return asyncio.get_running_loop()

    lease = Lease()
    private = lease.run(loop)
    lease.close()
    assert private.is_closed()
    assert loop_threads() == []


# --- closing


def test_calls_that_wait_end_when_the_last_lease_is_closed():
    lease = Lease()
    calls = [Forever() for _ in range(3)]
    threads = [in_thread(lambda call=call: lease.run(call)) for call in calls]
    for call in calls:
        assert call.begun.wait(10)
    lease.close()
    for thread, outcome in threads:
        thread.join(10)
        assert [type(each) for each in outcome] == [ClientClosedError]


def test_a_call_that_will_not_be_cancelled_at_once_is_waited_for():
    lease = Lease()
    forever = Forever()

    async def slow():
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            return "done"

    thread, outcome = in_thread(lambda: lease.run(slow))
    assert forever.begun.wait(10)
    lease.run(value)
    lease.close()
    thread.join(10)
    assert outcome == ["done"]


def test_a_call_that_comes_while_the_loop_ends_is_answered_all_the_same():
    """Whatever moment it comes at: threads call as fast as they can while the lease is closed under them."""
    for _ in range(30):
        lease = Lease()
        lease.run(value)

        def use(lease=lease):
            while True:
                lease.run(value)

        threads = [in_thread(use) for _ in range(3)]
        lease.run(value)
        lease.close()
        for thread, outcome in threads:
            thread.join(10)
            assert [type(each) for each in outcome] == [ClientClosedError]


def test_a_call_that_is_cancelled_before_its_first_step_is_answered():
    """Closing cancels what is on the loop in the very turn in which a call has come."""
    for _ in range(50):
        one, two = Lease(), Lease()
        one.run(value)
        thread, outcome = in_thread(lambda two=two: two.run(Forever()))
        one.close()
        two.close()
        thread.join(10)
        assert not thread.is_alive()
        assert [type(each) for each in outcome] == [ClientClosedError]


@pytest.mark.blocks_loop
def test_two_threads_may_end_the_loop_at_once():
    """A client that was dropped ends in a thread, and the program ends: neither cancels the other."""
    lease, driver = Lease(), Driver()
    assert driver.lease()
    lease._driver = driver
    entered = threading.Event()

    async def busy():
        entered.set()
        time.sleep(0.1)  # both come in this turn of the loop
        await asyncio.Event().wait()

    caller, outcome = in_thread(lambda: driver.run(busy))
    assert entered.wait(10)
    enders = [in_thread(lease.close), in_thread(driver.finish)]
    for thread, ended in enders:
        thread.join(10)
        assert ended == [None]
    caller.join(10)
    assert [type(each) for each in outcome] == [ClientClosedError]


def test_closing_one_client_leaves_calls_of_a_new_one_alone():
    for _ in range(30):
        old, forever = Lease(), Forever()
        thread, _ = in_thread(lambda old=old, forever=forever: old.run(forever))
        assert forever.begun.wait(10)
        closer = threading.Thread(target=old.close)
        closer.start()
        new = Lease()
        assert new.run(value) == 7
        closer.join(10)
        thread.join(10)
        assert new.run(value) == 7
        new.close()


def test_closing_from_a_hook_on_the_loop_ends_it_when_the_call_is_done():
    lease = Lease()

    async def end():
        lease.close()
        return asyncio.get_running_loop()

    assert lease.run(end).is_closed()


def test_a_dropped_lease_is_ended_from_a_thread_of_its_own_and_says_so():
    ended = threading.Event()

    async def end():
        ended.set()

    lease = Lease(end, lambda: "it was not closed")
    lease.run(value)
    with pytest.warns(ResourceWarning, match="not closed"):
        del lease
    assert ended.wait(10)
    until(lambda: loop_threads() == [])


# --- Ctrl-C and other signals

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@posix
def test_an_interrupt_cancels_the_leaders_call_and_the_next_one_works(lease):
    forever = Forever()

    async def interrupted():
        asyncio.get_running_loop().call_later(0.01, interrupt)
        await forever()

    with pytest.raises(KeyboardInterrupt):
        lease.run(interrupted)
    assert forever.cancelled.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert lease.run(value) == 7


@posix
def test_an_interrupt_in_the_leader_leaves_its_followers_their_calls(lease):
    forever, begun = Forever(), threading.Event()

    interrupted = threading.Event()

    async def slow():
        begun.set()
        while not interrupted.is_set():
            await asyncio.sleep(0.01)
        return threading.current_thread().name

    followers = []

    def follow():
        assert forever.begun.wait(10)
        followers.extend(in_thread(lambda: lease.run(slow)) for _ in range(3))
        assert begun.wait(10)
        interrupt()

    thread = threading.Thread(target=follow)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        lease.run(forever)
    interrupted.set()
    thread.join(10)
    for each, _ in followers:
        each.join(10)
    names = [outcome[0] for _, outcome in followers]
    assert "MainThread" not in names
    assert len(names) == 3
    assert lease.run(value) == 7


@posix
def test_an_interrupt_in_a_follower_ends_its_call_alone(lease):
    leading, forever = Forever(), Forever()
    go = threading.Event()

    async def lead():
        leading.begun.set()
        while not go.is_set():
            await asyncio.sleep(0.01)
        return 1

    thread, outcome = in_thread(lambda: lease.run(lead))
    assert leading.begun.wait(10)

    async def interrupted():
        asyncio.get_running_loop().call_later(0.01, interrupt)
        await forever()

    with pytest.raises(KeyboardInterrupt):
        lease.run(interrupted)
    assert forever.cancelled.wait(10)
    go.set()
    thread.join(10)
    assert outcome == [1]


@posix
@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGUSR1, signal.SIGTERM])
def test_a_time_limit_by_a_signal_raises_its_error_in_the_call(lease, number):
    class LimitError(Exception):
        pass

    def over(*_):
        raise LimitError

    forever = Forever()
    old = signal.signal(number, over)
    try:

        async def limited():
            asyncio.get_running_loop().call_later(0.01, signal.raise_signal, number)
            await forever()

        with pytest.raises(LimitError):
            lease.run(limited)
    finally:
        signal.signal(number, old)
    assert forever.cancelled.is_set()
    assert lease.run(value) == 7


@posix
def test_a_signal_handler_that_does_not_raise_runs_while_the_call_goes_on(lease):
    ran = []
    old = signal.signal(signal.SIGUSR1, lambda *_: ran.append(threading.current_thread()))
    try:

        async def call():
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.sleep(0.01)
            return list(ran)

        assert lease.run(call) == [threading.main_thread()]
        assert callable(signal.getsignal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, old)


@posix
def test_a_call_in_a_signal_handler_is_refused_in_words_while_another_is_made(lease):
    refused = []

    def handler(*_):
        try:
            lease.run(value)
        except BlockingCallError as error:
            refused.append(str(error))

    old = signal.signal(signal.SIGUSR1, handler)
    try:

        async def call():
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.sleep(0.01)
            return 1

        assert lease.run(call) == 1
        assert "signal handler" in refused[0]
        signal.raise_signal(signal.SIGUSR1)  # between calls
        assert len(refused) == 1
    finally:
        signal.signal(signal.SIGUSR1, old)


@posix
def test_a_second_interrupt_is_not_held_back(lease):
    """The loop may be stuck in a hook, and would never come to the first."""

    async def stuck():
        interrupt()
        interrupt()
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        lease.run(stuck)
    assert lease.run(value) == 7


@posix
def test_a_handler_that_a_hook_sets_meanwhile_stays(lease):
    def mine(*_):
        pass

    async def call():
        signal.signal(signal.SIGINT, mine)

    old = signal.getsignal(signal.SIGINT)
    try:
        lease.run(call)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, old)


@posix
def test_what_must_end_is_not_cut_short_by_an_interrupt(lease):
    """A refresh token on the wire: the interrupted call waits for what it began, and that goes on without a caller."""
    ended = threading.Event()

    async def stubborn():
        try:
            asyncio.get_running_loop().call_later(0.01, interrupt)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.3)
            ended.set()

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        lease.run(stubborn)
    assert time.monotonic() - began < 0.25
    assert ended.wait(10)
    until(lambda: loop_threads() == [])


SIGNAL_AT_ANY_LINE = """
import signal, sys
from telnyx_oauth.blocking.driver import Lease

number = signal.Signals(int(sys.argv[1]))
lease = Lease()

class EndError(Exception):
    pass

def end(*_):
    raise EndError

async def value():
    return 7

def interrupted_at(line):
    # Whether a call has as many lines, and so was interrupted.
    lines = iter(range(line))

    def trace(frame, event, _):
        if not frame.f_code.co_filename.endswith("driver.py"):
            return None
        if event == "line" and next(lines, None) is None:
            sys.settrace(None)
            signal.raise_signal(number)
        return trace

    sys.settrace(trace)
    try:
        return lease.run(value) != 7
    except EndError:
        return True
    finally:
        sys.settrace(None)

lease.run(value)
for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, end)
line = 0
while interrupted_at(line):
    assert lease.run(value) == 7, line
    for each in (signal.SIGINT, signal.SIGTERM):
        try:
            signal.raise_signal(each)
        except EndError:
            pass
        else:
            raise AssertionError(f"{each!r} was lost after line {line}")
    line += 1
assert line > 50, line
lease.close()
print("held")
"""


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_line_of_a_call_is_neither_lost_nor_harms_later_calls(number):
    """In a process of its own: what a trace function raises in an `except` block stays the thread's current exception."""
    done = subprocess.run(
        [sys.executable, "-c", SIGNAL_AT_ANY_LINE, str(int(number))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("held\n", "", 0)


FORK_BESIDE_A_CALL = """
import asyncio, os, signal, threading, time
from telnyx_oauth.blocking.driver import Lease

def fork():
    child = os.fork()
    if child:
        loop.call_soon_threadsafe(done.set_result, os.waitpid(child, 0)[1])
        return
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    except KeyboardInterrupt:
        os._exit(7)
    os._exit(1)

async def call():
    global loop, done
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    threading.Thread(target=fork).start()
    return os.waitstatus_to_exitcode(await done)

lease = Lease()
print(lease.run(call))
lease.close()
"""


@posix
def test_a_child_that_is_forked_beside_a_call_can_be_interrupted_at_once():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK_BESIDE_A_CALL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("7\n", "")


@pytest.mark.blocks_loop
async def test_a_thread_that_cannot_be_started_leaves_the_loop_to_another_call(lease, monkeypatch):
    start = threading.Thread.start
    others = []

    def fail(thread: threading.Thread) -> None:
        if thread.name != "telnyx_oauth":
            start(thread)
            return
        others.append(in_thread(lambda: lease.run(value)))
        time.sleep(0.05)  # it waits for the thread that leads, which never begins
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(KeyboardInterrupt):
            lease.run(value)
    ((thread, outcome),) = others
    thread.join(5)
    assert outcome == [7]
