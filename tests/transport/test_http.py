from __future__ import annotations

import asyncio
import gc
import gzip
import subprocess
import sys
import threading
import warnings

import aiohttp
import pytest

from telnyx_oauth import AsyncTelnyx
from telnyx_oauth.errors import APIConnectionError, APITimeoutError, ClientClosedError
from telnyx_oauth.messages import Request, RequestInfo, Timeout
from telnyx_oauth.transport.http import HttpTransport
from tests.wire import RawServer, cut, hang, http, served, until


@pytest.fixture
async def transport():
    transport = HttpTransport()
    yield transport
    await transport.aclose()


def request(url: str, method: str = "GET", **changes) -> Request:
    return Request(method, url, RequestInfo(method, url.partition("?")[0]), **changes)


# --- an answer


async def test_an_answer_comes_back_as_a_value(transport):
    async with RawServer.of(http("201 Created", b'{"a": 1}', "X-Request-Id: r", "Set-Cookie: a=b")) as server:
        answer = await transport(
            request(f"{server.base_url}/x?q=%2F%C3%A9", "POST", headers={"X-A": "b"}, content=b"body")
        )
    assert (answer.status_code, answer.json(), answer.request_id) == (201, {"a": 1}, "r")
    assert (answer.http_version, answer.fault, answer.stream) == ("HTTP/1.1", "", None)
    (raw,) = server.requests
    assert raw.startswith(b"POST /v2/x?q=%2F%C3%A9 HTTP/1.1\r\n")
    assert raw.endswith(b"\r\n\r\nbody")
    assert b"X-A: b\r\n" in raw


async def test_the_version_is_the_servers(transport):
    async with RawServer.of(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}") as server:
        assert (await transport(request(server.base_url))).http_version == "HTTP/1.0"


async def test_a_body_that_is_compressed_is_decoded(transport):
    async with RawServer.of(http("200 OK", gzip.compress(b"{}"), "Content-Encoding: gzip")) as server:
        assert (await transport(request(server.base_url))).content == b"{}"


async def test_a_body_that_comes_in_pieces_is_whole(transport):
    async def slowly(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b'{"a"', b": ", b"1}", b""):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0)

    async with RawServer.of(slowly) as server:
        assert (await transport(request(server.base_url))).json() == {"a": 1}


async def test_connections_are_used_again(transport):
    async with RawServer.of(http()) as server:
        for _ in range(3):
            await transport(request(server.base_url))
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_no_cookie_is_kept(transport):
    async with RawServer.of(http("200 OK", b"{}", "Set-Cookie: session=planted; Path=/")) as server:
        await transport(request(server.base_url))
        await transport(request(server.base_url))
    assert b"ookie" not in server.requests[1]


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 T", "308 P"])
async def test_no_redirect_is_followed(transport, status):
    async with RawServer.of(http(status, b"", "Location: /elsewhere")) as server:
        answer = await transport(request(server.base_url, headers={"Authorization": "Bearer x"}))
    assert (answer.status_code, answer.headers["Location"]) == (int(status[:3]), "/elsewhere")
    assert len(server.requests) == 1


async def test_a_header_that_was_left_out_is_not_sent(transport):
    async with RawServer.of(http()) as server:
        await transport(request(server.base_url, "POST", content=b"x", headers={}))
        await transport(request(server.base_url, "POST", content=b"x", headers={"User-Agent": "u", "Accept": "a"}))
        await transport(request(server.base_url, headers={"User-Agent": "u", "Accept": "a"}))
    names = [{line.partition(b":")[0] for line in raw.split(b"\r\n")[1:]} for raw in server.requests]
    assert not {b"User-Agent", b"Accept", b"Content-Type"} & names[0]
    assert not {b"Content-Type"} & (names[1] | names[2])


