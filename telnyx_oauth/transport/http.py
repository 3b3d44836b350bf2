"""The aiohttp adapter: it sends a `Request`, returns a `Response`, and owns the connections."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Self

import aiohttp
import attrs
from aiohttp.abc import AbstractResolver, AbstractStreamWriter, ResolveResult
from aiohttp.hdrs import ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT
from multidict import CIMultiDict
from yarl import URL

from ..errors import APIConnectionError, ClientClosedError, TelnyxError
from ..messages import Request, Response, Timeout
from ..protocol.arguments import expect
from ..protocol.secret import Secret, Uncopied
from ..protocol.urls import is_loopback
from .connection_errors import RAISED, connection_error
from .fork import on_fork
from .proxies import environment_proxy, goes_direct, has_own_proxy, proxy_address, session_has_proxy
from .response_body import ACCEPTED, read_response, stream_response

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_HERE: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class LocalNames(AbstractResolver):
    """aiohttp's resolver, but for `localhost` and `*.localhost`: they are this machine (RFC 6761 section 6.3).

    Plain http is allowed to these names, so a name server must not be able to redirect them to another machine.
    """

    def __init__(self) -> None:
        self._others = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name."""
        if not is_loopback(host):
            return await self._others.resolve(host, port, family)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=_NUMERIC)
            for kind, address in _HERE
            if family in (kind, socket.AF_UNSPEC)
        ]

    async def close(self) -> None:
        """Release aiohttp's resolver."""
        await self._others.close()


class Outgoing(aiohttp.BytesPayload):
    """A request's body. aiohttp holds the headers back until it writes the body, so no byte is sent before `begun`.

    `check` is called at that moment. An exception of it is stored in `stopped`, and then nothing is sent.
    """

    def __init__(self, content: bytes, check: Callable[[], None] | None) -> None:
        super().__init__(content)
        self.begun = False
        self.stopped: Exception | None = None
        self._check = check

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, and the headers before it."""
        if self._check is not None:
            try:
                self._check()
            except Exception as exc:  # noqa: BLE001 - raised again where the request was made
                self.stopped = exc
        if self.stopped is not None:
            raise _StoppedError  # not the check's exception, which aiohttp would wrap
        self.begun = True
        await super().write_with_length(writer, content_length)


class Tracker(aiohttp.UploadTracker):
    """aiohttp's record of the progress of an upload. It may be copied, since mocks copy the arguments of calls."""

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: a copy would not be updated."""
        return self


# aiohttp writes a body of up to this size together with the headers, without a turn of the loop between.
_AT_ONCE: Final = 32 * 1024


def outgoing(request: Request) -> Outgoing | None:
    """The body object of a request that needs more than its bytes, else `None`."""
    if request.check is None and len(request.content) <= _AT_ONCE:
        return None
    return Outgoing(request.content, request.check)


class _StoppedError(Exception):
    """The exception that stops aiohttp in place of the check's."""


# Something else than aiohttp's session, such as a mock, leaves no record of the progress: then only its exception tells.
_BEFORE: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


def may_have_left(exc: BaseException, tracker: Tracker, body: Outgoing | None) -> bool:
    """Return whether a byte of a failed request may have left this machine."""
    if tracker.attempts == 0:
        return not isinstance(exc, _BEFORE)
    if tracker.attempts > 1:  # the session retried by itself
        return True
    if body is not None:
        return body.begun
    # Headers and such a small body are written in one step, or not at all.
    ended = tracker.upload_complete
    return not ended.done() or ended.exception() is None


