"""Ten thousand keys at once: threads, sockets, how long the event loop stands still, and a store that hangs."""

from __future__ import annotations

import asyncio
import gc
import signal
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from telnyx_oauth.errors import TokenPersistenceError
from telnyx_oauth.messages import Response
from telnyx_oauth.protocol.freshness import RefreshPolicy
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import ClientCredentials, RefreshToken
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.redis import RedisStore

from ..tokens import test_failing_stores as failing
from ..tokens.virtual import ENDPOINT

KEYS = 10_000


class Watch:
    """What the process uses while it works. The loop's own time on the processor, so that a busy machine counts for nothing."""

    def __init__(self):
        self.stall = 0.0
        self.threads = 0
        self.sockets = 0
        self.task = asyncio.ensure_future(self.look())

    async def look(self):
        for n in range(10_000_000):
            before = time.thread_time()
            await asyncio.sleep(0.005)
            self.stall = max(self.stall, time.thread_time() - before)
            self.threads = max(self.threads, sum("store" in thread.name for thread in threading.enumerate()))
            if n % 20 == 0:
                self.sockets = max(self.sockets, open_sockets())

    async def end(self):
        self.task.cancel()
        await asyncio.wait({self.task})


def open_sockets():
    count = 0
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            count += str(handle.readlink()).startswith("socket")
    return count


async def all_at_once(kind, store):
    count = 0

    async def send(request):
        nonlocal count
        count += 1
        body = b'{"access_token":"t%d","token_type":"Bearer","expires_in":3600,"refresh_token":"r-%d"}' % (count, count)
        await asyncio.sleep(0.05)
        return Response(200, content=body, request=request.info)

    managers = [
        TokenManager(RefreshToken(send, ENDPOINT, "c", refresh_token=f"r0-{n}"), store=store) for n in range(KEYS)
    ]
    before = open_sockets()
    gc.collect()
    gc.disable()  # what a collection of ten thousand managers takes is not the store's
    watch = Watch()
    began = time.monotonic()
    waiting = []
    for n, manager in enumerate(managers):
        waiting.append(asyncio.ensure_future(manager.get(timeout=None)))
        if n % 100 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    seconds = time.monotonic() - began
    await watch.end()
    gc.enable()
    assert count == KEYS
    return [
        (f"threads of {KEYS:,} grants at once in {seconds:.0f} s, {kind}", watch.threads, 32),
        (f"sockets, {kind}", watch.sockets - before, 32),
        (f"milliseconds for which the loop stands still at most, {kind}", 1000 * watch.stall, 50),
    ]


async def hung(server, grant):
    """Seconds that a get takes at most while the store accepts connections and gives no answer."""
    model = failing.ModelServer(failing.SystemClock(), latency=0.05, lifetime=1)
    model.grant_refresh("r0")
    source = (
        RefreshToken(model.send, ENDPOINT, "client", refresh_token="r0")
        if grant == "refresh token"
        else ClientCredentials(model.send, ENDPOINT, "client", "s3cret")
    )
    manager = TokenManager(source, store=RedisStore(server.url), policy=RefreshPolicy(), jitter=lambda: 0.0)
    await manager.get()
    server.process.send_signal(signal.SIGSTOP)
    worst = 0.0
    end = time.monotonic() + 30
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            await manager.get(timeout=None)
        except TokenPersistenceError:
            pass
        worst = max(worst, time.monotonic() - began)
        await asyncio.sleep(0.1)
    server.process.send_signal(signal.SIGCONT)
    await manager.aclose()
    return f"seconds that a hung Valkey delays a get, {grant}", worst, 5.0


async def run():
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        rows += await all_at_once("files", FileStore(Path(folder) / "tokens"))
        server = failing.Valkey(Path(folder) / "valkey")
        try:
            rows += await all_at_once("Valkey", RedisStore(server.url))
            rows += [await hung(server, grant) for grant in ("refresh token", "client credentials")]
        finally:
            server.kill()
    return rows
