from __future__ import annotations

import asyncio
from functools import partial

import attrs
import pytest

from telnyx_oauth.errors import APIResponseValidationError, NotFoundError
from telnyx_oauth.messages import Request, Response, headers
from telnyx_oauth.pagination import AsyncDefaultFlatPagination
from telnyx_oauth.protocol.credentials import Credentials
from tests.operations import BY_NAME, OPERATIONS
from tests.wire import RawServer, Script, hang, http, reply, resources, until

JWKS = BY_NAME["oauth.retrieve_jwks"]


class Wire:
    """A body on the wire, in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.given = 0
        self.closed = 0

    async def __aiter__(self):
        for piece in self.pieces:
            await asyncio.sleep(0)
            self.given += 1
            yield piece

    async def aclose(self) -> None:
        self.closed += 1


def streaming(*pieces: bytes, content_type: str = "application/json") -> tuple[Script, Wire]:
    wire = Wire(*pieces)
    return Script(Response(200, headers(("Content-Type", content_type)), stream=wire)), wire


def streamed(send: Script):
    return JWKS.method_of(resources(send), "with_streaming_response")()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_operation_gives_a_raw_response(operation):
    send = Script(operation.response)
    raw = await operation.method_of(resources(send), "with_raw_response")(*operation.arguments, **operation.given())
    assert (raw.status_code, raw.request_id, raw.method) == (operation.status, "request-1", operation.method)
    assert (raw.url, raw.http_version, raw.retries_taken) == (send.requests[0].url, "HTTP/1.1", 0)
    assert (raw.headers["x-request-id"], raw.is_closed) == ("request-1", True)
    assert await raw.read() == operation.response().content
    assert await raw.text() == operation.response().text()
    if not isinstance(operation.answer, str) and operation.answer is not None:
        assert await raw.json() == operation.answer
    parsed = await raw.parse()
    expected = await operation.call(resources(Script(operation.response)))
    if operation.lists:
        assert isinstance(parsed, AsyncDefaultFlatPagination)
        assert (parsed.data, parsed.meta) == (expected.data, expected.meta)
    else:
        assert parsed == expected
    assert not send.requests[0].stream


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_operation_gives_a_stream(operation):
    send = Script(operation.response)
    manager = operation.method_of(resources(send), "with_streaming_response")(
        *operation.arguments, **operation.given(), extra_headers={"X-A": "b"}
    )
    assert send.requests == []
    async with manager as raw:
        assert raw.status_code == operation.status
        await raw.parse()
    assert send.requests[0].stream
    assert send.requests[0].headers["X-A"] == "b"


async def test_the_request_that_was_sent_can_be_looked_at_and_shows_no_secret_by_itself(secrets):
    send = Script(BY_NAME["oauth.introspect"].response)
    raw = await resources(send, Credentials(secrets.api_key)).oauth.with_raw_response.introspect(
        token=secrets.access_token
    )
    sent = raw.http_request
    assert (sent.method, sent.url, sent.headers["Authorization"]) == ("POST", raw.url, f"Bearer {secrets.api_key}")
    assert sent.content == f"token={secrets.access_token}".encode()
    assert secrets.found_in(repr(sent), str(sent), repr(raw)) == []


async def test_a_raw_list_goes_on_over_its_pages():
    first = reply(200, b'{"data": [], "meta": {"page_number": 1, "total_pages": 1}}')
    raw = await resources(Script(first)).oauth_grants.with_raw_response.list()
    assert [each async for each in await raw.parse()] == []


async def test_a_raw_response_is_there_for_what_cannot_be_parsed():
    raw = await JWKS.method_of(resources(Script(reply(200, b"<html>"))), "with_raw_response")()
    assert await raw.text() == "<html>"
    with pytest.raises(ValueError, match="Expecting value"):
        await raw.json()
    with pytest.raises(APIResponseValidationError):
        await raw.parse()


async def test_a_refusal_is_raised_in_every_form():
    for view in ("with_raw_response", "with_streaming_response"):
        answer = JWKS.method_of(resources(Script(reply(404, b'{"error": "x"}'))), view)()
        with pytest.raises(NotFoundError):
            await (answer if view == "with_raw_response" else answer.__aenter__())


async def test_a_streamed_body_can_be_read_whole_and_then_again():
    send, wire = streaming(b'{"keys', b'": []}')
    async with streamed(send) as raw:
        assert not raw.is_closed
        assert await raw.read() == await raw.read() == b'{"keys": []}'
        assert raw.is_closed
        assert (await raw.parse()).keys == []
        assert await raw.json() == {"keys": []}
        assert [piece async for piece in raw.iter_bytes()] == [b'{"keys": []}']
    assert wire.closed <= 1


async def test_a_streamed_body_is_read_whole_up_to_the_size_that_a_plain_call_takes(monkeypatch):
    monkeypatch.setattr("telnyx_oauth.protocol.requests.Request", partial(Request, max_bytes=12))
    for how in ("read", "text", "json", "parse"):
        send, wire = streaming(b'{"keys', b'": []}')
        async with streamed(send) as raw:
            assert await getattr(raw, how)()
        send, wire = streaming(b'{"keys', b'": []} ', b"more", b"and more")
        async with streamed(send) as raw:
            for _ in range(2):
                with pytest.raises(APIResponseValidationError, match="more than 12 bytes") as caught:
                    await getattr(raw, how)()
            assert (raw.is_closed, wire.closed, wire.given) == (True, 1, 2)
            assert (caught.value.response.stream, caught.value.status_code) == (None, 200)
            with pytest.raises(APIResponseValidationError):
                _ = [piece async for piece in raw.iter_bytes()]


async def test_a_stream_that_is_gone_over_has_no_bound(monkeypatch):
    monkeypatch.setattr("telnyx_oauth.protocol.requests.Request", partial(Request, max_bytes=1))
    send, _ = streaming(b"abc", b"def")
    async with streamed(send) as raw:
        assert [piece async for piece in raw.iter_bytes(2)] == [b"ab", b"cd", b"ef"]


async def test_a_raw_body_that_did_not_come_whole_is_not_taken_for_an_empty_one():
    send = Script(attrs.evolve(reply(200, b""), fault="the body has more than 12 bytes"))
    raw = await JWKS.method_of(resources(send), "with_raw_response")()
    for how in (raw.read, raw.text, raw.json, raw.parse):
        with pytest.raises(APIResponseValidationError, match="more than 12 bytes"):
            await how()
    with pytest.raises(APIResponseValidationError, match="more than 12 bytes"):
        _ = [piece async for piece in raw.iter_text()]


async def test_what_needs_no_body_is_parsed_whatever_the_body_is():
    operation = BY_NAME["oauth_clients.delete"]
    send = Script(attrs.evolve(reply(204, b""), fault="the body has more than 12 bytes"))
    raw = await operation.method_of(resources(send), "with_raw_response")(*operation.arguments)
    assert await raw.parse() is None


async def test_a_streamed_body_comes_once():
    send, wire = streaming(b"a", b"b")
    async with streamed(send) as raw:
        assert [piece async for piece in raw.iter_bytes()] == [b"a", b"b"]
        assert raw.is_closed
        for again in (raw.read, raw.text, raw.json, raw.parse):
            with pytest.raises(RuntimeError, match="read already"):
                await again()
        with pytest.raises(RuntimeError, match="read already"):
            _ = [piece async for piece in raw.iter_bytes()]
    assert wire.closed == 1


async def test_a_stream_that_was_left_says_so():
    send, wire = streaming(b"a", b"b")
    async with streamed(send) as raw:
        pass
    assert (raw.is_closed, wire.closed) == (True, 1)
    with pytest.raises(RuntimeError, match="closed"):
        await raw.read()
    await raw.close()


async def test_leaving_by_an_error_closes_it_too():
    send, wire = streaming(b"a", b"b")
    with pytest.raises(KeyError):
        async with streamed(send):
            raise KeyError
    assert wire.closed == 1


@pytest.mark.parametrize(
    "size, pieces", [(1, ["a", "b", "c", "d", "e"]), (2, ["ab", "cd", "e"]), (9, ["abcde"]), (5, ["abcde"])]
)
async def test_pieces_can_be_of_one_size(size, pieces):
    send, _ = streaming(b"a", b"bcd", b"e")
    async with streamed(send) as raw:
        assert [piece.decode() async for piece in raw.iter_bytes(size)] == pieces
    raw = await JWKS.method_of(resources(Script(reply(200, b"abcde"))), "with_raw_response")()
    assert [piece.decode() async for piece in raw.iter_bytes(size)] == pieces


@pytest.mark.parametrize("size", [0, -1])
async def test_a_size_that_is_none_is_refused(size):
    send, _ = streaming(b"a")
    async with streamed(send) as raw:
        with pytest.raises(ValueError, match="chunk_size"):
            _ = [piece async for piece in raw.iter_bytes(size)]


async def test_text_is_decoded_across_pieces():
    content = "aé€😀".encode()
    send, _ = streaming(*(content[index : index + 1] for index in range(len(content))))
    async with streamed(send) as raw:
        assert [text async for text in raw.iter_text()] == ["a", "é", "€", "😀"]
    send, _ = streaming("é".encode("latin-1"), content_type="text/plain; charset=latin-1")
    async with streamed(send) as raw:
        assert [text async for text in raw.iter_text()] == ["é"]
    send, _ = streaming("€".encode()[:2])
    async with streamed(send) as raw:
        assert [text async for text in raw.iter_text()] == ["�"]


@pytest.mark.parametrize(
    "pieces, lines",
    [
        ((b"a\nb\r\nc",), ["a", "b", "c"]),
        ((b"a", b"b\n", b"\n", b"c\n"), ["ab", "", "c"]),
        ((b"a\r", b"\nb"), ["a", "b"]),
        ((), []),
    ],
)
async def test_lines_come_without_their_ends(pieces, lines):
    send, _ = streaming(*pieces)
    async with streamed(send) as raw:
        assert [line async for line in raw.iter_lines()] == lines


async def test_its_repr_tells_status_and_address_without_the_query():
    operation = BY_NAME["oauth.retrieve_authorize"]
    raw = await operation.method_of(resources(Script(operation.response)), "with_raw_response")(**operation.given())
    assert repr(raw) == "<AsyncAPIResponse [200] GET https://api.telnyx.com/v2/oauth/authorize>"


async def test_leaving_a_real_stream_early_ends_its_connection_and_reading_it_to_the_end_keeps_it():
    from telnyx_oauth.transport.http import HttpTransport

    async def half(reader, writer):
        writer.write(http("200 OK", b"first", length=100))
        await hang(reader, writer)

    async with RawServer.of(http("200 OK", b'{"keys": []}'), http(), half) as server:
        transport = HttpTransport()
        client = resources(transport, base_url=server.base_url)
        async with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            assert (await raw.parse()).keys == []
        async with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            assert [piece async for piece in raw.iter_bytes()] == [b"{}"]
        async with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            async for piece in raw.iter_bytes():
                assert piece == b"first"
                break
        await until(lambda: server.open == 0)
        assert server.connections == 1
        await transport.aclose()


async def test_a_stream_of_the_sandboxes_transport_is_the_same():
    from telnyx_oauth.sandbox import Sandbox

    sandbox = Sandbox()
    client = resources(sandbox.send, base_url=f"{sandbox.root_url}/v2")
    async with client.oauth.with_streaming_response.retrieve_jwks() as raw:
        assert len((await raw.parse()).keys) == 1


async def test_attempts_before_a_stream_are_counted():
    wire = Wire(b"{}")
    send = Script(reply(500), attrs.evolve(reply(200, b""), stream=wire))
    async with streamed(send) as raw:
        assert (raw.retries_taken, await raw.read()) == (1, b"{}")
