"""The sandbox on a socket, and without one."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, assert_never

import attrs
from aiohttp import web

from ..errors import APIConnectionError, APITimeoutError
from ..messages import Request, Response
from .faults import Served

_CHUNK = 64 * 1024


async def deliver(request: Request, served: Served) -> Response:
    """The answer, or the error that a fault on a real connection becomes."""
    most = request.timeout.total
    if most is not None and served.delay >= most:
        await asyncio.sleep(most)
        raise APITimeoutError(request=request.info)
    if served.delay:
        await asyncio.sleep(served.delay)
    match served.ending:
        case "whole":
            return _bounded(request, served.response)
        case "truncated":
            return attrs.evolve(served.response, content=b"", fault="the body ended early or could not be decoded")
        case "reset":
            raise APIConnectionError("The connection was reset.", request=request.info)
        case "hung":
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=most)
            raise APITimeoutError(request=request.info)
        case _:
            assert_never(served.ending)


def _bounded(request: Request, response: Response) -> Response:
    if request.stream and response.status_code < 300:
        return attrs.evolve(response, content=b"", stream=_Stream(response.content))
    if len(response.content) > request.max_bytes:
        return attrs.evolve(response, content=b"", fault=f"the body has more than {request.max_bytes} bytes")
    return response


class _Stream:
    """A body in pieces."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), _CHUNK):
            yield self._content[start : start + _CHUNK]

    async def aclose(self) -> None:
        """Forget the rest."""
        self._content = b""


_STEPS_TO_LET_IN: Final = 3  # of the loop: to the task, to its transport, to its protocol


class Server:
    """Serves from the moment it is made: the socket listens before the thread runs, so there is nothing to wait for."""

    def __init__(self, serve: Callable[[Request], Served], listener: socket.socket) -> None:
        self._serve = serve
        self._listener = listener
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="telnyx-sandbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin to end: requests that hang or wait are cut."""
        with suppress(RuntimeError):  # its loop has ended already
            self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self) -> None:
        """Wait until nothing of it is left."""
        self._thread.join()

    async def wait_ended(self) -> None:
        """As `join`, for who has an event loop to keep going."""
        while self._thread.is_alive():  # noqa: ASYNC110 - the end of a thread sets no event
            await asyncio.sleep(0.001)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        connections = web.Server(self._respond, handler_cancellation=True, access_log=None)
        server = await self._loop.create_server(connections, sock=self._listener)
        await self._stopping.wait()
        # Whoever has just been accepted is let in first: asyncio would leave the socket of one who comes while it closes.
        with suppress(NotImplementedError):  # Windows lets people in as it accepts them
            self._loop.remove_reader(self._listener)
        for _ in range(_STEPS_TO_LET_IN):
            await asyncio.sleep(0)
        server.close()
        connections.pre_shutdown()
        await connections.shutdown(1.0)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.read()
        url = f"http://127.0.0.1{request.raw_path}" if request.raw_path.startswith("/") else request.raw_path
        served = self._serve(Request(request.method, url, headers=request.headers, content=content))
        if served.delay and await self._stopped_within(served.delay):
            return _cut(request)
        match served.ending:
            case "whole":
                return _whole(served.response)
            case "truncated":
                return await _truncated(request, served.response)
            case "reset":
                return _cut(request)
            case "hung":
                await self._stopping.wait()
                return _cut(request)
            case _:
                assert_never(served.ending)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _whole(response: Response) -> web.Response:
    return web.Response(status=response.status_code, headers=response.headers, body=response.content or None)


async def _truncated(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    half = web.StreamResponse(status=response.status_code, headers=response.headers)
    half.content_length = len(response.content)
    half.force_close()
    await half.prepare(request)
    await half.write(response.content[: len(response.content) // 2])
    return half


def _cut(request: web.BaseRequest) -> web.Response:
    """Reset the connection: with nothing left to linger for, the system sends RST rather than FIN."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0))
        request.transport.abort()
    return web.Response()
