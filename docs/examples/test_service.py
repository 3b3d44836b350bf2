"""The service's tests, against a local Telnyx: the fixtures come with the package."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from service import RESOURCE, main, make_app


@pytest.fixture
def telnyx_audience() -> str:
    """The audience of the tokens that `telnyx_tokens` makes: this service."""
    return RESOURCE


@pytest.fixture
async def service(async_telnyx) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(make_app(async_telnyx))) as started:
        yield started


async def test_a_request_without_a_token_is_refused(service):
    async with service.get("/whoami") as response:
        assert response.status == 401
        assert RESOURCE in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("kind", ["expired", "wrong_audience", "wrong_issuer", "forged", "opaque"])
async def test_an_invalid_token_is_refused(service, telnyx_tokens, kind):
    bad = getattr(telnyx_tokens, kind)("account_management.read")
    async with service.get("/directory", headers=telnyx_tokens.header(bad)) as response:
        assert (response.status, (await response.json())["error"]) == (401, "invalid_token")


async def test_a_valid_token_is_accepted(service, telnyx_tokens):
    good = telnyx_tokens.valid("messaging.read")
    async with service.get("/whoami", headers=telnyx_tokens.header(good)) as response:
        assert (await response.json())["scopes"] == ["messaging.read"]


async def test_a_token_without_the_scope_is_refused(service, telnyx_tokens):
    good = telnyx_tokens.valid("messaging.read")
    async with service.get("/directory", headers=telnyx_tokens.header(good)) as response:
        assert response.status == 403


async def test_telnyx_is_called_with_the_services_own_token(service, telnyx_sandbox, telnyx_tokens):
    callers = telnyx_tokens.header(telnyx_tokens.valid("account_management.read"))
    for _ in range(3):
        async with service.get("/directory", headers=callers) as response:
            assert "My OAuth client" in (await response.json())["names"]
    calls = telnyx_sandbox.requests.find("/oauth/clients")
    assert len(calls) == 3
    assert callers["Authorization"] not in {request.headers["Authorization"] for request in calls}
    assert telnyx_sandbox.requests.count("/oauth/token") == 1


async def test_a_revoked_token_of_the_service_is_replaced(service, async_telnyx, telnyx_sandbox, telnyx_tokens):
    telnyx_sandbox.revoke((await async_telnyx.tokens.get()).access_token)
    callers = telnyx_tokens.header(telnyx_tokens.valid("account_management.read"))
    async with service.get("/directory", headers=callers) as response:
        assert response.status == 200


@pytest.mark.parametrize("kind", ["status", "reset"])
async def test_an_outage_of_telnyx_is_not_blamed_on_the_caller(service, telnyx_sandbox, telnyx_tokens, kind):
    telnyx_sandbox.faults.add("/oauth/clients", kind=kind, times=None)
    callers = telnyx_tokens.header(telnyx_tokens.valid("account_management.read"))
    async with service.get("/directory", headers=callers) as response:
        assert response.status == 502


async def test_health(service, async_telnyx, telnyx_clock):
    async with service.get("/health") as response:
        assert (await response.json())["keys"] == {"state": "fresh", "count": 1, "last_error": None}
    await async_telnyx.tokens.get()
    async with service.get("/health") as response:
        assert (response.status, (await response.json())["token"]["phase"]) == (200, "fresh")
    telnyx_clock.advance(1800)
    async with service.get("/health") as response:
        assert (response.status, (await response.json())["ok"]) == (503, False)


@pytest.mark.usefixtures("telnyx_environment")
async def test_it_starts_and_ends():
    async with TestClient(TestServer(await main())) as service, service.get("/health") as response:
        assert response.status == 200
