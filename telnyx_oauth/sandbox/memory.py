"""The sandbox as a transport: what a real connection would have made of a served request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import assert_never

import attrs

from ..errors import APIConnectionError, APITimeoutError
from ..messages import Request, Response
from .faults import Served

_CHUNK = 64 * 1024


async def deliver(request: Request, served: Served) -> Response:
    """The answer, or the error that a fault on a real connection becomes."""
    most = request.timeout.total
    if most is not None and served.delay >= most:
        await asyncio.sleep(most)
        raise APITimeoutError(request=request.info)
    if served.delay:
        await asyncio.sleep(served.delay)
    match served.ending:
        case "whole":
            return _bounded(request, served.response)
        case "truncated":
            return attrs.evolve(served.response, content=b"", fault="the body ended early or could not be decoded")
        case "reset":
            raise APIConnectionError("The connection was reset.", request=request.info)
        case "hung":
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=most)
            raise APITimeoutError(request=request.info)
        case _:
            assert_never(served.ending)


def _bounded(request: Request, response: Response) -> Response:
    if request.stream and response.status_code < 300:
        return attrs.evolve(response, content=b"", stream=_Stream(response.content))
    if len(response.content) > request.max_bytes:
        return attrs.evolve(response, content=b"", fault=f"the body has more than {request.max_bytes} bytes")
    return response


class _Stream:
    """A body in pieces."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), _CHUNK):
            yield self._content[start : start + _CHUNK]

    async def aclose(self) -> None:
        """Forget the rest."""
        self._content = b""
