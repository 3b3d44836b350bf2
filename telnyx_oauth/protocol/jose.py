"""The strict reading of a compact JWS: framing, base64url and JSON that every parser understands alike.

What this module lets through means the same to every JOSE library; what two of them could read differently, it
refuses before any cryptography.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

MAX_BRACKETS = 256
"""Opening brackets in one JSON text, counted before the parser recurses into them."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
# Per length modulo four, the last characters whose unused bits are zero; with others, several texts would decode to
# the same bytes (RFC 4648 section 3.5).
_LAST = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}


def looks_like_jwt(token: str) -> bool:
    """Whether the token has the outer form of a compact JWS: three segments in base64url's alphabet."""
    return _COMPACT.fullmatch(token) is not None


def decode_segment(segment: str) -> bytes | None:
    """The bytes of a base64url text without padding (RFC 7515 section 2), None unless it is in canonical form."""
    spare = len(segment) % 4
    if not _BASE64URL.fullmatch(segment) or (spare and segment[-1] not in _LAST.get(spare, ())):
        return None
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def parse_object(data: bytes, *, max_brackets: int = MAX_BRACKETS) -> Mapping[str, object] | None:
    """A JSON object in UTF-8, deep-frozen: objects are read-only mappings, arrays are tuples.

    None for anything else, and for what JSON parsers are known to differ on: repeated members, NaN and Infinity, half
    surrogate pairs, byte order marks, and nesting deep enough to break a recursive parser.
    """
    if data.count(b"[") + data.count(b"{") > max_brackets:
        return None
    value = _parse(data)
    return cast("Mapping[str, object]", value) if isinstance(value, MappingProxyType) else None


def _parse(data: bytes) -> object:
    """The value, or None. The parser's errors hold the whole text, so none of them leaves."""
    try:
        text = data.decode("utf-8")
        value: object = _DECODER.decode(text)
        if "\\u" in text:  # an escape can spell half a surrogate pair, which nothing downstream could encode again
            json.dumps(value, ensure_ascii=False, default=dict).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value


def _object(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    members = {name: _freeze(value) for name, value in pairs}
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return MappingProxyType(members)


def _freeze(value: object) -> object:
    return tuple(map(_freeze, cast("list[object]", value))) if type(value) is list else value


def _constant(_name: str) -> float:
    raise ValueError("not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
