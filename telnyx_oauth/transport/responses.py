"""Raw and streamed responses."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from ..hints import Hinted, refused
from ..messages import Headers, Request, Response
from ..protocol.converter import decode
from ..protocol.secret import Secret, Uncopied
from .engine import Answer

_T = TypeVar("_T")


class ResponseFacts(Hinted, Uncopied, Generic[_T]):
    """The properties of a response that do not need its body."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self._answer.response.status_code

    @property
    def headers(self) -> Headers:
        """The headers, whatever their case."""
        return self._answer.response.headers

    @property
    def request_id(self) -> str | None:
        """Telnyx's id of this response: quote it to their support."""
        return self._answer.response.request_id

    @property
    def http_request(self) -> Request:
        """The request as it was sent last. Its headers and its body may hold secrets; its repr shows none."""
        return self._answer.request

    @property
    def method(self) -> str:
        """The request's method."""
        return self._answer.request.method

    @property
    def url(self) -> str:
        """The address of the request, query included."""
        return self._answer.request.url

    @property
    def http_version(self) -> str:
        """The HTTP version, such as `HTTP/1.1`."""
        return self._answer.response.http_version

    @property
    def retries_taken(self) -> int:
        """The number of attempts before this response."""
        return self._answer.retries_taken

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.status_code}] {self._answer.request.info}>"


class AsyncAPIResponse(ResponseFacts[_T]):
    """A response, its body read or still on the wire."""

    def __init__(self, answer: Answer, parse: Callable[[Answer], _T]) -> None:
        super().__init__(answer)
        self._parse = parse
        self._closed = False
        self._consumed = False

    @property
    def is_closed(self) -> bool:
        """`True` once the body has been read, or closed."""
        return self.is_here or self._closed

    @property
    def is_here(self) -> bool:
        """`True` once the whole body has been read."""
        return self._answer.response.stream is None

    async def read(self) -> bytes:
        """The whole body. Raises `APIResponseValidationError` if it has more than 16 MiB: use `iter_bytes` then."""
        return decode(await self._received(), bytes)

    async def text(self) -> str:
        """The whole body as text."""
        return decode(await self._received(), str)

    async def json(self) -> object:
        """The whole body as JSON. Raises `ValueError` if it is not JSON."""
        await self.read()
        return self._answer.response.json()

    async def parse(self) -> _T:
        """The typed value that the call without `with_raw_response` would return."""
        await self._received()
        return self._parse(self._answer)

    async def iter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body piece by piece, as it arrives, or in pieces of `chunk_size` bytes. A streamed body can be read once."""
        if chunk_size is not None and chunk_size < 1:
            raise ValueError("`chunk_size` must be 1 or more, or None")
        buffer = Secret(bytearray())
        async for chunk in self._chunks():
            if chunk_size is None:
                yield chunk
            else:
                buffer.plain.extend(chunk)
            del chunk  # an error may come next
            while chunk_size is not None and len(buffer.plain) >= chunk_size:
                yield bytes(buffer.plain[:chunk_size])
                del buffer.plain[:chunk_size]
        if buffer:
            yield bytes(buffer.plain)

    async def iter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        """The body as text, piece by piece."""
        decoder = codecs.getincrementaldecoder(self._answer.response.charset)("replace")
        async for chunk in self.iter_bytes(chunk_size):
            text = Secret(decoder.decode(chunk))
            del chunk  # an error may come next
            if text:
                yield text.plain
        if text := Secret(decoder.decode(b"", final=True)):
            yield text.plain

    async def iter_lines(self) -> AsyncIterator[str]:
        """The body as text, line by line, without the line ends."""
        kept = Secret("")
        async for text in self.iter_text():
            lines = Secret((kept.plain + text).split("\n"))
            del text  # an error may come next
            kept = Secret(lines.plain.pop())
            for line in map(Secret, lines.plain):
                yield line.plain.removesuffix("\r")
        if kept:
            yield kept.plain

    async def close(self) -> None:
        """Close the body; the rest of it is not read."""
        self._closed = True
        if self._answer.response.stream is not None:
            await self._answer.response.stream.aclose()

    async def _received(self) -> Response:
        """The response with its whole body, or with the body's fault."""
        response, most = self._answer.response, self._answer.request.max_bytes
        if response.stream is not None:
            content, fault = Secret(bytearray()), ""
            async with aclosing(self._chunks()) as chunks:
                async for chunk in chunks:
                    content.plain.extend(chunk)
                    del chunk  # an error may come next
                    if len(content.plain) > most:
                        content, fault = Secret(bytearray()), f"the body has more than {most} bytes"
                        await self.close()
                        break
            response = attrs.evolve(response, content=bytes(content.plain), stream=None, fault=fault)
            self._answer = attrs.evolve(self._answer, response=response)
        return response

    async def _chunks(self) -> AsyncGenerator[bytes]:
        stream = self._answer.response.stream
        if stream is None:
            yield decode(self._answer.response, bytes)
            return
        if self._consumed or self._closed:
            raise RuntimeError("This response's body has been read already, or closed.")
        self._consumed = True
        async for chunk in stream:
            yield chunk
            del chunk  # an error may come next
        self._closed = True


class AsyncStreamed(Hinted, AbstractAsyncContextManager[AsyncAPIResponse[_T]], Uncopied):
    """Context manager of a response whose body is still on the wire. Its end returns the connection."""

    _hint = "Nothing is sent yet: `async with ... as response` gives the response."
    if not TYPE_CHECKING:
        __enter__ = refused("is used with `async with`.")

    def __init__(self, send: Callable[[], Awaitable[AsyncAPIResponse[_T]]]) -> None:
        self._send = send
        self._response: AsyncAPIResponse[_T] | None = None

    async def __aenter__(self) -> AsyncAPIResponse[_T]:
        self._response = await self._send()
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._response is not None:
            await self._response.close()
