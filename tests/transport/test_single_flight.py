from __future__ import annotations

import asyncio
import contextvars
import os
import threading

import pytest

from telnyx_oauth.errors import ClientClosedError, KeysUnavailableError
from telnyx_oauth.transport.single_flight import SingleFlight

VARIABLE = contextvars.ContextVar("VARIABLE", default="nobody's")


class Work:
    """Work that waits until it is let go, and counts."""

    def __init__(self, value="done", error=None) -> None:
        self.begun = 0
        self.value, self.error = value, error
        self.gate = asyncio.Event()
        self.started = asyncio.Event()

    async def __call__(self):
        self.begun += 1
        self.started.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.value


async def waiting(flights, key, number):
    """Until so many wait."""
    async with asyncio.timeout(5):
        while key not in flights or len(flights._flights[key].waiters) != number:
            await asyncio.sleep(0)


async def test_many_callers_are_one_piece_of_work():
    flights, work = SingleFlight(), Work()
    callers = [asyncio.create_task(flights.join("k", work)) for _ in range(50)]
    await waiting(flights, "k", 50)
    assert "k" in flights
    assert len(flights) == 1
    work.gate.set()
    assert await asyncio.gather(*callers) == ["done"] * 50
    assert (work.begun, len(flights)) == (1, 0)
    assert await flights.join("k", work) == "done"
    assert work.begun == 2, "what is over is joined by nobody"


async def test_two_keys_are_two_pieces_of_work():
    flights, work = SingleFlight(), Work()
    work.gate.set()
    assert await asyncio.gather(flights.join("a", work), flights.join("b", work)) == ["done", "done"]
    assert work.begun == 2


async def test_a_cancelled_caller_leaves_alone_and_with_none_left_the_work_goes_on():
    flights, work = SingleFlight(), Work()
    first, second = (asyncio.create_task(flights.join("k", work)) for _ in range(2))
    await waiting(flights, "k", 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await waiting(flights, "k", 1)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await waiting(flights, "k", 0)
    late = asyncio.create_task(flights.join("k", work))
    await waiting(flights, "k", 1)
    work.gate.set()
    assert await late == "done"
    assert work.begun == 1


async def test_a_caller_that_is_cancelled_as_the_work_lands_is_still_cancelled():
    flights, work = SingleFlight(), Work()
    caller = asyncio.create_task(flights.join("k", work))
    await waiting(flights, "k", 1)
    work.gate.set()
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_a_caller_that_is_cancelled_just_before_the_work_lands_is_left_out():
    flights = SingleFlight()

    async def work():
        await asyncio.sleep(0)
        first.cancel()
        return "done"

    first, second = (asyncio.create_task(flights.join("k", work)) for _ in range(2))
    assert await second == "done"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_failure_is_a_copy_for_each_with_one_cause():
    flights, failure = SingleFlight(), KeysUnavailableError(retry_after=3)
    work = Work(error=failure)
    callers = [asyncio.create_task(flights.join("k", work)) for _ in range(3)]
    await waiting(flights, "k", 3)
    work.gate.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert {type(error) for error in errors} == {KeysUnavailableError}
    assert [error.retry_after for error in errors] == [3, 3, 3]
    assert len({id(error) for error in (*errors, failure)}) == 4
    assert all(error.__cause__ is failure for error in errors)


async def test_a_failure_that_cannot_be_copied_is_shared():
    class OddError(Exception):
        def __reduce__(self):
            raise TypeError("not me")

    failure = OddError("x")
    work = Work(error=failure)
    work.gate.set()
    with pytest.raises(OddError) as caught:
        await SingleFlight().join("k", work)
    assert caught.value is failure


async def test_work_knows_nothing_of_its_callers_context():
    VARIABLE.set("a caller's")

    async def work():
        return VARIABLE.get()

    assert await SingleFlight().join("k", work) == "nobody's"


async def test_work_in_the_background_is_joined_by_whoever_comes():
    flights, work = SingleFlight(), Work()
    flights.start("k", work)
    flights.start("k", work)
    await work.started.wait()
    caller = asyncio.create_task(flights.join("k", work))
    await waiting(flights, "k", 1)
    work.gate.set()
    assert await caller == "done"
    assert work.begun == 1


async def test_closing_ends_the_work_and_whoever_waits_is_told():
    flights, work = SingleFlight(), Work()
    caller = asyncio.create_task(flights.join("k", work))
    await work.started.wait()
    await flights.aclose()
    with pytest.raises(ClientClosedError):
        await caller
    with pytest.raises(ClientClosedError):
        await flights.join("k", work)
    await flights.aclose()


def in_thread(call):
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(call()))
    thread.start()
    return thread, outcome


