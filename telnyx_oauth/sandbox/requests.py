"""Reading requests, making responses, and the request log."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias, TypeGuard, cast, overload
from urllib.parse import parse_qsl, urlsplit

import attrs
from multidict import CIMultiDict, CIMultiDictProxy

from ..messages import Headers, Request, Response, headers

_TITLES = {
    "10005": "Resource not found",
    "10009": "Authentication failed",
    "10010": "Authorization failed",
    "10011": "Too many requests",
    "10015": "Bad Request",
    "10027": "Unprocessable entity",
}
_DETAILS = {
    "10005": "The requested resource or URL could not be found.",
    "10009": "The required authentication headers were either invalid or not included in the request.",
    "10010": "You do not have permission to perform the requested action on the specified resource or resources.",
    "10011": "You have exceeded the maximum number of allowed requests.",
}


class ErrorResponse(Exception):  # noqa: N818 - a response, not a failure of the program
    """A response that ends a handler early."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def json_response(body: object, status: int = 200, *pairs: tuple[str, str]) -> Response:
    """A JSON response."""
    content = json.dumps(body, separators=(",", ":")).encode()
    return Response(status, headers(("Content-Type", "application/json; charset=utf-8"), *pairs), content)


def no_store_response(body: object, status: int = 200) -> Response:
    """A JSON response that must not be cached (RFC 6749 section 5.1)."""
    return json_response(body, status, ("Cache-Control", "no-store"), ("Pragma", "no-cache"))


def error_entry(code: str, detail: str = "", source: Mapping[str, str] | None = None) -> dict[str, object]:
    """One entry of Telnyx's error list."""
    entry: dict[str, object] = {"code": code, "title": _TITLES[code], "detail": detail or _DETAILS[code]}
    if source:
        entry["source"] = dict(source)
    return entry | {"meta": {"url": f"https://developers.telnyx.com/docs/overview/errors/{code}"}}


def api_error(status: int, *faults: Mapping[str, object], pairs: tuple[tuple[str, str], ...] = ()) -> ErrorResponse:
    """An error response in Telnyx's form."""
    return ErrorResponse(json_response({"errors": faults}, status, *pairs))


def not_found() -> ErrorResponse:
    """The 404 of an unknown record or path."""
    return api_error(404, error_entry("10005"))


def oauth_error(
    error: str, description: str, status: int = 400, *pairs: tuple[str, str], more: Mapping[str, object] | None = None
) -> ErrorResponse:
    """An error response in the form of RFC 6749 section 5.2."""
    body = {"error": error, "error_description": description, **(more or {})}
    return ErrorResponse(json_response(body, status, ("Cache-Control", "no-store"), *pairs))


@attrs.frozen
class Call:
    """A parsed request. `argument` is the last part of the path, decoded, on a route that ends in `*`."""

    method: str
    path: str
    query: str = attrs.field(repr=False)
    headers: Headers = attrs.field(repr=False)
    content: bytes = attrs.field(repr=False)
    argument: str = attrs.field(repr=False, default="")

    @classmethod
    def of(cls, request: Request) -> Call:
        """Parse a request."""
        # Not urlsplit: it raises on a malformed URL, which is only a 404 here.
        _, _, rest = request.url.partition("://")
        path, _, query = rest[rest.find("/") :].partition("?")
        fields = CIMultiDictProxy(CIMultiDict(request.headers))
        return cls(request.method.upper(), path, query, fields, request.content)

    @property
    def media_type(self) -> str:
        """The body's media type, without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The parameters of the query, in order."""
        return parse_qsl(self.query, keep_blank_values=True)

    def json_object(self) -> dict[str, object]:
        """The JSON body, `{}` without one. Raises `ValueError` when it is not a JSON object."""
        if not self.content:
            return {}
        if self.media_type != "application/json":
            raise ValueError("The body must be application/json.")
        try:
            body: object = json.loads(self.content)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict):
            return cast(dict[str, object], body)
        raise ValueError("The body must be a JSON object.")

    def form(self) -> dict[str, str]:
        """The parameters of a body that is form-encoded or JSON.

        As RFC 6749 section 3.2 says, an empty parameter counts as absent, and a repeated one is an error.
        """
        if self.media_type == "application/json":
            try:
                body = self.json_object()
            except ValueError as error:
                raise oauth_error("invalid_request", str(error)) from None
            others = [name for name, value in body.items() if value is not None and not isinstance(value, str)]
            if others:
                raise oauth_error("invalid_request", f"Not a string: {', '.join(others)}.")
            return {name: value for name, value in body.items() if isinstance(value, str) and value}
        if self.media_type != "application/x-www-form-urlencoded":
            raise oauth_error(
                "invalid_request", "The body must be application/x-www-form-urlencoded or application/json."
            )
        return unique_parameters(parse_qsl(self.content.decode("utf-8", "replace"), keep_blank_values=True))


