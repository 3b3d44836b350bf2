"""Response bodies: reading and decoding, whole or as a stream."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

import aiohttp
from aiohttp.hdrs import CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING

from ..errors import APIConnectionError
from ..messages import ENDED_EARLY, Request, RequestInfo, Response
from ..protocol.secret import Secret
from .connection_errors import RAISED, connection_error

ACCEPTED: Final = "gzip, deflate"
_GZIP: Final = 16 + zlib.MAX_WBITS
_PIECE: Final = 64 * 1024
_NAMED: Final = re.compile(r"[A-Za-z0-9._+\-]+(?:, ?[A-Za-z0-9._+\-]+)*")


class Decoder:
    """Decodes one body, piece by piece. Never raises: a traceback would include frames that hold the body."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding != "deflate"
        self._inner = zlib.decompressobj(_GZIP) if self._is_gzip else None
        self._begun = False
        self.spoiled = False

    @property
    def has_ended(self) -> bool:
        """`True` once the coding has ended, checksum included, and for an empty body."""
        return not self._begun or (not self.spoiled and self._inner is not None and self._inner.eof)

    def pieces(self, data: Secret[bytes]) -> Iterator[bytes]:
        """Decode some more of the body. Yields at most 64 KiB at once."""
        while data.plain:
            piece = self._next(data)
            data = self._left()
            if piece.plain:
                yield piece.plain
            while len(piece.plain) == _PIECE and not data.plain:  # zlib may hold more decoded bytes
                piece = self._next(data)
                data = self._left()
                if piece.plain:
                    yield piece.plain

    def _next(self, data: Secret[bytes]) -> Secret[bytes]:
        if self._inner is None:
            # RFC 9110 section 8.4.1.2: deflate is the zlib format. Some servers send it without zlib's header, whose first
            # byte ends in method 8.
            has_header = data.plain[0] & 0x0F == 8
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        elif self._inner.eof and data.plain:
            # RFC 1952 section 2.2: a gzip file is a series of members. After a deflate stream there is nothing.
            self.spoiled = self.spoiled or not self._is_gzip
            self._inner = zlib.decompressobj(_GZIP)
        self._begun = True
        if not self.spoiled:
            try:
                return Secret(self._inner.decompress(data.plain, _PIECE))
            except zlib.error:
                self.spoiled = True
        return Secret(b"")

    def _left(self) -> Secret[bytes]:
        if self.spoiled or self._inner is None:
            return Secret(b"")
        return Secret(self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail)


def coding_of(headers: Mapping[str, str]) -> str:
    """The body's content coding in lower case; an empty string if it has none."""
    return _codings(headers, "content-encoding")


def _codings(headers: Mapping[str, str], header: str) -> str:
    values = [value for name, value in headers.items() if name.lower() == header]
    codings = [each.strip().lower() for each in ",".join(values).split(",")]
    return ", ".join(each for each in codings if each not in ("", "identity"))


def unreadable(coding: str) -> str:
    """The fault of a body whose content coding is not supported; an empty string for others."""
    if coding in ("", "gzip", "x-gzip", "deflate"):
        return ""
    return f"the body's Content-Encoding is {_label(coding)}, and only gzip and deflate can be read"


def unreadable_transfer(headers: Mapping[str, str]) -> str:
    """The fault of a body in a transfer coding that aiohttp does not decode (RFC 9112 section 7); an empty string for others."""
    coding = _codings(headers, "transfer-encoding")
    return (
        ""
        if coding in ("", "chunked")
        else f"the body's Transfer-Encoding is {_label(coding)}, and only chunked can be read"
    )


def _label(coding: str) -> str:
    return coding if len(coding) <= 80 and _NAMED.fullmatch(coding) else "an unknown one"


def decode_body(content: Secret[bytes], coding: str, most: int) -> tuple[bytes, str]:
    """Decode a whole body. Returns it, or nothing and its fault. Never holds much more than `most` bytes."""
    fault = unreadable(coding)
    if fault or not coding or not content.plain:
        return (b"" if fault and content.plain else content.plain), (fault if content.plain else "")
    decoder, pieces, size = Decoder(coding), Secret[list[bytes]]([]), 0
    for piece in decoder.pieces(content):
        pieces.plain.append(piece)
        size += len(piece)
        if size > most:
            return b"", f"the body has more than {most} bytes"
    return (b"".join(pieces.plain), "") if decoder.has_ended else (b"", ENDED_EARLY)


_HTTP_11: Final = aiohttp.HttpVersion11


