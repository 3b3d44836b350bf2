"""Dates in HTTP headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz


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