def adapt_to_session(
    session: aiohttp.ClientSession, request: Request, always: dict[str, Any], *, direct: bool
) -> tuple[Request, dict[str, Any]]:
    """Adapt a request and its options to a user's session, so that only the request decides about `Authorization`.

    With `direct` the request goes through none of the environment's proxies, which aiohttp reads by other rules.

    The session may have credentials of its own: in its headers, as `auth`, from a middleware or from `.netrc`. aiohttp refuses
    to send two, and has no option to leave them out. So a middleware sets or removes the header after aiohttp added its own.
    """
    options: Sequence[aiohttp.ClientMiddlewareType] | None = always["middlewares"]
    theirs = tuple(getattr(session, "_middlewares", ())) if options is None else tuple(options)
    # The session's other codings could not be decoded here.
    headers = Secret(CIMultiDict({ACCEPT_ENCODING: ACCEPTED}))
    headers.plain.update(request.headers)
    request = attrs.evolve(request, headers=headers.plain)
    has_header = AUTHORIZATION in session.headers
    if not (theirs or has_header or session.trust_env or session.auth is not None):
        return request, always
    override = _Override(request, direct=direct and session.trust_env and not has_own_proxy(session))
    headers.plain.popall(AUTHORIZATION, None)
    # First, so that the session's middlewares see the header; last, so that they cannot change it.
    middlewares = (override, *theirs, override) if theirs else (override,)
    return request, {**always, "middlewares": middlewares}


class _Override:
    """A middleware that sets `Authorization` and the proxy. Its repr shows nothing."""

    def __init__(self, request: Request, *, direct: bool) -> None:
        self._direct = direct
        self._values = Secret([value for name, value in request.headers.items() if name.lower() == "authorization"])

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers.popall(AUTHORIZATION, None)
        request.headers.extend((AUTHORIZATION, value) for value in self._values.plain)
        if self._direct:
            request.update_proxy(None, None, None)
        return await handler(request)


def _authority_variables() -> tuple[str | None, str | None]:
    """OpenSSL's environment variables for the certificate authorities to trust."""
    return os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")


_WHEN_IMPORTED: Final = _authority_variables()


def _authorities() -> ssl.SSLContext | None:
    """The TLS context for the authorities that the variables name now. aiohttp read them when it was imported."""
    variables = _authority_variables()
    return _loaded(variables) if any((*variables, *_WHEN_IMPORTED)) else None


