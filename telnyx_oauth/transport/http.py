"""The aiohttp adapter: one async function from `Request` to `Response`, and the connections under it."""

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
from .connection_errors import RAISED, named
from .fork import on_fork
from .proxies import environment_proxy, goes_direct, has_own_proxy, proxy_address, session_has_proxy
from .response_body import ACCEPTED, received, streamed

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_HERE: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class LocalNames(AbstractResolver):
    """aiohttp's resolver, but for `localhost` and `*.localhost`: they are this machine (RFC 6761 section 6.3).

    Plain http is allowed to these names, so a name server must not be able to lead it elsewhere.
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
    """A request's body. aiohttp keeps the headers back until it writes the body, so nothing leaves before `begun`.

    `check` is called at that moment. What it raises is kept in `stopped`, and then nothing is sent.
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
            raise _StoppedError  # apart from the check's own, which aiohttp would make part of one of its errors
        self.begun = True
        await super().write_with_length(writer, content_length)


class Tracker(aiohttp.UploadTracker):
    """aiohttp's record of how far a request came, which may be copied with what else a mock keeps of a call."""

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: a copy would follow nothing."""
        return self


# aiohttp writes this much at once with the headers, without a turn of the loop between.
_AT_ONCE: Final = 32 * 1024


def outgoing(request: Request) -> Outgoing | None:
    """A request's body, where that has to be more than its bytes."""
    if request.check is None and len(request.content) <= _AT_ONCE:
        return None
    return Outgoing(request.content, request.check)


class _StoppedError(Exception):
    """The check's exception, for aiohttp."""


# Where something else than aiohttp's own session sends, such as a mock, its exception alone says how far it came.
_BEFORE: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


def may_have_left(exc: BaseException, tracker: Tracker, body: Outgoing | None) -> bool:
    """Tell if a byte of a request that failed may have left this machine."""
    if tracker.attempts == 0:
        return not isinstance(exc, _BEFORE)
    if tracker.attempts > 1:  # a session that tries again by itself
        return True
    if body is not None:
        return body.begun
    # Headers and a body as small as this leave at once: they are written, or they are not.
    ended = tracker.upload_complete
    return not ended.done() or ended.exception() is None


def lent(
    session: aiohttp.ClientSession, request: Request, always: dict[str, Any], *, direct: bool
) -> tuple[Request, dict[str, Any]]:
    """The request and its options, so that nothing but the request decides what stands in `Authorization`.

    With `direct` it goes through no proxy of the environment's, which aiohttp reads in a way of its own.

    A session may have credentials of its own: in its headers, as `auth`, of a middleware or of `.netrc`. aiohttp refuses to
    send two, and cannot be told to leave them out: so the header is put in, or taken out, after it has added its own.
    """
    given: Sequence[aiohttp.ClientMiddlewareType] | None = always["middlewares"]
    theirs = tuple(getattr(session, "_middlewares", ())) if given is None else tuple(given)
    named = AUTHORIZATION in session.headers
    # What the session would take beside these is not read here.
    headers = Secret(CIMultiDict({ACCEPT_ENCODING: ACCEPTED}))
    headers.plain.update(request.headers)
    request = attrs.evolve(request, headers=headers.plain)
    if not (theirs or named or session.trust_env or session.auth is not None):
        return request, always
    decided = _LastWord(request, direct=direct and session.trust_env and not has_own_proxy(session))
    headers.plain.popall(AUTHORIZATION, None)
    # First, for the session's own middlewares to see what is sent, and last, after what they make of it.
    middlewares = (decided, *theirs, decided) if theirs else (decided,)
    return request, {**always, "middlewares": middlewares}


class _LastWord:
    """A middleware that has the last word on `Authorization` and proxies. Its repr shows nothing."""

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


def _named_authorities() -> tuple[str | None, str | None]:
    """What the environment says of the certificate authorities to trust, for OpenSSL."""
    return os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")


_WHEN_IMPORTED: Final = _named_authorities()