async def test_netrc_is_never_read(transport, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login l password planted")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with RawServer.of(http()) as server:
        await transport(request(server.base_url))
    assert b"uthorization" not in server.requests[0]


# --- no answer


async def test_a_refused_connection_is_told_from_one_that_broke(transport):
    async with RawServer.of(cut) as server:
        url = server.base_url
        with pytest.raises(APIConnectionError, match="ServerDisconnectedError") as broke:
            await transport(request(url))
        assert broke.value.sent
    with pytest.raises(APIConnectionError, match="No connection") as refused:
        await transport(request(url))
    assert not refused.value.sent
    assert refused.value.__cause__ is refused.value.__context__ is None


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_one_request_is_sent_once_whatever_its_method(transport, method):
    async with RawServer.of(http(), cut) as server:
        await transport(request(server.base_url))
        with pytest.raises(APIConnectionError):
            await transport(request(server.base_url, method))
    assert len(server.requests) == 2


async def test_an_unknown_host_is_a_connection_error(transport):
    with pytest.raises(APIConnectionError, match="No connection") as caught:
        await transport(request("http://no-such-host.invalid/v2"))
    assert not caught.value.sent


async def test_an_answer_that_does_not_come_is_a_timeout(transport):
    async with RawServer.of(hang) as server:
        with pytest.raises(APITimeoutError, match="timed out") as caught:
            await transport(request(server.base_url, timeout=Timeout(0.05)))
        assert caught.value.sent
        await until(lambda: server.open == 0)


async def test_a_body_that_does_not_come_is_a_timeout_too(transport):
    async def half(reader, writer):
        writer.write(http("200 OK", b'{"a":', length=100))
        await hang(reader, writer)

    async with RawServer.of(half) as server:
        with pytest.raises(APITimeoutError):
            await transport(request(server.base_url, timeout=Timeout(0.05)))
        await until(lambda: server.open == 0)


async def test_a_connection_that_does_not_come_is_a_timeout_and_nothing_was_sent(transport):
    """A server whose queue of connections is full answers no more of them."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            with pytest.raises(APITimeoutError, match="No connection in time") as caught:
                await transport(request(f"http://127.0.0.1:{port}/", timeout=Timeout(5, 0.05)))
            assert not caught.value.sent
        finally:
            for filler in fillers:
                filler.close()


async def test_no_timeout_is_no_limit(transport):
    gate = asyncio.Event()

    async def late(reader, writer):
        await gate.wait()
        writer.write(http())

    async with RawServer.of(late) as server:
        task = asyncio.create_task(transport(request(server.base_url, timeout=Timeout(None, None))))
        await until(lambda: server.requests)
        gate.set()
        assert (await task).status_code == 200


async def test_what_is_no_http_is_a_connection_error(transport):
    async with RawServer.of(b"SSH-2.0-OpenSSH_9\r\n\r\n") as server:
        with pytest.raises(APIConnectionError, match="broke"):
            await transport(request(server.base_url))


LARGE = {
    "8,300 bytes": ["Content-Security-Policy: " + "x" * 8_300],
    "30,000 bytes": ["Content-Security-Policy: " + "x" * 30_000],
    "100,000 bytes": ["Content-Security-Policy: " + "x" * 100_000],
    "a long name": ["X" * 30_000 + ": 1"],
    "many": [f"X-{number}: 1" for number in range(400)],
    "many cookies": [f"Set-Cookie: a{number}={'x' * 4_000}" for number in range(50)],
}


@pytest.mark.parametrize("lines", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("given", [False, True], ids=["its own session", "a given session"])
async def test_large_headers_are_read(lines, given):
    name, _, value = lines[-1].partition(": ")
    async with RawServer.of(http("200 OK", b"{}", *lines)) as server, aiohttp.ClientSession() as session:
        transport = HttpTransport(http_session=session if given else None)
        answer = await transport(request(server.base_url))
        await transport.aclose()
    assert (answer.content, answer.headers.getall(name)[-1]) == (b"{}", value)


async def test_a_large_reason_is_read(transport):
    async with RawServer.of(http("200 " + "x" * 30_000)) as server:
        assert (await transport(request(server.base_url))).status_code == 200


async def test_what_is_created_is_known_however_large_the_headers_are():
    created = http("201 Created", b'{"client_secret": "s"}', *LARGE["30,000 bytes"])
    async with RawServer.of(created) as server, AsyncTelnyx(api_key="KEY", base_url=server.base_url) as client:
        assert await client.post("/oauth/clients", cast_to=object) == {"client_secret": "s"}
        assert len(server.requests) == 1


@pytest.mark.parametrize("lines", [["X: " + "a" * 300_000], ["X: 1"] * 1000], ids=["large", "many"])
async def test_headers_without_end_are_a_connection_error(transport, lines):
    async with RawServer.of(http("200 OK", b"{}", *lines)) as server:
        with pytest.raises(APIConnectionError, match="broke"):
            await transport(request(server.base_url))


@pytest.mark.parametrize(
    "answer",
    [
        http("200 OK", b'{"a":', length=100),
        http("200 OK", b"not gzip", "Content-Encoding: gzip", "Connection: close"),
    ],
    ids=["short", "no gzip"],
)
async def test_a_body_that_is_spoiled_is_told(transport, answer):
    async def spoiled(reader, writer):
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with RawServer.of(spoiled, http()) as server:
        answer = await transport(request(server.base_url))
        assert (answer.status_code, answer.content) == (200, b"")
        assert "ended early" in answer.fault
        assert (await transport(request(server.base_url))).json() == {}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_body_that_is_too_large_is_given_up(transport, encoding):
    body = b"[" + b" " * 3_000_000 + b"]"
    content = gzip.compress(body) if encoding == "gzip" else body
    async with RawServer.of(http("200 OK", content, f"Content-Encoding: {encoding}")) as server:
        answer = await transport(request(server.base_url, max_bytes=1_000_000))
        assert (answer.content, answer.fault) == (b"", "the body has more than 1000000 bytes")
        if encoding == "identity":
            await until(lambda: server.open == 0)


async def test_a_body_of_exactly_the_limit_is_taken(transport):
    async with RawServer.of(http("200 OK", b"x" * 1000)) as server:
        assert len((await transport(request(server.base_url, max_bytes=1000))).content) == 1000
        assert (await transport(request(server.base_url, max_bytes=999))).fault


async def test_a_caller_who_gives_up_leaves_nothing_behind(transport):
    async def half(reader, writer):
        writer.write(http("200 OK", b'{"a":', length=100))
        await hang(reader, writer)

    for behaviour in (hang, half):
        async with RawServer.of(behaviour) as server:
            task = asyncio.create_task(transport(request(server.base_url)))
            await until(lambda: server.requests)
            for _ in range(20):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.open == 0)


# --- a body on the wire


async def test_a_streamed_body_comes_as_it_is_sent(transport):
    gate = asyncio.Event()

    async def slowly(reader, writer):
        writer.write(http("200 OK", b"first", length=11))
        await gate.wait()
        writer.write(b"second")

    async with RawServer.of(slowly, http()) as server:
        answer = await transport(request(server.base_url, stream=True))
        assert (answer.content, answer.status_code) == (b"", 200)
        pieces = aiter(answer.stream)
        assert await anext(pieces) == b"first"
        gate.set()
        assert [piece async for piece in pieces] == [b"second"]
        await transport(request(server.base_url))
        assert server.connections == 1
        await answer.stream.aclose()
        await answer.stream.aclose()


async def test_a_streamed_body_that_is_given_up_ends_its_connection(transport):
    async def half(reader, writer):
        writer.write(http("200 OK", b"first", length=100))
        await hang(reader, writer)

    async with RawServer.of(half) as server:
        answer = await transport(request(server.base_url, stream=True))
        await answer.stream.aclose()
        await until(lambda: server.open == 0)


async def test_a_streamed_body_that_breaks_off_is_a_connection_error(transport):
    async def half(reader, writer):
        writer.write(http("200 OK", b"first", length=100))
        writer.close()

    async with RawServer.of(half) as server:
        answer = await transport(request(server.base_url, stream=True))
        with pytest.raises(APIConnectionError, match="broke") as caught:
            _ = [piece async for piece in answer.stream]
        assert caught.value.__context__ is None


async def test_a_streamed_body_that_stops_is_a_timeout(transport):
    async def half(reader, writer):
        writer.write(http("200 OK", b"first", length=100))
        await hang(reader, writer)

    async with RawServer.of(half) as server:
        answer = await transport(request(server.base_url, stream=True, timeout=Timeout(0.1)))
        with pytest.raises(APITimeoutError):
            _ = [piece async for piece in answer.stream]
        await until(lambda: server.open == 0)


async def test_an_errors_body_is_read_though_a_stream_was_asked_for(transport):
    async with RawServer.of(http("404 Not Found", b'{"error": "x"}')) as server:
        answer = await transport(request(server.base_url, stream=True))
    assert (answer.stream, answer.json()) == (None, {"error": "x"})


# --- certificates


async def test_a_private_certificate_is_trusted_only_where_it_was_given(certificates):
    async with RawServer.of(http(), tls=certificates.server) as server:
        trusting = HttpTransport(ssl_context=certificates.client)
        assert (await trusting(request(server.base_url))).status_code == 200
        await trusting.aclose()
        wary = HttpTransport()
        with pytest.raises(APIConnectionError, match="certificate is not trusted") as caught:
            await wary(request(server.base_url))
        assert not caught.value.sent
        await wary.aclose()
    assert len(server.requests) == 1


async def test_a_clients_tls_context_is_for_all_its_connections(certificates):
    tokens = http("200 OK", b'{"access_token": "t", "token_type": "Bearer", "expires_in": 1800}')
    async with (
        RawServer.of(tokens, http("200 OK", b'{"ok": true}'), tls=certificates.server) as server,
        AsyncTelnyx(
            client_id="i",
            client_secret="s",
            base_url=server.base_url,
            ssl_context=certificates.client,
            verify_issued=False,
        ) as client,
    ):
        assert await client.get("/x", cast_to=object) == {"ok": True}
    assert [each.split(b" ")[1] for each in server.requests] == [b"/v2/oauth/token", b"/v2/x"]


async def test_a_certificate_for_another_host_is_not_trusted(certificates):
    async with RawServer.of(http(), tls=certificates.server) as server:
        trusting = HttpTransport(ssl_context=certificates.client)
        with pytest.raises(APIConnectionError, match="certificate is not trusted"):
            await trusting(request(f"https://localhost:{server.port}/"))
        await trusting.aclose()


async def test_tls_with_a_server_that_speaks_none_is_a_connection_error(transport):
    async def plain(reader, writer):
        await reader.read(1)
        writer.write(http())
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(APIConnectionError, match="No connection") as caught:
            await transport(request(f"https://127.0.0.1:{port}/"))
        assert not caught.value.sent


# --- proxies


async def proxied(reader, writer):
    writer.write(http("200 OK", b'"by proxy"'))


async def test_a_given_proxy_gets_the_request(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    async with RawServer.of(proxied) as proxy:
        transport = HttpTransport(proxy=proxy.origin)
        assert (await transport(request("http://api.example/v2/x"))).json() == "by proxy"
        await transport.aclose()
    assert proxy.requests[0].startswith(b"GET http://api.example/v2/x HTTP/1.1\r\n")


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_the_environments_proxy_gets_the_request(monkeypatch, name, scheme):
    async with RawServer.of(proxied) as proxy:
        monkeypatch.setenv(name, f"{scheme}127.0.0.1:{proxy.port}")
        transport = HttpTransport()
        assert (await transport(request("http://api.example/v2/x"))).json() == "by proxy"
        assert (await transport(request("http://api.example/v2/x"))).json() == "by proxy"
        await transport.aclose()


@pytest.mark.parametrize("exempt", ["*", "exempt.invalid", "example.com,.invalid"])
async def test_no_proxy_gets_what_is_exempt(monkeypatch, exempt):
    async with RawServer.of(proxied) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        monkeypatch.setenv("NO_PROXY", exempt)
        transport = HttpTransport()
        with pytest.raises(APIConnectionError, match="No connection"):
            await transport(request("http://exempt.invalid/v2/x"))
        await transport.aclose()
    assert proxy.requests == []


async def test_the_environments_proxy_may_be_left_alone(monkeypatch):
    async with RawServer.of(proxied) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        transport = HttpTransport(trust_env=False)
        with pytest.raises(APIConnectionError, match="No connection"):
            await transport(request("http://elsewhere.invalid/v2/x"))
        await transport.aclose()
    assert proxy.requests == []


async def test_https_goes_through_a_tunnel(monkeypatch, certificates):
    async def tunnel(reader, writer):
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source, sink):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer), return_exceptions=True)

    async with RawServer.of(http(), tls=certificates.server) as server, RawServer.of(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
        transport = HttpTransport(ssl_context=certificates.client)
        url = f"https://service.example:{server.port}/x"
        answer = await transport(request(url, headers={"Authorization": "Bearer planted"}))
        assert answer.status_code == 200
        await transport.aclose()
        await until(lambda: proxy.open == 0)
        assert proxy.requests[0].startswith(f"CONNECT service.example:{server.port} ".encode())
    assert b"planted" not in b"".join(proxy.requests)


async def test_a_proxy_that_refuses_the_tunnel_is_a_connection_error_and_nothing_was_sent():
    async with RawServer.of(http("407 Proxy Authentication Required")) as proxy:
        transport = HttpTransport(proxy=f"http://user:planted@127.0.0.1:{proxy.port}")
        with pytest.raises(APIConnectionError, match="Nothing was sent") as caught:
            await transport(request("https://api.example/v2/x"))
        await transport.aclose()
    assert not caught.value.sent
    assert "planted" not in repr(caught.value)


async def test_a_proxy_that_is_not_there_is_a_connection_error():
    async with RawServer.of(proxied) as proxy:
        gone = proxy.origin
    transport = HttpTransport(proxy=gone)
    with pytest.raises(APIConnectionError, match="No connection") as caught:
        await transport(request("http://api.example/v2/x"))
    assert not caught.value.sent
    await transport.aclose()


@pytest.mark.parametrize("proxy", ["socks5://user:planted@127.0.0.1:1", "http://[::1", "ftp://x", "http://"])
async def test_a_proxy_of_a_kind_that_cannot_be_used_is_told_without_its_password(proxy):
    with pytest.raises(ValueError, match="proxy") as caught:
        HttpTransport(proxy=proxy)
    assert "planted" not in repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("proxy", ["socks5://user:planted@127.0.0.1:1", "http://[::1", "ftp://x"])
async def test_an_environments_proxy_that_cannot_be_used_is_told_without_its_password(monkeypatch, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    transport = HttpTransport()
    with pytest.raises(APIConnectionError, match="HTTP_PROXY") as caught:
        await transport(request("http://api.example/v2/x"))
    assert not caught.value.sent
    assert "planted" not in repr(caught.value)
    await transport.aclose()


# --- a session of the user's own


async def test_a_given_session_is_used_and_never_closed():
    async with RawServer.of(http()) as server, aiohttp.ClientSession(headers={"X-Theirs": "yes"}) as session:
        transport = HttpTransport(http_session=session)
        await transport(request(server.base_url))
        assert not transport.is_open
        await transport.aclose()
        assert not session.closed
        assert b"X-Theirs: yes" in server.requests[0]


async def test_a_given_session_goes_where_it_would_go(monkeypatch):
    async with RawServer.of(proxied) as proxy, RawServer.of(http()) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        async with aiohttp.ClientSession() as session:
            assert (await HttpTransport(http_session=session)(request(server.base_url))).json() == {}
        async with aiohttp.ClientSession(proxy=proxy.origin) as session:
            assert (await HttpTransport(http_session=session)(request("http://api.example/"))).json() == "by proxy"
        async with aiohttp.ClientSession(trust_env=True) as session:
            assert (await HttpTransport(http_session=session)(request("http://api.example/"))).json() == "by proxy"
        async with aiohttp.ClientSession() as session:
            explicit = HttpTransport(http_session=session, proxy=proxy.origin)
            assert (await explicit(request("http://api.example/"))).json() == "by proxy"


async def test_a_given_session_that_raises_for_statuses_does_not_do_so_for_us():
    async with (
        RawServer.of(http("404 Not Found")) as server,
        aiohttp.ClientSession(raise_for_status=True) as session,
    ):
        assert (await HttpTransport(http_session=session)(request(server.base_url))).status_code == 404


async def test_a_given_session_that_is_closed_says_so():
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(ClientClosedError, match="session"):
        await HttpTransport(http_session=session)(request("http://127.0.0.1:1/"))


async def test_a_given_sessions_middlewares_may_be_left_out():
    async def middleware(req, handler):
        req.headers["X-Middleware"] = "yes"
        return await handler(req)

    async with RawServer.of(http()) as server, aiohttp.ClientSession(middlewares=(middleware,)) as session:
        await HttpTransport(http_session=session)(request(server.base_url))
        await HttpTransport(http_session=session, middlewares=False)(request(server.base_url))
    assert [b"X-Middleware" in each for each in server.requests] == [True, False]


# --- its life


async def test_a_loop_that_has_closed_its_generators_and_goes_on_gets_new_connections(transport):
    async with RawServer.of(http()) as server:
        await transport(request(server.base_url))
        await transport._sessions[asyncio.get_running_loop()].guard.aclose()
        assert (await transport(request(server.base_url))).status_code == 200
        assert server.connections == 2


async def test_a_closed_transport_says_so(transport):
    async with RawServer.of(http()) as server:
        assert not transport.is_open
        await transport(request(server.base_url))
        assert transport.is_open
        await transport.aclose()
        await transport.aclose()
        assert not transport.is_open
        with pytest.raises(ClientClosedError):
            await transport(request(server.base_url))
        await until(lambda: server.open == 0)


async def test_it_may_be_closed_by_several_at_once(transport):
    async with RawServer.of(http()) as server:
        await transport(request(server.base_url))
        await asyncio.gather(*[transport.aclose() for _ in range(3)])
        assert not transport.is_open
        await until(lambda: server.open == 0)


async def test_calls_under_way_end_when_it_is_closed(transport):
    async with RawServer.of(hang) as server:
        task = asyncio.create_task(transport(request(server.base_url)))
        await until(lambda: server.requests)
        await transport.aclose()
        with pytest.raises(APIConnectionError):
            await task


def test_each_loop_has_connections_of_its_own_and_ends_them():
    with served(http()) as server:
        transport = HttpTransport()

        async def use():
            answer = await transport(request(server.base_url))
            assert transport.is_open
            return answer.status_code

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert [asyncio.run(use()), asyncio.run(use())] == [200, 200]
            assert not transport.is_open
            gc.collect()
        assert server.connections == 2


def test_closing_ends_the_connections_of_another_loop_that_runs():
    with served(http()) as server:
        transport = HttpTransport()
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def use():
            return (await transport(request(server.base_url))).status_code

        assert asyncio.run_coroutine_threadsafe(use(), loop).result(5) == 200
        assert server.open == 1

        async def close():
            await transport.aclose()
            await until(lambda: server.open == 0)

        asyncio.run(close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_closing_leaves_a_loop_that_stands_still_to_end_its_own():
    with served(http()) as server:
        transport = HttpTransport()
        loop = asyncio.new_event_loop()

        async def use():
            return (await transport(request(server.base_url))).status_code

        assert loop.run_until_complete(use()) == 200
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            asyncio.run(transport.aclose())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            gc.collect()


FORK = """
import asyncio, os, sys
from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.transport.http import HttpTransport

transport = HttpTransport()

async def get():
    assert (await transport(Request("GET", sys.argv[1], RequestInfo("GET", "/")))).status_code == 200

async def again():
    await get()
    if sys.argv[2] == "close":
        await transport.aclose()

loop = asyncio.new_event_loop()
loop.run_until_complete(get())
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    loop.run_until_complete(get())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
else:
    assert not transport.is_open
    asyncio.run(again())
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code, *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("end", ["close", "leave"])
def test_a_forked_child_has_connections_of_its_own(end):
    with served(http()) as server:
        done = run(FORK, server.base_url, end)
        assert (done.stderr, done.returncode) == ("", 0)
        # One in the parent, which is still good after the fork, and one in the child.
        assert (server.connections, len(server.requests)) == (2, 3)


# --- who says what stands in `Authorization`


def authorizations(server: RawServer) -> list[bytes | None]:
    """What each request that a server got has there."""
    found: list[bytes | None] = []
    for raw in server.requests:
        lines = [line for line in raw.split(b"\r\n") if line.lower().startswith(b"authorization:")]
        assert len(lines) < 2
        found.append(lines[0].partition(b": ")[2] if lines else None)
    return found


async def signing(req, handler):
    """A middleware that has credentials of its own."""
    req.headers["Authorization"] = "Bearer theirs"
    return await handler(req)


def with_auth() -> aiohttp.ClientSession:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return aiohttp.ClientSession(auth=aiohttp.BasicAuth("u", "p"))


THEIRS = {
    "nothing": aiohttp.ClientSession,
    "auth": with_auth,
    "a header": lambda: aiohttp.ClientSession(headers={"authorization": "Bearer theirs"}),
    "a middleware": lambda: aiohttp.ClientSession(middlewares=(signing,)),
    "netrc": lambda: aiohttp.ClientSession(trust_env=True),
}


@pytest.mark.parametrize("make", THEIRS.values(), ids=THEIRS)
@pytest.mark.parametrize("plain", [True, False], ids=["a plain session", "a session of another make"])
async def test_nothing_but_the_client_says_what_stands_in_authorization(make, plain, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login l password planted")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    token = http("200 OK", b'{"access_token": "t", "token_type": "Bearer", "expires_in": 1800}')
    keys, clients = http("200 OK", b'{"keys": []}'), http("200 OK", b'{"data": []}')
    async with make() as session:
        if not plain:
            await session.connector.close()
            session._connector = type("Other", (aiohttp.TCPConnector,), {})()
        async with RawServer.of(keys, token, clients, clients, clients) as server:
            async with AsyncTelnyx(
                client_id="i", client_secret="s", base_url=server.base_url, http_session=session, verify_issued=False
            ) as client:
                await client.oauth.retrieve_jwks()
                await client.oauth_clients.list()
                await client.oauth_clients.list(extra_headers={"authorization": "Bearer mine"})
            async with AsyncTelnyx(api_key="KEY", base_url=server.base_url, http_session=session) as client:
                await client.oauth_clients.list()
        assert authorizations(server) == [None, b"Basic aTpz", b"Bearer t", b"Bearer mine", b"Bearer KEY"]


async def test_a_given_sessions_middleware_sees_what_is_sent():
    seen = []

    async def looking(req, handler):
        seen.append(req.headers.get("Authorization"))
        return await handler(req)

    async with (
        RawServer.of(http()) as server,
        aiohttp.ClientSession(middlewares=(looking,)) as session,
        AsyncTelnyx(api_key="KEY", base_url=server.base_url, http_session=session) as client,
    ):
        await client.get("/x", cast_to=object)
    assert seen == ["Bearer KEY"]
