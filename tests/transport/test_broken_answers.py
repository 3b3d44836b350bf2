"""Answers that break off: each is a connection that broke, and is asked for again wherever that does nothing twice."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from contextlib import asynccontextmanager

import attrs
import pytest

from telnyx_oauth import AsyncTelnyx, Telnyx
from telnyx_oauth.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BadRequestError,
    DiscoveryError,
    InternalServerError,
    IntrospectionUnavailableError,
    RateLimitError,
    Reason,
)
from telnyx_oauth.messages import ENDED_EARLY, Request, RequestInfo, Response, Timeout, headers
from telnyx_oauth.protocol.metadata import server_from
from telnyx_oauth.protocol.registration import registered_client
from telnyx_oauth.protocol.token_endpoint import ClientAuthentication, parse_token_response
from telnyx_oauth.tokens.authorization_code import AuthorizationFlow, discover
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import AuthorizationCode, ClientCredentials, RefreshToken
from telnyx_oauth.transport.engine import send_with_retry
from telnyx_oauth.transport.http import HttpTransport
from telnyx_oauth.validation.introspection import IntrospectionCache
from telnyx_oauth.validation.jwks import JWKSCache
from tests.forge import jwks
from tests.wire import FakeClock, RawServer, Script, http, served


def _cut(head, body, *, reset=False):
    """Send a part of an answer and end the connection."""

    async def behave(reader, writer):
        writer.write(
            "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: application/json", *head]).encode() + b"\r\n\r\n" + body
        )
        await writer.drain()
        if reset:
            await asyncio.sleep(0.01)  # a reset throws away what the other side has not read
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()

    return behave


def length(body):
    return _cut([f"Content-Length: {len(body)}"], body[:-5])


def nothing(body):
    return _cut([f"Content-Length: {len(body)}"], b"")


def chunked(body):
    return _cut(["Transfer-Encoding: chunked"], f"{len(body):x}\r\n".encode() + body + b"\r\n")


def inside_a_chunk(body):
    return _cut(["Transfer-Encoding: chunked"], f"{len(body):x}\r\n".encode() + body[:-5])


def gzipped(body):
    part = gzip.compress(body)[:-12]
    return _cut([f"Content-Length: {len(part)}", "Content-Encoding: gzip"], part)


def reset(body):
    return _cut([f"Content-Length: {len(body)}"], body[:-5], reset=True)


WAYS = [length, nothing, chunked, inside_a_chunk, gzipped, reset]
GRANT = json.dumps({"access_token": "at", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "r1"}).encode()


@pytest.fixture
def impatient(monkeypatch):
    """Pauses take hardly any time."""

    async def sleep(self, seconds):
        await asyncio.sleep(0.01)

    monkeypatch.setattr("telnyx_oauth.transport.clock.SystemClock.sleep", sleep)


@asynccontextmanager
async def serving(*behaviours):
    async with RawServer.of(*behaviours) as server:
        transport = HttpTransport()
        yield server, transport
        await transport.aclose()


def token_requests(server):
    return [each for each in server.requests if b"grant_type=" in each]


@pytest.mark.parametrize("way", WAYS)
async def test_a_token_for_a_call_is_asked_for_again(way, impatient):
    async with (
        RawServer.of(way(GRANT), http(body=GRANT), http(body=b'{"data": []}')) as server,
        AsyncTelnyx(client_id="id", client_secret="s", base_url=server.base_url, verify_issued=False) as client,
    ):
        assert (await client.oauth_clients.list()).data == []
        assert len(token_requests(server)) == 2


def test_a_token_for_a_blocking_call_is_asked_for_again():
    with (
        served(length(GRANT), http(body=GRANT), http(body=b'{"data": []}')) as server,
        Telnyx(client_id="id", client_secret="s", base_url=server.base_url, verify_issued=False) as client,
    ):
        assert client.oauth_clients.list().data == []
        assert len(token_requests(server)) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_without_retries_it_is_a_connection_that_broke(way):
    async with serving(way(GRANT)) as (server, transport):
        source = ClientCredentials(transport, f"{server.base_url}/oauth/token", "id", "s")
        with pytest.raises(APIConnectionError) as caught:
            await source(source.key)
        assert (caught.value.sent, caught.value.code, len(server.requests)) == (True, "connection_error", 1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_refresh_token_whose_answer_broke_off_is_sent_again_by_the_rules_of_lost_answers(way, impatient):
    async with serving(way(GRANT), http(body=GRANT)) as (server, transport):
        manager = TokenManager(RefreshToken(transport, f"{server.base_url}/oauth/token", "id", "s", refresh_token="r0"))
        assert (await manager.get()).access_token == "at"
        assert [b"refresh_token=r0" in each for each in server.requests] == [True, True]
        await manager.aclose()


@pytest.mark.parametrize("way", WAYS)
async def test_a_code_is_never_sent_twice(way):
    async with serving(way(GRANT), http(body=GRANT)) as (server, transport):
        source = AuthorizationCode(transport, f"{server.base_url}/oauth/token", "id", "s", code="c")
        with pytest.raises(APIConnectionError) as caught:
            await source(source.key)
        assert (caught.value.sent, len(server.requests)) == (True, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_keys_are_fetched_again(way, impatient):
    keys = json.dumps(jwks()).encode()
    async with serving(way(keys), http(body=keys)) as (server, transport):
        cache = JWKSCache(f"{server.origin}/jwks", send=transport, allow_insecure_loopback=True)
        assert await cache.refresh()
        assert (len(server.requests), cache.fetches, cache.health.last_error) == (2, 1, None)
    async with serving(way(keys)) as (server, transport):
        cache = JWKSCache(f"{server.origin}/jwks", send=transport, allow_insecure_loopback=True)
        assert not await cache.refresh()
        assert (len(server.requests), cache.health.state) == (2, "empty")


@pytest.mark.parametrize("way", WAYS)
async def test_metadata_is_asked_for_again(way, impatient):
    async with serving() as (server, transport):
        document = json.dumps(
            {
                "issuer": server.origin,
                "authorization_endpoint": f"{server.origin}/authorize",
                "token_endpoint": f"{server.origin}/token",
            }
        ).encode()
        server.behaviours = [way(document), http(body=document)]
        assert (await discover(transport, server.origin)).issuer == server.origin
        assert len(server.requests) == 2
        server.behaviours = [way(document)]
        with pytest.raises(APIConnectionError):
            await discover(transport, server.origin)
        assert len(server.requests) == 4


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_is_registered_once(way):
    async with serving(way(b'{"client_id": "new"}')) as (server, transport):
        flow = AuthorizationFlow(base_url=server.base_url, send=transport)
        with pytest.raises(APIConnectionError) as caught:
            await flow.register(redirect_uris=["http://127.0.0.1/cb"], client_name="n")
        assert (caught.value.sent, len(server.requests)) == (True, 1)
        await flow.aclose()


async def test_a_verdict_that_broke_off_is_no_verdict():
    async with serving(length(b'{"active": true}')) as (server, transport):
        cache = IntrospectionCache(
            f"{server.origin}/i", ClientAuthentication("id", "s"), send=transport, allow_insecure_loopback=True
        )
        with pytest.raises(IntrospectionUnavailableError) as caught:
            await cache.introspect("token")
        assert caught.value.reason is Reason.INTROSPECTION_UNAVAILABLE
        assert len(server.requests) == 1


# --- the rule


def broke_off(status=200, *pairs):
    return Response(status, headers(*pairs), fault=ENDED_EARLY)


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403])
def test_what_a_token_endpoint_said_is_unknown_where_its_answer_broke_off(status):
    with pytest.raises(APIConnectionError, match="broke inside the answer") as caught:
        parse_token_response(broke_off(status))
    assert caught.value.sent


@pytest.mark.parametrize(
    ("status", "error"), [(429, RateLimitError), (500, InternalServerError), (503, InternalServerError)]
)
def test_a_status_that_says_enough_keeps_its_word(status, error):
    with pytest.raises(error) as caught:
        parse_token_response(broke_off(status, ("Retry-After", "7")))
    assert caught.value.retry_after == 7


def test_a_registration_or_metadata_that_broke_off_is_a_broken_connection():
    with pytest.raises(APIConnectionError):
        registered_client(broke_off(201), requested="none")
    with pytest.raises(BadRequestError):
        registered_client(broke_off(400), requested="none")
    with pytest.raises(APIConnectionError):
        server_from(broke_off(), "https://as.example")
    with pytest.raises(DiscoveryError, match="status 404"):
        server_from(broke_off(404), "https://as.example")


def test_a_body_that_is_too_large_stays_an_answer_that_is_none():
    large = attrs.evolve(broke_off(), fault="the body has more than 16 bytes")
    for read in (parse_token_response, lambda each: registered_client(each, requested="none")):
        with pytest.raises(APIResponseValidationError):
            read(large)


async def test_a_document_that_broke_off_late_is_not_asked_for_again():
    clock, asked = FakeClock(), []

    async def send(request):
        asked.append(request.timeout.total)
        clock.now += 2.0
        return broke_off()

    for seconds in (1.0, 4.0, None):
        request = Request("GET", "https://keys.test/", RequestInfo("GET", "k"), timeout=Timeout(seconds))
        assert (await send_with_retry(send, request, clock=clock, jitter=lambda: 0.0)).fault
    assert asked == [1.0, 4.0, 1.5, None, None]
    assert clock.slept == [0.5, 0.5]


async def test_a_server_that_asks_for_a_long_wait_is_not_asked_again():
    send = Script(broke_off(200, ("Retry-After", "61")))
    assert (await send_with_retry(send, Request("GET", "https://keys.test/", RequestInfo("GET", "k")))).fault
    assert len(send.requests) == 1
