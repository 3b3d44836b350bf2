from __future__ import annotations

import socket

import aiohttp
import pytest

from telnyx_oauth import AsyncTelnyx, Telnyx
from telnyx_oauth.errors import APIConnectionError
from telnyx_oauth.protocol.secret import Secret
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.transport.proxies import environment_proxy
from tests.wire import RawServer, http

PROXY = "http://proxy.example:3128"
HERE = [
    "127.0.0.1",
    "127.9.9.9",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "api.localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
]
ELSEWHERE = ["api.example", "localhost.example", "notlocalhost", "128.0.0.1", "[::2]", "[::ffff:10.0.0.1]", "0.0.0.0"]


@pytest.fixture
async def proxy(monkeypatch):
    """A proxy that the environment names for everything, and that gives forged answers."""

    async def forge(reader, writer):
        writer.write(http("200 OK", b'{"access_token": "forged", "token_type": "Bearer", "keys": [], "data": []}'))
        await writer.drain()

    async with RawServer.of(forge) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, server.origin)
        yield server


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_environments_proxy_is_for_other_machines_alone(monkeypatch, scheme):
    monkeypatch.setenv(f"{scheme}_proxy", PROXY)
    for port in ("", ":8080"):
        assert {environment_proxy(f"{scheme}://{host}{port}/v2") for host in HERE} == {None}
        assert {environment_proxy(f"{scheme}://{host}{port}/v2") for host in ELSEWHERE} == {Secret(PROXY)}


def test_without_a_proxy_in_the_environment_there_is_none(monkeypatch):
    monkeypatch.setenv("https_proxy", PROXY)
    assert environment_proxy("http://api.example/v2") is None
    monkeypatch.setenv("no_proxy", "api.example")
    assert environment_proxy("https://api.example/v2") is None
    assert environment_proxy("https://other.example/v2") == Secret(PROXY)


@pytest.mark.parametrize("given", [False, True], ids=["of the environment", "given"])
async def test_tokens_keys_and_calls_to_this_machine_go_past_a_proxy(proxy, given):
    options = {"proxy": proxy.origin} if given else {}
    async with Sandbox() as telnyx:
        async with telnyx.async_client(**options) as client:
            token = await client.tokens.get()
            assert (await client.validator.validate(token.access_token)).client_id == telnyx.client_id
            assert (await client.oauth_clients.list()).data
            assert (await client.oauth.introspect(token=token.access_token)).active
            pending = await client.authorization.begin_authorization(redirect_uri="http://127.0.0.1/callback")
            assert await client.authorization.complete_authorization(telnyx.approve(pending.url))
        async with telnyx.async_client(api_key=telnyx.api_key, **options) as client:
            assert (await client.oauth_clients.list()).data
    assert proxy.requests == []


def test_the_blocking_client_goes_past_a_proxy_too(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as nobody_answers, Sandbox() as telnyx:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{nobody_answers.getsockname()[1]}")
        with Telnyx(
            base_url=telnyx.base_url, client_id=telnyx.client_id, client_secret=telnyx.client_secret, timeout=5
        ) as client:
            assert client.tokens.get().access_token
            assert client.oauth_clients.list().data


async def test_each_name_of_this_machine_goes_past_a_proxy(proxy):
    async with RawServer.of(http()) as server:
        for host in ("127.0.0.1", "localhost", "LOCALHOST"):
            for options in ({}, {"proxy": proxy.origin}):
                base = f"http://{host}:{server.port}"
                async with AsyncTelnyx(api_key="KEY", base_url=base, **options) as client:
                    assert await client.get("/x", cast_to=dict) == {}
    assert proxy.requests == []


@pytest.mark.parametrize("own", [{"trust_env": True}, {"proxy": "http://127.0.0.1:1"}], ids=["environment", "its own"])
async def test_a_given_session_with_a_proxy_sends_nothing_to_this_machine_and_says_so(proxy, own, monkeypatch):
    async with RawServer.of(http()) as server, aiohttp.ClientSession(**own) as session:
        for options in ({}, {"proxy": proxy.origin}):
            async with AsyncTelnyx(api_key="KEY", base_url=server.base_url, http_session=session, **options) as client:
                with pytest.raises(APIConnectionError, match=r"Nothing was sent.*through a proxy.*NO_PROXY") as caught:
                    await client.oauth_clients.list()
                assert not caught.value.sent
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        if "trust_env" in own:
            async with AsyncTelnyx(api_key="KEY", base_url=server.base_url, http_session=session) as client:
                assert await client.get("/x", cast_to=dict) == {}
    assert proxy.requests == []


async def test_a_given_session_without_a_proxy_is_used_for_this_machine_as_ever(proxy):
    async with (
        RawServer.of(http()) as server,
        aiohttp.ClientSession() as session,
        AsyncTelnyx(api_key="KEY", base_url=server.base_url, http_session=session) as client,
    ):
        assert await client.get("/x", cast_to=dict) == {}
    assert proxy.requests == []
