"""Connections and tokens between the calls of a blocking client, when no thread runs its event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings

import pytest

from telnyx_oauth import (
    APIConnectionError,
    APITimeoutError,
    ClientCredentials,
    HttpTransport,
    RefreshPolicy,
    Telnyx,
    TokenManager,
)
from telnyx_oauth.sandbox import Sandbox
from tests.tokens.forward import ForwardClock
from tests.wire import cut, hang, served, waited_for
from tests.wire import http as answer

KEYS = answer(body=b'{"keys": []}')
GRANT = answer("200 OK", b'{"redirect_uri": "https://app.example/cb?code=1"}')


def client_of(server, **options) -> Telnyx:
    return Telnyx(base_url=server.base_url, api_key="key", max_retries=0, **options)


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "telnyx_oauth"]


def then_cut(content: bytes, read: threading.Event):
    """An answer, and the end of the connection once the client has read it."""

    async def behave(reader, writer) -> None:
        writer.write(content)
        await writer.drain()
        await asyncio.to_thread(read.wait, 10)
        writer.close()

    return behave


def test_a_connection_stays_open_between_calls():
    with served(KEYS) as server, client_of(server) as client:
        for _ in range(5):
            client.oauth.retrieve_jwks()
        assert server.connections == 1


@pytest.mark.parametrize("call", ["create", "read"])
def test_a_connection_that_the_server_closed_meanwhile_is_not_used_for_the_next_call(call):
    """A call that must happen once would fail otherwise: there are no retries here."""
    read = threading.Event()
    with served(then_cut(KEYS, read), GRANT if call == "create" else KEYS) as server, client_of(server) as client:
        client.oauth.retrieve_jwks()
        read.set()
        assert waited_for(lambda: server.open == 0)
        if call == "create":
            client.oauth.grants(allowed=True, consent_token="c")
        else:
            client.oauth.retrieve_jwks()
        assert (len(server.requests), server.connections) == (2, 2)


def test_the_connection_of_a_call_that_took_too_long_is_closed_at_once():
    with served(KEYS, hang) as server, client_of(server) as client:
        client.oauth.retrieve_jwks()
        with pytest.raises(APITimeoutError):
            client.oauth.retrieve_jwks(timeout=0.05)
        assert waited_for(lambda: server.open == 0)


async def begin(reader, writer) -> None:
    writer.write(answer(body=b'{"keys": ', length=1000))
    await reader.read()


def test_leaving_a_stream_and_closing_close_connections_at_once():
    with served(KEYS, begin) as server, client_of(server) as client:
        client.oauth.retrieve_jwks()
        with client.oauth.with_streaming_response.retrieve_jwks():
            assert server.open == 1
        assert waited_for(lambda: server.open == 0)
    with served(KEYS) as server, client_of(server) as other:
        client = client_of(server)
        client.oauth.retrieve_jwks()
        other.oauth.retrieve_jwks()
        client.close()
        assert waited_for(lambda: server.open == 1)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("cycle", [True, False])
def test_a_dropped_client_closes_its_connections_though_another_keeps_the_loop(recorded, cycle, caplog):
    with served(KEYS) as server, client_of(server) as kept, warnings.catch_warnings(record=recorded):
        warnings.simplefilter("always" if recorded else "ignore")
        kept.oauth.retrieve_jwks()
        dropped = client_of(server)
        dropped.oauth.retrieve_jwks()
        if cycle:
            dropped.itself = dropped
        assert server.open == 2
        del dropped
        gc.collect()
        assert waited_for(lambda: server.open == 1)
        assert waited_for(lambda: not loop_threads())
        kept.oauth.retrieve_jwks()
        assert server.connections == 2
    assert caplog.records == []


def test_threads_wait_for_their_answers_at_the_same_time():
    with Sandbox() as telnyx, telnyx.client() as client:
        client.oauth_clients.list()
        telnyx.faults.add("/oauth/clients", kind="latency", seconds=0.1, times=None)
        results = []
        threads = [threading.Thread(target=lambda: results.append(client.oauth_clients.list())) for _ in range(16)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(results) == 16
        assert time.monotonic() - began < 0.8  # one after the other it would be 1.6


def test_a_token_is_refreshed_while_no_call_is_made_and_no_thread_stays():
    clock = ForwardClock()
    with Sandbox(token_lifetime=100) as telnyx:
        source = ClientCredentials(
            HttpTransport(), f"{telnyx.base_url}/oauth/token", telnyx.client_id, telnyx.client_secret
        )
        policy = RefreshPolicy(advisory_fraction=1.0, advisory_cap=1e6)
        with Telnyx(base_url=telnyx.base_url, tokens=TokenManager(source, policy=policy, clock=clock)) as client:
            first = client.tokens.get()
            clock.forward = 60.0  # half of a token's life is never advisory
            telnyx.faults.add("/oauth/token", kind="latency", seconds=0.1, times=1)
            assert client.tokens.get() == first
            assert waited_for(lambda: client.tokens.peek() not in (first, None))
            assert waited_for(lambda: not loop_threads())
            assert telnyx.requests.count("/oauth/token") == 2
            assert client.oauth_clients.list().data


def test_a_break_off_in_one_thread_leaves_the_others_their_connections():
    with served(KEYS, cut, KEYS) as server, client_of(server) as client:
        client.oauth.retrieve_jwks()
        with pytest.raises(APIConnectionError):
            client.oauth.retrieve_jwks()
        assert client.oauth.retrieve_jwks().keys == []


def test_close_from_another_thread_while_many_call_leaves_nothing_open():
    with served(KEYS) as server:
        client = client_of(server)
        errors: list[BaseException] = []

        def calls() -> None:
            try:
                while True:
                    client.oauth.retrieve_jwks()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=calls) for _ in range(6)]
        for thread in threads:
            thread.start()
        assert waited_for(lambda: len(server.requests) > 50)
        client.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        assert waited_for(lambda: server.open == 0)
        assert {type(error).__name__ for error in errors} <= {"ClientClosedError", "APIConnectionError"}
        assert len(errors) == 6
        assert loop_threads() == []
