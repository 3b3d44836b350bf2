"""Ctrl-C at the worst moments of a blocking call."""

from __future__ import annotations

import gc
import threading

import pytest

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
