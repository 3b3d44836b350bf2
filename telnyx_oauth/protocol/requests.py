"""A call, its options and a client's defaults become a `Request`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, TypeAlias, cast, final

import attrs
from multidict import CIMultiDict

from ..messages import Request, RequestInfo, Timeout, check_number
from .error_responses import request_secrets
from .secret import Secret
from .urls import QueryValue, join, query


@final
class Omit:
    """The type of `omit`."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "omit"

    def __reduce__(self) -> str:
        return "omit"  # there is one, also after a copy or a pickle


omit: Final = Omit()
"""Leave a parameter out, so that a default applies; as a header's value, leave out a header that would be sent."""

HeaderValues: TypeAlias = Mapping[str, str | Omit]
QueryValues: TypeAlias = Mapping[str, QueryValue]
_NO_QUERY: Final[QueryValues] = MappingProxyType({})


class Auth(Enum):
    """The credentials that a call needs."""

    NONE = auto()
    BEARER = auto()
    """The client's token, or its API key."""
    CLIENT = auto()
    """The OAuth client's own credentials, else the API key (introspection)."""
    TOKEN = auto()
    """The OAuth client's own credentials, else none: never the API key (the token endpoint)."""


@attrs.frozen(slots=False)
class Call:
    """One call, independent of the client that makes it.

    `form` and `body` exclude each other. `once` marks a request that must not be processed twice. `resource` is the beginning
    of a path that has an underscore alias. `shown` replaces a path that contains a secret in errors and logs. With
    `redirects` a 3xx is a result, not an error.
    """

    method: str
    path: str = attrs.field(repr=False)
    auth: Auth = Auth.BEARER
    query: QueryValues = attrs.field(default=_NO_QUERY, repr=False)
    body: object = attrs.field(default=omit, repr=False)
    form: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    once: bool = False
    accept: str = "application/json"
    resource: str = ""
    shown: str = ""
    redirects: bool = False
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)


@attrs.frozen(slots=False)
class Extras:
    """The request options of one call, which win over everything else. With `stream` the response's body stays on the wire."""

    headers: HeaderValues | None = attrs.field(default=None, repr=False)
    query: QueryValues | None = attrs.field(default=None, repr=False)
    body: Mapping[str, object] | None = attrs.field(default=None, repr=False)
    timeout: float | Timeout | Omit | None = omit
    max_retries: int | None = None
    stream: bool = False


@attrs.frozen
class Defaults:
    """The settings that one client applies to all its calls."""

    base_url: str
    timeout: Timeout
    headers: CIMultiDict[str] = attrs.field(repr=False)
    """The package's headers and the user's, checked."""
    query: QueryValues = attrs.field(default=_NO_QUERY, repr=False)
    max_retries: int = 2


_LISTS: Final = frozenset({"allowed_grant_types", "allowed_scopes", "grant_types", "redirect_uris", "response_types"})


def given(**parameters: object) -> dict[str, object]:
    """The parameters that are not `omit`. Raises `TypeError` for a text in a list's place: Python takes it for a sequence."""
    for name in _LISTS & parameters.keys():
        if isinstance(parameters[name], str):
            raise TypeError(f"`{name}` must be a list of texts, such as {name}=[...], not one text")
    return {name: value for name, value in parameters.items() if value is not omit}


def queried(parameters: Mapping[str, QueryValue | Omit]) -> dict[str, QueryValue]:
    """The query parameters that are not `omit`."""
    return {name: value for name, value in parameters.items() if not isinstance(value, Omit)}


def texts(parameters: Mapping[str, str | Omit | None]) -> dict[str, str]:
    """The form's fields that are neither `omit` nor `None`. Raises `TypeError` for a value that is not a text."""
    return {name: text(name, value) for name, value in parameters.items() if not (value is None or value is omit)}


def text(name: str, value: object) -> str:
    """Return a field's text. Raises `TypeError`, quoting nothing, for another type: a list would be sent as several fields."""
    if isinstance(value, str):
        return value
    kind = type(value).__name__
    del value  # it may hold a secret, and a traceback would show it
    hint = ", with spaces between the scopes" if name == "scope" else ""
    raise TypeError(f"`{name}` must be a str{hint}, not {kind}")


def prepare(call: Call, defaults: Defaults, extras: Extras, authorization: Secret[str] | None) -> Request:
    """Build the request of a call. Raises `ValueError` or `TypeError` for a parameter that cannot be sent, or not safely."""
    timeout = defaults.timeout if isinstance(extras.timeout, Omit) else as_timeout(extras.timeout)
    if extras.headers:
        check_headers(Secret(extras.headers))
    # Most calls are a path and nothing more, and need no encoding.
    encoded: _Encoded | None = None
    if _is_more_than_a_path(call, defaults, extras):
        encoded = _encoded(call, defaults, extras)
        if encoded is None:
            raise ValueError("A parameter holds half a character (a lone surrogate), which cannot be sent.")
    # After this line nothing raises, so no traceback shows the plain values below.
    url = join(defaults.base_url, call.path)
    shown = join(defaults.base_url, call.shown) if call.shown else url.partition("?")[0]
    headers = defaults.headers.copy()
    content = b""
    if encoded is not None:
        if encoded.content_type:
            headers["Content-Type"] = encoded.content_type
        if encoded.query:
            url += ("&" if "?" in url else "?") + encoded.query
        content = encoded.content
    if call.accept != "application/json":
        headers["Accept"] = call.accept
    if authorization is not None:
        headers["Authorization"] = authorization.plain
    return Request(
        call.method,
        url,
        RequestInfo(call.method, shown),
        _updated(headers, extras.headers) if extras.headers else headers,
        content,
        timeout,
        stream=extras.stream,
        secrets=call.secrets,
    )


