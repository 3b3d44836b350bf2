from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
import threading
import time
import weakref

import pytest

from telnyx_oauth.blocking import loop as module
from telnyx_oauth.blocking.loop import Hop, Lease, LoopThread
from telnyx_oauth.errors import BlockingCallError, ClientClosedError

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "telnyx_oauth"]


@pytest.fixture
def lease():
    lease = Lease()
    yield lease
    lease.close()
    assert loop_threads() == []


def waiting(count: int) -> None:
    deadline = time.monotonic() + 10
    while len(module._waiting) < count:
        assert time.monotonic() < deadline
        time.sleep(0)


async def value() -> int:
    return 7


async def forever() -> None:
    await asyncio.Event().wait()


def test_a_call_gives_what_it_comes_to(lease):
    assert lease.run(value) == 7

    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        lease.run(fail)


def test_there_is_no_thread_before_the_first_call_nor_after_the_last_close():
    assert loop_threads() == []
    one, two = Lease(), Lease()
    assert loop_threads() == []
    one.run(value)
    two.run(value)
    assert len(loop_threads()) == 1
    one.close()
    assert two.run(value) == 7
    two.close()
    two.close()
    assert loop_threads() == []


def test_after_the_last_close_a_new_lease_starts_over():
    for _ in range(3):
        lease = Lease()
        assert lease.run(value) == 7
        lease.close()
        assert loop_threads() == []


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
        with pytest.raises(ClientClosedError):
            lease.start(value)


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


def test_many_threads_make_their_first_call_at_once():
    leases = [Lease() for _ in range(4)]
    gate = threading.Barrier(16)
    results = []

    def use(lease):
        gate.wait()
        results.extend(lease.run(value) for _ in range(20))

    threads = [threading.Thread(target=use, args=(lease,)) for lease in leases for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [7] * 320
    assert len(loop_threads()) == 1
    for lease in leases:
        lease.close()
    assert loop_threads() == []


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


def test_a_call_that_waits_ends_when_the_last_lease_is_closed():
    lease = Lease()
    thread, outcome = in_thread(lambda: lease.run(forever))
    waiting(1)
    lease.close()
    thread.join(10)
    assert [type(each) for each in outcome] == [ClientClosedError]
    assert loop_threads() == []


def test_a_call_that_will_not_be_cancelled_at_once_is_waited_for():
    lease = Lease()
    stubborn = threading.Event()

    async def slow():
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            stubborn.set()
            return "done"

    thread, outcome = in_thread(lambda: lease.run(slow))
    waiting(1)
    lease.run(value)
    lease.close()
    thread.join(10)
    assert stubborn.is_set()
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
    assert module._waiting == set()


def test_a_loop_that_is_closed_already_refuses_the_call():
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(ClientClosedError):
        Hop(value).run(loop)
    assert module._waiting == set()


def test_a_call_that_the_loop_never_came_to_is_answered_when_it_ends():
    loop = asyncio.new_event_loop()
    thread, outcome = in_thread(lambda: Hop(value).run(loop))
    waiting(1)
    loop.run_until_complete(asyncio.sleep(0))
    other, other_outcome = in_thread(lambda: Hop(forever).run(loop))
    waiting(2 if not outcome else 1)
    loop.call_soon(loop.stop)
    module._serve(loop)
    thread.join(10)
    other.join(10)
    assert {type(each) for each in outcome + other_outcome} <= {int, ClientClosedError}
    assert ClientClosedError in [type(each) for each in other_outcome]


def test_closing_from_the_loops_own_thread_does_not_wait_for_itself():
    lease = Lease()
    closed = threading.Event()

    async def end():
        lease.close()
        closed.set()

    lease.run(value)
    lease.start(end)
    assert closed.wait(10)
    deadline = time.monotonic() + 10
    while loop_threads():
        assert time.monotonic() < deadline
        time.sleep(0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("patience", [-1, 0.01])
def test_an_interrupt_cancels_the_call_and_the_next_one_works(lease, monkeypatch, patience):
    monkeypatch.setattr(module, "_PATIENCE", patience)
    cancelled = threading.Event()
    main = threading.get_ident()

    async def interrupted():
        try:
            signal.pthread_kill(main, signal.SIGINT)
            await forever()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(KeyboardInterrupt):
        lease.run(interrupted)
    assert cancelled.wait(10)
    assert lease.run(value) == 7
    assert module._waiting == set()


def test_short_waits_are_repeated_until_the_answer_is_there(lease, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0)
    assert lease.run(value) == 7


def test_an_interrupt_before_the_call_began_lets_it_not_begin(lease):
    begun = []

    async def call():
        begun.append(1)

    loop = lease._take()
    hop = Hop(call)
    hop._cancel()
    loop.call_soon_threadsafe(hop._start, loop, contextvars.copy_context())
    assert lease.run(value) == 7
    assert begun == []


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


def test_a_thread_that_cannot_be_had_is_an_error_and_the_next_call_tries_again(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    lease = Lease()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="new thread"):
            lease.run(value)
    assert not lease.is_held
    assert lease.run(value) == 7
    lease.close()
    assert loop_threads() == []


def test_forgetting_drops_a_hold_without_ending_the_loop():
    owner = LoopThread()
    owner.lease()
    owner.release()
    assert loop_threads() == []
    lease = Lease()
    lease.forget()
    assert not lease.is_held
    assert lease.run(value) == 7
    lease.close()
