"""Retries: after which answers, after how long, and what `Retry-After` and `Date` say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz
from typing import Final


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
"""The most seconds of a `Retry-After` that are waited for here."""
_RETRIABLE: Final = frozenset({408, 409, 429})
_NUMBER: Final = re.compile(r"[ \t]*[0-9]+(?:\.[0-9]*)?[ \t]*")
_LONGEST: Final = 1e9  # about 30 years: no timer takes infinity


def delay(
    status: int,
    headers: Mapping[str, str],
    *,
    attempt: int,
    max_retries: int,
    jitter: float,
    now: float,
    sent: bool = True,
    once: bool = False,
) -> float | None:
    """Return the seconds to wait before a request is sent again after its `attempt`-th try (from 0), or `None` to give up.

    `status` is 0 when no answer came; then `sent` is `False` if it is certain that nothing was sent. `once` marks a request
    that must not be processed twice: it is sent again only when it is certain that the server did not process it. `jitter` is
    uniform in 0..1, `now` is Unix seconds.
    """
    if attempt >= max_retries:
        return None
    wait = retry_after(headers, now)
    if wait is not None and wait > LONGEST_RETRY_AFTER:
        return None
    # A header that Telnyx's official packages obey as well.
    should_retry = headers.get("x-should-retry")
    if should_retry == "false":
        return None
    if once:
        repeatable = not sent or status == 429 or (status == 503 and wait is not None)
    else:
        repeatable = should_retry == "true" or status == 0 or status in _RETRIABLE or status >= 500
    if not repeatable:
        return None
    return backoff(attempt, FIRST_DELAY, LONGEST_DELAY) * (1 - 0.25 * jitter) if wait is None else wait


def backoff(failures: int, first: float, longest: float) -> float:
    """Return the seconds between attempts after so many earlier failures: doubled by each, and no more than `longest`."""
    return min(first * 2.0 ** min(failures, 32), longest)  # a float cannot double for ever


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
    # float() also takes "nan", "1_000" and the digits of other scripts.
    return min(float(value), _LONGEST) if value and _NUMBER.fullmatch(value) else None
