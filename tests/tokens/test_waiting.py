"""How long a call waits for its token: no longer than its `timeout` allows, and at nobody else's cost."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from telnyx_oauth import Timeout
from telnyx_oauth.aiohttp import BearerTokenMiddleware
from telnyx_oauth.errors import APITimeoutError, InternalServerError, TokenWaitTimeoutError
from telnyx_oauth.protocol.credentials import Credentials
from telnyx_oauth.protocol.requests import omit
from telnyx_oauth.protocol.token_endpoint import ClientAuthentication
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.tokens.sources import ClientCredentials
from telnyx_oauth.validation.introspection import IntrospectionCache
from telnyx_oauth.validation.jwks import JWKSCache
from tests.wire import Script, reply, resources

SHORT = 0.25


def client_of(world, manager, send=None, **changes):
    return resources(send or Script(reply()), Credentials(tokens=manager), clock=world.clock, **changes)


def call(client, **options):
    return client.get("/x", cast_to=object, options=options)


@pytest.mark.parametrize("timeout", [3, 0.25, Timeout(3.0, connect=1.0), Timeout(29.0, None)])
@pytest.mark.parametrize("by", ["call", "client"])
@pytest.mark.parametrize("max_retries", [0, 2])
def test_a_call_ends_with_its_timeout_while_the_token_endpoint_hangs(world, timeout, by, max_retries):
    async def main():
        world.server.latency = 50.0
        manager, send = world.manager(), Script(reply())
        total = timeout.total if isinstance(timeout, Timeout) else timeout
        whole = timeout if isinstance(timeout, Timeout) else Timeout(timeout, timeout)
        client = client_of(world, manager, send, **({"timeout": whole} if by == "client" else {}))
        began = world.clock.boot()
        with pytest.raises(APITimeoutError) as caught:
            await call(client, max_retries=max_retries, **({"timeout": timeout} if by == "call" else {}))
        assert world.clock.boot() - began == pytest.approx(total, abs=0.01)
        assert (caught.value.sent, caught.value.request.url) == (False, "https://api.telnyx.com/v2/x")
        assert f"No token within {total:g} s" in str(caught.value)
        assert "not sent" in str(caught.value)
        assert send.requests == []
        assert (await manager.get(timeout=None)).access_token == "t1"
        await manager.aclose()

    world.run(main())
    assert len(world.server.seen) == 1


def test_who_has_no_time_left_takes_nothing_from_those_who_have(world):
    async def main():
        world.server.latency = 5.0
        manager = world.manager()
        client = client_of(world, manager)
        waits = [call(client, timeout=seconds) for seconds in (1, 3, 6, 30)]
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(each) for each in outcomes] == [TokenWaitTimeoutError, TokenWaitTimeoutError, dict, dict]
        await manager.aclose()

    world.run(main())
    assert len(world.server.seen) == 1


def test_a_refresh_token_that_is_on_the_wire_is_not_dropped(world):
    async def main():
        world.server.latency, world.server.rotation = 5.0, "strict"
        manager = world.manager(world.refresh())
        with pytest.raises(APITimeoutError):
            await call(client_of(world, manager), timeout=3)
        token = await manager.get()
        assert token.access_token == "t1"
        world.server.latency = 0.05
        assert (await manager.replace(token)).access_token == "t2"
        await manager.aclose()

    world.run(main())
    assert [each.form["refresh_token"] for each in world.server.seen] == ["r0", "r1"]
    assert not world.server.dead_families


def test_the_wait_is_part_of_the_first_attempt_and_of_no_other(world):
    async def main():
        world.server.latency = 2.0
        manager, send = world.manager(), Script(reply(500), reply(500), reply())
        await call(client_of(world, manager, send), timeout=Timeout(3.0, connect=1.5))
        first, *others = [each.timeout for each in send.requests]
        assert (first.total, first.connect) == (pytest.approx(1.0, abs=0.01), 1.5)
        assert others == [Timeout(3.0, connect=1.5)] * 2
        await manager.aclose()

    world.run(main())


def test_no_limit_is_none_for_the_token_either(world):
    async def main():
        world.server.latency = 45.0
        manager, send = world.manager(), Script(reply())
        assert await call(client_of(world, manager, send), timeout=None) == {}
        assert send.requests[0].timeout == Timeout(None, None)
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("timeout", [0, -1, -0.5, float("inf"), float("nan"), Timeout(0.0), Timeout(-1.0, None)])
def test_a_timeout_that_is_none_is_refused_before_a_token_is_asked_for(world, timeout):
    async def main():
        manager = world.manager()
        with pytest.raises(ValueError, match="positive"):
            await call(client_of(world, manager), timeout=timeout)
        await manager.aclose()

    world.run(main())
    assert world.server.seen == []


def test_an_outage_is_outlasted_within_the_timeout_and_no_longer(world):
    async def main():
        world.server.latency = 1.0
        world.server.faults.extend(["500", "500"])
        manager = world.manager()
        began = world.clock.boot()
        with pytest.raises(APITimeoutError) as caught:
            await call(client_of(world, manager), timeout=3)
        assert world.clock.boot() - began == pytest.approx(3, abs=0.11)
        assert "within 3 s" in str(caught.value)
        assert isinstance(caught.value.__cause__, InternalServerError)
        assert await call(client_of(world, manager), timeout=10) == {}
        await manager.aclose()

    world.run(main())


def test_another_token_after_a_refusal_is_waited_for_as_long(world):
    async def main():
        manager = world.manager()
        await manager.get()
        world.server.latency = 50.0
        client = client_of(world, manager, Script(reply(401)))
        began = world.clock.boot()
        with pytest.raises(APITimeoutError) as caught:
            await call(client, timeout=3)
        assert world.clock.boot() - began == pytest.approx(3, abs=0.01)
        # The server has seen the request, and said no.
        assert caught.value.sent
        assert "not sent again" in str(caught.value)
        await manager.aclose(drain=60)

    world.run(main())


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_manager_that_is_given_no_time_does_not_wait(world, timeout):
    async def main():
        world.server.latency = 50.0
        manager = world.manager()
        began = world.clock.boot()
        with pytest.raises(TokenWaitTimeoutError):
            await manager.get(timeout=timeout)
        assert world.clock.boot() == pytest.approx(began, abs=0.01)
        assert (await manager.get(timeout=None)).access_token == "t1"
        await manager.aclose()

    world.run(main())


# -- with sockets


@pytest.fixture
async def hanging():
    async with Sandbox() as telnyx:
        telnyx.faults.add("/oauth/token", kind="hang", times=None)
        yield telnyx


async def _to_the_end(listed):
    return [each async for each in listed]


async def _streamed(client):
    async with client.oauth_clients.with_streaming_response.list() as response:
        await response.read()


FORMS = {
    "call": lambda client: client.oauth_clients.retrieve("x"),
    "page": lambda client: client.oauth_clients.list(),
    "pages": lambda client: _to_the_end(client.oauth_clients.list()),
    "concurrently": lambda client: _to_the_end(client.oauth_clients.list().concurrently(2)),
    "raw": lambda client: client.oauth_clients.with_raw_response.list(),
    "streamed": _streamed,
}


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_a_call_ends_in_time(hanging, form):
    async with hanging.async_client(timeout=SHORT) as client:
        began = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"No token within 0\.25 s") as caught:
            await FORMS[form](client)
        assert SHORT * 0.9 < time.monotonic() - began < 2
        assert not caught.value.sent


def test_a_blocking_call_ends_in_time():
    with Sandbox() as telnyx:
        telnyx.faults.add("/oauth/token", kind="hang", times=None)
        for own, given in ((SHORT, omit), (omit, SHORT)):
            with telnyx.client(timeout=own) as client:
                began = time.monotonic()
                with pytest.raises(APITimeoutError) as caught:
                    client.oauth_clients.list(timeout=given)
                assert SHORT * 0.9 < time.monotonic() - began < 2
                assert not caught.value.sent
                with pytest.raises(TokenWaitTimeoutError):
                    client.tokens.get(timeout=SHORT)


async def test_a_request_through_the_middleware_ends_with_the_sessions_timeout(hanging):
    async with hanging.async_client() as client:
        bearer = BearerTokenMiddleware(client.tokens, origins=[hanging.root_url], allow_insecure_loopback=True)
        short = aiohttp.ClientTimeout(SHORT)
        for own, given in ({"timeout": short}, {}), ({}, {"timeout": short}):
            async with aiohttp.ClientSession(middlewares=[bearer], **own) as session:
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    await session.get(f"{hanging.base_url}/x", **given)
                assert SHORT * 0.9 < time.monotonic() - began < 2
        # The renewal that was waited for still goes on.
        assert client.tokens.status().renewing
        assert hanging.requests.count("/oauth/token") == 1


@pytest.mark.parametrize("timeout", [0, -1.0, float("inf")])
def test_no_fetch_takes_a_timeout_that_would_be_none(timeout):
    with pytest.raises(ValueError, match="positive"):
        JWKSCache("https://keys.test/jwks", timeout=timeout)
    with pytest.raises(ValueError, match="positive"):
        JWKSCache("https://keys.test/jwks", connect_timeout=timeout)
    with pytest.raises(ValueError, match="positive"):
        IntrospectionCache("https://auth.test/introspect", ClientAuthentication("id", "s"), timeout=timeout)
    with pytest.raises(ValueError, match="positive"):
        ClientCredentials(Script(reply()), "https://auth.test/token", "id", "s", timeout=Timeout(timeout))


async def test_none_is_no_limit_for_a_fetch():
    asked, told = Script(reply(500)), Script(reply(content=b'{"active": false}'))
    assert not await JWKSCache("https://keys.test/jwks", send=asked, timeout=None, connect_timeout=None).refresh()
    cache = IntrospectionCache("https://a.test/i", ClientAuthentication("id", "s"), send=told, timeout=None)
    assert not (await cache.introspect("token")).active
    assert (asked.requests[0].timeout, told.requests[0].timeout) == (Timeout(None, None), Timeout(None, 2.0))
