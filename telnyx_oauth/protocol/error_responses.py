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
# Shorter values are not secrets, and redacting them would garble everything else.
_SHORTEST: Final = 4
_SECRET: Final = re.compile("auth|cookie|key|password|secret|session|signature|token", re.IGNORECASE)
_SAME_IN_EVERY_FORM: Final = re.compile(r"[A-Za-z0-9._~\-]*")


@attrs.frozen
class Redactor:
    """Redacts secrets in text, bytes and JSON values, in each form in which a server would write them."""

    _forms: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def of(cls, secrets: Iterable[str]) -> Redactor:
        """A redactor of these secrets. Replaces the longest first, so that no end of a longer one is left."""
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        return cls(tuple(sorted(forms, key=len, reverse=True)))

    def text(self, text: str) -> str:
        """The text without the secrets."""
        for form in self._forms:
            text = text.replace(form, _MARK)
        return text

    def json(self, value: object) -> object:
        """A JSON value without the secrets, however its text spelt them. Raises `RecursionError` for one nested too deep."""
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
        """The bytes without the secrets, if the bytes are UTF-8 or ASCII."""
        for form in self._forms:
            content = content.replace(form.encode("utf-8", "replace"), _MARK.encode())
        return content


def request_secrets(request: Request) -> Iterable[str]:
    """The values of the request's headers and query parameters that are secret by their names."""
    for name, value in request.headers.items():
        if name.lower() in ("authorization", "proxy-authorization"):
            yield from secrets_in(value)
        elif _SECRET.search(name):
            # Each of several values (cookies) by itself too, unless it is so short that it may be a word of the response.
            each = re.findall(r'=\s*"?([^\s;,"]{8,})', value)
            yield from (value, *secrets_in(value), *each, *map(unquote, each))
    for name, value in parse_qsl(urlsplit(request.url).query):
        if _SECRET.search(name):
            yield value


def _forms(secret: str) -> Iterable[str]:
    """The forms in which a server may write a text: plain, in JSON, percent-encoded, in HTML."""
    # Almost every token is such a text, and needs one search instead of a dozen.
    if _SAME_IN_EVERY_FORM.fullmatch(secret):
        return (secret,)
    import html  # here, since only this function needs its table of entities

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
_LONGEST: Final = 500  # characters of a server's text in a message


def broken(response: Response) -> APIConnectionError | None:
    """The error of a response whose body ended early, which counts as a broken connection; `None` for any other response.

    The server may have processed the request, so one that must not be processed twice is not sent again.
    """
    if response.fault != ENDED_EARLY:
        return None
    return APIConnectionError(f"The connection broke inside the answer: {ENDED_EARLY}.", request=response.request)


def error_from(
    response: Response, *, token_endpoint: bool = False, secrets: Iterable[str] = (), now: float = 0.0
) -> APIStatusError:
    """The exception for an error response. Never raises, whatever the bytes are.

    At the token endpoint the OAuth error code chooses the class, elsewhere the status does. `secrets` are redacted in
    everything that the exception keeps, since servers do echo their input. `now` (Unix seconds) turns a `Retry-After` date
    into seconds.
    """
    try:
        body = _decoded(response)
    except RecursionError:
        response, body = _unread(response)
    code, errors, summary = _read(body)
    kind = _kind(response.status_code, code, token_endpoint=token_endpoint)
    if not summary and 300 <= response.status_code < 400:
        summary = "a redirect, and no call follows one; see `location`"
    redactor = Redactor.of(secrets)
    response, body = _redacted(response, body, redactor)
    # Redacted before it is cut: half a secret would not be recognised.
    summary = _printable(redactor.text(summary)[:_LONGEST])
    return kind(
        f"{response.status_code} from {response.request}" + (f": {summary}" if summary else ""),
        response=response,
        body=body,
        code=code if code is None or code in _BY_CODE else _printable(redactor.text(code)),
        errors=tuple(_redacted_detail(each, redactor) for each in errors),
        retry_after=retry_after(response.headers, now),
    )


def _kind(status: int, code: str | None, *, token_endpoint: bool) -> type[APIStatusError]:
    by_status = _BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)
    # 429 and 5xx say nothing about the grant, whatever code comes with them.
    if not token_endpoint or code is None or status == 429 or status >= 500:
        return by_status
    return _BY_CODE.get(code, TokenEndpointError)


def _redacted(response: Response, body: object, redactor: Redactor) -> tuple[Response, object]:
    """The response and its decoded body, without secrets, cookies and stream."""
    pairs = [
        (redactor.text(name), redactor.text(value))
        for name, value in response.headers.items()
        if name.lower() != "set-cookie"
    ]
    response = attrs.evolve(response, headers=headers(*pairs), content=redactor.bytes(response.content), stream=None)
    try:
        clean = redactor.json(body)
        if clean != body and clean != _decoded(response):
            # The body contains a secret with escapes, or in another charset.
            response = attrs.evolve(response, content=json.dumps(clean).encode())
    except RecursionError:
        return _unread(response)
    return response, clean


def _unread(response: Response) -> tuple[Response, object]:
    """The response without its body, which is nested too deep to search it for secrets."""
    return attrs.evolve(response, content=b""), None


def _redacted_detail(error: ErrorDetail, redactor: Redactor) -> ErrorDetail:
    return ErrorDetail(*(text and _printable(redactor.text(text)) for text in attrs.astuple(error)))


def _printable(text: str) -> str:
    """The text as one line without control characters, which a terminal or a log could obey."""
    return "".join(each if each.isprintable() else " " for each in text)


def _decoded(response: Response) -> object:
    """The body as JSON if it is JSON, else as text; `None` if it is empty. Raises `RecursionError`."""
    try:
        return response.json() if response.content else None
    except ValueError:
        return response.text()


def _read(body: object) -> tuple[str | None, tuple[ErrorDetail, ...], str]:
    """The error code, Telnyx's list of errors, and one sentence for a person."""
    if not isinstance(body, dict):
        return None, (), ""
    fields = cast("dict[str, object]", body)
    listed = tuple(_detail(each) for each in _objects(fields.get("errors")))
    if listed:
        return listed[0].code, listed, "; ".join(filter(None, map(_sentence, listed)))
    code, description = _text(fields.get("error")), _text(fields.get("error_description"))
    invalid = tuple(_invalid_fields(fields.get("invalid_fields")))
    summary = ": ".join(filter(None, (code, description)))
    return code, invalid, "; ".join(filter(None, (summary, *map(_sentence, invalid))))


def _objects(value: object) -> Iterable[dict[str, object]]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return (cast("dict[str, object]", each) for each in items if isinstance(each, dict))


def _invalid_fields(value: object) -> Iterable[ErrorDetail]:
    """The errors of the fields that registration refuses."""
    fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    for name, problem in fields.items():
        reasons = cast("list[object]", problem) if isinstance(problem, list) else [problem]
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
    """A string or an integer as text: some servers send codes as numbers."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
