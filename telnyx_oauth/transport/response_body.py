"""Response bodies: read to the end of their framing and coding, whole or as a stream."""

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
from .connection_errors import RAISED, named

ACCEPTED: Final = "gzip, deflate"
_GZIP: Final = 16 + zlib.MAX_WBITS
_PIECE: Final = 64 * 1024
_NAMED: Final = re.compile(r"[A-Za-z0-9._+\-]+(?:, ?[A-Za-z0-9._+\-]+)*")


class Decoder:
    """Decodes one body, piece by piece. Raises nothing: an error would pass frames that hold the body."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding != "deflate"
        self._inner = zlib.decompressobj(_GZIP) if self._is_gzip else None
        self._begun = False
        self.spoiled = False

    @property
    def has_ended(self) -> bool:
        """Tell if the coding came to its end, checksum included. A body of no bytes has."""
        return not self._begun or (not self.spoiled and self._inner is not None and self._inner.eof)

    def pieces(self, data: Secret[bytes]) -> Iterator[bytes]:
        """The decoded bytes that come of some more of the body, 64 KiB at most at once."""
        while data.plain:
            piece = self._next(data)
            data = self._left()
            if piece.plain:
                yield piece.plain
            while len(piece.plain) == _PIECE and not data.plain:  # zlib may hold more of what it has taken
                piece = self._next(data)
                data = self._left()
                if piece.plain:
                    yield piece.plain

    def _next(self, data: Secret[bytes]) -> Secret[bytes]:
        if self._inner is None:
            self._inner = zlib.decompressobj(_window(data.plain[0]))
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


def _window(first: int) -> int:
    # RFC 9110 section 8.4.1.2: deflate is the zlib format; some send it without zlib's header, which begins with method 8.
    return zlib.MAX_WBITS if first & 0x0F == 8 else -zlib.MAX_WBITS


def coding_of(headers: Mapping[str, str]) -> str:
    """The body's coding in lower case; an empty string where it has none."""
    return _listed(headers, "content-encoding")


def _listed(headers: Mapping[str, str], header: str) -> str:
    values = [value for name, value in headers.items() if name.lower() == header]
    codings = [each.strip().lower() for each in ",".join(values).split(",")]
    return ", ".join(each for each in codings if each not in ("", "identity"))


def unreadable(coding: str) -> str:
    """The fault of a body whose coding cannot be read here; an empty string where it can."""
    if coding in ("", "gzip", "x-gzip", "deflate"):
        return ""
    return f"the body's Content-Encoding is {_named(coding)}, and only gzip and deflate can be read"


def unreadable_transfer(headers: Mapping[str, str]) -> str:
    """The fault of a body in a transfer coding that aiohttp does not take off (RFC 9112 section 7); an empty string for none."""
    coding = _listed(headers, "transfer-encoding")
    return (
        ""
        if coding in ("", "chunked")
        else f"the body's Transfer-Encoding is {_named(coding)}, and only chunked can be read"
    )


def _named(coding: str) -> str:
    return coding if len(coding) <= 80 and _NAMED.fullmatch(coding) else "an unknown one"


def decoded(content: Secret[bytes], coding: str, most: int) -> tuple[bytes, str]:
    """A whole body without its coding, or nothing and what is wrong with it. Never holds much more than `most` bytes."""
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


async def received(answer: Secret[aiohttp.ClientResponse], request: Request) -> Response:
    """The answer with its whole body decoded, or with what is wrong with it. Never holds much more than `max_bytes`.

    The answer is in a `Secret` because aiohttp's shows its whole address and its headers.
    """
    content = b""
    fault: str | APIConnectionError = ""
    stream, most = answer.plain.content, request.max_bytes
    try:
        content = await stream.readany()
        if not stream.at_eof():
            begun = Secret([content])
            content = b""
            content, fault = await _rest(answer, begun, most)
        if len(content) > most:
            fault = f"the body has more than {most} bytes"
    except TimeoutError as exc:
        fault = named(exc, request.info)
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError):
        fault = ENDED_EARLY
    except RAISED as exc:
        fault = named(exc, request.info)
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
    return (b"", fault) if fault else decoded(content, coding_of(headers), most)


async def _rest(answer: Secret[aiohttp.ClientResponse], begun: Secret[list[bytes]], most: int) -> tuple[bytes, str]:
    """All of a body that has begun, and what is wrong with it: a little more than `most` bytes where it has more."""
    line, size = _Line(answer), len(begun.plain[0])
    while size <= most and (chunk := Secret(await answer.plain.content.readany())):
        begun.plain.append(chunk.plain)
        size += len(chunk.plain)
    return b"".join(begun.plain), ENDED_EARLY if line.broke else ""


def streamed(answer: Secret[aiohttp.ClientResponse], info: RequestInfo) -> Response:
    """The answer with its body left on the wire, unless that could not be read."""
    headers = answer.plain.headers
    fault = unreadable_transfer(headers) or unreadable(coding_of(headers))
    if fault:
        answer.plain.close()
    body = None if fault else Body(answer, info)
    plain = answer.plain
    return Response(plain.status, headers, b"", info, _version(plain.version), body, fault)


class Body:
    """A response's body while it is on the wire."""

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
            error = named(exc, self._info)
        else:
            if not line.broke and (decoder is None or decoder.has_ended):
                return
            error = APIConnectionError(f"The connection broke inside the answer: {ENDED_EARLY}.", request=self._info)
        self._answer.plain.close()
        raise error

    async def aclose(self) -> None:
        """Give the connection up, unless the body has been read."""
        self._answer.plain.close()


class _Line:
    """The connection of an answer whose body ends with it, as far as that tells the end from a break."""

    def __init__(self, answer: Secret[aiohttp.ClientResponse]) -> None:
        headers, connection = answer.plain.headers, answer.plain.connection
        framed = CONTENT_LENGTH in headers or TRANSFER_ENCODING in headers
        self._protocol = None if framed or connection is None else connection.protocol

    @property
    def broke(self) -> bool:
        """Tell if it was reset, and not closed."""
        return self._protocol is not None and isinstance(self._protocol.exception(), OSError)


def _version(version: aiohttp.HttpVersion | None) -> str:
    return "HTTP/1.1" if version is None else f"HTTP/{version.major}.{version.minor}"
