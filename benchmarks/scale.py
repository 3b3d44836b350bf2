"""Do costs stay flat: per call from the first to the 100,000th, per cached key from 1 to 10,000 keys?"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from telnyx_oauth import AsyncTelnyx
from telnyx_oauth.protocol.freshness import RefreshPolicy
from telnyx_oauth.protocol.token import TokenKey
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.manager import TokenManager

from .measure import Server, cpu
from .report import Table

CALLS, KEYS, READS = 100_000, (1, 10, 100, 1_000, 10_000), 20_000
MARKS = (1_000, 10_000, 50_000, 100_000)
"""After how many calls a thousand of them are measured."""


async def source(_: TokenKey) -> TokenGrant:
    """A token that lives for an hour."""
    return TokenGrant("token-" + "x" * 40, expires_in=3600.0)


async def calls() -> Table:
    """One client makes very many calls."""
    table = Table(
        f"{CALLS:,} calls of one client", ("calls before", "CPU per call", "ratio to the first", "objects alive")
    )
    first = 0.0
    with Server() as server:
        async with AsyncTelnyx(api_key="key", base_url=server.base_url) as client:
            retrieve = client.oauth_clients.retrieve
            await retrieve("1")
            made = 0
            for mark in MARKS:
                while made < mark - 1_000:
                    await asyncio.gather(*[retrieve(str(made + n)) for n in range(100)])
                    made += 100
                gc.collect()
                used = cpu()
                for _ in range(1_000):
                    await retrieve(str(made))
                    made += 1
                spent = (cpu() - used) / 1_000
                first = first or spent
                gc.collect()
                table.add(f"{made:,}", f"{spent * 1e6:.0f} µs", f"{spent / first:.2f}", f"{len(gc.get_objects()):,}")
    return table


async def keys() -> Table:
    """One manager holds very many tokens."""
    columns = ("keys", "CPU of a fresh `get(scopes=...)`", "ratio to one key", "memory per key")
    table = Table("Tokens in one manager", columns)
    first = 0.0
    for count in KEYS:
        manager = TokenManager(source, policy=RefreshPolicy(max_keys=KEYS[-1] + 1))  # and the default one
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for n in range(count):
            await manager.get(scopes=f"scope-{n}")
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / count
        tracemalloc.stop()
        used = cpu()
        for n in range(READS):
            await manager.get(scopes=f"scope-{n % count}")
        spent = (cpu() - used) / READS
        first = first or spent
        table.add(f"{count:,}", f"{spent * 1e6:.1f} µs", f"{spent / first:.2f}", f"{each:,.0f} bytes")
        await manager.aclose()
    return table


def run() -> list[Table]:
    """The tables."""
    return [asyncio.run(calls()), asyncio.run(keys())]
