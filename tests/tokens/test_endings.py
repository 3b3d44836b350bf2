"""Programs that end while a refresh token is on the wire: what the server answers is stored first."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from aiohttp import web

import telnyx_oauth
from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import RefreshToken
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.redis import RedisStore
from telnyx_oauth.transport.clock import SystemClock

from .forward import ForwardClock
from .virtual import ModelServer

PROGRAM = Path(__file__).with_name("ending.py")


@attrs.define
class Server:
    model: ModelServer
    url: str


@asynccontextmanager
async def serving():
    """A token endpoint that answers its second request half a second after the program was told that it came."""
    model = ModelServer(SystemClock(), rotation="strict", latency=0.0)
    model.grant_refresh("r0")

    async def token(request):
        info = RequestInfo("POST", "/token")
        if len(model.seen) == 1:
            model.latency = 0.5
        answer = await model.send(Request("POST", "/token", info, dict(request.headers), await request.read()))
        return web.Response(status=answer.status_code, body=answer.content)

    async def waiting(request):
        while not model.in_flight["r1"]:
            await asyncio.sleep(0.002)
        return web.Response()

    app = web.Application()
    app.router.add_post("/token", token)
    app.router.add_get("/waiting", waiting)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Server(model, f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


@pytest.fixture
async def server():
    async with serving() as server:
        yield server


async def run(server, how, store):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-X",
        "dev",
        str(PROGRAM),
        how,
        server.url,
        store,
        env={"PYTHONPATH": str(Path(telnyx_oauth.__file__).parent.parent), "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, said.decode()


def record_name(server):
    return RefreshToken(None, f"{server.url}/token", "client", refresh_token="r0").key.family_key


def manager(server, store, clock):
    async def send(request):
        return await server.model.send(request)

    source = RefreshToken(send, f"{server.url}/token", "client", refresh_token="r0")
    return TokenManager(source, store=store, clock=clock)


ENDINGS = {
    "return": 0,
    "raise": 1,
    "exit": 3,
    "close": 0,
    "cancel-all": 0,
    "interrupt": -2,
    "client": 0,
    "runner": 0,
    "aiohttp": 0,
    "blocking-return": 0,
    "blocking-raise": 1,
    "blocking-exit": 3,
    "blocking-close": 0,
    "blocking-interrupt": -2,
    "blocking-thread": 0,
}


@pytest.mark.parametrize(
    ("how", "kind"), [*((how, "file") for how in ENDINGS), *((how, "valkey") for how in ("return", "blocking-return"))]
)
async def test_a_program_that_ends_amid_a_refresh_loses_no_grant(request, server, tmp_path, how, kind):
    place = str(tmp_path / "tokens") if kind == "file" else f"{request.getfixturevalue('valkey')}/3"
    store = FileStore(place) if kind == "file" else RedisStore(place)
    code, said = await run(server, how, place)
    assert code == ENDINGS[how], said
    assert "never retrieved" not in said
    assert "destroyed" not in said
    assert [seen.form["refresh_token"] for seen in server.model.seen] == ["r0", "r1"], said
    left = await store.load(record_name(server))
    assert (left.refresh_token, left.access_token, left.intent) == ("r2", "t2", None), said
    after = manager(server, store, ForwardClock(60.0))
    assert (await after.get()).access_token == "t2"
    await after.aclose()


async def test_where_nothing_can_be_awaited_the_intent_resolves_it(server, tmp_path):
    server.model.rotation = "grace"
    code, said = await run(server, "_exit", str(tmp_path / "tokens"))
    assert code == 9, said
    store = FileStore(tmp_path / "tokens")
    clock = ForwardClock(60.0)
    after = manager(server, store, clock)
    server.model.latency = 0.0
    while (await after.get()).access_token == "t1":
        clock.forward += 5.0
    assert [seen.form["refresh_token"] for seen in server.model.seen] == ["r0", "r1", "r1"]
    assert server.model.dead_families == set()
    await after.aclose()
