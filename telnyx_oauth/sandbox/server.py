"""Delivery of the service's responses, over a socket and in the process."""

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
from .faults import Delivery

_CHUNK = 64 * 1024


async def deliver(request: Request, delivery: Delivery) -> Response:
    """Give the response, or raise the error that the fault would cause on a real connection."""
    timeout = request.timeout.total
    if timeout is not None and delivery.delay >= timeout:
        await asyncio.sleep(timeout)
        raise APITimeoutError(request=request.info)
    if delivery.delay:
        await asyncio.sleep(delivery.delay)
    match delivery.ending:
        case "whole":
            return _bounded(request, delivery.response)
        case "truncated":
            return attrs.evolve(delivery.response, content=b"", fault="the body ended early or could not be decoded")
        case "reset":
            raise APIConnectionError("The connection was reset.", request=request.info)
        case "hung":
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=timeout)
            raise APITimeoutError(request=request.info)
        case _:
            assert_never(delivery.ending)


def _bounded(request: Request, response: Response) -> Response:
    if request.stream and response.status_code < 300:
        return attrs.evolve(response, content=b"", stream=_Stream(response.content))
    if len(response.content) > request.max_bytes:
        return attrs.evolve(response, content=b"", fault=f"the body has more than {request.max_bytes} bytes")
    return response


class _Stream:
    """A response body in chunks."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), _CHUNK):
            yield self._content[start : start + _CHUNK]

    async def aclose(self) -> None:
        """Drop the rest of the body."""
        self._content = b""


# Turns of the loop from an accepted socket to its protocol: one to its task, one to its transport, one to its protocol.
_ACCEPT_STEPS: Final = 3


class Server:
    """An HTTP server in a thread. It takes a socket that listens, so clients can connect at once."""

    def __init__(self, serve: Callable[[Request], Delivery], listener: socket.socket) -> None:
        self._serve = serve
        self._listener = listener
        self._stopping = asyncio.Event()
        # Made here and not by the thread, as `stop` may be called before the thread runs.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="telnyx-sandbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin to stop. Requests that hang or wait are cut."""
        with suppress(RuntimeError):  # its loop is closed already
            self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self) -> None:
        """Wait for the thread to end."""
        self._thread.join()

    async def wait_ended(self) -> None:
        """Wait for the thread to end, without blocking the event loop."""
        while self._thread.is_alive():  # noqa: ASYNC110 - the end of a thread sets no event
            await asyncio.sleep(0.001)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve_until_stopped())

    async def _serve_until_stopped(self) -> None:
        # A handler whose client has gone is cancelled: a `hang` would keep it for ever.
        connections = web.Server(self._respond, handler_cancellation=True, access_log=None)
        server = await self._loop.create_server(connections, sock=self._listener)
        await self._stopping.wait()
        # Sockets that were just accepted must reach their protocol first: asyncio leaks one that arrives while it closes.
        with suppress(NotImplementedError):  # the proactor loop of Windows has no reader to remove
            self._loop.remove_reader(self._listener)
        for _ in range(_ACCEPT_STEPS):
            await asyncio.sleep(0)
        server.close()
        connections.pre_shutdown()
        await connections.shutdown(1.0)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.read()
        # The request target may be an absolute URL, as for a proxy (RFC 9112 section 3.2.2).
        url = f"http://127.0.0.1{request.raw_path}" if request.raw_path.startswith("/") else request.raw_path
        delivery = self._serve(Request(request.method, url, headers=request.headers, content=content))
        if delivery.delay and await self._stopped_within(delivery.delay):
            return _cut(request)
        match delivery.ending:
            case "whole":
                response = delivery.response
                return web.Response(
                    status=response.status_code, headers=response.headers, body=response.content or None
                )
            case "truncated":
                return await _truncated(request, delivery.response)
            case "reset":
                return _cut(request)
            case "hung":
                await self._stopping.wait()
                return _cut(request)
            case _:
                assert_never(delivery.ending)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


async def _truncated(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    half = web.StreamResponse(status=response.status_code, headers=response.headers)
    half.content_length = len(response.content)
    half.force_close()
    await half.prepare(request)
    await half.write(response.content[: len(response.content) // 2])
    return half


def _cut(request: web.BaseRequest) -> web.Response:
    """Reset the connection. With a linger time of 0 the system sends RST instead of FIN."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0))
        request.transport.abort()
    return web.Response()
