"""A service and its caller, both as a user would write them, with a sandbox for their authorization server."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from telnyx_oauth.aiohttp import BearerAuth, BearerTokenMiddleware, current_token, require_scopes
from telnyx_oauth.errors import TokenRejectedError
from telnyx_oauth.protocol.jwt import TokenPolicy
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.validation.jwks import JWKSCache
from telnyx_oauth.validation.validator import TokenValidator


@pytest.fixture
async def telnyx():
    async with Sandbox() as telnyx:
        yield telnyx


@pytest.fixture
async def client(telnyx):
    async with telnyx.async_client(client_id=telnyx.client_id, client_secret=telnyx.client_secret) as client:
        yield client


@pytest.fixture
async def validator(telnyx):
    policy = TokenPolicy.telnyx(audience=telnyx.root_url, issuer=telnyx.root_url)
    validator = TokenValidator(policy, JWKSCache(f"{telnyx.base_url}/oauth/jwks", allow_insecure_loopback=True))
    yield validator
    await validator.aclose()


@pytest.fixture
async def service(serve, validator):
    @require_scopes("admin")
    async def who(request):
        return web.Response(text=str(current_token(request).client_id))

    app = web.Application()
    app.add_routes([web.get("/who", who)])
    BearerAuth(validator).setup(app)
    return await serve(app)


@pytest.fixture
async def session(client, service):
    middleware = BearerTokenMiddleware(client.tokens, origins=[service], allow_insecure_loopback=True)
    async with aiohttp.ClientSession(middlewares=(middleware,)) as session:
        yield session


def asked_for(telnyx, path: str) -> int:
    return len([request for request in telnyx.requests if request.path.endswith(path)])


async def test_a_hundred_calls_cost_one_token_and_one_fetch_of_the_keys(telnyx, service, session):
    async def call():
        async with session.get(service + "/who") as answer:
            return await answer.text()

    assert set(await asyncio.gather(*(call() for _ in range(100)))) == {telnyx.client_id}
    assert asked_for(telnyx, "/oauth/token") == 1
    assert asked_for(telnyx, "/oauth/jwks") <= 2, "the service's, and the client's that checks what it is issued"


async def test_a_token_that_the_service_no_longer_takes_is_replaced(telnyx, validator, service, session):
    async with session.get(service + "/who") as answer:
        assert answer.status == 200
    telnyx.rotate_key(overlap=False)
    await validator.keys.refresh(force=True)
    async with session.get(service + "/who") as answer:
        assert answer.status == 200
    assert asked_for(telnyx, "/oauth/token") == 2


async def test_a_service_that_takes_no_token_does_not_make_the_caller_ask_for_ever(telnyx, serve, client):
    async def refuse(request):
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})

    app = web.Application()
    app.add_routes([web.get("/", refuse)])
    address = await serve(app)
    middleware = BearerTokenMiddleware(client.tokens, origins=[address], allow_insecure_loopback=True)
    async with aiohttp.ClientSession(middlewares=(middleware,)) as session:
        async with session.get(address) as answer:
            assert answer.status == 401
        with pytest.raises(TokenRejectedError):
            await session.get(address)
    assert asked_for(telnyx, "/oauth/token") == 2
