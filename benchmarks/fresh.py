"""What does it cost to read a token that is fresh?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from telnyx_oauth import Telnyx
from telnyx_oauth.protocol.token import TokenKey
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.manager import TokenManager

from . import peers
from .holders import Endpoint, holders
from .measure import awaited, in_turns_async, ratio
from .report import Table

PER, ROUNDS = 20_000, 15
RESOURCE = "https://api.example.com"
EMPTY = "an empty coroutine"


async def source(_: TokenKey) -> TokenGrant:
    """A token that lives for an hour."""
    return TokenGrant("token-" + "x" * 40, expires_in=3600.0)


async def measured() -> Table:
    """The table."""
    table = Table("Reading a fresh token", ("side", "CPU", "ratio to an empty coroutine", "goal"))
    manager, client = TokenManager(source), Telnyx(tokens=TokenManager(source))
    await manager.get()
    client.tokens.get()
    for resource in (None, RESOURCE):
        await manager.get(scopes=["a", "b"], resource=resource)
        client.tokens.get(scopes=["a", "b"], resource=resource)
    lock, held = asyncio.Lock(), manager.peek()

    async def empty() -> object:
        return None

    async def locked() -> object:
        async with lock:
            return held

    sides = {
        EMPTY: awaited(empty, PER),
        **_asynchronous(manager),
        **_blocking(client),
        "an `asyncio.Lock` around a token": awaited(locked, PER),
        **_blocking_peers(),
    }
    for name, make in holders().items():
        call = make(Endpoint(0.0))
        await call()
        sides[name] = awaited(call, PER)
    results = await in_turns_async(sides, rounds=ROUNDS, per=PER)
    goals = {
        "telnyx_oauth, `peek()`": "<= 200 ns",
        "telnyx_oauth, `await get()`": "<= 250 ns",
        "telnyx_oauth, `await get(scopes=[...])`": "<= 600 ns",
        "telnyx_oauth, `await get(scopes=[...], resource=...)`": "<= 600 ns",
        "telnyx_oauth, blocking `get()`": "<= 500 ns",
        "telnyx_oauth, blocking `client.tokens.get()`": "<= 500 ns",
        "telnyx_oauth, blocking `get(scopes=[...])`": "<= 600 ns",
        "telnyx_oauth, blocking `get(scopes=[...], resource=...)`": "<= 600 ns",
    }
    for name, side in results.items():
        table.add(
            name,
            f"{sorted(side.cpu)[ROUNDS // 2] * 1e9:.0f} ns",
            ratio(side.cpu, results[EMPTY].cpu),
            goals.get(name, ""),
        )
    table.notes.append("The loop around the call, about 20 ns, is in all of them.")
    table.notes.extend(peers.missing())
    client.close()
    await manager.aclose()
    return table


def _asynchronous(manager: TokenManager) -> dict[str, Callable[[], Awaitable[object]]]:
    """Our own ways for callers who await, each called as it is written."""

    async def scoped() -> None:
        for _ in range(PER):
            await manager.get(scopes=["a", "b"])

    async def for_resource() -> None:
        for _ in range(PER):
            await manager.get(scopes=["a", "b"], resource=RESOURCE)

    return {
        "telnyx_oauth, `peek()`": _called(manager.peek),
        "telnyx_oauth, `await get()`": awaited(manager.get, PER),
        "telnyx_oauth, `await get(scopes=[...])`": scoped,
        "telnyx_oauth, `await get(scopes=[...], resource=...)`": for_resource,
    }


def _blocking(client: Telnyx) -> dict[str, Callable[[], Awaitable[object]]]:
    """Our own ways for callers who block."""
    tokens = client.tokens

    async def of_client() -> None:
        for _ in range(PER):
            client.tokens.get()

    async def scoped() -> None:
        for _ in range(PER):
            tokens.get(scopes=["a", "b"])

    async def for_resource() -> None:
        for _ in range(PER):
            tokens.get(scopes=["a", "b"], resource=RESOURCE)

    return {
        "telnyx_oauth, blocking `get()`": _called(tokens.get),
        "telnyx_oauth, blocking `client.tokens.get()`": of_client,
        "telnyx_oauth, blocking `get(scopes=[...])`": scoped,
        "telnyx_oauth, blocking `get(scopes=[...], resource=...)`": for_resource,
    }


def _blocking_peers() -> dict[str, Callable[[], Awaitable[object]]]:
    """The peers' blocking ways, on a token that is there."""
    found: dict[str, Callable[[], Awaitable[object]]] = {}
    if peers.has("azure-core"):
        from azure.core.credentials import AccessToken
        from azure.core.pipeline import PipelineContext, PipelineRequest
        from azure.core.pipeline.policies import BearerTokenCredentialPolicy
        from azure.core.rest import HttpRequest

        class Credential:
            def get_token(self, *scopes: str, **_: object) -> AccessToken:
                return AccessToken("token", int(time.time()) + 3600)

        policy = BearerTokenCredentialPolicy(Credential(), "scope")
        request: Any = PipelineRequest(HttpRequest("GET", "https://api.example.com"), PipelineContext(None))
        found["azure-core, its blocking policy"] = _called(lambda: policy.on_request(request))
    if peers.has("google-auth"):
        from datetime import UTC, datetime, timedelta

        from google.oauth2.credentials import Credentials

        # It compares with a time that knows no zone.
        ends = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)
        credentials = Credentials("token", expiry=ends)
        found["google-auth, its blocking credentials"] = _called(
            lambda: credentials.before_request(None, "GET", "https://api.example.com", {})
        )
    return found


def _called(call: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def batch() -> None:
        for _ in range(PER):
            call()

    return batch


def run() -> list[Table]:
    """The tables."""
    return [asyncio.run(measured())]
