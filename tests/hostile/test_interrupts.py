"""`close` in two threads at once, and Ctrl-C while a thread of ours begins."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from telnyx_oauth.blocking.driver import Lease


async def call() -> int:
    return 7


def test_closing_in_two_threads_at_once_is_quiet_in_both():
    ends: list[threading.Thread] = []

    async def end() -> None:
        ends.append(threading.Thread(target=lease.close))
        ends[0].start()
        await asyncio.sleep(0.05)

    lease = Lease(end)
    lease.run(call)
    lease.end()
    ends[0].join(10)
    assert not ends[0].is_alive()
    assert lease.is_closed


@pytest.mark.parametrize("begun", [True, False], ids=["the thread runs", "the thread never runs"])
async def test_an_interrupt_as_a_thread_begins_leaves_no_thread_and_no_loop(monkeypatch, caplog, begun):
    """Where another loop runs, a thread runs ours."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if begun:
            start(thread)
        raise KeyboardInterrupt

    lease = Lease()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lease.run(call)
    assert lease.run(call) == 7
    lease.close()
    for thread in threading.enumerate():
        if thread.name == "telnyx_oauth":
            thread.join(10)
            assert not thread.is_alive()
    gc.collect()  # a loop that nothing closed would be reported here
    assert caplog.records == []
