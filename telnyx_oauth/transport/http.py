"""The aiohttp adapter: one async function from `Request` to `Response`, and the connections under it."""

from __future__ import annotations

import asyncio
import os
import ssl
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from functools import lru_cache
from typing import Final

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from yarl import URL

from ..errors import APIConnectionError, APITimeoutError, ClientClosedError
from ..messages import ENDED_EARLY, Request, RequestInfo, Response, Timeout
from ..protocol.secret import Secret
from ..protocol.uncopied import Uncopied
from .names import LocalNames
from .proxies import environment_proxy, goes_direct, session_has_proxy


class HttpTransport(Uncopied):
    """Sends requests through aiohttp. Works on any number of event loops, each with connections of its own.

    Follows no redirect and keeps no cookie. Connections end with `aclose`, or with their loop. After a fork the child has
    none of them.
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
        self._given = http_session
        way = None if proxy is None else Secret(proxy)
        del proxy
        self._proxy = None if way is None else _proxy_address(way)
        if way is not None and self._proxy is None:
            raise ValueError("`proxy` must be an http:// or https:// address")
        self._trust_env = trust_env
        self._ssl: ssl.SSLContext | bool = ssl_context or True
        self._limit = limit
        self._middlewares = None if middlewares else ()
        self._sessions: dict[asyncio.AbstractEventLoop, _Kept] = {}
        self._proxies: dict[str, Secret[str] | None] = {}
        self._closed = False
        _transports.add(self)

    @property
    def is_open(self) -> bool:
        """Whether it holds connections on a loop that still runs."""
        return any(not loop.is_closed() for loop in list(self._sessions))

    async def __call__(self, request: Request) -> Response:
        """Send one request. Raises `APIConnectionError` when no answer came, `APITimeoutError` when it came too late."""
        session = self._given or self._open_session() or await self._session()
        if session.closed:
            raise ClientClosedError("The given `http_session`")
        proxy = self._proxy_for(request)
        try:
            answer = Secret(
                await session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    data=request.content or None,
                    headers=request.headers,
                    allow_redirects=False,
                    timeout=_client_timeout(request.timeout),
                    proxy=None if proxy is None else proxy.plain,
                    ssl=self._ssl,
                    skip_auto_headers=_left_out(request),
                    raise_for_status=False,
                    middlewares=self._middlewares,
                )
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            error = _named(exc, request.info)
        else:
            # A body that is wanted as a stream is left on the wire, unless it is going to be an error's.
            if not (request.stream and answer.plain.status < 300):
                return await _received(answer, request)
            body, plain = _Body(answer, request.info), answer.plain
            return Response(plain.status, plain.headers, b"", request.info, _version(plain.version), body)
        # Raised out here because aiohttp's exceptions hold the request's headers, and `__context__` would carry them.
        raise error

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
            connector=aiohttp.TCPConnector(limit=self._limit, resolver=resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        # aiohttp would send idempotent requests again by itself, unseen and uncounted; here the engine decides on that.
        session._retry_connection = False
        return session, resolver

    def _proxy_for(self, request: Request) -> Secret[str] | None:
        """The given proxy, else `HTTP(S)_PROXY` unless `NO_PROXY` says otherwise; a given session knows its own.

        None for this machine, and an error where a given session would use one for it. aiohttp's own `trust_env` would read
        `.netrc` as well, and send what it finds there.
        """
        end = request.url.find("/", len("https://"))
        place = request.url if end < 0 else request.url[:end]
        if place not in self._proxies:
            self._proxies[place] = self._decide(place, request)
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
            return None
        if self._proxy is not None or not self._trust_env:
            return None if goes_direct(place) else self._proxy
        named = environment_proxy(place)
        address = None if named is None else _proxy_address(named)
        if named is not None and address is None:
            scheme = place.partition("://")[0].upper()
            said = f"Nothing was sent: {scheme}_PROXY is not an http:// or https:// address."
            raise APIConnectionError(said, request=request.info, sent=False)
        return address

    async def aclose(self) -> None:
        """End the connections. Those of other loops that still run are ended there. A given session stays open."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, kept in list(self._sessions.items()):
            if loop is here:
                await kept.end()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(loop.create_task, kept.end())
        self._sessions.clear()

    def forget_after_fork(self) -> None:
        """Let go of connections that belong to the parent process, touching none of them."""
        # Closing them here would unregister their sockets from the epoll object that the parent still uses.
        for kept in self._sessions.values():
            connector = kept.session.connector
            kept.session.detach()
            _inherited.append((kept, connector))
        self._sessions = {}


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

    @staticmethod
    async def _guard(session: aiohttp.ClientSession, resolver: AbstractResolver | None) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await session.close()
            if resolver is not None:
                await resolver.close()


