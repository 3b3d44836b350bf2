"""What do 10,000 records cost in pages of 100, from a server 20 ms away?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp

from telnyx_oauth import AsyncTelnyx

from . import peers
from .measure import Server, in_turns_async, milliseconds, ratio
from .report import Table
from .server import TOTAL

LATENCY, SIZE, AT_ONCE, ROUNDS = 0.02, 100, 8, 5
BARE, TELNYX = "bare aiohttp, one page after the other", "telnyx, one page after the other"
GOALS = {
    "telnyx_oauth, one page after the other": "CPU <= 0.15",
    f"telnyx_oauth, {AT_ONCE} pages at once": "wall <= 0.15",
}


async def measured(server: Server) -> Table:
    """The table."""
    columns = (
        "side",
        "wall",
        "CPU",
        "wall to telnyx",
        "CPU to telnyx",
        "CPU to bare aiohttp",
        "pages",
        "most in flight",
        "goal",
    )
    table = Table(f"{TOTAL:,} records in pages of {SIZE}, {LATENCY * 1e3:.0f} ms away", columns)
    server.control(latency=LATENCY)
    async with AsyncTelnyx(api_key="key", base_url=server.base_url) as ours, aiohttp.ClientSession() as session:

        async def bare() -> int:
            found, number = 0, 1
            while True:
                address = f"{server.base_url}/oauth/clients?page[size]={SIZE}&page[number]={number}"
                async with session.get(address) as response:
                    page = await response.json()
                found += len(page["data"])
                if number >= page["meta"]["total_pages"]:
                    return found
                number += 1

        async def one_by_one() -> int:
            return len([each async for each in ours.oauth_clients.list(page_size=SIZE)])

        async def at_once() -> int:
            return len([each async for each in ours.oauth_clients.list(page_size=SIZE).concurrently(AT_ONCE)])

        sides = {
            BARE: bare,
            "telnyx_oauth, one page after the other": one_by_one,
            f"telnyx_oauth, {AT_ONCE} pages at once": at_once,
        }
        if peers.has("telnyx"):
            theirs = peers.async_telnyx(server.base_url, api_key="key")

            async def official() -> int:
                return len([each async for each in await theirs.oauth_clients.list(page_size=SIZE)])

            sides[TELNYX] = official
        counted: dict[str, dict[str, int]] = {}
        batches = {name: _checked(name, side, server, counted) for name, side in sides.items()}
        results = await in_turns_async(batches, rounds=ROUNDS)
    for name, side in results.items():
        against = results.get(TELNYX)
        table.add(
            name,
            milliseconds(side.wall),
            milliseconds(side.cpu),
            ratio(side.wall, against.wall) if against else "",
            ratio(side.cpu, against.cpu) if against else "",
            ratio(side.cpu, results[BARE].cpu),
            counted[name]["pages"],
            counted[name]["most_in_flight"],
            GOALS.get(name, ""),
        )
    table.notes.extend(peers.missing())
    return table


def _checked(
    name: str, side: Callable[[], Awaitable[int]], server: Server, counted: dict[str, dict[str, int]]
) -> Callable[[], Awaitable[object]]:
    async def batch() -> None:
        server.control()
        assert await side() == TOTAL, name
        counted[name] = server.control()

    return batch


async def looked_at(server: Server) -> Table:
    """A consumer that takes as long for a page as the server does."""
    columns = ("pages fetched ahead", "wall", "ratio to none")
    table = Table(f"2,000 records in pages of {SIZE}, looked at for {LATENCY * 1e3:.0f} ms a page", columns)
    server.control(latency=LATENCY)
    async with AsyncTelnyx(api_key="key", base_url=server.base_url) as client:

        def side(ahead: int) -> Callable[[], Awaitable[object]]:
            async def batch() -> None:
                listing = client.oauth_clients.list(page_size=SIZE)
                items = listing.concurrently(ahead) if ahead else aiter(listing)
                for _ in range(2000 // SIZE):
                    for _ in range(SIZE):
                        await anext(items)
                    await asyncio.sleep(LATENCY)
                await items.aclose()

            return batch

        results = await in_turns_async({str(ahead): side(ahead) for ahead in (0, 1, 2)}, rounds=ROUNDS)
    for name, result in results.items():
        table.add(name, milliseconds(result.wall), ratio(result.wall, results["0"].wall))
    return table


def run() -> list[Table]:
    """The tables."""
    with Server() as server:
        return [asyncio.run(measured(server)), asyncio.run(looked_at(server))]
