"""Many grants in one store, all at once: a bounded number of threads and sockets, and no work that grows with their number."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import attrs
import pytest

from telnyx_oauth.messages import Response
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import RefreshToken
from telnyx_oauth.tokens.stores.base import StoredGrant
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.redis import RedisStore
from telnyx_oauth.transport.threads import Threads

from .virtual import ENDPOINT

KEYS = 300


def sockets():
    count = 0
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += str(handle.readlink()).startswith("socket")
    return count


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts sockets by /proc")
@pytest.mark.parametrize("kind", ["file", "valkey"])
async def test_many_grants_at_once_use_few_threads_and_sockets(request, tmp_path, kind):
    store = (
        FileStore(tmp_path / "tokens")
        if kind == "file"
        else RedisStore(f"{request.getfixturevalue('valkey')}/5", lock_ttl=0.3)
    )
    sent = 0

    async def send(asked):
        nonlocal sent
        sent += 1
        body = b'{"access_token":"t%d","token_type":"Bearer","expires_in":3600,"refresh_token":"r-%d"}' % (sent, sent)
        await asyncio.sleep(0.01)
        return Response(200, content=body, request=asked.info)

    managers = [
        TokenManager(RefreshToken(send, ENDPOINT, "c", refresh_token=f"r{n}"), store=store) for n in range(KEYS)
    ]
    before = sockets()
    waiting = asyncio.gather(*(manager.get(timeout=None) for manager in managers))
    threads = most = 0
    while not waiting.done():
        threads = max(threads, sum("store" in thread.name for thread in threading.enumerate()))
        most = max(most, sockets() - before)
        await asyncio.sleep(0.002)
    assert len({token.access_token for token in await waiting}) == KEYS == sent
    assert threads <= 32
    assert most <= 32
    assert (threads if kind == "file" else most) > 1  # not one after the other either
    assert all(manager.status().durable for manager in managers)


async def test_what_a_file_store_does_for_one_key_does_not_grow_with_the_others(tmp_path):
    async def work(others):
        folder = tmp_path / str(others)
        store = FileStore(folder)
        version = await store.compare_and_swap("key", None, StoredGrant("e", "c"))
        for n in range(others):
            (folder / f"other-{n}.json").write_bytes(b"{}")
        steps = []

        def count(event, arguments):
            if event.startswith(("open", "os.")) and str(folder) in str(arguments):
                steps.append(event)

        hooks.append(count)
        try:
            await store.load("key")
            version = await store.compare_and_swap("key", version, StoredGrant("e", "c", generation=1))
            async with store.lock("key", timeout=1):
                pass
        finally:
            hooks.remove(count)
        return attrs.asdict(await store.load("key"))["generation"], steps

    few, many = await work(2), await work(2000)
    assert few == many
    assert "os.scandir" not in many[1]
    assert "os.listdir" not in many[1]


hooks = []
sys.addaudithook(lambda event, arguments: [hook(event, arguments) for hook in list(hooks)])


async def test_no_more_than_32_calls_run_at_once_and_all_are_made():
    threads, running, most = Threads(), 0, 0
    lock = threading.Lock()

    def call(n):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        return n

    assert await asyncio.gather(*(threads.run(lambda n=n: call(n)) for n in range(200))) == list(range(200))
    assert 2 <= most <= 32


async def test_a_call_that_waits_its_turn_is_dropped_with_its_caller():
    threads, go, made = Threads(), threading.Event(), []
    blocked = [asyncio.ensure_future(threads.run(go.wait)) for _ in range(32)]
    gone = asyncio.ensure_future(threads.run(lambda: made.append("gone")))
    kept = asyncio.ensure_future(threads.run(lambda: made.append("kept"), always=True))
    await asyncio.sleep(0)
    gone.cancel()
    kept.cancel()
    await asyncio.wait({gone, kept})
    last = asyncio.ensure_future(threads.run(lambda: made.append("last")))
    go.set()
    await asyncio.gather(*blocked, last)
    assert made == ["kept", "last"]


async def test_where_no_thread_can_be_started_calls_are_made_all_the_same(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads = Threads()
    assert await asyncio.gather(*(threads.run(lambda n=n: n) for n in range(3))) == [0, 1, 2]
    with pytest.raises(KeyError):
        await threads.run(lambda: {}["x"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_forked_child_has_threads_of_its_own():
    threads, go = Threads(), threading.Event()
    blocked = [asyncio.ensure_future(threads.run(go.wait)) for _ in range(32)]
    await asyncio.sleep(0)
    child = os.fork()
    if not child:
        os._exit(0 if asyncio.new_event_loop().run_until_complete(threads.run(lambda: 7)) == 7 else 1)
    go.set()
    await asyncio.gather(*blocked)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
