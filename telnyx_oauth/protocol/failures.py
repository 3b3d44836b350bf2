"""From an answer that is not 2xx to the exception that says why: both of Telnyx's error shapes, and none of its secrets.

https://developers.telnyx.com/development/api-fundamentals/api-errors · RFC 6749 section 5.2
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

import attrs

from ..errors import (
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
from ..messages import Response, headers
from .retry import retry_after

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
_LONGEST = 500  # characters of a server's own words in a message


def error_from(
    response: Response, *, token_endpoint: bool = False, secrets: Iterable[str] = (), now: float = 0.0
) -> APIStatusError:
    """The exception for an answer. Never raises, whatever the bytes are.

    At the token endpoint the OAuth error code chooses the class, elsewhere the status does. `secrets` are struck out of
    everything that the exception keeps, since servers do echo what they were sent. `now` (Unix seconds) turns a
    `Retry-After` date into seconds.
    """
    response = _scrubbed(response, secrets)
    body = _decoded(response)
    code, errors, said = _read(body)
    status = response.status_code
    kind = _BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)
    if token_endpoint and status < 500 and not errors:
        kind = _BY_CODE.get(code or "", kind)
    if not said and 300 <= status < 400:
        said = "a redirect, and no call follows one; see `location`"
    message = f"{status} from {response.request}" + (f": {said}" if said else "")
    return kind(
        message, response=response, body=body, code=code, errors=errors, retry_after=retry_after(response.headers, now)
    )


def _scrubbed(response: Response, secrets: Iterable[str]) -> Response:
    content = response.content
    pairs = [pair for pair in response.headers.items() if pair[0].lower() != "set-cookie"]
    for secret in secrets:
        content = content.replace(secret.encode(), b"***")
        pairs = [(name, value.replace(secret, "***")) for name, value in pairs]
    return attrs.evolve(response, content=content, headers=headers(*pairs), stream=None)


def _decoded(response: Response) -> object:
    """The body as JSON where it is, else as text, else `None` when there is none."""
    try:
        return response.json() if response.content else None
    except (ValueError, RecursionError):
        return response.text()


def _read(body: object) -> tuple[str | None, tuple[ErrorDetail, ...], str]:
    """A code to branch on, Telnyx's list of errors, and one sentence for a person."""
    if not isinstance(body, dict):
        return None, (), ""
    fields = cast("dict[str, object]", body)
    listed = fields.get("errors")
    if isinstance(listed, list):
        errors = tuple(_detail(cast("dict[str, object]", each)) for each in listed if isinstance(each, dict))
        said = "; ".join(_sentence(each) for each in errors)
        return (errors[0].code if errors else None), errors, said[:_LONGEST]
    code, description = _text(fields.get("error")), _text(fields.get("error_description"))
    return code, (), ": ".join(part for part in (code, description) if part)[:_LONGEST]


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
    words = " ".join(part for part in (error.code, error.detail or error.title) if part)
    return f"{words} ({error.source})" if error.source else words


def _text(value: object) -> str | None:
    """Codes come as strings and, from some servers, as numbers."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
