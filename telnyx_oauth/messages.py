"""The plain values that cross the network: what is sent, what comes back, and how long it may take."""

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
"""The `Response.fault` that another attempt may mend."""


@attrs.frozen(cache_hash=True)
class Timeout:
    """How long one attempt may take, in seconds; `None` is no limit.

    `total` bounds the attempt from the first byte to the last, `connect` the opening of a connection. Where a call has to wait
    for its token, the wait is part of the first attempt. Raises `TypeError` for what is no number.
    """

    total: float | None = 60.0
    connect: float | None = 5.0

    def __attrs_post_init__(self) -> None:
        check_number(self.total, "total", optional=True)
        check_number(self.connect, "connect", optional=True)


def check_number(
    value: object, parameter: str, wanted: str = "a number of seconds", also: str = "", *, optional: bool = False
) -> None:
    """Raises `TypeError`, naming the parameter, unless `value` is a number, or `None` where `optional`.

    A truth value is no number. `also` is what else the caller takes.
    """
    if (isinstance(value, (int, float)) and not isinstance(value, bool)) or (optional and value is None):
        return
    hint = ", such as delta.total_seconds()" if hasattr(value, "total_seconds") else ""
    given = "None" if value is None else f"of type {type(value).__name__}"
    choice = f"{wanted}{hint}{also}{' or None' if optional else ''}"
    raise TypeError(f"`{parameter}` must be {choice}; what was given is {given}.")


# Made for every call: without slots attrs fills an instance in two thirds of the time.
@attrs.frozen(slots=False)
class RequestInfo:
    """What may be said of a request in an error or a log: no query, no headers, no body, no secret in the path."""

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
    """A response body that is still on the wire."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None:
        """Give the connection back (or up). May be called twice."""
        ...


@attrs.frozen(eq=False, slots=False)
class Response:
    """One HTTP answer. `content` is the decoded body: empty while `stream` holds it, or when it has a `fault`.

    `fault` says what is wrong with the body: it ended early, or is too large.
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
        """Telnyx's name for this answer (`X-Request-Id`): quote it to their support."""
        return self.headers.get("X-Request-Id")

    def text(self) -> str:
        """The body as text, in the charset that the answer declares, else UTF-8; undecodable bytes are replaced."""
        return self.content.decode(self.charset, "replace")

    @property
    def charset(self) -> str:
        """The charset that the answer declares, else UTF-8."""
        return _charset(self.headers.get("Content-Type", ""))

    def json(self, *, parse_int: Callable[[str], object] | None = None) -> object:
        """The body as JSON. Raises `ValueError` when it is not.

        Bytes that are no UTF-8 are read in the charset that the answer declares, and replaced where that fails too: what
        cannot be read in one member costs no other. `parse_int` reads the digits of integers, as in
        `json.loads`: by itself Python refuses those of more than 4,300.
        """
        try:
            return self._parsed(parse_int)
        except _json.JSONDecodeError as exc:
            error = _json.JSONDecodeError(exc.msg, "", exc.pos)
        # Apart from Python's own error, which holds the whole body.
        raise error

    def _parsed(self, parse_int: Callable[[str], object] | None) -> object:
        try:
            return cast("object", _json.loads(self.content, parse_int=parse_int))
        except UnicodeDecodeError:
            return cast("object", _json.loads(self.text(), parse_int=parse_int))

    def __reduce__(self) -> tuple[object, ...]:
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


# Python's codecs include base64, idna and others that are no charset, or fail on a stranger's bytes.
_CHARSETS: Final = ("ascii", "big5", "cp", "euc", "gb", "iso8859", "koi8", "mac", "shift_jis", "utf")


def _charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            try:
                found = codecs.lookup(value.strip().strip('"')).name
            except (LookupError, ValueError):  # ValueError: NUL, or bytes that were no text
                break
            return found if found.startswith(_CHARSETS) else "utf-8"
    return "utf-8"


Send: TypeAlias = Callable[[Request], Awaitable[Response]]
"""A transport is one async function. It raises `APIConnectionError` when no complete answer came."""
