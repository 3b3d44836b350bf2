"""What does one asynchronous call cost: one object or a list of 20, one after the other or 100 at once?

The measure is bare aiohttp: `session.get`, then `response.json()`, an untyped dictionary, as one writes it by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import orjson

from telnyx_oauth import AsyncTelnyx
from telnyx_oauth.protocol import converter

from . import peers
from .measure import Server, awaited, in_turns_async, microseconds, ratio
from .report import Table

Call = Callable[[], Awaitable[object]]
BARE = "bare aiohttp + json"
OURS, FAST = "telnyx_oauth", "telnyx_oauth[speedups]"
SITUATIONS = ("one object, one after the other", "one object, 100 at once", "list of 20, one after the other")
GOAL = "<= 1.00"


async def sides(stack: AsyncExitStack, server: Server) -> dict[str, tuple[Call, Call]]:
    """Each side's way to get one object and a list."""
    one, many = f"{server.base_url}/oauth/clients/1", f"{server.base_url}/oauth/clients"
    session = await stack.enter_async_context(aiohttp.ClientSession(headers={"Authorization": "Bearer key"}))
    ours = await stack.enter_async_context(AsyncTelnyx(api_key="key", base_url=server.base_url))

    async def bare(url: str) -> object:
        async with session.get(url) as response:
            return await response.json()

    def with_parser(loads: Callable[[bytes], object]) -> tuple[Call, Call]:
        async def retrieved() -> object:
            converter.loads = loads
            return await ours.oauth_clients.retrieve("1")

        async def listed() -> object:
            converter.loads = loads
            return await ours.oauth_clients.list()

        return retrieved, listed

    return {
        BARE: (lambda: bare(one), lambda: bare(many)),
        OURS: with_parser(converter.plain_loads),
        FAST: with_parser(orjson.loads),
        **await peers.async_calls(stack, server.base_url),
    }


async def measured(*, with_peers: bool, rounds: int, per: int = 100) -> Table:
    """The table."""
    table = Table("An asynchronous call", ("situation", "side", "CPU per call", "ratio to bare aiohttp", "goal"))
    with Server() as server:
        async with AsyncExitStack() as stack:
            every = await sides(stack, server)
            chosen = every if with_peers else {name: every[name] for name in (BARE, OURS, FAST)}
            for number, situation in enumerate(SITUATIONS):
                batches = {
                    name: _batch(pair[1] if number == 2 else pair[0], per, at_once=number == 1)
                    for name, pair in chosen.items()
                }
                results = await in_turns_async(batches, rounds=rounds, per=per)
                for name, side in results.items():
                    against = ratio(side.cpu, results[BARE].cpu)
                    table.add(situation, name, microseconds(side.cpu), against, GOAL if name in (OURS, FAST) else "")
        table.notes.append(f"The server alone answers {server.ceiling():.0f} calls a second.")
    if with_peers:
        table.notes.extend(peers.missing())
    return table


def _batch(call: Call, per: int, *, at_once: bool) -> Callable[[], Awaitable[object]]:
    async def together() -> None:
        await asyncio.gather(*[call() for _ in range(per)])

    return together if at_once else awaited(call, per)


def run() -> list[Table]:
    """The tables."""
    return [asyncio.run(measured(with_peers=True, rounds=15))]
