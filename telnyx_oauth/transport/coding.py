"""The codings of a body that this package can read: gzip and deflate."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from ..messages import ENDED_EARLY
from ..protocol.secret import Secret

ACCEPTED: Final = "gzip, deflate"
_GZIP: Final = 16 + zlib.MAX_WBITS
_PIECE: Final = 64 * 1024
_NAMED: Final = re.compile(r"[A-Za-z0-9._+\-]+(?:, ?[A-Za-z0-9._+\-]+)*")


class Decoder:
    """Decodes one body, piece by piece. Raises nothing: an error would pass frames that hold the body."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding != "deflate"
        self._inner = zlib.decompressobj(_GZIP) if self._is_gzip else None
        self._begun = False
        self.spoiled = False

    @property
    def has_ended(self) -> bool:
        """Tell if the coding came to its end, checksum included. A body of no bytes has."""
        return not self._begun or (not self.spoiled and self._inner is not None and self._inner.eof)

    def pieces(self, data: Secret[bytes]) -> Iterator[bytes]:
        """The decoded bytes that come of some more of the body, 64 KiB at most at once."""
        while data.plain:
            piece = self._next(data)
            data = self._left()
            if piece.plain:
                yield piece.plain
            while len(piece.plain) == _PIECE and not data.plain:  # zlib may hold more of what it has taken
                piece = self._next(data)
                data = self._left()
                if piece.plain:
                    yield piece.plain

    def _next(self, data: Secret[bytes]) -> Secret[bytes]:
        if self._inner is None:
            self._inner = zlib.decompressobj(_window(data.plain[0]))
        elif self._inner.eof and data.plain:
            # RFC 1952 section 2.2: a gzip file is a series of members. After a deflate stream there is nothing.
            self.spoiled = self.spoiled or not self._is_gzip
            self._inner = zlib.decompressobj(_GZIP)
        self._begun = True
        if not self.spoiled:
            try:
                return Secret(self._inner.decompress(data.plain, _PIECE))
            except zlib.error:
                self.spoiled = True
        return Secret(b"")

    def _left(self) -> Secret[bytes]:
        if self.spoiled or self._inner is None:
            return Secret(b"")
        return Secret(self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail)


def _window(first: int) -> int:
    # RFC 9110 section 8.4.1.2: deflate is the zlib format; some send it without zlib's header, which begins with method 8.
    return zlib.MAX_WBITS if first & 0x0F == 8 else -zlib.MAX_WBITS


def coding_of(headers: Mapping[str, str]) -> str:
    """The body's coding in lower case; an empty string where it has none."""
    return _listed(headers, "content-encoding")


def _listed(headers: Mapping[str, str], header: str) -> str:
    values = [value for name, value in headers.items() if name.lower() == header]
    codings = [each.strip().lower() for each in ",".join(values).split(",")]
    return ", ".join(each for each in codings if each not in ("", "identity"))


def unreadable(coding: str) -> str:
    """The fault of a body whose coding cannot be read here; an empty string where it can."""
    if coding in ("", "gzip", "x-gzip", "deflate"):
        return ""
    return f"the body's Content-Encoding is {_named(coding)}, and only gzip and deflate can be read"


def unreadable_transfer(headers: Mapping[str, str]) -> str:
    """The fault of a body in a transfer coding that aiohttp does not take off (RFC 9112 section 7); an empty string for none."""
    coding = _listed(headers, "transfer-encoding")
    return (
        ""
        if coding in ("", "chunked")
        else f"the body's Transfer-Encoding is {_named(coding)}, and only chunked can be read"
    )


def _named(coding: str) -> str:
    return coding if len(coding) <= 80 and _NAMED.fullmatch(coding) else "an unknown one"


def decoded(content: Secret[bytes], coding: str, most: int) -> tuple[bytes, str]:
    """A whole body without its coding, or nothing and what is wrong with it. Never holds much more than `most` bytes."""
    fault = unreadable(coding)
    if fault or not coding or not content.plain:
        return (b"" if fault and content.plain else content.plain), (fault if content.plain else "")
    decoder, pieces, size = Decoder(coding), Secret[list[bytes]]([]), 0
    for piece in decoder.pieces(content):
        pieces.plain.append(piece)
        size += len(piece)
        if size > most:
            return b"", f"the body has more than {most} bytes"
    return (b"".join(pieces.plain), "") if decoder.has_ended else (b"", ENDED_EARLY)
