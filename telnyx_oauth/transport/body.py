"""A response's body: read whole, or left on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import aiohttp
from aiohttp.hdrs import CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING

from ..errors import APIConnectionError
from ..messages import ENDED_EARLY, Request, RequestInfo, Response
from ..protocol.secret import Secret
from .coding import Decoder, coding_of, decoded, unreadable, unreadable_transfer
from .faults import RAISED, named

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