async def read_response(answer: Secret[aiohttp.ClientResponse], request: Request) -> Response:
    """Read a response with its whole body, decoded, or with the body's fault. Never holds much more than `max_bytes`.

    aiohttp's response is in a `Secret` because its repr shows its address with the query, and its headers.
    """
    content = b""
    fault: str | APIConnectionError = ""
    stream, most = answer.plain.content, request.max_bytes
    try:
        # Most bodies have arrived whole by now, and need no list of chunks.
        content = await stream.readany()
        if not stream.at_eof():
            begun = Secret([content])
            content = b""
            content, fault = await _rest(answer, begun, most)
        if len(content) > most:
            fault = f"the body has more than {most} bytes"
    except TimeoutError as exc:
        fault = connection_error(exc, request.info)
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError):
        fault = ENDED_EARLY
    except RAISED as exc:
        fault = connection_error(exc, request.info)
    except BaseException:
        answer.plain.close()
        raise
    if fault:
        answer.plain.close()
        content = b""
        if not isinstance(fault, str):
            raise fault
    plain = answer.plain
    headers = plain.headers
    if (CONTENT_ENCODING in headers or TRANSFER_ENCODING in headers) and not fault:
        content, fault = _uncoded(Secret(content), headers, most)
    version = plain.version
    http = "HTTP/1.1" if version is _HTTP_11 else _version(version)
    return Response(plain.status, headers, content, request.info, http, None, fault)  # type: ignore[arg-type]  # an exception is never false


def _uncoded(content: Secret[bytes], headers: Mapping[str, str], most: int) -> tuple[bytes, str]:
    fault = unreadable_transfer(headers) if content.plain else ""
    return (b"", fault) if fault else decode_body(content, coding_of(headers), most)


async def _rest(answer: Secret[aiohttp.ClientResponse], begun: Secret[list[bytes]], most: int) -> tuple[bytes, str]:
    """Read the rest of a body. Returns all of it, cut soon after `most` bytes, and its fault."""
    line, size = _Line(answer), len(begun.plain[0])
    while size <= most and (chunk := Secret(await answer.plain.content.readany())):
        begun.plain.append(chunk.plain)
        size += len(chunk.plain)
    return b"".join(begun.plain), ENDED_EARLY if line.broke else ""


def stream_response(answer: Secret[aiohttp.ClientResponse], info: RequestInfo) -> Response:
    """The response with its body left on the wire, unless its coding is not supported."""
    headers = answer.plain.headers
    fault = unreadable_transfer(headers) or unreadable(coding_of(headers))
    if fault:
        answer.plain.close()
    body = None if fault else Body(answer, info)
    plain = answer.plain
    return Response(plain.status, headers, b"", info, _version(plain.version), body, fault)


class Body:
    """A response body that is still on the wire."""

    def __init__(self, answer: Secret[aiohttp.ClientResponse], info: RequestInfo) -> None:
        self._answer = answer
        self._info = info

    async def __aiter__(self) -> AsyncIterator[bytes]:
        coding, line = coding_of(self._answer.plain.headers), _Line(self._answer)
        decoder = Decoder(coding) if coding else None
        try:
            async for chunk in self._answer.plain.content.iter_any():
                if decoder is None:
                    yield chunk
                    del chunk  # an error may come next
                    continue
                taken = Secret(chunk)
                del chunk
                for piece in decoder.pieces(taken):
                    yield piece
                    del piece
                if decoder.spoiled:
                    break
        except RAISED as exc:
            error = connection_error(exc, self._info)
        else:
            if not line.broke and (decoder is None or decoder.has_ended):
                return
            error = APIConnectionError(f"The connection broke inside the answer: {ENDED_EARLY}.", request=self._info)
        self._answer.plain.close()
        raise error

    async def aclose(self) -> None:
        """Close the connection, unless the body has been read."""
        self._answer.plain.close()


class _Line:
    """The connection of a response whose body ends when it is closed. It tells a regular close from a reset."""

    def __init__(self, answer: Secret[aiohttp.ClientResponse]) -> None:
        headers, connection = answer.plain.headers, answer.plain.connection
        framed = CONTENT_LENGTH in headers or TRANSFER_ENCODING in headers
        self._protocol = None if framed or connection is None else connection.protocol

    @property
    def broke(self) -> bool:
        """`True` if the connection was reset, and not closed."""
        return self._protocol is not None and isinstance(self._protocol.exception(), OSError)


def _version(version: aiohttp.HttpVersion | None) -> str:
    return "HTTP/1.1" if version is None else f"HTTP/{version.major}.{version.minor}"
