"""The client middleware: a fresh token on every request to the given origins, and on no other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, Protocol, TypeAlias

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, MultipartWriter, hdrs, payload
from yarl import URL

from ..errors import APIConnectionError
from ..hints import NamesChecked
from ..protocol.arguments import expect, expect_a, expect_flags
from ..protocol.auth_headers import another_token_helps
from ..protocol.secret import Secret, Uncopied
from ..protocol.token import Token
from ..protocol.urls import check_endpoint

_Origin: TypeAlias = tuple[bool, str | None, int | None]


_METHODS: Final = ("peek", "get", "replace")
_ORIGINS: Final = "a list of addresses, such as ['https://api.telnyx.com']"


class Tokens(Protocol):
    """The part of a token manager that the middleware uses."""

    def peek(self) -> Token | None:
        """Return a fresh token, or `None` if that would take a wait."""
        ...

    async def get(self) -> Token:
        """Return a fresh token."""
        ...

    async def replace(self, rejected: Token) -> Token:
        """Return another token than the one that was refused."""
        ...


class BearerTokenMiddleware(NamesChecked, Uncopied):
    """Attaches a token to the requests of a `ClientSession` that go to `origins`, and to no others.

    After a 401 the token is replaced and the request is sent once more, if its body can be sent again. A stream cannot, so its
    caller gets the 401 and the next request has the new token. `on_conflict` says whether to keep or replace an
    `Authorization` header that a request already has. `origins` are https, or http to this machine with
    `allow_insecure_loopback`. A request's own `middlewares=` replaces the session's, this one included. A request over plain
    http to this machine that the session would send through a proxy raises `APIConnectionError`, since the proxy could read
    the token. Raises `ValueError` for an address that is no origin.
    """

    _usage = "Give aiohttp a middleware that is made: BearerTokenMiddleware(client.tokens, origins=[...])."

    def __init__(
        self,
        tokens: Tokens,
        *,
        origins: Iterable[str | URL],
        on_conflict: Literal["keep", "replace"] = "keep",
        retry: bool = True,
        allow_insecure_loopback: bool = False,
    ) -> None:
        expect(
            tokens, "tokens", "a TokenManager, such as AsyncTelnyx(...).tokens or Telnyx(...).tokens.manager", *_METHODS
        )
        expect_flags(retry=retry, allow_insecure_loopback=allow_insecure_loopback)
        if on_conflict not in ("keep", "replace"):
            raise ValueError("on_conflict must be 'keep' or 'replace'.")
        if not isinstance(origins, str | URL):
            expect(origins, "origins", _ORIGINS, "__iter__")
        addresses = (origins,) if isinstance(origins, str | URL) else tuple(origins)
        for each in addresses:
            expect_a(each, "origins", _ORIGINS, str, URL)
        if not addresses:
            raise ValueError(
                "origins is empty, so no request would carry a token; name those of the API that takes it."
            )
        self._origins = frozenset(
            _checked_origin(each, allow_insecure_loopback=allow_insecure_loopback) for each in addresses
        )
        self._tokens = tokens
        self._keep = on_conflict == "keep"
        self._retry = retry

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request, for aiohttp. Raises the token manager's errors when there is no token."""
        # aiohttp calls this once for each hop of a redirect, with the caller's headers: so the origin is checked each time.
        if _origin(request.url) not in self._origins or (self._keep and hdrs.AUTHORIZATION in request.headers):
            return await handler(request)
        if request.proxy is not None and not request.is_ssl():
            raise APIConnectionError(
                "Nothing was sent: the session would send this token to this machine through a proxy, in clear. Make the "
                "session without one, or name this machine in NO_PROXY.",
                sent=False,
            )
        token = self._tokens.peek() or await self._tokens.get()
        request.headers[hdrs.AUTHORIZATION] = token.authorization
        # The repr of aiohttp's response shows its whole address and its headers.
        response = Secret(await handler(request))
        if (
            response.plain.status != 401
            or not self._retry
            or not another_token_helps(response.plain.headers.getall(hdrs.WWW_AUTHENTICATE, ()))
        ):
            return response.plain
        try:
            replacement = await self._tokens.replace(token)
        except BaseException:
            response.plain.close()
            raise
        if replacement.access_token == token.access_token or not _replayable(request.body):
            return response.plain
        # Before the second request, which would wait for this connection if the session has a limit of one.
        response.plain.release()
        request.headers[hdrs.AUTHORIZATION] = replacement.authorization
        return await handler(request)


def _checked_origin(address: str | URL, *, allow_insecure_loopback: bool) -> _Origin:
    text = str(address)
    if not allow_insecure_loopback and text.lower().startswith("http:"):
        raise ValueError(
            "origins must be https; plain http is for this machine alone, and needs allow_insecure_loopback=True."
        )
    url = _parsed(text)
    check_endpoint(str(url), "origins", allow_insecure_loopback=allow_insecure_loopback)
    if url.raw_path not in ("", "/") or url.raw_query_string:
        raise ValueError("origins are scheme, host and port alone, such as https://api.telnyx.com.")
    return _origin(url)


def _parsed(text: str) -> URL:
    """The URL, its host in ASCII."""
    try:
        return URL(text)
    except ValueError:
        raise ValueError("origins is not a URL.") from None


def _origin(url: URL) -> _Origin:
    return url.scheme in ("https", "wss"), url.raw_host, url.port


def _replayable(body: payload.Payload | bytes | bytearray | memoryview) -> bool:
    """Return whether the body can be sent again from its beginning. A generator cannot, even an unread one."""
    if isinstance(body, payload.AsyncIterablePayload):
        return False
    if isinstance(body, MultipartWriter):
        return not body.consumed and all(_replayable(part) for part, _, _ in body)
    return not isinstance(body, payload.Payload) or not body.consumed
