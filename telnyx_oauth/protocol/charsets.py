"""Bodies in other charsets than JSON's own."""

from __future__ import annotations

from ..messages import Response


def as_utf8(response: Response) -> bytes:
    """The body in UTF-8: as it is, or out of the charset that the answer declares where it is in that and in no UTF-8."""
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
