"""Asking for a token again after an outage."""

from __future__ import annotations

from collections.abc import Awaitable
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol

from ..errors import APIConnectionError, APIStatusError, TokenBackoffError
from ..protocol.retry import GiveUp, Outcome, decide
from .clock import Clock

if TYPE_CHECKING:
    from ..protocol.token import Token

PATIENCE: Final = 30.0
"""Seconds, over all attempts."""


class Ask(Protocol):
    """Asks for a token, and waits no longer than told."""

    def __call__(self, *, timeout: float) -> Awaitable[Token]:
        """Ask."""
        ...


async def patiently(ask: Ask, *, max_retries: int, clock: Clock) -> Token:
    """The token, asked for again where a connection error or a 5xx was in the way, 30 s at most.

    Nobody sleeps here. The manager's back-off spaces the attempts, for all who wait as one; where it is longer than the
    seconds left, they are told what failed.
    """
    ends = clock.boot() + PATIENCE
    failure: APIConnectionError | APIStatusError | None = None
    attempt = 0
    while True:
        # Whole seconds, because those who wait equally long share a timer.
        left = float(ceil(max(0.0, ends - clock.boot())))
        try:
            return await ask(timeout=left)
        except TokenBackoffError:
            if failure is None:
                raise
            break
        except (APIConnectionError, APIStatusError) as exc:
            failure = exc
        if isinstance(failure, APIConnectionError):
            outcome = Outcome.of(failure)
        else:
            outcome = Outcome(failure.status_code, failure.response.headers)
        verdict = decide(outcome, attempt=attempt, max_retries=max_retries, once=False, jitter=0.0, now=clock.wall())
        if isinstance(verdict, GiveUp):
            break
        attempt += 1
    raise failure
