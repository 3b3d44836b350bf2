"""Compact JSON Web Signatures, split and decoded strictly (RFC 7515)."""

from __future__ import annotations

import json
import re
from binascii import a2b_base64
from codecs import BOM_UTF8
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

MAX_BRACKETS = 256
"""Opening brackets in one JSON text, counted before the parser recurses into them."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")
_PADDING = (b"", b"===", b"==", b"=")
# Per length modulo four, the last characters whose unused bits are zero; with others, several texts would decode to
# the same bytes (RFC 4648 section 3.5). No text has one character left over.
_LAST = {1: frozenset[int](), 2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}


def looks_like_jwt(token: str) -> bool:
    """Return whether the token has the form of a compact JWS: three segments in base64url's alphabet."""
    return _segments(token) is not None


def split_compact(token: str) -> tuple[bytes | None, bytes | None, bytes | None, bytes] | None:
    """The header, payload, signature and signing input of a compact JWS (RFC 7515 section 3.1).

    A part that is not in canonical form is `None`. The result is `None` if the token does not have the form of a JWS.
    """
    segments = _segments(token)
    if segments is None:
        return None
    header, payload, signature = segments
    return _decoded(header), _decoded(payload), _decoded(signature), header + b"." + payload


def _segments(token: str) -> list[bytes] | None:
    if not token.isascii():
        return None
    data = token.encode("ascii")
    segments = data.split(b".")
    return segments if data.translate(None, _ALPHABET) == b".." and all(segments) else None


def decode_segment(segment: str) -> bytes | None:
    """The bytes of a base64url text without padding (RFC 7515 section 2), None unless it is in canonical form."""
    data = segment.encode("ascii", "replace")
    return _decoded(data) if data and not data.translate(None, _ALPHABET) else None


def _decoded(segment: bytes) -> bytes | None:
    spare = len(segment) % 4
    if spare and segment[-1] not in _LAST[spare]:
        return None
    return a2b_base64(segment.translate(_TO_BASE64) + _PADDING[spare])


def parse_object(data: bytes, *, max_brackets: int = MAX_BRACKETS) -> Mapping[str, object] | None:
    """A JSON object in UTF-8, deep-frozen: objects are read-only mappings, arrays are tuples.

    `None` for anything else, and for JSON that parsers are known to read differently: repeated members, NaN and Infinity,
    lone surrogates, byte order marks, and nesting deep enough to break a recursive parser.
    """
    if data.count(b"[") + data.count(b"{") > max_brackets:
        return None
    value = _parse(data)
    return cast("Mapping[str, object]", value) if isinstance(value, MappingProxyType) else None


def parse_document(data: bytes, *, max_brackets: int = MAX_BRACKETS) -> Mapping[str, object] | None:
    """The object of a JSON document from a server: as `parse_object`, but a byte order mark may precede it.

    RFC 8259 section 8.1 lets readers ignore the mark. In a token it would be part of the signed bytes.
    """
    return parse_object(data.removeprefix(BOM_UTF8), max_brackets=max_brackets)


_MARK = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)


def read_entries(data: bytes, name: str) -> tuple[bytes, ...] | None:
    """The text of each entry of the array `name` in a JSON document, `None` if there is no such array.

    The document must be one that `parse_document` accepts. The entries are not parsed, so that an error inside one does not
    cost the others.
    """
    outline, entries = _outline(data.removeprefix(BOM_UTF8))
    document = parse_object(outline)
    listed = None if document is None else document.get(name)
    if not isinstance(listed, tuple):
        return None
    return tuple(entries[place] for place in cast("tuple[int, ...]", listed))


def _outline(data: bytes) -> tuple[bytes, list[bytes]]:
    """Replace each entry of the top-level arrays by its number, and empty the objects. Returns the document and the entries."""
    outline: list[bytes] = []
    entries: list[bytes] = []
    depth, start, in_array = 0, 0, False

    def cut(end: int) -> None:
        entry = data[start:end].strip(b" \t\n\r")
        if entry:
            outline.append(str(len(entries)).encode("ascii"))
            entries.append(entry)

    # A string is one mark, so that brackets and commas inside it do not count.
    for mark in _MARK.finditer(data):
        character = mark[0]
        if character in (b"]", b"}"):
            depth -= 1
            if depth == 1:
                if in_array:
                    cut(mark.start())
                start = mark.start()
        elif character == b"," and depth == 2 and in_array:
            cut(mark.start())
            outline.append(b",")
            start = mark.end()
        elif character in (b"[", b"{"):
            depth += 1
            if depth == 2:
                outline.append(data[start : mark.end()])
                start, in_array = mark.end(), character == b"["
    outline.append(data[start:])
    return b"".join(outline), entries


def _parse(data: bytes) -> object | None:
    """The value, or `None`. The parser's errors hold the whole text, so none of them leaves this function."""
    try:
        text = data.decode("utf-8").strip(" \t\n\r")
        value, end = _DECODER.raw_decode(text)
        if "\\u" in text:  # an escape can spell half a surrogate pair, which nothing downstream could encode again
            json.dumps(value, ensure_ascii=False, default=dict).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) else None


def _object(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    members = {name: _freeze(value) if value.__class__ is list else value for name, value in pairs}
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return MappingProxyType(members)


def _freeze(value: object) -> object:
    return tuple(map(_freeze, cast("list[object]", value))) if type(value) is list else value


def _constant(_name: str) -> float:
    raise ValueError("not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
