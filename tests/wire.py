"""Transports and servers for tests: one that answers from a list, and a raw one that can misbehave in any way."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import attrs

from telnyx_oauth.errors import APIConnectionError
from telnyx_oauth.messages import Request, Response, Timeout, headers
from telnyx_oauth.protocol.credentials import Credentials
from telnyx_oauth.protocol.requests import Defaults
from telnyx_oauth.protocol.token import Token
from telnyx_oauth.resources.oauth import AsyncOAuth
from telnyx_oauth.resources.oauth_clients import AsyncOAuthClients
from telnyx_oauth.resources.oauth_grants import AsyncOAuthGrants
from telnyx_oauth.resources.verbs import AsyncUndocumented
from telnyx_oauth.resources.well_known import AsyncWellKnown
from telnyx_oauth.transport.engine import Engine, Shared

BASE = "https://api.telnyx.com/v2"


class FakeClock:
    """Time that moves only when somebody sleeps. `slept` lists for how long."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.now = wall
        self.slept: list[float] = []

    def boot(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


Reply = Response | Exception | Callable[[Request], Response]


class Script:
    """A transport that answers from a list, the last answer again and again. `requests` are those that it was sent."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, Response):
            return reply(request)
        return attrs.evolve(reply, request=request.info)


def reply(status: int = 200, content: bytes = b"{}", **named: str) -> Response:
    """An answer; `retry_after="1"` is the header `retry-after`."""
    pairs = [("Content-Type", "application/json"), *((name.replace("_", "-"), value) for name, value in named.items())]
    return Response(status, headers(*pairs), content)


def refused(*, sent: bool) -> APIConnectionError:
    return APIConnectionError("refused", sent=sent)


def resources(
    send: Callable[[Request], Awaitable[Response]],
    identity: Credentials | None = None,
    *,
    clock: FakeClock | None = None,
    shared: Shared | None = None,
    **changes: Any,
) -> Any:
    """The resources of a client with this identity (an API key by default), without a client."""
    defaults = Defaults(BASE, Timeout(), {"Accept": "application/json", "User-Agent": "test"})
    engine = Engine(
        send,
        attrs.evolve(defaults, **changes),
        identity or Credentials(tokens=StaticToken("KEY"), api_key="KEY"),
        shared=shared,
        clock=clock or FakeClock(),
        jitter=lambda: 0.0,
    )
    undocumented = AsyncUndocumented(engine)
    return SimpleNamespace(
        engine=engine,
        well_known=AsyncWellKnown(engine),
        oauth=AsyncOAuth(engine),
        oauth_clients=AsyncOAuthClients(engine),
        oauth_grants=AsyncOAuthGrants(engine),
        get=undocumented.get,
        post=undocumented.post,
    )


class StaticToken:
    """Tokens that cannot be replaced, as an API key."""

    renewable = False

    def __init__(self, *tokens: str) -> None:
        self.left = [Token(token) for token in tokens]
        self.replaced: list[Any] = []

    def peek(self) -> Any:
        return self.left[0]

    async def get(self, *, timeout: float | None) -> Any:
        return self.left[0]

    async def replace(self, rejected: Any, *, timeout: float | None, response: Any = None) -> Any:
        raise AssertionError("an API key is never replaced")


class Renewable(StaticToken):
    """Tokens of which the next one takes the place of one that was refused."""

    renewable = True

    def peek(self) -> Any:
        return None

    async def replace(self, rejected: Any, *, timeout: float | None, response: Any = None) -> Any:
        self.replaced.append(rejected)
        if len(self.left) > 1:
            self.left.pop(0)
        return self.left[0]


def http(status: str = "200 OK", body: bytes = b"{}", *lines: str, length: int | None = None) -> bytes:
    """An answer as bytes. `length` is what it claims to have."""
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body) if length is None else length}",
        "Content-Type: application/json",
        *lines,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


Behaviour = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection without a word."""
    writer.close()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side leaves."""
    await reader.read()


@attrs.define(eq=False)
class RawServer:
    """Answers the n-th request with the n-th behaviour, the last one again and again. Bytes are sent as they are."""

    behaviours: Sequence[Behaviour]
    tls: ssl.SSLContext | None = None
    requests: list[bytes] = attrs.field(factory=list)
    connections: int = 0
    open: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = attrs.field(factory=set)

    @classmethod
    def of(cls, *behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> Self:
        return cls(behaviours, tls)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v2"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                behaviour = self.behaviours[min(len(self.requests), len(self.behaviours)) - 1]
                if isinstance(behaviour, bytes):
                    writer.write(behaviour)
                    await writer.drain()
                else:
                    await behaviour(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> bytes | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            head += await reader.readexactly(int(value))
    return head


@contextmanager
def served(*behaviours: Behaviour) -> Iterator[RawServer]:
    """A raw server in a thread of its own, for clients that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="raw-server")
    thread.start()
    server = RawServer.of(*behaviours)
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(5)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def waited_for(condition: Callable[[], object]) -> bool:
    """Whether something is so before ten seconds have gone, for tests without a loop."""
    ends = time.monotonic() + 10
    while not condition() and time.monotonic() < ends:
        time.sleep(0.001)
    return bool(condition())


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
