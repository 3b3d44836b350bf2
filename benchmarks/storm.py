"""What do very many tasks cost that wait for one token, or are cancelled while they wait?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from telnyx_oauth.protocol.grants import TokenGrant
from telnyx_oauth.protocol.token import TokenKey
from telnyx_oauth.tokens.manager import TokenManager

from .measure import in_turns_async, milliseconds, ratio
from .report import Table

TASKS, ROUNDS, DELAY = 10_000, 9, 0.05
BARE = "one bare future"


class Source:
    """A token endpoint that takes its time, and counts."""

    def __init__(self, delay: float) -> None:
        self.calls = 0
        self._delay = delay

    async def __call__(self, key: TokenKey) -> TokenGrant:
        self.calls += 1
        await asyncio.sleep(self._delay)
        return TokenGrant("token-" + "x" * 40, expires_in=3600.0)


async def cold() -> Table:
    """All want the token that nobody has yet."""
    table = Table(
        f"{TASKS:,} tasks on a cold token of {DELAY * 1e3:.0f} ms",
        ("side", "CPU", "ratio to one future", "token requests", "goal"),
    )
    requests: dict[str, int] = {BARE: 0}

    async def bare() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(DELAY, future.set_result, None)
        await _all(lambda: _wait(future))

    async def ours() -> None:
        source = Source(DELAY)
        manager = TokenManager(source)
        await _all(manager.get)
        requests["telnyx_oauth"] = source.calls
        await manager.aclose()

    async def with_event() -> None:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(DELAY, event.set)
        await _all(event.wait)

    requests["an asyncio.Event"] = 0
    results = await in_turns_async({BARE: bare, "an asyncio.Event": with_event, "telnyx_oauth": ours}, rounds=ROUNDS)
    for name, side in results.items():
        ours_too = name == "telnyx_oauth"
        table.add(
            name,
            milliseconds(side.cpu),
            ratio(side.cpu, results[BARE].cpu),
            requests[name],
            "<= 1.5, 1 request" if ours_too else "",
        )
    return table


async def cancelled() -> Table:
    """All are cancelled while they wait."""
    table = Table(f"{TASKS:,} tasks cancelled while they wait for a token", ("side", "CPU", "ratio to a future each"))

    async def bare() -> None:
        await _cancelled(lambda: _wait(asyncio.get_running_loop().create_future()))

    async def ours() -> None:
        manager = TokenManager(Source(60))
        await _cancelled(manager.get)
        await manager.aclose(drain=0)

    results = await in_turns_async({"a bare future each": bare, "telnyx_oauth": ours}, rounds=ROUNDS)
    for name, side in results.items():
        table.add(name, milliseconds(side.cpu), ratio(side.cpu, results["a bare future each"].cpu))
    return table


async def _wait(future: Awaitable[object]) -> object:
    return await future


async def _all(call: Callable[[], Awaitable[object]]) -> None:
    await asyncio.gather(*[asyncio.ensure_future(call()) for _ in range(TASKS)])


async def _cancelled(call: Callable[[], Awaitable[object]]) -> None:
    tasks = [asyncio.ensure_future(call()) for _ in range(TASKS)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run() -> list[Table]:
    """The tables."""
    return [asyncio.run(cold()), asyncio.run(cancelled())]
