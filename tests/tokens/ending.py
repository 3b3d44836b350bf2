"""A program that has a refresh token on the wire as it ends, in the way that its first argument names.

It makes two calls: the second finds the token in its advisory window, so its refresh runs in the background.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time

from forward import ForwardClock

import telnyx_oauth
from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.protocol.freshness import RefreshPolicy
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import RefreshToken
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.redis import RedisStore
from telnyx_oauth.transport.http import HttpTransport

HOW, SERVER, STORE = sys.argv[1:4]
CONNECTIONS = HttpTransport()
CLOCK = ForwardClock()


def manager():
    # A Valkey that has just started may have lost a lease: nothing is sent until that one would be over.
    store = RedisStore(STORE, lock_ttl=1.0) if STORE.startswith("redis:") else FileStore(STORE)
    source = RefreshToken(CONNECTIONS, f"{SERVER}/token", "client", refresh_token="r0")
    # Every token but the first is in its advisory window at once.
    policy = RefreshPolicy(advisory_fraction=1.0, advisory_cap=1e6)
    return TokenManager(source, store=store, policy=policy, clock=CLOCK)


async def on_the_wire(made):
    """Return once the refresh token is on the wire for the second time: the server says so."""
    await made.get()
    CLOCK.forward = 60.0  # half of a token's life is not advisory
    await made.get()
    assert made.status().renewing
    await CONNECTIONS(Request("GET", f"{SERVER}/waiting", RequestInfo("GET", "")))


async def ended_async():
    made = manager()
    await on_the_wire(made)
    match HOW:
        case "return":
            return
        case "raise":
            raise RuntimeError("as it happens")
        case "exit":
            sys.exit(3)
        case "close":
            await made.aclose(drain=0)
        case "cancel-all":
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        case "interrupt":
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)
        case "client":
            async with telnyx_oauth.AsyncTelnyx(tokens=made, base_url=f"{SERVER}/v2"):
                pass
        case "_exit":
            os._exit(9)


def ended_blocking():
    how = HOW.removeprefix("blocking-")
    made = manager()
    client = telnyx_oauth.Telnyx(tokens=made, base_url=f"{SERVER}/v2")
    client._lease.run(lambda: on_the_wire(made))
    match how:
        case "return":
            return
        case "raise":
            raise RuntimeError("as it happens")
        case "exit":
            sys.exit(3)
        case "close":
            client.close()
            os._exit(0)
        case "interrupt":
            signal.raise_signal(signal.SIGINT)
        case "thread":
            thread = threading.Thread(target=client.close)
            thread.start()
            thread.join()
            os._exit(0)


if HOW.startswith("blocking-"):
    ended_blocking()
elif HOW == "runner":
    with asyncio.Runner() as runner:
        runner.run(ended_async())
        time.sleep(0)
elif HOW == "aiohttp":
    from aiohttp import web

    async def app():
        await ended_async()
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        return web.Application()

    web.run_app(app(), port=0, host="127.0.0.1", print=None)
else:
    asyncio.run(ended_async())
