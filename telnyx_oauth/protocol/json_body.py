"""JSON bodies as servers send them: other charsets than UTF-8, and integers of any length."""

from __future__ import annotations

from typing import cast

from ..messages import Response


def json_object(response: Response) -> dict[str, object] | None:
    """Return the members of a body that is one JSON object, else `None`."""
    try:
        body = response.json(parse_int=any_integer)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", body) if isinstance(body, dict) else None


def any_integer(digits: str) -> int | float:
    """Read an integer, as infinity where Python refuses so many digits: one odd member must not cost the others."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def as_utf8(response: Response) -> bytes:
    """Return the body in UTF-8: as it is, or converted where it is no UTF-8 but in the charset that the response declares."""
    charset, content = response.charset, response.content
    if charset == "utf-8" or _is_utf8(content):
        return content
    try:
        return content.decode(charset).encode()
    except UnicodeError:  # it holds the body
        return content


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeError:
        return False
    return b"\0" not in content  # as JSON in UTF-16 has it
