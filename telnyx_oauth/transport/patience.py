"""Asking for a token again after an outage."""

from __future__ import annotations

from collections.abc import Awaitable
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol

from ..errors import APIConnectionError, APIStatusError, TokenBackoffError, TokenWaitTimeoutError
from ..messages import RequestInfo
from ..protocol.retry import GiveUp, Outcome, decide
from .clock import Clock

if TYPE_CHECKING:
    from ..protocol.token import Token

PATIENCE: Final = 30.0
"""Seconds, over all attempts, for a call that may take longer."""


class Ask(Protocol):
    """Asks for a token, and waits no longer than told."""

    def __call__(self, *, timeout: float | None) -> Awaitable[Token]:
        """Ask."""
        ...


async def patiently(
    ask: Ask, total: float | None, *, max_retries: int, clock: Clock, request: RequestInfo, sent: bool
) -> Token:
    """The token, asked for again where a connection error or a 5xx was in the way.

    `total` is what the call's `timeout` allows, in seconds. Of that 30 s are waited at most over all attempts; `None` is no
    limit. A wait that ends without a token is not begun anew, since it would be for the same renewal: it raises
    `TokenWaitTimeoutError`, which says of the `request` whether it had been `sent` before.

    Nobody sleeps here. The manager's back-off spaces the attempts, for all who wait as one; where it is longer than the
    seconds left, they are told what failed.
    """
    left = limit = None if total is None else min(total, PATIENCE)
    began = clock.boot()
    failure: APIConnectionError | APIStatusError | None = None
    attempt = 0
    while True:
        try:
            return await ask(timeout=left)
        except TokenBackoffError:
            if failure is None:
                raise
            break
        except TokenWaitTimeoutError as exc:
            raise TokenWaitTimeoutError(limit or exc.timeout, request=request, sent=sent) from failure
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
        if limit is not None:
            # Whole tenths of a second, because those who wait equally long share a timer.
            left = ceil(max(0.0, began + limit - clock.boot()) * 10) / 10
    raise failure
