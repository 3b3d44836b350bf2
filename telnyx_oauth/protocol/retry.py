"""Retries: after which answers, after how long, and what `Retry-After` and `Date` say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz
from typing import Final, TypeAlias

import attrs

from ..errors import APIConnectionError


def http_date(text: str) -> float | None:
    """Unix seconds of a date in any of HTTP's three forms (RFC 9110 section 5.6.7); None for text that is none.

    All three mean UTC, also those that name no zone. Another zone, which HTTP forbids and some servers send, is honoured.
    """
    parts = parsedate_tz(text)
    if parts is None:
        return None
    year, month, day, hour, minute, second = parts[:6]
    try:
        # A leap second is allowed by the grammar, and by no calendar of Python's.
        date = datetime(year, month, day, hour, minute, min(second, 59) if second == 60 else second, tzinfo=UTC)
        return (date - timedelta(seconds=parts[9] or 0)).timestamp()
    except (ValueError, OverflowError):
        return None


FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 8.0
LONGEST_RETRY_AFTER: Final = 60.0
_RETRIABLE: Final = frozenset({408, 409, 429})
_NUMBER: Final = re.compile(r"[ \t]*[0-9]+(?:\.[0-9]*)?[ \t]*")
_NEVER: Final = 1e9  # about 30 years, and still something to sleep for


@attrs.frozen
class Wait:
    """Send it again after `seconds`."""

    seconds: float


@attrs.frozen
class GiveUp:
    """Tell the caller."""


Decision: TypeAlias = Wait | GiveUp
_GIVE_UP: Final = GiveUp()


@attrs.frozen
class Outcome:
    """What one attempt came to: a status with its headers, or a connection error (`status_code` 0)."""

    status_code: int = 0
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    sent: bool = True

    @classmethod
    def of(cls, error: APIConnectionError) -> Outcome:
        """The outcome of an attempt that ended in an error."""
        return cls(sent=error.sent)


def decide(outcome: Outcome, *, attempt: int, max_retries: int, once: bool, jitter: float, now: float) -> Decision:
    """Whether to try again after the `attempt`-th try (from 0) failed.

    `once` marks an exchange that must not happen twice: it is sent again only when it is certain that the server did not
    process it. `jitter` is uniform in 0..1, `now` is Unix seconds. `x-should-retry` is the server's own word on the matter; a
    `Retry-After` longer than a minute is for the caller to wait out.
    """
    if attempt >= max_retries:
        return _GIVE_UP
    asked = retry_after(outcome.headers, now)
    if asked is not None and asked > LONGEST_RETRY_AFTER:
        return _GIVE_UP
    if not _may_repeat(outcome, once=once, asked=asked):
        return _GIVE_UP
    if asked is not None:
        return Wait(asked)
    delay = min(FIRST_DELAY * 2.0 ** min(attempt, 32), LONGEST_DELAY)
    return Wait(delay * (1 - 0.25 * jitter))


def _may_repeat(outcome: Outcome, *, once: bool, asked: float | None) -> bool:
    status = outcome.status_code
    said = outcome.headers.get("x-should-retry")
    if said == "false":
        return False
    if once:
        return not outcome.sent or status == 429 or (status == 503 and asked is not None)
    return said == "true" or status == 0 or status in _RETRIABLE or status >= 500


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as a date; never negative.

    A date is by the server's clock, so it is compared with the answer's `Date`, and with `now` only where there is none.
    https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    date = http_date(value)
    if date is None:
        return None
    there = http_date(headers.get("date", ""))
    return max(0.0, date - (now if there is None else there))


def _number(value: str | None) -> float | None:
    # "nan", "1_000" and digits of other scripts are numbers to float() and to nobody else.
    return min(float(value), _NEVER) if value and _NUMBER.fullmatch(value) else None
