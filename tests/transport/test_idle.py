"""A connection that ended while its loop had no turn is not used for a request that must not be made twice."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress

import aiohttp
import pytest

from telnyx_oauth import AsyncTelnyx
from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.transport.http import HttpTransport
from tests.wire import http


class Ending:
    """Answers one request on each connection, and ends it when told to. In a thread, so that a loop may stand still."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._go, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.requests: list[bytes] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._go.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def end(self) -> None:
        """End the connection, and return once it is ended, with no turn for the loop meanwhile."""
        self._go.set()
        assert self._ended.wait(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError), connection if self._tls is None else self._secured(connection) as peer:
                self.requests.append(peer.recv(65536))
                peer.sendall(http())
                self._go.wait(10)
                if self._tls is not None:
                    with suppress(OSError):
                        peer.unwrap()
            self._ended.set()

    def _secured(self, connection: socket.socket) -> ssl.SSLSocket:
        assert self._tls is not None
        peer = self._tls.wrap_socket(connection, server_side=True)
        peer.settimeout(0.2)  # for the other side's part of the farewell
        return peer


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("given", [False, True], ids=["its own session", "a given session"])
async def test_a_request_that_must_not_be_made_twice_starts_on_an_open_connection(certificates, secured, given):
    with Ending(certificates.server if secured else None) as server:
        async with aiohttp.ClientSession() as session:
            context = certificates.client if secured else None
            transport = HttpTransport(http_session=session if given else None, ssl_context=context)
            info = RequestInfo("POST", server.url)
            for content in (b"a", b"b"):
                answer = await transport(Request("POST", server.url, info, content=content))
                assert answer.status_code == 200
                server.end()
            await transport.aclose()
    assert len(server.requests) == 2


async def test_what_must_happen_once_happens_after_a_pause_of_the_program():
    with Ending() as server:
        async with AsyncTelnyx(api_key="KEY", base_url=server.url, max_retries=0) as client:
            await client.get("/x", cast_to=object)
            server.end()
            assert await client.post("/oauth/clients", cast_to=object) == {}
    assert len(server.requests) == 2