def _authorities() -> ssl.SSLContext | None:
    """Those that the environment names now. aiohttp has read it when it was imported, and a program may set it later."""
    named_now = _named_authorities()
    return None if not any((*named_now, *_WHEN_IMPORTED)) else _loaded(named_now)


@lru_cache(1)
def _loaded(_named: tuple[str | None, str | None]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    return context


class HttpTransport(Uncopied):
    """Sends requests through aiohttp. Works on any number of event loops, each with connections of its own.

    Follows no redirect and keeps no cookie. Connections end with `aclose`, with their loop, or once the transport is
    collected. After a fork the child has none of them.
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
        way = None if proxy is None else Secret(proxy)
        del proxy
        if http_session is not None:
            expect(http_session, "http_session", "an aiohttp.ClientSession", "request", "close")
        if ssl_context is not None:
            expect(ssl_context, "ssl_context", "an ssl.SSLContext, such as ssl.create_default_context()", "wrap_bio")
        self._given = http_session
        self._proxy = None if way is None else proxy_address(way, "proxy")
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
        # What is collected together with its session could only watch that complain. So this keeps the sessions apart from
        # the transport, in whatever cycle and thread that is collected.
        weakref.finalize(self, _end_later, self._sessions).atexit = False

    @property
    def is_open(self) -> bool:
        """Whether it holds connections on a loop that still runs."""
        return any(not loop.is_closed() for loop in list(self._sessions))

    async def __call__(self, request: Request) -> Response:
        """Send one request. Raises `APIConnectionError` when no answer came, `APITimeoutError` when it came too late."""
        session, always = self._given, self._always
        if session is None:
            session = self._open_session() or await self._session()
        elif session.closed:
            raise ClientClosedError("The given `http_session`")
        else:
            request, always = lent(session, request, always, direct=self._proxy_for(request).plain is None)
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
                    skip_auto_headers=_left_out(request),
                    upload_tracker=tracker,
                    **always,
                )
            )
        except TelnyxError:
            raise  # of a middleware of a given session
        except RAISED as exc:
            error = named(exc, request.info, sent=may_have_left(exc, tracker, body))
        else:
            # A body that is wanted as a stream is left on the wire, unless it is going to be an error's.
            if not (request.stream and answer.plain.status < 300):
                return await received(answer, request)
            return streamed(answer, request.info)
        # Raised out here because aiohttp's exceptions hold the request's headers, and `__context__` would carry them.
        if body is not None and body.stopped is not None:
            raise body.stopped
        raise error

    async def _prepared(self, request: Request) -> Outgoing | None:
        """The body of a request that may change something, where it is more than the bytes.

        A server may have ended a pooled connection while the loop had no turn, and this task may be the first to run since.
        In two turns the loop reads all that sockets have to tell, and aiohttp leaves alone the connections that are closing.
        """
        # Where nothing was sent yet there is no connection in the pool.
        if self._given is not None or any(request.url.startswith(place) for place in self._proxies):
            for _ in range(2):
                await asyncio.sleep(0)
        return outgoing(request)

    def _open_session(self) -> aiohttp.ClientSession | None:
        kept = self._sessions.get(asyncio.get_running_loop())
        return None if kept is None or kept.session.closed else kept.session

    async def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        kept = self._sessions.get(loop)
        if kept is None or kept.session.closed:
            if self._closed:
                raise ClientClosedError("This transport, or the client that it belongs to,", lent=True)
            self._forget_closed_loops()
            kept = self._sessions[loop] = _Kept(*self._new_session())
            # An asynchronous generator left open is what a loop closes before it ends, `asyncio.run` included: so the
            # connections end in time on a loop whose client is never closed.
            await anext(kept.guard)
        return kept.session

    def _forget_closed_loops(self) -> None:
        # A session holds its loop, so one `asyncio.run` after another would leave all of them behind.
        for loop in [loop for loop in list(self._sessions) if loop.is_closed()]:
            self._sessions.pop(loop, None)

    def _new_session(self) -> tuple[aiohttp.ClientSession, AbstractResolver | None]:
        """A session, and the resolver to close after it."""
        resolver = LocalNames()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limit, resolver=resolver, ssl=_authorities() or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={ACCEPT_ENCODING: ACCEPTED},
            trust_env=False,
        )
        # aiohttp would send idempotent requests again by itself, unseen and uncounted; here the engine decides on that.
        session._retry_connection = False
        return session, resolver

    def _proxy_for(self, request: Request) -> Secret[str | None]:
        """The given proxy, else the environment's; a given session knows its own.

        None for this machine, and an error where a given session would use one for it. aiohttp's own `trust_env` would read
        `.netrc` as well, and send what it finds there.
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
                error = named(exc, request.info, sent=False)
            if error is not None:
                raise error
        if end >= 0:
            self._last = f"{place}/", self._proxies[place]
        return self._proxies[place]

    def _decide(self, place: str, request: Request) -> Secret[str] | None:
        if self._given is not None:
            if not goes_direct(place) and self._proxy is not None:
                return self._proxy
            if session_has_proxy(self._given, place):
                raise APIConnectionError(
                    "Nothing was sent: the given `http_session` would send this call to this machine through a proxy. Make "
                    "the session without one, or name this machine in NO_PROXY.",
                    request=request.info,
                    sent=False,
                )
            if has_own_proxy(self._given) or not self._given.trust_env:
                return None
        elif self._proxy is not None or not self._trust_env:
            return None if goes_direct(place) else self._proxy
        try:
            return environment_proxy(place)
        except ValueError as exc:
            said = f"Nothing was sent: {exc}."
        raise APIConnectionError(said, request=request.info, sent=False)

    async def aclose(self) -> None:
        """End the connections. Those of other loops that still run are ended there. A given session stays open."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, kept in list(self._sessions.items()):
            if loop is here:
                await kept.end()
            else:
                kept.end_on(loop)
        self._sessions.clear()

    def _reset_after_fork(self) -> None:
        """Let go of connections that belong to the parent process, touching none of them."""
        # Closing them here would unregister their sockets from the epoll object that the parent still uses.
        for kept in self._sessions.values():
            connector = kept.session.connector
            kept.session.detach()
            _inherited.append((kept, connector))
        self._sessions.clear()


class _Kept:
    """One loop's session and what ends it."""

    __slots__ = ("guard", "session")

    def __init__(self, session: aiohttp.ClientSession, resolver: AbstractResolver | None) -> None:
        self.session = session
        self.guard = self._guard(session, resolver)

    async def end(self) -> None:
        """End the connections. Several may do so at once: the session takes that, and leaves the generator nothing to
        wait for.
        """
        await self.session.close()
        await self.guard.aclose()

    def end_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the connections on their loop, from any thread, unless that is closed."""
        with suppress(RuntimeError):  # it is, or was closed this very moment
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


# Content-Security-Policy and cookies of gateways pass aiohttp's own 8,190 bytes. A header has 128 KiB here, which is more
# than curl takes, and an answer 512 of them.
_HEADERS: Final = {"max_line_size": 0x20000, "max_field_size": 0x20000, "max_headers": 512}
# aiohttp adds these where they are missing: but whoever left one out meant it.
_AUTO_HEADERS: Final = (USER_AGENT, ACCEPT, CONTENT_TYPE)


def _left_out(request: Request) -> tuple[str, ...] | None:
    named = request.headers
    if USER_AGENT in named and ACCEPT in named and (not request.content or CONTENT_TYPE in named):
        return None
    return _AUTO_HEADERS


@lru_cache(maxsize=64)
def _client_timeout(timeout: Timeout) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=timeout.total, sock_connect=timeout.connect)


def _end_later(sessions: dict[asyncio.AbstractEventLoop, _Kept]) -> None:
    """End the connections of a transport that is gone."""
    for loop, kept in list(sessions.items()):
        kept.end_on(loop)


_ending: set[asyncio.Task[None]] = set()  # a loop holds its tasks weakly
_inherited: list[object] = []
