"""`sent` is true only once a byte of the request may have left; what surely did not leave is sent again."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager

import aiohttp
import pytest
from aioresponses import aioresponses
from yarl import URL

from telnyx_oauth import AsyncTelnyx
from telnyx_oauth.errors import APIConnectionError, APITimeoutError
from telnyx_oauth.messages import Request, RequestInfo, Timeout
from telnyx_oauth.transport.http import HttpTransport
from tests.wire import RawServer, cut, hang, http, until

SOON = Timeout(0.2, 0.2)
METHODS = pytest.mark.parametrize(
    ("method", "content"), [("GET", b""), ("POST", b"x=1"), ("POST", b""), ("DELETE", b""), ("PUT", b"y" * 300_000)]
)


@pytest.fixture
async def transport():
    transport = HttpTransport()
    yield transport
    await transport.aclose()


def request(url: str, method: str = "GET", **changes) -> Request:
    return Request(method, url, RequestInfo(method, url), **changes)


async def failure(transport, *arguments, **changes) -> APIConnectionError:
    changes.setdefault("timeout", SOON)
    with pytest.raises(APIConnectionError) as caught:
        await transport(request(*arguments, **changes))
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


@contextmanager
def silent():
    """A peer that takes connections and never says a word. Gives its port and the connections it was asked for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    connections.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield listener.getsockname()[1], connections
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in connections:
                each.close()


@contextmanager
def full():
    """The port of a server whose queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


@METHODS
async def test_a_full_backlog(transport, method, content):
    with full() as port:
        error = await failure(transport, f"http://127.0.0.1:{port}/", method, content=content)
    assert isinstance(error, APITimeoutError)
    assert not error.sent


@METHODS
async def test_a_tls_peer_that_says_nothing(transport, method, content):
    with silent() as (port, _):
        error = await failure(transport, f"https://127.0.0.1:{port}/", method, content=content)
    assert isinstance(error, APITimeoutError)
    assert not error.sent


@METHODS
@pytest.mark.parametrize("behaviour", [hang, cut, b"SSH-2.0\r\n\r\n"], ids=["says nothing", "leaves", "speaks no HTTP"])
async def test_a_proxy_that_makes_no_tunnel(behaviour, method, content):
    async with RawServer.of(behaviour) as proxy:
        transport = HttpTransport(proxy=proxy.origin)
        assert not (await failure(transport, "https://api.example/", method, content=content)).sent
        await transport.aclose()


@METHODS
async def test_a_name_that_is_looked_for_too_long(transport, method, content, monkeypatch):
    late, found = threading.Event(), socket.getaddrinfo

    def getaddrinfo(*arguments, **options):
        late.wait(10)
        return found(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        assert not (await failure(transport, "http://api.example/", method, content=content)).sent
    finally:
        late.set()


@METHODS
async def test_no_free_connection(method, content):
    async with (
        RawServer.of(hang) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
    ):
        hanging = asyncio.create_task(session.get(server.base_url))
        await until(lambda: server.requests)
        transport = HttpTransport(http_session=session)
        assert not (await failure(transport, server.base_url, method, content=content)).sent
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


@METHODS
@pytest.mark.parametrize("behaviour", [hang, cut], ids=["says nothing", "leaves"])
async def test_what_a_server_has_had_was_sent(transport, method, content, behaviour):
    async with RawServer.of(behaviour) as server:
        assert (await failure(transport, server.base_url, method, content=content)).sent
        assert len(server.requests) == 1


async def test_a_request_that_left_in_part_was_sent(transport):
    async def listen(reader, writer):
        await reader.readexactly(1)
        heard.set()
        await gate.wait()
        writer.close()

    heard, gate = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(listen, "127.0.0.1", 0, limit=1)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        error = await failure(transport, url, "POST", content=b"x" * 900_000, timeout=Timeout(1))
        assert heard.is_set()
        gate.set()
    assert error.sent


async def test_a_session_that_tries_again_by_itself_may_have_sent_it():
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        server.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with aiohttp.ClientSession() as session:
        error = await failure(HttpTransport(http_session=session), url, timeout=Timeout(5))
    assert "No connection" in str(error)  # its second attempt met a closed port
    assert error.sent


async def test_what_was_not_sent_is_sent_again_even_where_it_must_happen_once():
    with silent() as (port, connections):
        async with AsyncTelnyx(
            api_key="KEY", base_url=f"https://127.0.0.1:{port}/v2", max_retries=1, timeout=0.2
        ) as client:
            with pytest.raises(APITimeoutError) as caught:
                await client.oauth_clients.create(
                    name="n", client_type="confidential", allowed_scopes=["a"], allowed_grant_types=[]
                )
        assert not caught.value.sent
        await until(lambda: len(connections) == 2)


@pytest.mark.parametrize("own", [{}, {"trust_env": True}], ids=["a plain session", "a session that reads .netrc"])
async def test_a_mock_of_aiohttp_answers_and_keeps_what_it_was_asked(own):
    url = "https://api.example/v2/x"
    async with aiohttp.ClientSession(**own) as session:
        for given in (None, session):
            with aioresponses() as mocked:
                mocked.get(url, payload={"a": 1})
                mocked.post(url, payload={"a": 2})
                mocked.post(url, exception=aiohttp.ServerDisconnectedError())
                mocked.post(url, exception=aiohttp.ConnectionTimeoutError())
                async with AsyncTelnyx(
                    api_key="KEY", base_url="https://api.example/v2", http_session=given, max_retries=0
                ) as client:
                    assert await client.get("/x", cast_to=object) == {"a": 1}
                    assert await client.post("/x", cast_to=object, body={"b": 1}) == {"a": 2}
                    for sent in (True, False):
                        with pytest.raises(APIConnectionError) as caught:
                            await client.post("/x", cast_to=object)
                        assert caught.value.sent is sent
                kept = mocked.requests["POST", URL(url)]
                assert kept[0].kwargs["data"] == b'{"b":1}'


# --- the check


class LostError(Exception):
    """What a check raises."""


@METHODS
@pytest.mark.parametrize("error", [LostError("gone"), ValueError("gone"), OSError(5, "gone"), TimeoutError("gone")])
async def test_a_check_that_fails_stops_the_request(transport, method, content, error):
    def check():
        raise error

    async with RawServer.of(http()) as server:
        with pytest.raises(type(error)) as caught:
            await transport(request(server.base_url, method, content=content, check=check))
        assert caught.value is error
        assert caught.value.__cause__ is caught.value.__context__ is None
        assert (await transport(request(server.base_url))).status_code == 200
        assert len(server.requests) == 1


@METHODS
async def test_a_check_is_made_once_the_connection_is_there_and_the_request_goes_out(transport, method, content):
    seen = []

    async with RawServer.of(http()) as server:

        def check():
            seen.append(len(server.requests))

        sent = request(server.base_url, method, content=content, check=check)
        assert "check" not in repr(sent)
        assert (await transport(sent)).status_code == 200
        assert (await transport(sent)).status_code == 200
    assert seen == [0, 1]


async def test_a_check_is_not_made_where_there_is_no_connection(transport):
    with full() as port:
        await failure(
            transport, f"http://127.0.0.1:{port}/", "POST", content=b"x", check=lambda: pytest.fail("checked")
        )
