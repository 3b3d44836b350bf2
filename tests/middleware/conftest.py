"""A service on loopback, and a raw socket to talk to it in ways that no client library does."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from telnyx_oauth.validation.keys import StaticKeys
from telnyx_oauth.validation.validator import TokenValidator
from tests.forge import MovedClock, jwks, policy


@pytest.fixture
def validator():
    return TokenValidator(policy(), StaticKeys(jwks()), clock=MovedClock())


@pytest.fixture
async def serve():
    """Starts an application and gives its address."""
    runners = []

    async def start(app: web.Application) -> str:
        # aiohttp goes on reading a refused body for 10 s, whoever is still there.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, lingering_time=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def raw():
    """Sends bytes and gives the whole answer, up to when the server closes."""

    async def send(url: str, data: bytes, *, until: bytes | None = None) -> bytes:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            async with asyncio.timeout(5):
                return await (reader.readuntil(until) if until else reader.read())
        finally:
            writer.close()
            await writer.wait_closed()

    return send