@attrs.frozen(slots=False)
class _Encoded:
    """The query and the body of a call."""

    query: str = attrs.field(repr=False, default="")
    content: bytes = attrs.field(repr=False, default=b"")
    content_type: str = ""


def _is_more_than_a_path(call: Call, defaults: Defaults, extras: Extras) -> bool:
    return bool(
        call.query
        or call.form is not None
        or call.body is not omit
        or defaults.query
        or extras.query
        or extras.body is not None
    )


def _encoded(call: Call, defaults: Defaults, extras: Extras) -> _Encoded | None:
    try:
        parameters = Secret({**defaults.query, **call.query, **(extras.query or {})})
        return _Encoded(query(parameters) if parameters else "", *_content(call, extras))
    except UnicodeEncodeError:  # it holds the text, which may be a secret
        return None


def check_query(parameters: Secret[QueryValues]) -> None:
    """Raise `ValueError` or `TypeError`, quoting no value, for query parameters that cannot be sent."""
    try:
        query(parameters)
    except UnicodeEncodeError:  # it holds the text, which may be a secret
        pass
    else:
        return
    raise ValueError("A query parameter holds half a character (a lone surrogate), which cannot be sent.")


def secrets_of(call: Call, extras: Extras, request: Request) -> set[str]:
    """The secrets of a call and its request, to be redacted in errors."""
    return set(_secrets(call, extras, request)) - {""}


def _secrets(call: Call, extras: Extras, request: Request) -> Iterable[str]:
    yield from request.secrets
    yield from request_secrets(request)
    for body in (call.body, extras.body):
        if isinstance(body, Mapping):
            items = cast("Mapping[object, object]", body).items()
            yield from (
                value for name, value in items if isinstance(value, str) and (call.form is not None or name in _SECRET)
            )


def _content(call: Call, extras: Extras) -> tuple[bytes, str]:
    if call.form is not None:
        form = Secret({**call.form, **cast("QueryValues", extras.body or {})})
        return query(form).encode("ascii"), "application/x-www-form-urlencoded"
    body = Secret(call.body)
    if extras.body is not None:
        whole = not isinstance(call.body, Mapping)
        body = Secret(extras.body if whole else {**cast("Mapping[str, object]", call.body), **extras.body})
    if body.plain is omit:
        return b"", ""
    if isinstance(body.plain, bytes):
        return body.plain, "application/octet-stream"
    text = Secret(json.dumps(body.plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False))
    return text.plain.encode(), "application/json"


def as_timeout(timeout: float | Timeout | None, parameter: str = "timeout") -> Timeout:
    """Seconds as a `Timeout`, with at most 5 of them for connecting. Raises `ValueError` unless they are positive."""
    if timeout is None:
        return Timeout(None, None)
    if not isinstance(timeout, Timeout):
        check_number(timeout, parameter, also=", a telnyx_oauth.Timeout", optional=True)
        timeout = Timeout(timeout, min(timeout, 5.0))
    for seconds in (timeout.total, timeout.connect):
        # aiohttp takes 0 for no limit, and fails at infinity.
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"`{parameter}` must be a positive number of seconds, or None for no limit")
    return timeout


def as_retries(max_retries: object) -> int:
    """Return the number of retries. Raises `ValueError` unless it is a whole number, 0 or more."""
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
        raise ValueError("`max_retries` must be a whole number, 0 or more")
    return max_retries


# RFC 9110 sections 5.6.2 and 5.5: with CR, LF or NUL a value could start another header or request. Of the other control
# characters only a tab is allowed.
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BREAKS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_SECRET: Final = frozenset(
    {
        "client_secret",
        "refresh_token",
        "access_token",
        "token",
        "code",
        "code_verifier",
        "consent_token",
        "password",
        "api_key",
    }
)


def merged(headers: Mapping[str, str], more: Secret[HeaderValues]) -> CIMultiDict[str]:
    """`headers`, which hold no secret, updated with `more`, whatever their case; `omit` removes one.

    Raises `ValueError` or `TypeError` for a header that cannot be sent.
    """
    check_headers(more)
    return _updated(headers, more.plain)


def check_headers(headers: Secret[HeaderValues]) -> None:
    """Raise `ValueError` or `TypeError`, quoting no value, for a header that cannot be sent."""
    error = _header_error(tuple(headers.plain.items()))
    if error is not None:
        raise error


def _header_error(headers: Iterable[tuple[object, object]]) -> ValueError | TypeError | None:
    """The error of headers that cannot be sent. Returned, since a traceback with this frame would show their values."""
    for number, (name, value) in enumerate(headers, 1):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            # Not quoted: users paste whole header lines here, with their secrets.
            return ValueError(f"The name of header {number} is not a header name: it has no space, colon or line break")
        if isinstance(value, Omit):
            continue
        if not isinstance(value, str):
            return TypeError(f"The value of the header {name!r} must be a str, not {type(value).__name__}")
        if _BREAKS.search(value):
            return ValueError(f"The value of the header {name!r} must hold no line break, control or half character")
    return None


def _updated(headers: Mapping[str, str], more: HeaderValues) -> CIMultiDict[str]:
    result = CIMultiDict(headers)
    for name, value in more.items():
        result.pop(name, None)
        if not isinstance(value, Omit):
            result[name] = value
    return result


def names(headers: HeaderValues | None, name: str) -> bool:
    """Return whether `headers` contain `name`, whatever its case. Never raises: names that are not texts are refused later."""
    if headers is None:
        return False
    return any(isinstance(each, str) and each.lower() == name for each in headers)  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller is type-checked