class _Body:
    """A response's body while it is on the wire."""

    def __init__(self, answer: Secret[aiohttp.ClientResponse], info: RequestInfo) -> None:
        self._answer = answer
        self._info = info

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.plain.content.iter_any():
                yield chunk
                del chunk  # an error may come next
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            error = _named(exc, self._info)
        else:
            return
        self._answer.plain.close()
        raise error

    async def aclose(self) -> None:
        self._answer.plain.close()


# aiohttp adds these where they are missing: but whoever left one out meant it.
_AUTO_HEADERS: Final = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.CONTENT_TYPE)


def _left_out(request: Request) -> tuple[str, ...] | None:
    named = request.headers
    if hdrs.USER_AGENT in named and hdrs.ACCEPT in named and (not request.content or hdrs.CONTENT_TYPE in named):
        return None
    return _AUTO_HEADERS


def _proxy_address(text: Secret[str]) -> Secret[str] | None:
    """A proxy's address, with `http://` where it names no scheme; `None` for what aiohttp has no way through."""
    try:
        url = Secret(URL(text.plain if "://" in text.plain else f"http://{text.plain}"))
    except ValueError:
        return None
    return Secret(str(url.plain)) if url.plain.scheme in ("http", "https") and url.plain.host else None


async def _received(answer: Secret[aiohttp.ClientResponse], request: Request) -> Response:
    """The answer with its whole body decoded, or with what is wrong with it. Never holds much more than `max_bytes`.

    The answer is in a `Secret` because aiohttp's shows its whole address and its headers.
    """
    stream, most = answer.plain.content, request.max_bytes
    content, fault, error = b"", "", None
    try:
        content = await stream.readany()
        if not stream.at_eof():
            chunks, size = Secret([content]), len(content)
            content = b""
            while size <= most and (chunk := Secret(await stream.readany())):
                chunks.plain.append(chunk.plain)
                size += len(chunk.plain)
            content = b"".join(chunks.plain)
        if len(content) > most:
            fault = f"the body has more than {most} bytes"
    except aiohttp.ClientPayloadError:
        fault = ENDED_EARLY
    except (aiohttp.ClientError, OSError, TimeoutError) as exc:
        error = _named(exc, request.info)
    except BaseException:
        answer.plain.close()
        raise
    if fault or error is not None:
        answer.plain.close()
        content = b""
    if error is not None:
        raise error
    plain = answer.plain
    version = plain.version
    http = "HTTP/1.1" if version == _HTTP_11 else _version(version)
    return Response(plain.status, plain.headers, content, request.info, http, None, fault)


_HTTP_11: Final = aiohttp.HttpVersion11


def _version(version: aiohttp.HttpVersion | None) -> str:
    return "HTTP/1.1" if version is None else f"HTTP/{version.major}.{version.minor}"


def _named(exc: BaseException, info: RequestInfo) -> APIConnectionError:
    """Our name for aiohttp's failure. Its words stay behind, but for those of the operating system."""
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        return APITimeoutError("No connection in time.", request=info, sent=False)
    if isinstance(exc, TimeoutError):
        return APITimeoutError(request=info)
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return APIConnectionError("The server's certificate is not trusted.", request=info, sent=False)
    if isinstance(exc, aiohttp.ClientConnectorError):
        reason = exc.os_error.strerror or type(exc.os_error).__name__
        return APIConnectionError(f"No connection: {reason}.", request=info, sent=False)
    if isinstance(exc, (aiohttp.InvalidURL, aiohttp.ClientHttpProxyError)):
        return APIConnectionError(f"Nothing was sent: {type(exc).__name__}.", request=info, sent=False)
    return APIConnectionError(f"The connection broke before the answer was there ({type(exc).__name__}).", request=info)


@lru_cache(maxsize=64)
def _client_timeout(timeout: Timeout) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=timeout.total, sock_connect=timeout.connect)


_transports: weakref.WeakSet[HttpTransport] = weakref.WeakSet()
_inherited: list[object] = []


def _after_fork_in_child() -> None:
    for transport in list(_transports):
        transport.forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
