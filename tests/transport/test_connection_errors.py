"""All that aiohttp raises becomes an error of ours, which holds no credential."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import warnings

import aiohttp
import pytest
from aiohttp.http import HttpProcessingError

from telnyx_oauth import AsyncTelnyx
from telnyx_oauth.errors import APIConnectionError, TokenError
from telnyx_oauth.messages import Request, RequestInfo, Timeout
from telnyx_oauth.transport.http import HttpTransport
from tests.transport.test_response_body import keys_streamed
from tests.wire import RawServer, cut, http

PLANTED = "planted-secret"


def request(url: str, method: str = "GET", **changes) -> Request:
    changes.setdefault("headers", {"Authorization": f"Bearer {PLANTED}"})
    return Request(method, url, RequestInfo("GET", "/x"), **changes)


async def failure(sent: Request, **options) -> APIConnectionError:
    transport = HttpTransport(**options)
    try:
        with pytest.raises(APIConnectionError) as caught:
            await transport(sent)
    finally:
        await transport.aclose()
    error = caught.value
    assert error.__cause__ is error.__context__ is None
    assert PLANTED not in repr((error, error.args, error.__dict__))
    return error


BAD = {
    "a label that is empty": {"url": f"https://api..example/?q={PLANTED}"},
    "a label that is too long": {"url": f"https://{'a' * 64}.example/"},
    "no host": {"url": "https:///x"},
    "another scheme": {"url": "ftp://api.example/"},
    "a host of IPv6 that is none": {"url": "https://[::g]/"},
    "a port that is none": {"url": "https://api.example:99999/"},
    "a method that is none": {"url": "https://api.example/", "method": f"GE {PLANTED}"},
    "a header with a line break": {"url": "HERE", "headers": {"X": f"{PLANTED}\n"}},
    "a header that is no text": {"url": "HERE", "headers": {"X": {PLANTED}}},
    "credentials twice": {"url": f"http://u:{PLANTED}@api.example/"},
}


@pytest.mark.parametrize("given", [False, True], ids=["its own session", "a given session"])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_what_aiohttp_cannot_send_is_an_error_of_ours(bad, given):
    async with RawServer.of(http()) as server, aiohttp.ClientSession() as session:
        sent = request(**{**bad, "url": bad["url"].replace("HERE", server.base_url)})
        await failure(sent, http_session=session if given else None)
        assert server.requests == []


async def test_a_given_sessions_own_settings_that_cannot_be_used_are_an_error_of_ours():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        sessions = [
            aiohttp.ClientSession(proxy=f"http://u:{PLANTED}€@proxy.example"),
            aiohttp.ClientSession(proxy=f"socks5://u:{PLANTED}@proxy.example"),
            aiohttp.ClientSession(auth=aiohttp.BasicAuth("u", PLANTED), headers={"Authorization": PLANTED}),
        ]
    for session in sessions:
        async with session:
            await failure(request("http://api.example/"), http_session=session)


class UnreadableError(HttpProcessingError):
    def __init__(self, words):
        super().__init__(message=words)


@pytest.mark.parametrize(
    "kind",
    [
        ValueError,
        UnicodeError,
        KeyError,
        RuntimeError,
        AssertionError,
        TypeError,
        AttributeError,
        OverflowError,
        BufferError,
        EOFError,
        UnreadableError,
    ],
)
async def test_what_comes_out_of_a_sessions_parts_is_an_error_of_ours(kind):
    async def middleware(req, handler):
        raise kind(PLANTED)

    async with aiohttp.ClientSession(middlewares=(middleware,)) as session:
        assert kind.__name__ in str(await failure(request("http://api.example/"), http_session=session))


async def test_an_error_of_ours_stays_what_it_is():
    async def middleware(req, handler):
        raise TokenError("no token")

    async with aiohttp.ClientSession(middlewares=(middleware,)) as session:
        with pytest.raises(TokenError, match="no token"):
            await HttpTransport(http_session=session)(request("http://api.example/"))


# --- the operating system's words


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["one address", "several"])
async def test_a_refused_connection_says_so(host):
    error = await failure(request(f"http://{host}:{closed_port()}/"))
    assert "No connection: Connection refused." in str(error)
    assert "Connect call failed" not in str(error)


async def test_a_proxy_that_refuses_the_connection_says_so():
    error = await failure(request("http://api.example/"), proxy=f"http://127.0.0.1:{closed_port()}")
    assert "No connection: Connection refused." in str(error)


@pytest.mark.parametrize("number", [101, 113, 110], ids=os.strerror)
async def test_another_failure_to_connect_has_the_systems_words(number, monkeypatch):
    async def connect(*_):
        raise OSError(number, "Connect call failed ('192.0.2.1', 443)")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", connect)
    error = await failure(request("http://192.0.2.1/"))
    assert os.strerror(number) in str(error)
    assert "Connect call" not in str(error)


async def test_a_name_without_an_address_says_so():
    assert "No connection: Name or service not known." in str(await failure(request("http://nowhere.invalid/")))


async def test_a_connection_that_was_reset_says_so():
    async def reset(reader, writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with RawServer.of(reset) as server:
        assert "Connection reset by peer" in str(await failure(request(server.base_url)))


async def test_a_certificate_that_is_not_trusted_says_why(certificates):
    async with RawServer.of(http(), tls=certificates.server) as server:
        error = await failure(request(server.base_url))
        assert "certificate is not trusted: unable to get local issuer certificate." in str(error)
        error = await failure(request(f"https://localhost:{server.port}/"), ssl_context=certificates.client)
        assert "certificate is not trusted: Hostname mismatch" in str(error)
    assert isinstance(certificates.client, ssl.SSLContext)


async def test_authorities_that_a_program_names_before_its_first_call_are_trusted(certificates, monkeypatch):
    transport = HttpTransport()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    async with RawServer.of(http(), http(), tls=certificates.server) as server:
        assert (await transport(request(server.base_url))).status_code == 200
        await transport.aclose()
        monkeypatch.delenv("SSL_CERT_FILE")
        error = await failure(request(server.base_url))
        assert "certificate is not trusted" in str(error), "and no longer than they are named"


# --- a connection that breaks inside the body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_connection_that_breaks_inside_the_body_is_a_connection_error(stream):
    async def half(reader, writer):
        writer.write(http("200 OK", b'{"keys": [', length=100))
        await writer.drain()
        await cut(reader, writer)

    async with (
        RawServer.of(half) as server,
        AsyncTelnyx(api_key="KEY", base_url=server.base_url, max_retries=0, timeout=Timeout(5)) as client,
    ):
        with pytest.raises(APIConnectionError) as caught:
            await (keys_streamed(client) if stream else client.oauth.retrieve_jwks())
    assert caught.value.sent
