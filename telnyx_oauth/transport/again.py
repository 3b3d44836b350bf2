"""Asking once more for a document that broke off."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import attrs

from ..messages import Request, Response, Send
from ..protocol.failures import broken
from ..protocol.retry import GiveUp, Outcome, decide
from .clock import Clock, SystemClock

_SYSTEM: Final = SystemClock()


async def asked_again(
    send: Send, request: Request, *, clock: Clock = _SYSTEM, jitter: Callable[[], float] = random.random
) -> Response:
    """The answer to a request that changes nothing, sent once more where the first answer broke off.

    It pauses as any other call does, and both attempts together have the time of one. An answer that broke off again is
    given as it is.
    """
    began = clock.boot()
    first = await send(request)
    if broken(first) is None:
        return first
    wait = decide(Outcome(0, first.headers), attempt=0, max_retries=1, once=False, jitter=jitter(), now=clock.wall())
    if isinstance(wait, GiveUp):
        return first
    if request.timeout.total is not None:
        left = request.timeout.total - (clock.boot() - began) - wait.seconds
        if left <= 0:
            return first
        request = attrs.evolve(request, timeout=attrs.evolve(request.timeout, total=left))
    await clock.sleep(wait.seconds)
    return await send(request)
