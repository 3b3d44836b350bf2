"""With a server 20 ms away, how many round trips do 100 calls at once need when their tokens are client credentials'?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter

import aiohttp

from telnyx_oauth import AsyncTelnyx

from . import peers
from .measure import Server, milliseconds
from .report import Table

LATENCY, CALLS, ROUNDS = 0.02, 100, 5
GOAL = "1 round trip, 1 token request"
Call = Callable[[], Awaitable[object]]


async def measured(server: Server) -> Table:
    """The table. The first round opens the connections and fetches the token, and is dropped."""
    columns = ("side", "wall", "round trips", "most in flight", "token requests", "goal")
    table = Table(f"{CALLS} calls at once, {LATENCY * 1e3:.0f} ms away, client credentials", columns)
    who = {"client_id": "x", "client_secret": "y"}
    async with aiohttp.ClientSession() as session:

        async def bare() -> None:
            async with session.get(f"{server.base_url}/oauth/clients/1") as response:
                await response.json()

        await _row(table, server, "bare aiohttp, no token", bare)
    async with AsyncTelnyx(base_url=server.base_url, client_id="x", client_secret="y") as ours:
        await _row(table, server, "telnyx_oauth", lambda: ours.oauth_clients.retrieve("1"), GOAL)
    if peers.has("telnyx"):
        async with peers.async_telnyx(server.base_url, **who) as theirs:
            await _row(table, server, "telnyx", lambda: theirs.oauth_clients.retrieve("1"))
    table.notes.extend(peers.missing())
    return table


async def _row(table: Table, server: Server, name: str, call: Call, goal: str = "") -> None:
    server.control(latency=LATENCY)
    took: list[float] = []
    for _ in range(ROUNDS + 1):
        began = perf_counter()
        await asyncio.gather(*[call() for _ in range(CALLS)])
        took.append(perf_counter() - began)
    counted = server.control(latency=0.0)
    warm = took[1:]
    trips = f"{median(warm) / LATENCY:.1f}"
    table.add(name, milliseconds(warm), trips, counted["most_in_flight"], counted.get("tokens", 0), goal)


def run() -> list[Table]:
    """The tables."""
    with Server() as server:
        return [asyncio.run(measured(server))]
