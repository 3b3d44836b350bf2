"""Raw responses for callers that block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ..hints import Hinted, refused
from ..protocol.secret import Secret
from ..protocol.uncopied import Uncopied
from ..transport.raw import AsyncAPIResponse, AsyncStreamed, ResponseFacts
from .driver import Lease

_T = TypeVar("_T")
_END = object()


class APIResponse(ResponseFacts[_T]):
    """A response, its body read or still on the wire."""

    def __init__(self, response: AsyncAPIResponse[Any], lease: Lease, finish: Callable[[Any], _T]) -> None:
        super().__init__(response._answer)
        self._response = response
        self._lease = lease
        self._finish = finish

    @property
    def is_closed(self) -> bool:
        """Whether the body has been read, or given up."""
        return self._response.is_closed

    def read(self) -> bytes:
        """The whole body. Raises `APIResponseValidationError` when that is more than 16 MiB: go over it piece by piece."""
        return self._run(self._response.read)

    def text(self) -> str:
        """The whole body as text."""
        return self._run(self._response.text)

    def json(self) -> object:
        """The whole body as JSON. Raises `ValueError` when it is not."""
        return self._run(self._response.json)

    def parse(self) -> _T:
        """The typed value that the call without `with_raw_response` would have given."""
        return self._finish(self._run(self._response.parse))

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The body piece by piece, as it comes, or in pieces of `chunk_size` bytes. A streamed body comes once."""
        return self._each(self._response.iter_bytes(chunk_size))

    def iter_text(self, chunk_size: int | None = None) -> Iterator[str]:
        """The body as text, piece by piece."""
        return self._each(self._response.iter_text(chunk_size))

    def iter_lines(self) -> Iterator[str]:
        """The body as text, line by line, without the line ends."""
        return self._each(self._response.iter_lines())

    def close(self) -> None:
        """Give up what is still on the wire."""
        if not self._lease.is_closed:  # else it ended with its connection
            self._run(self._response.close)

    def _each(self, items: AsyncIterator[_I]) -> Iterator[_I]:
        async def following() -> Any:
            return await anext(items, _END)

        while (item := Secret(self._run(following))).plain is not _END:
            yield item.plain

    def _run(self, call: Callable[[], Coroutine[Any, Any, _I]]) -> _I:
        if not self._response.is_here:
            return self._lease.run(call)
        # With the body here there is nothing to wait for, and so no need for the loop: one step is all of it.
        step = call()
        try:
            step.send(None)
        except StopIteration as stop:
            value: _I = stop.value
            return value
        raise AssertionError("it waited")  # pragma: no cover - nothing in it waits


_I = TypeVar("_I")


class Streamed(Hinted, Uncopied, AbstractContextManager[APIResponse[_T]]):
    """Use it as a context manager for the response while its body is on the wire."""

    _hint = "Nothing is sent yet: `with ... as response` gives the response."
    if not TYPE_CHECKING:
        __aenter__ = refused("is used with `with`; the one for `async with` is of AsyncTelnyx.")

    def __init__(self, streamed: AsyncStreamed[Any], lease: Lease, finish: Callable[[Any], _T]) -> None:
        self._streamed = streamed
        self._lease = lease
        self._finish = finish

    def __enter__(self) -> APIResponse[_T]:
        return APIResponse(self._lease.run(self._streamed.__aenter__), self._lease, self._finish)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._lease.is_closed:
            self._lease.run(lambda: self._streamed.__aexit__(kind, error, traceback))
