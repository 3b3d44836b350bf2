"""Real processes on one store: races for a rotating refresh token, kill -9 between any two steps, a stopped process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import attrs
import pytest
from aiohttp import web

import telnyx_oauth
from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.tokens.sources import RefreshToken
from telnyx_oauth.tokens.stores.file import FileStore

from .virtual import ModelServer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")
WORKER = Path(__file__).with_name("worker.py")


class RealClock:
    def boot(self):
        return time.monotonic()

    def wall(self):
        return time.time()


@attrs.define
class Service:
    model: ModelServer
    url: str


@pytest.fixture
async def service():
    model = ModelServer(RealClock(), rotation="strict", latency=0.05)
    model.grant_refresh("r0")

    async def token(request):
        info = RequestInfo("POST", "/token")
        answer = await model.send(Request("POST", "/token", info, dict(request.headers), await request.read()))
        return web.Response(status=answer.status_code, body=answer.content)

    app = web.Application()
    app.router.add_post("/token", token)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield Service(model, f"http://127.0.0.1:{port}/token")
    await runner.cleanup()


class Worker:
    """A worker process and the lines that it has said."""

    def __init__(self, process):
        self.process = process
        self.lines = []

    async def until(self, word):
        while not any(line.startswith(word) for line in self.lines):
            line = await self.process.stdout.readline()
            assert line, f"ended without {word!r}: {self.lines} {(await self.process.stderr.read()).decode()}"
            self.lines.append(line.decode().strip())

    async def end(self):
        out, err = await asyncio.wait_for(self.process.communicate(), 60)
        self.lines += out.decode().splitlines()
        if self.process.returncode != -signal.SIGKILL:
            assert not err, err.decode()
        return self

    def said(self, word):
        return [line.split(maxsplit=1)[1] for line in self.lines if line.startswith(f"{word} ")]


@pytest.fixture
async def start(service, tmp_path):
    started = []

    async def start(**told):
        told = {"endpoint": service.url, "folder": str(tmp_path / "tokens"), "grant": "refresh", **told}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            str(WORKER),
            json.dumps(told),
            env={"PYTHONPATH": str(Path(telnyx_oauth.__file__).parent.parent), "PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return Worker(process)

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def record(service, folder):
    key = RefreshToken(None, service.url, "client", refresh_token="r0").key
    return await FileStore(folder).load(key.family_key)


async def test_processes_racing_one_rotating_refresh_token_make_one_request_per_expiry(service, start):
    service.model.lifetime = 2
    told = {"rounds": 5, "pause": 0.5, "wait": True}
    workers = [await start(**told) for _ in range(3)]
    for worker in workers:
        await worker.until("ready")
        worker.process.stdin.write(b"go\n")
    for worker in workers:
        await worker.end()
        assert not worker.said("error")
        assert len(worker.said("token")) == 5
    spent = [seen.form["refresh_token"] for seen in service.model.seen]
    assert spent == [f"r{n}" for n in range(len(spent))]  # each once, in the order of the rotation
    assert set(service.model.peak.values()) == {1}
    assert 2 <= len(spent) <= 5
    assert {token for worker in workers for token in worker.said("token")} <= {f"t{n + 1}" for n in range(len(spent))}


STEPS = [
    "before-lock",
    "before-load",
    "before-intent",
    "after-intent",
    "before-send",
    "after-send",
    "before-persist",
    "after-persist",
]


@pytest.mark.parametrize(
    "rotation", ["strict", pytest.param("grace", marks=pytest.mark.long), pytest.param("none", marks=pytest.mark.long)]
)
async def test_a_process_killed_at_any_step_leaves_what_the_next_one_needs(service, start, tmp_path, rotation):
    service.model.rotation = rotation
    service.model.alive.clear()

    async def play(step):
        folder = tmp_path / step
        killed = await (await start(folder=str(folder), die_at=step, grant="refresh")).end()
        assert killed.process.returncode == -signal.SIGKILL
        left = await record(service, folder)
        if step in ("before-lock", "before-load", "before-intent"):
            assert left is None
        elif step == "after-persist":
            assert left.intent is None
            assert left.refresh_token == ("r0" if rotation == "none" else "r1")
        else:
            assert left.intent is not None
            assert left.refresh_token == "r0"
        return await (await start(folder=str(folder))).end()

    for step in STEPS:
        service.model.alive = {"r0": "f"}
        service.model.used.clear()
        service.model.count = 0
        resumed = await play(step)
        if rotation == "strict" and step in ("after-send", "before-persist"):
            assert resumed.said("error")[0].startswith("ReauthenticationRequiredError refresh_token_lost")
        else:
            assert not resumed.said("error")
            assert resumed.said("token") in (["t1"], ["t2"])


@pytest.mark.parametrize("step", ["before-load", "before-intent", "after-intent", "before-send", "after-send"])
async def test_a_stopped_process_loses_nothing_however_long_it_stands_still(service, start, tmp_path, step):
    """A shell's ^Z: the operating system keeps its lock, so no other process sends the refresh token meanwhile."""
    stopped = await start(stop_at=step, rounds=2, pause=0.1)
    await stopped.until(f"step {step}")
    policy = {"lock_timeout": 0.2, "flight_timeout": 0.5, "backoff_first": 0.1, "backoff_cap_expired": 0.3}
    other = await start(policy=policy, rounds=3, pause=0.2)
    await other.end()
    if step == "before-load":  # it has no lock yet
        assert other.said("token")
    else:
        assert "Another process is refreshing this grant" in other.said("error")[0]
        assert not other.said("token")
    os.kill(stopped.process.pid, signal.SIGCONT)
    await stopped.end()
    assert not stopped.said("error")
    left = await record(service, tmp_path / "tokens")
    assert left.intent is None
    assert left.refresh_token in service.model.alive
    assert not service.model.dead_families


async def test_a_fleet_on_one_valkey_makes_one_request(service, start, valkey):
    workers = [await start(grant="client", redis=valkey, wait=True) for _ in range(4)]
    for worker in workers:
        await worker.until("ready")
    for worker in workers:
        worker.process.stdin.write(b"go\n")
    for worker in workers:
        await worker.end()
        assert worker.said("token") == ["t1"]
    assert len(service.model.seen) == 1


@pytest.mark.long
async def test_a_large_fleet_on_one_valkey_makes_one_request_per_lifetime(service, start, valkey):
    service.model.lifetime = 20
    told = {"grant": "client", "redis": valkey, "wait": True, "rounds": 2, "pause": 21}
    workers = await asyncio.gather(*(start(**told) for _ in range(40)))
    for worker in workers:
        await worker.until("ready")
    for worker in workers:
        worker.process.stdin.write(b"go\n")
    for worker in workers:
        await worker.end()
        assert worker.said("token") == ["t1", "t2"]
    assert len(service.model.seen) == 2
