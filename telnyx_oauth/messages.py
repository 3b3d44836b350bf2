"""Requests and responses as plain values, and their time limits."""

from __future__ import annotations

import codecs
import json as _json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeAlias, cast

import attrs
from multidict import CIMultiDict, CIMultiDictProxy

Headers: TypeAlias = CIMultiDictProxy[str]


def headers(*pairs: tuple[str, str]) -> Headers:
    """Case-insensitive, read-only headers made of pairs; a name may repeat."""
    return CIMultiDictProxy(CIMultiDict(pairs))


NO_HEADERS = headers()
ENDED_EARLY: Final = "the body ended early or could not be decoded"
"""The `Response.fault` after which another attempt may succeed."""


# Hashed in every call, to look up aiohttp's form of it.
@attrs.frozen(cache_hash=True)
class Timeout:
    """Time limits of one attempt, in seconds; `None` is no limit.

    `total` limits the attempt from the first byte to the last, `connect` the opening of a connection. If a call has to wait for
    its token, the wait is part of the first attempt. Raises `TypeError` for a value that is not a number.
    """

    total: float | None = 60.0
    connect: float | None = 5.0

    def __attrs_post_init__(self) -> None:
        check_number(self.total, "total", optional=True)
        check_number(self.connect, "connect", optional=True)


def check_number(
    value: object, parameter: str, expected: str = "a number of seconds", also: str = "", *, optional: bool = False
) -> None:
    """Raise `TypeError`, naming the parameter, unless `value` is a number, or `None` where `optional`.

    `True` and `False` are not numbers here. `also` names other types that the caller accepts, for the message.
    """
    if (isinstance(value, (int, float)) and not isinstance(value, bool)) or (optional and value is None):
        return
    hint = ", such as delta.total_seconds()" if hasattr(value, "total_seconds") else ""
    kind = "None" if value is None else f"of type {type(value).__name__}"
    choice = f"{expected}{hint}{also}{' or None' if optional else ''}"
    raise TypeError(f"`{parameter}` must be {choice}; what was given is {kind}.")


# Created for every call: without slots, attrs fills an instance in two thirds of the time.
@attrs.frozen(slots=False)
class RequestInfo:
    """The part of a request that may stand in an error or a log: no query, no headers, no body, no secret in the path."""

    method: str
    url: str

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


def _info(request: Request) -> RequestInfo:
    return RequestInfo(request.method, request.url.partition("?")[0])


@attrs.frozen(slots=False)
class Request:
    """One HTTP request as a transport sends it.

    `url` is absolute and already percent-encoded. The repr shows `info` alone, since everything else may hold a secret;
    `info` is made of `url` without its query unless it is given. `max_bytes` limits the decoded body of the response. With
    `stream` the body of a successful response stays on the wire, as `Response.stream`. `secrets` are redacted in whatever an
    error keeps of the response. `check` is called at the last moment before the first byte leaves, each time that the
    request is sent: what it raises stops the request and comes out unchanged.
    """

    method: str = attrs.field(repr=False)
    url: str = attrs.field(repr=False)
    info: RequestInfo = attrs.field(default=attrs.Factory(_info, takes_self=True))
    headers: Mapping[str, str] = attrs.field(repr=False, factory=dict[str, str])
    content: bytes = attrs.field(repr=False, default=b"")
    timeout: Timeout = attrs.field(repr=False, default=Timeout())
    max_bytes: int = attrs.field(repr=False, default=16 * 1024 * 1024)
    stream: bool = attrs.field(repr=False, default=False)
    secrets: tuple[str, ...] = attrs.field(repr=False, default=())
    check: Callable[[], None] | None = attrs.field(repr=False, default=None, eq=False)


class ByteStream(Protocol):
    """A response body that has not been read from the connection yet."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None:
        """Return the connection to the pool, or close it. May be called twice."""
        ...


@attrs.frozen(eq=False, slots=False)
class Response:
    """One HTTP response. `content` is the decoded body: empty while `stream` holds it, or if the body has a `fault`.

    `fault` describes what is wrong with the body, for example that it ended early or is too large.
    """

    status_code: int
    headers: Headers = attrs.field(repr=False, default=NO_HEADERS)
    content: bytes = attrs.field(repr=False, default=b"")
    request: RequestInfo = attrs.field(default=RequestInfo("", ""))
    http_version: str = attrs.field(repr=False, default="HTTP/1.1")
    stream: ByteStream | None = attrs.field(repr=False, default=None)
    fault: str = ""

    @property
    def method(self) -> str:
        """The request's method."""
        return self.request.method

    @property
    def url(self) -> str:
        """The request's address, without query."""
        return self.request.url

    @property
    def request_id(self) -> str | None:
        """Telnyx's id of this response (`X-Request-Id`): quote it to their support."""
        return self.headers.get("X-Request-Id")

    def text(self) -> str:
        """The body as text, in the charset that the response declares, else UTF-8; undecodable bytes are replaced."""
        return self.content.decode(self.charset, "replace")

    @property
    def charset(self) -> str:
        """The charset that the response declares, else UTF-8."""
        return _charset(self.headers.get("Content-Type", ""))

    def json(self, *, parse_int: Callable[[str], object] | None = None) -> object:
        """The body as JSON. Raises `ValueError` if it is not JSON.

        Bytes that are not UTF-8 are decoded in the charset that the response declares, and replaced if that fails too, so that
        one unreadable member does not cost the others. `parse_int` converts the digits of integers, as in `json.loads`:
        Python's own refuses more than 4,300 of them.
        """
        try:
            return self._parsed(parse_int)
        except _json.JSONDecodeError as exc:
            error = _json.JSONDecodeError(exc.msg, "", exc.pos)
        # Raised outside the handler: Python's own error, its context, would hold the whole body.
        raise error

    def _parsed(self, parse_int: Callable[[str], object] | None) -> object:
        try:
            return cast("object", _json.loads(self.content, parse_int=parse_int))
        except UnicodeDecodeError:
            return cast("object", _json.loads(self.text(), parse_int=parse_int))

    def __reduce__(self) -> tuple[object, ...]:
        # Cookies are credentials, and a stream cannot be pickled.
        kept = tuple(pair for pair in self.headers.items() if pair[0].lower() != "set-cookie")
        return _restore, (self.status_code, kept, self.content, self.request, self.http_version, self.fault)


def _restore(
    status_code: int,
    pairs: tuple[tuple[str, str], ...],
    content: bytes,
    request: RequestInfo,
    http_version: str,
    fault: str,
) -> Response:
    return Response(status_code, headers(*pairs), content, request, http_version, None, fault)


# Python's codecs include base64, idna and others that are not charsets, or that fail on arbitrary bytes.
_CHARSETS: Final = ("ascii", "big5", "cp", "euc", "gb", "iso8859", "koi8", "mac", "shift_jis", "utf")


def _charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            try:
                codec = codecs.lookup(value.strip().strip('"')).name
            except (LookupError, ValueError):  # ValueError: NUL, or bytes that are not text
                break
            return codec if codec.startswith(_CHARSETS) else "utf-8"
    return "utf-8"


Send: TypeAlias = Callable[[Request], Awaitable[Response]]
"""A transport: one async function. It raises `APIConnectionError` if no complete response came."""
