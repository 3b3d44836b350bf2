"""Error responses become exceptions, with secrets redacted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, cast
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

import attrs

from ..errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ErrorDetail,
    InternalServerError,
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    InvalidTargetError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    TokenEndpointError,
    UnauthorizedClientError,
    UnprocessableEntityError,
    UnsupportedGrantTypeError,
)
from ..messages import ENDED_EARLY, Request, Response, headers
from .auth_headers import secrets_in
from .retry import retry_after

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


_BY_STATUS: Final[dict[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}
_BY_CODE: Final[dict[str, type[TokenEndpointError]]] = {
    str(kind.code): kind
    for kind in (
        InvalidRequestError,
        InvalidClientError,
        InvalidGrantError,
        UnauthorizedClientError,
        UnsupportedGrantTypeError,
        InvalidScopeError,
        InvalidTargetError,
    )
}
_LONGEST: Final = 500  # characters of a server's own words in a message


def broken(response: Response) -> APIConnectionError | None:
    """The error of an answer whose body broke off, which is a connection that broke; `None` for any other answer.

    A server may have done all that it was asked, so what must not happen twice is not sent again.
    """
    if response.fault != ENDED_EARLY:
        return None
    return APIConnectionError(f"The connection broke inside the answer: {ENDED_EARLY}.", request=response.request)


def error_from(
    response: Response, *, token_endpoint: bool = False, secrets: Iterable[str] = (), now: float = 0.0
) -> APIStatusError:
    """The exception for an answer. Never raises, whatever the bytes are.

    At the token endpoint the OAuth error code chooses the class, elsewhere the status does. `secrets` are struck out of
    everything that the exception keeps, since servers do echo what they were sent. `now` (Unix seconds) turns a
    `Retry-After` date into seconds.
    """
    try:
        body = _decoded(response)
    except RecursionError:
        response, body = _unread(response)
    code, errors, said = _read(body)
    kind = _kind(response.status_code, code, token_endpoint=token_endpoint)
    if not said and 300 <= response.status_code < 400:
        said = "a redirect, and no call follows one; see `location`"
    scrubber = Scrubber.of(secrets)
    response, body = _scrubbed(response, body, scrubber)
    # Scrubbed before it is cut: half a secret would not be found any more.
    said = _printable(scrubber.text(said)[:_LONGEST])
    return kind(
        f"{response.status_code} from {response.request}" + (f": {said}" if said else ""),
        response=response,
        body=body,
        code=code if code is None or code in _BY_CODE else _printable(scrubber.text(code)),
        errors=tuple(_scrubbed_detail(each, scrubber) for each in errors),
        retry_after=retry_after(response.headers, now),
    )


def _kind(status: int, code: str | None, *, token_endpoint: bool) -> type[APIStatusError]:
    by_status = _BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)
    # Being asked to slow down, or a server's failure, says nothing of the grant, whatever code comes with it.
    if not token_endpoint or code is None or status == 429 or status >= 500:
        return by_status
    return _BY_CODE.get(code, TokenEndpointError)


def _scrubbed(response: Response, body: object, scrubber: Scrubber) -> tuple[Response, object]:
    """The answer and what its body says, without secrets, cookies and stream."""
    pairs = [
        (scrubber.text(name), scrubber.text(value))
        for name, value in response.headers.items()
        if name.lower() != "set-cookie"
    ]
    response = attrs.evolve(response, headers=headers(*pairs), content=scrubber.bytes(response.content), stream=None)
    try:
        clean = scrubber.json(body)
        if clean != body and clean != _decoded(response):
            # The body spells a secret with escapes, or in another charset.
            response = attrs.evolve(response, content=json.dumps(clean).encode())
    except RecursionError:
        return _unread(response)
    return response, clean


def _unread(response: Response) -> tuple[Response, object]:
    """The answer without a body that is too deep to be looked through for secrets."""
    return attrs.evolve(response, content=b""), None


def _scrubbed_detail(error: ErrorDetail, scrubber: Scrubber) -> ErrorDetail:
    return ErrorDetail(*(text and _printable(scrubber.text(text)) for text in attrs.astuple(error)))


def _printable(text: str) -> str:
    """One line that no terminal and no log takes for a command of the server's."""
    return "".join(each if each.isprintable() else " " for each in text)


def _decoded(response: Response) -> object:
    """The body as JSON where it is, else as text, else `None` when there is none. Raises `RecursionError`."""
    try:
        return response.json() if response.content else None
    except ValueError:
        return response.text()


def _read(body: object) -> tuple[str | None, tuple[ErrorDetail, ...], str]:
    """A code to branch on, Telnyx's list of errors, and one sentence for a person."""
    if not isinstance(body, dict):
        return None, (), ""
    fields = cast("dict[str, object]", body)
    listed = tuple(_detail(each) for each in _objects(fields.get("errors")))
    if listed:
        return listed[0].code, listed, "; ".join(filter(None, map(_sentence, listed)))
    code, description = _text(fields.get("error")), _text(fields.get("error_description"))
    refused = tuple(_refused_fields(fields.get("invalid_fields")))
    said = ": ".join(filter(None, (code, description)))
    return code, refused, "; ".join(filter(None, (said, *map(_sentence, refused))))


def _objects(value: object) -> Iterable[dict[str, object]]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return (cast("dict[str, object]", each) for each in items if isinstance(each, dict))


def _refused_fields(value: object) -> Iterable[ErrorDetail]:
    """What registration says of each field that it refuses."""
    fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    for name, said in fields.items():
        reasons = cast("list[object]", said) if isinstance(said, list) else [said]
        yield ErrorDetail(detail=", ".join(filter(None, map(_text, reasons))) or None, source=name)


def _detail(fields: dict[str, object]) -> ErrorDetail:
    source = fields.get("source")
    where = cast("dict[str, object]", source) if isinstance(source, dict) else {}
    return ErrorDetail(
        code=_text(fields.get("code")),
        title=_text(fields.get("title")),
        detail=_text(fields.get("detail")),
        source=_text(where.get("pointer")) or _text(where.get("parameter")),
    )


def _sentence(error: ErrorDetail) -> str:
    return " ".join(filter(None, (error.code, error.detail or error.title, error.source and f"({error.source})")))


def _text(value: object) -> str | None:
    """Codes come as strings and, from some servers, as numbers."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
