"""The request on its way out: when its first byte may leave, and what is asked just before that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Self

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


class Tracker(aiohttp.UploadTracker):
    """aiohttp's record of how far a request came, which may be copied with what else a mock keeps of a call."""

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: a copy would follow nothing."""
        return self


# aiohttp writes this much at once with the headers, without a turn of the loop between.
_AT_ONCE: Final = 32 * 1024


def outgoing(request: Request) -> Outgoing | None:
    """A request's body, where that has to be more than its bytes."""
    if request.check is None and len(request.content) <= _AT_ONCE:
        return None
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


def may_have_left(exc: BaseException, tracker: Tracker, body: Outgoing | None) -> bool:
    """Tell if a byte of a request that failed may have left this machine."""
    if tracker.attempts == 0:
        return not isinstance(exc, _BEFORE)
    if tracker.attempts > 1:  # a session that tries again by itself
        return True
    if body is not None:
        return body.begun
    # Headers and a body as small as this leave at once: they are written, or they are not.
    ended = tracker.upload_complete
    return not ended.done() or ended.exception() is None
