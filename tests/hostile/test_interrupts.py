"""Ctrl-C and `close` at the worst moments of a blocking call."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from telnyx_oauth.blocking.hold import Hold
from telnyx_oauth.blocking.loop import Lease


@pytest.mark.parametrize("begun", [True, False], ids=["its thread runs", "its thread never runs"])
def test_an_interrupt_as_the_private_thread_begins_leaves_no_thread_and_no_loop(monkeypatch, caplog, begun):
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if begun:
            start(thread)
        raise KeyboardInterrupt

    async def call() -> int:
        return 7

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
    gc.collect()  # a loop that nobody closed would be told of here
    assert caplog.records == []


def test_closing_in_two_threads_at_once_is_quiet_in_both():
    ends: list[threading.Thread] = []

    async def end() -> None:
        ends.append(threading.Thread(target=hold.close))
        ends[0].start()
        await asyncio.Event().wait()  # until the loop ends

    async def call() -> None:
        pass

    hold = Hold(end, lambda: "")
    hold.run(call)
    hold.end()
    ends[0].join(10)
    assert hold.is_closed
