"""The request on its way out: when its first byte may leave, and what is asked just before that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from ..messages import Request


class Outgoing(aiohttp.BytesPayload):
    """A request's body. aiohttp keeps the headers back until it writes the body, so nothing leaves before `begun`.

    `check` is called at that moment. What it raises is kept in `stopped`, and then nothing is sent.
    """

    def __init__(self, content: bytes, check: Callable[[], None] | None) -> None:
        super().__init__(content)
        self.begun = False
        self.stopped: Exception | None = None
        self._check = check

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, and the headers before it."""
        if self._check is not None:
            try:
                self._check()
            except Exception as exc:  # noqa: BLE001 - raised again where the request was made
                self.stopped = exc
        if self.stopped is not None:
            raise _StoppedError  # apart from the check's own, which aiohttp would make part of one of its errors
        self.begun = True
        await super().write_with_length(writer, content_length)


async def prepared(request: Request) -> Outgoing:
    """The body of a request that may change something.

    A server may have ended a pooled connection while the loop had no turn, and this task may be the first to run since. In
    two turns the loop reads all that sockets have to tell, and aiohttp leaves alone the connections that are closing.
    """
    for _ in range(2):
        await asyncio.sleep(0)
    return Outgoing(request.content, request.check)


class _StoppedError(Exception):
    """The check's exception, for aiohttp."""


# Where something else than aiohttp's own session sends, such as a mock, its exception alone says how far it came.
_BEFORE: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


def may_have_left(exc: BaseException, tracker: aiohttp.UploadTracker, body: Outgoing | None) -> bool:
    """Tell if a byte of a request that failed may have left this machine."""
    if tracker.attempts == 0:
        return not isinstance(exc, _BEFORE)
    if tracker.attempts > 1:  # a session that tries again by itself
        return True
    if body is not None:
        return body.begun
    ended = tracker.upload_complete
    return not ended.done() or ended.exception() is None
