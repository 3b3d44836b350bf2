"""Striking secrets out of whatever an error keeps of an answer, since servers do echo what they were sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, cast
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

import attrs

from ..messages import Request
from .bearer import secrets_in

_MARK: Final = "***"
# Shorter ones are no secrets, and striking them out would garble everything else.
_SHORTEST: Final = 4
_SECRET: Final = re.compile("auth|cookie|key|password|secret|session|signature|token", re.IGNORECASE)
_SAME_IN_EVERY_FORM: Final = re.compile(r"[A-Za-z0-9._~\-]*")


@attrs.frozen
class Scrubber:
    """Takes secrets out of text, bytes and JSON values, in each form in which a server would write them."""

    _forms: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def of(cls, secrets: Iterable[str]) -> Scrubber:
        """A scrubber for these secrets, the longest first, so that none is left as the end of another."""
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        return cls(tuple(sorted(forms, key=len, reverse=True)))

    def text(self, text: str) -> str:
        """The text without them."""
        for form in self._forms:
            text = text.replace(form, _MARK)
        return text

    def json(self, value: object) -> object:
        """A JSON value without them, however its text spelt them. Raises `RecursionError` for one that is too deep."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(each) for each in cast("list[object]", value)]
        if isinstance(value, dict):
            return {self.text(name): self.json(each) for name, each in cast("dict[str, object]", value).items()}
        return value if self.text(str(value)) == str(value) else _MARK

    def bytes(self, content: bytes) -> bytes:
        """The bytes without them, if the bytes are UTF-8 or ASCII."""
        for form in self._forms:
            content = content.replace(form.encode("utf-8", "replace"), _MARK.encode())
        return content


def secrets_beside(request: Request) -> Iterable[str]:
    """The values of the request's headers and query parameters whose names say that they are secret."""
    for name, value in request.headers.items():
        if name.lower() in ("authorization", "proxy-authorization"):
            yield from secrets_in(value)
        elif _SECRET.search(name):
            # Of several (cookies), also each by itself, unless it is so short that it may be a word of the answer's.
            each = re.findall(r'=\s*"?([^\s;,"]{8,})', value)
            yield from (value, *secrets_in(value), *each, *map(unquote, each))
    for name, value in parse_qsl(urlsplit(request.url).query):
        if _SECRET.search(name):
            yield value


def _forms(secret: str) -> Iterable[str]:
    """How a server may write a text: plainly, in JSON, percent-encoded, in HTML."""
    if _SAME_IN_EVERY_FORM.fullmatch(secret):
        return (secret,)
    import html  # with its table of entities, which nothing but this needs

    in_json = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    in_urls = [
        quote(secret, "", errors="replace"),
        quote(secret, errors="replace"),
        quote_plus(secret, errors="replace"),
    ]
    return (
        secret,
        *in_json,
        *(text.replace("/", r"\/") for text in in_json),
        *in_urls,
        *(re.sub("%..", lambda escaped: escaped[0].lower(), text) for text in in_urls),
        html.escape(secret),
        html.escape(secret, quote=False),
    )
