"""A body is whole once its framing and its coding have both ended; a coding that cannot be read is named."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import zlib

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth import AsyncTelnyx
from telnyx_oauth.errors import APIConnectionError, APIResponseValidationError
from telnyx_oauth.messages import ENDED_EARLY, Request, RequestInfo, headers
from telnyx_oauth.protocol.secret import Secret
from telnyx_oauth.transport.http import HttpTransport
from telnyx_oauth.transport.response_body import Decoder, coding_of, decode_body
from tests.wire import RawServer, http

BODY = b'{"keys": [' + b", ".join(b'{"kid": "%d"}' % number for number in range(500)) + b"]}"


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


CODED = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "x-gzip": ("x-gzip", gzip.compress(BODY)),
    "GZIP": ("GZIP", gzip.compress(BODY)),
    "two members": ("gzip", gzip.compress(BODY[:100]) + gzip.compress(BODY[100:])),
    "deflate": ("deflate", zlib.compress(BODY)),
    "deflate without a header": ("deflate", raw_deflate(BODY)),
    "identity": ("identity", BODY),
    "gzip and identity": ("identity, gzip", gzip.compress(BODY)),
}
coded = pytest.mark.parametrize(("coding", "content"), CODED.values(), ids=CODED)


def request(url: str, **changes) -> Request:
    return Request("GET", url, RequestInfo("GET", url), **changes)


async def asked(*behaviours, stream: bool = False, given: bool = False):
    """The answer and the body that comes of it, or the error."""
    async with RawServer.of(*behaviours) as server, aiohttp.ClientSession() as session:
        transport = HttpTransport(http_session=session if given else None)
        try:
            answer = await transport(request(server.base_url, stream=stream))
            if answer.stream is None:
                return answer.fault or answer.content
            return b"".join([piece async for piece in answer.stream])
        except APIConnectionError as error:
            return error
        finally:
            await transport.aclose()


async def keys_streamed(client: AsyncTelnyx) -> object:
    async with client.oauth.with_streaming_response.retrieve_jwks() as answer:
        return await answer.parse()


@coded
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("given", [False, True], ids=["its own session", "a given session"])
async def test_a_body_is_read_in_each_coding(coding, content, stream, given):
    assert await asked(http("200 OK", content, f"Content-Encoding: {coding}"), stream=stream, given=given) == BODY


@pytest.mark.parametrize("coding", ["gzip", "deflate", "deflate without a header", "two members"])
@pytest.mark.parametrize("lost", [1, 8, 9, 30])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_body_whose_coding_has_not_ended_is_not_whole(coding, lost, stream):
    name, content = CODED[coding]
    found = await asked(http("200 OK", content[:-lost], f"Content-Encoding: {name}"), stream=stream)
    if stream:
        assert isinstance(found, APIConnectionError)
        assert "broke inside" in str(found)
    else:
        assert found == ENDED_EARLY


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(BODY)[:-8] + b"\0" * 8,
        gzip.compress(BODY) + b"more",
        b"\x1f",
        zlib.compress(BODY) + b"more",
    ],
    ids=["wrong checksum", "more after the end", "one byte", "more after a deflate stream"],
)
async def test_a_body_that_is_coded_wrongly_is_spoiled(content):
    coding = "deflate" if content[:1] == b"\x78" else "gzip"
    assert await asked(http("200 OK", content, f"Content-Encoding: {coding}")) == ENDED_EARLY


async def test_a_body_of_no_bytes_is_whole_in_any_coding():
    for coding in ("gzip", "deflate", "br"):
        assert await asked(http("200 OK", b"", f"Content-Encoding: {coding}")) == b""


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "x\x1b[31m", "é"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_coding_that_cannot_be_read_is_named_and_asked_for_once(coding, stream):
    async with (
        RawServer.of(http("200 OK", b"\x0b\x02\x80{}\x03", f"Content-Encoding: {coding}")) as server,
        AsyncTelnyx(api_key="KEY", base_url=server.base_url) as client,
    ):
        with pytest.raises(APIResponseValidationError, match="Content-Encoding is") as caught:
            await (keys_streamed(client) if stream else client.oauth.retrieve_jwks())
        assert len(server.requests) == 1
        assert b"accept-encoding: gzip, deflate\r\n" in server.requests[0].lower()
    if coding.isascii() and coding.isprintable():
        assert f"Content-Encoding is {coding}," in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("coding", ["gzip, chunked", "deflate,chunked", "x-odd, chunked"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_transfer_coding_that_cannot_be_read_is_named_and_asked_for_once(coding, stream):
    packed = gzip.compress(BODY)
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
    answer = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n".encode() + body
    async with (
        RawServer.of(answer) as server,
        AsyncTelnyx(api_key="KEY", base_url=server.base_url) as client,
    ):
        with pytest.raises(APIResponseValidationError) as caught:
            await (keys_streamed(client) if stream else client.oauth.retrieve_jwks())
        assert len(server.requests) == 1
    assert f"Transfer-Encoding is {coding.replace(',c', ', c')}, and only chunked can be read" in str(caught.value)


async def test_a_coded_body_never_grows_beyond_its_limit():
    bomb = gzip.compress(b"\0" * 50_000_000)
    async with RawServer.of(http("200 OK", bomb, "Content-Encoding: gzip")) as server:
        transport = HttpTransport()
        answer = await transport(request(server.base_url, max_bytes=1_000_000))
        await transport.aclose()
    assert (answer.content, answer.fault) == (b"", "the body has more than 1000000 bytes")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_body_that_ends_with_its_connection_is_whole_only_where_that_was_closed(stream, reset):
    async def answer(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY)
        await writer.drain()
        for _ in range(50):  # a reset throws away what the other side has not read
            await asyncio.sleep(0)
        if reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()

    found = await asked(answer, stream=stream)
    if not reset:
        assert found == BODY
    elif stream:
        assert isinstance(found, APIConnectionError)
    else:
        assert found == ENDED_EARLY


# --- the rule


@given(st.binary(), st.sampled_from(["gzip", "deflate"]), st.data())
def test_every_body_comes_back_and_no_part_of_it_counts_as_whole(body, coding, data):
    content = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    assert decode_body(Secret(content), coding, len(body)) == (body, "")
    cut = data.draw(st.integers(1, len(content) - 1))
    assert decode_body(Secret(content[:cut]), coding, len(body) + 1) == (b"", ENDED_EARLY)
    decoder = Decoder(coding)
    pieces = [piece for part in (content[:cut], content[cut:]) for piece in decoder.pieces(Secret(part))]
    assert (b"".join(pieces), decoder.has_ended) == (body, True)


@given(st.binary(min_size=1), st.sampled_from(["gzip", "deflate"]))
def test_no_bytes_make_a_decoder_raise(content, coding):
    found, fault = decode_body(Secret(content), coding, 1000)
    assert fault in ("", ENDED_EARLY)
    assert found == b"" or not fault


def test_a_body_larger_than_a_piece_is_decoded_whole():
    body = bytes(200_000) + BODY
    assert decode_body(Secret(gzip.compress(body)), "gzip", len(body)) == (body, "")
    assert decode_body(Secret(gzip.compress(body)), "gzip", len(body) - 1)[0] == b""


def test_codings_of_several_headers_are_one_list():
    assert coding_of(headers(("Content-Encoding", "br"), ("content-encoding", "GZIP, identity"))) == "br, gzip"
    assert coding_of(headers()) == ""