def unique_parameters(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The parameters that have a value. A repeated one is an error (RFC 6749 section 3.1)."""
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters:
            raise oauth_error("invalid_request", f"Repeated parameter: {name}.")
        parameters[name] = value
    return {name: value for name, value in parameters.items() if value}


Check: TypeAlias = Callable[[object], str]
"""A rule for a value: returns what is wrong with it, or an empty string."""


def problems(body: Mapping[str, object], schema: Mapping[str, Check], required: Collection[str] = ()) -> dict[str, str]:
    """The problem of each bad field of a body. A field that is not in the schema is bad."""
    result = {name: "is required" for name in required if name not in body}
    for name, value in body.items():
        problem = schema[name](value) if name in schema else "is not a known field"
        if problem:
            result[name] = problem
    return result


def text(value: object) -> str:
    """A string with visible characters."""
    return "" if isinstance(value, str) and value.strip() and value.isprintable() else "must be a non-empty string"


def boolean(value: object) -> str:
    """A boolean."""
    return "" if isinstance(value, bool) else "must be a boolean"


def one_of(*choices: str) -> Check:
    """One of some strings."""
    return lambda value: "" if value in choices else f"must be one of {', '.join(choices)}"


def list_of(choices: Collection[str]) -> Check:
    """A list of some strings."""

    def check(value: object) -> str:
        if not _is_strings(value):
            return "must be an array of strings"
        return "" if set(value) <= set(choices) else f"must be a subset of {', '.join(choices)}"

    return check


def scope_of(choices: Collection[str]) -> Check:
    """Space-separated scopes."""
    return lambda value: list_of(choices)(value.split()) if isinstance(value, str) else "must be a string"


def web_uri(value: object) -> str:
    """An http(s) address."""
    return "" if isinstance(value, str) and _is_uri(value, ("http", "https")) else "must be an http or https URI"


def redirect_uris(value: object) -> str:
    """Redirection URIs: absolute, without fragment (RFC 6749 section 3.1.2), of no scheme that a browser would run."""
    if not _is_strings(value):
        return "must be an array of strings"
    return "" if all(_is_uri(uri) for uri in value) else "must be absolute URIs without a fragment"


def _is_strings(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast(list[object], value))


def _is_uri(value: str, schemes: tuple[str, ...] = ()) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    if not value.isascii() or not value.isprintable() or " " in value:
        return False
    if parts.scheme in ("http", "https") and not parts.hostname:
        return False
    allowed = (
        parts.scheme in schemes
        if schemes
        else parts.scheme not in ("", "javascript", "data", "vbscript", "file", "blob")
    )
    return allowed and "#" not in value


def path_matches(pattern: str, path: str) -> bool:
    """Match a path against a shell pattern, with and without its `/v2`."""
    return fnmatchcase(path, pattern) or fnmatchcase(path.removeprefix("/v2"), pattern)


@attrs.frozen(kw_only=True)
class LoggedRequest:
    """A request as it was received. `status` is the response's; None when the connection was cut or nothing was sent."""

    method: str
    path: str
    query: str = attrs.field(repr=False)
    headers: Headers = attrs.field(repr=False)
    content: bytes = attrs.field(repr=False)
    at: float
    """The service's time, Unix seconds."""
    status: int | None

    @property
    def parameters(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The form-encoded body's parameters."""
        return dict(parse_qsl(self.content.decode(), keep_blank_values=True))

    def json(self) -> object:
        """The JSON body. Raises `ValueError` when it is not."""
        value: object = json.loads(self.content)
        return value


class RequestLog(Sequence[LoggedRequest]):
    """The latest requests, oldest first. It keeps `request_log_limit` of them and drops the oldest."""

    def __init__(self) -> None:
        self._entries: list[LoggedRequest] = []
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """The number of requests that are no longer in the log. `find` and `count` miss them."""
        return self._dropped

    def add(self, entry: LoggedRequest, limit: int | None = None) -> None:
        """Append a request and drop the oldest ones over the limit."""
        self._entries.append(entry)
        surplus = 0 if limit is None else max(0, len(self._entries) - limit)
        if surplus:
            del self._entries[:surplus]
            self._dropped += surplus

    def find(self, path: str = "*", *, method: str | None = None, status: int | None = None) -> list[LoggedRequest]:
        """The requests whose path matches a shell pattern (`/oauth/token`, `/oauth*clients/*`); `/v2` may be left out."""
        return [
            entry
            for entry in self
            if path_matches(path, entry.path) and method in (None, entry.method) and status in (None, entry.status)
        ]

    def count(self, path: str = "*", *, method: str | None = None, status: int | None = None) -> int:
        """The number of requests that `find` returns."""
        return len(self.find(path, method=method, status=status))

    def clear(self) -> None:
        """Empty the log."""
        self._entries.clear()
        self._dropped = 0

    @overload
    def __getitem__(self, index: int) -> LoggedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> list[LoggedRequest]: ...
    def __getitem__(self, index: int | slice) -> LoggedRequest | list[LoggedRequest]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LoggedRequest]:
        # A copy, as the server's thread appends and drops entries meanwhile.
        return iter(tuple(self._entries))