@lru_cache(1)
def _loaded(_variables: tuple[str | None, str | None]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    return context


class HttpTransport(Uncopied):
    """Sends requests through aiohttp. Works on any number of event loops, each with connections of its own.

    It follows no redirects and keeps no cookies. Connections are closed by `aclose`, with their loop, or once the transport is
    garbage-collected. A forked child has none of them.
    """

    def __init__(
        self,
        *,
        http_session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        trust_env: bool = True,
        ssl_context: ssl.SSLContext | None = None,
        limit: int = 100,
        middlewares: bool = True,
    ) -> None:
        address = None if proxy is None else Secret(proxy)
        del proxy
        if http_session is not None:
            expect(http_session, "http_session", "an aiohttp.ClientSession", "request", "close")
        if ssl_context is not None:
            expect(ssl_context, "ssl_context", "an ssl.SSLContext, such as ssl.create_default_context()", "wrap_bio")
        self._http_session = http_session
        self._proxy = None if address is None else proxy_address(address, "proxy")
        self._trust_env = trust_env
        self._limit = limit
        self._always: dict[str, Any] = {
            "allow_redirects": False,
            "raise_for_status": False,
            "auto_decompress": False,
            "ssl": ssl_context or True,
            "middlewares": None if middlewares else (),
            **_HEADERS,
        }
        self._sessions: dict[asyncio.AbstractEventLoop, _Kept] = {}
        self._proxies: dict[str, Secret[str | None]] = {}
        self._last: tuple[str, Secret[str | None]] = (" ", Secret(None))  # no URL begins with a space
        self._closed = False
        on_fork(self, HttpTransport._reset_after_fork)
        # An aiohttp session complains if it is collected unclosed. The finalizer keeps the sessions alive until the transport
        # is collected, in whatever cycle and thread that happens, and closes them.
        weakref.finalize(self, _end_later, self._sessions).atexit = False

    @property
    def is_open(self) -> bool:
        """`True` if there are connections on a loop that is not closed."""
        return any(not loop.is_closed() for loop in list(self._sessions))

    async def __call__(self, request: Request) -> Response:
        """Send one request. Raises `APIConnectionError` if no response came, `APITimeoutError` if it came too late."""
        session, always = self._http_session, self._always
        if session is None:
            kept = self._sessions.get(asyncio.get_running_loop())
            session = await self._open_session() if kept is None or kept.session.closed else kept.session
        elif session.closed:
            raise ClientClosedError("The given `http_session`")
        else:
            request, always = adapt_to_session(session, request, always, direct=self._proxy_for(request).plain is None)
        body = await self._prepared(request) if request.content or request.method == "POST" or request.check else None
        proxy = self._proxy_for(request)
        tracker = Tracker()
        try:
            answer = Secret(
                await session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    data=body or request.content or None,
                    headers=request.headers,
                    timeout=_client_timeout(request.timeout),
                    proxy=proxy.plain,
                    skip_auto_headers=_skipped_headers(request),
                    upload_tracker=tracker,
                    **always,
                )
            )
        except TelnyxError:
            raise  # from a middleware of the user's session
        except RAISED as exc:
            error = connection_error(exc, request.info, sent=may_have_left(exc, tracker, body))
        else:
            # A streamed body stays on the wire, except for that of an error.
            if not (request.stream and answer.plain.status < 300):
                return await read_response(answer, request)
            return stream_response(answer, request.info)
        # Raised outside the handler: aiohttp's exceptions, which hold the request's headers, would become `__context__`.
        if body is not None and body.stopped is not None:
            raise body.stopped
        raise error

    async def _prepared(self, request: Request) -> Outgoing | None:
        """Prepare to send a body, or a request that may change something. Returns the body object if it needs one.

        The server may have closed a pooled connection while the loop did not run, and this task may be the first one since. In
        two turns the loop notices all such closes, and aiohttp then does not use these connections.
        """
        # Before the first request to a host there is no connection in the pool.
        if self._http_session is not None or any(request.url.startswith(place) for place in self._proxies):
            for _ in range(2):
                await asyncio.sleep(0)
        return outgoing(request)

    async def _open_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        kept = self._sessions.get(loop)
        if kept is None or kept.session.closed:
            if self._closed:
                raise ClientClosedError("This transport, or the client that it belongs to,", lent=True)
            # A session holds its loop, so a series of `asyncio.run` calls would keep all of their loops.
            for closed in [each for each in list(self._sessions) if each.is_closed()]:
                self._sessions.pop(closed, None)
            kept = self._sessions[loop] = _Kept(*self._new_session())
            # The only hook at a loop's end: `asyncio.run` and the like close asynchronous generators that are still open. So
            # the connections are closed in time even if the client never is.
            await anext(kept.guard)
        return kept.session

    def _new_session(self) -> tuple[aiohttp.ClientSession, AbstractResolver | None]:
        """Create a session, and the resolver to close after it."""
        resolver = LocalNames()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limit, resolver=resolver, ssl=_authorities() or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={ACCEPT_ENCODING: ACCEPTED},
            trust_env=False,
        )
        # aiohttp would retry idempotent requests by itself, unlogged and uncounted. Retries are the engine's.
        session._retry_connection = False
        return session, resolver

    def _proxy_for(self, request: Request) -> Secret[str | None]:
        """The `proxy` of the constructor, else the environment's. A user's session uses its own.

        `None` for this machine, and an error if a user's session would use a proxy for it. The environment is read here, since
        aiohttp's `trust_env` reads `.netrc` too, and sends the credentials in it.
        """
        place, proxy = self._last
        if request.url.startswith(place):
            return proxy
        end = request.url.find("/", 8)  # after https://
        place = request.url if end < 0 else request.url[:end]
        if place not in self._proxies:
            error = None
            try:
                decided = self._decide(place, request)
                self._proxies[place] = Secret(None if decided is None else decided.plain)
            except ValueError as exc:
                error = connection_error(exc, request.info, sent=False)
            if error is not None:
                raise error
        if end >= 0:
            self._last = f"{place}/", self._proxies[place]
        return self._proxies[place]

    def _decide(self, place: str, request: Request) -> Secret[str] | None:
        if self._http_session is not None:
            if not goes_direct(place) and self._proxy is not None:
                return self._proxy
            if session_has_proxy(self._http_session, place):
                raise APIConnectionError(
                    "Nothing was sent: the given `http_session` would send this call to this machine through a proxy. Make "
                    "the session without one, or name this machine in NO_PROXY.",
                    request=request.info,
                    sent=False,
                )
            if has_own_proxy(self._http_session) or not self._http_session.trust_env:
                return None
        elif self._proxy is not None or not self._trust_env:
            return None if goes_direct(place) else self._proxy
        try:
            return environment_proxy(place)
        except ValueError as exc:
            message = f"Nothing was sent: {exc}."
        raise APIConnectionError(message, request=request.info, sent=False)

    async def aclose(self) -> None:
        """Close the connections; those of other loops are closed on their loops. A user's session stays open."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, kept in list(self._sessions.items()):
            if loop is here:
                await kept.end()
            else:
                kept.end_on(loop)
        self._sessions.clear()

    def _reset_after_fork(self) -> None:
        """Drop the parent process's connections without closing them."""
        # Closing them would unregister their sockets from the epoll object that the parent still uses.
        for kept in self._sessions.values():
            connector = kept.session.connector
            kept.session.detach()
            _inherited.append((kept, connector))
        self._sessions.clear()


