from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from telnyx_oauth import AsyncTelnyx
from telnyx_oauth.client import Connections
from telnyx_oauth.errors import APIConnectionError, ClientClosedError
from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.transport.mirror import MirroredTransport
from tests.wire import RawServer, hang, http, until


def request(url: str, **headers: str) -> Request:
    return Request("GET", url, RequestInfo("GET", url), headers)


async def proxied(reader, writer):
    writer.write(http(body=b'"by proxy"'))
    await writer.drain()


async def sent_with(session: aiohttp.ClientSession, url: str, *, expected: type = MirroredTransport, **options):
    """The answer to a request over the pool for tokens beside a given session."""
    connections = Connections(session, **options)
    assert type(connections.tokens) is expected
    try:
        return await connections.tokens(request(url))
    finally:
        await connections.aclose()
        assert not connections.is_open


async def test_a_token_never_waits_behind_calls_that_hang_in_a_given_sessions_pool():
    async with (
        Sandbox() as telnyx,
        RawServer.of(hang) as stuck,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
    ):
        hanging = asyncio.create_task(session.get(stuck.base_url))
        await until(lambda: stuck.requests)
        async with telnyx.async_client(http_session=session) as client:
            assert (await client.tokens.get(timeout=5)).generation == 1
        assert not session.closed
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


async def test_the_pool_for_tokens_has_a_given_sessions_headers_and_traces_and_nothing_personal():
    told = []

    async def on_start(session, context, parameters):
        told.append(str(parameters.url))

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_start)
    headers = {"X-Theirs": "yes", "Authorization": "Bearer planted", "Cookie": "planted=1"}

    async def middleware(req, handler):
        raise AssertionError

    async with (
        RawServer.of(http()) as server,
        aiohttp.ClientSession(
            headers=headers, cookies={"planted": "2"}, trace_configs=[trace], middlewares=(middleware,)
        ) as session,
    ):
        assert (await sent_with(session, server.base_url)).status_code == 200
        assert b"X-Theirs: yes" in server.requests[0]
        assert b"planted" not in server.requests[0]
        assert told == [server.base_url]


async def test_the_pool_for_tokens_goes_through_a_given_sessions_proxies(monkeypatch):
    url = "http://api.example/v2"
    async with RawServer.of(proxied) as proxy, RawServer.of(http()) as server:
        async with aiohttp.ClientSession(proxy=proxy.origin) as session:
            assert (await sent_with(session, url)).json() == "by proxy"
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        async with aiohttp.ClientSession(trust_env=True) as session:
            assert (await sent_with(session, url)).json() == "by proxy"
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        async with aiohttp.ClientSession(trust_env=True, proxy=proxy.origin) as session:
            assert (await sent_with(session, url)).json() == "by proxy"
        async with aiohttp.ClientSession() as session:
            assert (await sent_with(session, server.base_url)).json() == {}
            assert (await sent_with(session, url, proxy=proxy.origin)).json() == "by proxy"


async def test_the_pool_for_tokens_sends_what_is_for_this_machine_through_no_proxy_of_a_session(monkeypatch):
    async with RawServer.of(proxied) as proxy, RawServer.of(http()) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        for options in ({"proxy": proxy.origin}, {"trust_env": True}, {"trust_env": True, "proxy": proxy.origin}):
            async with aiohttp.ClientSession(**options) as session:
                assert (await sent_with(session, server.base_url)).json() == {}
                assert (await sent_with(session, server.base_url, proxy=proxy.origin)).json() == {}
    assert proxy.requests == []


async def test_the_password_of_a_given_sessions_proxy_goes_to_the_proxy():
    async with RawServer.of(proxied) as proxy:
        login = f"http://user:secret@127.0.0.1:{proxy.port}"
        async with aiohttp.ClientSession(proxy=login) as session:
            assert (await sent_with(session, "http://api.example/v2")).json() == "by proxy"
    assert b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in proxy.requests[0]


async def test_the_pool_for_tokens_trusts_whom_a_given_session_trusts(certificates):
    async with RawServer.of(http(), tls=certificates.server) as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=certificates.client)) as session:
            assert (await sent_with(session, server.base_url)).status_code == 200
        async with aiohttp.ClientSession() as session:
            with pytest.raises(APIConnectionError, match="certificate"):
                await sent_with(session, server.base_url)


async def test_the_pool_for_tokens_asks_a_given_sessions_resolver_and_leaves_it_open():
    class Resolver(AbstractResolver):
        closed = False

        async def resolve(self, host, port=0, family=socket.AF_INET):
            return [
                {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            ]

        async def close(self):
            self.closed = True

    resolver = Resolver()
    async with (
        RawServer.of(http()) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session,
    ):
        assert (await sent_with(session, f"http://nowhere.test:{server.port}/")).status_code == 200
    assert not resolver.closed


async def test_a_connector_of_somebodys_own_making_serves_tokens_too():
    class Connector(aiohttp.TCPConnector):
        asked = 0

        async def connect(self, req, traces, timeout):
            self.asked += 1
            return await super().connect(req, traces, timeout)

    connector = Connector()
    async with RawServer.of(http()) as server, aiohttp.ClientSession(connector=connector) as session:
        kind = type(Connections().tokens)
        assert (await sent_with(session, server.base_url, expected=kind)).status_code == 200
    assert connector.asked == 1


async def test_tokens_end_with_the_given_session_and_say_so():
    async with Sandbox() as telnyx:
        session = aiohttp.ClientSession()
        async with telnyx.async_client(http_session=session) as client:
            await session.close()
            with pytest.raises(ClientClosedError, match="http_session"):
                await client.oauth_clients.list()


async def test_a_copy_with_a_session_of_its_own_ends_its_own_connections():
    async with Sandbox() as telnyx, aiohttp.ClientSession() as session:
        original = AsyncTelnyx(base_url=telnyx.base_url, client_id="nobody", client_secret="x")
        copy = original.copy(http_session=session, client_id=telnyx.client_id, client_secret=telnyx.client_secret)
        await copy.oauth_clients.list()
        await copy.close()
        assert not copy._connections.is_open
        await original.close()