async def test_callers_on_other_loops_share_the_work():
    flights, work = SingleFlight(), Work()
    own = asyncio.create_task(flights.join("k", work))
    await work.started.wait()
    threads = [in_thread(lambda: asyncio.run(flights.join("k", work))) for _ in range(4)]
    await waiting(flights, "k", 5)
    work.gate.set()
    assert await own == "done"
    for thread, outcome in threads:
        await asyncio.to_thread(thread.join)
        assert outcome == ["done"]
    assert work.begun == 1


async def test_work_whose_loop_ends_is_begun_again_by_one_who_waits():
    flights, begun, waits = SingleFlight(), [], threading.Event()

    async def work():
        begun.append(asyncio.get_running_loop())
        if len(begun) == 1:
            await asyncio.Event().wait()
        return "done"

    async def short_life():
        flights.start("k", work)
        await asyncio.to_thread(waits.wait)

    thread, _ = in_thread(lambda: asyncio.run(short_life()))
    async with asyncio.timeout(5):
        while not begun:
            await asyncio.sleep(0)
    caller = asyncio.create_task(flights.join("k", work))
    await waiting(flights, "k", 1)
    waits.set()
    assert await caller == "done"
    await asyncio.to_thread(thread.join)
    assert len(begun) == 2
    assert begun[1] is asyncio.get_running_loop()


def test_work_on_a_loop_that_stands_still_is_begun_again_elsewhere():
    flights, begun = SingleFlight(), []

    async def work():
        begun.append(1)
        if len(begun) == 1:
            await asyncio.Event().wait()
        return "done"

    async def start():
        flights.start("k", work)
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(start())
    assert asyncio.run(flights.join("k", work)) == "done"
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert len(begun) == 2


def test_a_caller_whose_loop_is_gone_is_no_reason_to_fail():
    flights = SingleFlight()

    async def abandon():
        future = asyncio.get_running_loop().create_future()
        flights._flights["k"].waiters[future] = None

    async def main():
        work = Work()
        caller = asyncio.create_task(flights.join("k", work))
        await work.started.wait()
        await asyncio.to_thread(lambda: asyncio.run(abandon()))
        work.gate.set()
        return await caller

    assert asyncio.run(main()) == "done"


async def test_closing_from_another_loop_ends_the_work_there():
    flights, work = SingleFlight(), Work()
    caller = asyncio.create_task(flights.join("k", work))
    await work.started.wait()
    await asyncio.to_thread(lambda: asyncio.run(flights.aclose()))
    with pytest.raises(ClientClosedError):
        await caller


async def test_after_a_fork_work_is_forgotten_and_can_begin_anew():
    flights, work = SingleFlight(), Work()
    caller = asyncio.create_task(flights.join("k", work))
    await work.started.wait()
    old = flights._flights["k"]
    flights._reset_after_fork()
    assert len(flights) == 0
    work.gate.set()
    assert await flights.join("k", work) == "done"
    assert work.begun == 2
    assert old.task is not None
    assert await caller == "done", "here, unlike in a child, the parent's loop runs on"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
async def test_a_forked_child_has_none_of_its_parents_work():
    flights, work = SingleFlight(), Work()
    caller = asyncio.create_task(flights.join("k", work))
    await work.started.wait()
    flights._lock.acquire()
    child = os.fork()
    if child == 0:
        os._exit(0 if len(flights) == 0 and not flights._lock.locked() else 1)
    flights._lock.release()
    assert os.waitpid(child, 0)[1] == 0
    work.gate.set()
    assert await caller == "done"
