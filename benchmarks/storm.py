"""What do very many tasks cost that wait for one token, or are cancelled while they wait?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter

from telnyx_oauth.protocol.token import TokenKey
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.manager import TokenManager

from . import peers
from .holders import Call, Endpoint, holders
from .measure import in_turns_async, milliseconds, ratio
from .report import Table

TASKS, CANCELLED, ROUNDS, DELAY = 10_000, 30_000, 9, 0.05
BARE, BARE_EACH, OURS = "one bare future", "a bare future each", "telnyx_oauth"


def managed(endpoint: Endpoint) -> TokenManager:
    """A manager that gets its tokens there."""

    async def source(_: TokenKey) -> TokenGrant:
        told = await endpoint.token()
        return TokenGrant(told["access_token"], expires_in=float(told["expires_in"]))

    return TokenManager(source)


async def cold() -> Table:
    """All want the token that nobody has yet."""
    table = Table(
        f"{TASKS:,} tasks on a cold token of {DELAY * 1e3:.0f} ms",
        ("side", "CPU", "ratio to one future", "token requests", "goal"),
    )
    requests: dict[str, int] = {}

    async def bare() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(DELAY, future.set_result, None)
        await _all(lambda: _wait(future))

    async def with_event() -> None:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(DELAY, event.set)
        await _all(event.wait)

    async def ours() -> None:
        endpoint = Endpoint(DELAY)
        manager = managed(endpoint)
        await _all(manager.get)
        requests[OURS] = endpoint.calls
        await manager.aclose()

    def theirs(name: str, make: Callable[[Endpoint], Call]) -> Callable[[], Awaitable[None]]:
        async def side() -> None:
            endpoint = Endpoint(DELAY)
            await _all(make(endpoint))
            requests[name] = endpoint.calls

        return side

    others = {name: theirs(name, make) for name, make in holders().items()}
    sides = {BARE: bare, "an asyncio.Event": with_event, OURS: ours, **others}
    results = await in_turns_async(sides, rounds=ROUNDS)
    for name, side in results.items():
        against = ratio(side.cpu, results[BARE].cpu)
        goal = "<= 1.5, 1 request" if name == OURS else ""
        table.add(name, milliseconds(side.cpu), against, requests.get(name, "-"), goal)
    table.notes.append("Only the way to a token is measured: no side sends a request of its user's.")
    table.notes.extend(peers.missing())
    return table


async def cancelled() -> Table:
    """All are cancelled while they wait."""
    title = f"{CANCELLED:,} tasks cancelled while they wait for a token"
    table = Table(title, ("side", "CPU, tasks made included", "ratio to a future each", "the loop is blocked", "goal"))
    blocked: dict[str, list[float]] = {BARE_EACH: [], OURS: []}

    async def bare() -> None:
        blocked[BARE_EACH].append(await _cancelled(lambda: _wait(asyncio.get_running_loop().create_future())))

    async def ours() -> None:
        manager = managed(Endpoint(60))
        blocked[OURS].append(await _cancelled(manager.get))
        await manager.aclose(drain=0)

    results = await in_turns_async({BARE_EACH: bare, OURS: ours}, rounds=ROUNDS)
    for name, side in results.items():
        goal = "<= 500 ms" if name == OURS else ""
        against = ratio(side.cpu, results[BARE_EACH].cpu)
        table.add(name, milliseconds(side.cpu), against, milliseconds(blocked[name]), goal)
    return table


async def _wait(future: Awaitable[object]) -> object:
    return await future


async def _all(call: Callable[[], Awaitable[object]]) -> None:
    await asyncio.gather(*[asyncio.ensure_future(call()) for _ in range(TASKS)])


async def _cancelled(call: Callable[[], Awaitable[object]]) -> float:
    """Seconds from the first task's cancelling to the last one's end."""
    tasks = [asyncio.ensure_future(call()) for _ in range(CANCELLED)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    began = perf_counter()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return perf_counter() - began


def run() -> list[Table]:
    """The tables."""
    return [asyncio.run(cold()), asyncio.run(cancelled())]