class _Kept:
    """The session of one loop, and its closing."""

    __slots__ = ("guard", "session")

    def __init__(self, session: aiohttp.ClientSession, resolver: AbstractResolver | None) -> None:
        self.session = session
        self.guard = self._guard(session, resolver)

    async def end(self) -> None:
        """Close the connections. Concurrent calls are safe: once the session is closed, the generator has nothing to await."""
        await self.session.close()
        await self.guard.aclose()

    def end_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the connections on their loop, from any thread, unless the loop is closed."""
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._begin_to_end, loop)

    def _begin_to_end(self, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self.end())
        _ending.add(task)
        task.add_done_callback(_ending.discard)

    @staticmethod
    async def _guard(session: aiohttp.ClientSession, resolver: AbstractResolver | None) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await session.close()
            if resolver is not None:
                await resolver.close()


# aiohttp's default limit for a header is 8,190 bytes, which Content-Security-Policy and gateways' cookies exceed. Here it is
# 128 KiB, more than curl's, with at most 512 headers.
_HEADERS: Final = {"max_line_size": 0x20000, "max_field_size": 0x20000, "max_headers": 512}
# aiohttp adds these if they are missing, but a caller that removed one meant to.
_AUTO_HEADERS: Final = (USER_AGENT, ACCEPT, CONTENT_TYPE)


def _skipped_headers(request: Request) -> tuple[str, ...] | None:
    headers = request.headers
    if USER_AGENT in headers and ACCEPT in headers and (not request.content or CONTENT_TYPE in headers):
        return None
    return _AUTO_HEADERS


@lru_cache(maxsize=64)
def _client_timeout(timeout: Timeout) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=timeout.total, sock_connect=timeout.connect)


def _end_later(sessions: dict[asyncio.AbstractEventLoop, _Kept]) -> None:
    """Close the connections of a transport that was garbage-collected."""
    for loop, kept in list(sessions.items()):
        kept.end_on(loop)


_ending: set[asyncio.Task[None]] = set()  # a loop refers to its tasks only weakly
_inherited: list[object] = []  # a fork's copies of the parent's connections, kept so that no destructor closes them
