"""Let everything go wrong, and look for secrets in the local variables of every frame of ours that the error passed.

That is what a crash reporter sends, and what `rich.traceback` prints with `show_locals`.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import importlib
import inspect
import json
import logging
import pkgutil
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote

import aiohttp
import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

import telnyx_oauth
from telnyx_oauth import (
    ApiKey,
    AsyncTelnyx,
    AuthorizationCode,
    AuthorizationFlow,
    AuthorizationServer,
    ClientAuthentication,
    ClientCredentials,
    HttpTransport,
    IntrospectionCache,
    PendingAuthorization,
    RedisStore,
    RefreshToken,
    StaticKeys,
    Telnyx,
    TelnyxError,
    Timeout,
    Token,
    TokenManager,
    TokenValidator,
    TokenVerificationError,
    discover,
    sign_in,
)
from telnyx_oauth.aiohttp import BearerAuth, BearerTokenMiddleware
from telnyx_oauth.protocol.freshness import RefreshPolicy
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.validation.jwks import IssuedTokenVerifier
from tests.conftest import PLACE, Secrets, found_among
from tests.forge import NOW, MovedClock, jwks, key, policy, token
from tests.operations import CLIENT, META, OPERATIONS, Operation
from tests.wire import RawServer, cut, hang, http, served, until

HEADER = "hidden-header-of-the-caller-0b17"
COOKIE = "hidden-cookie-of-the-server-77c1"
CONSENT = "hidden-consent-token-4f0a"
PRESENTED = "hidden-presented-token-9e2b"
PASSWORD = "hidden-proxy-password-c28d"
STATE = "hidden-state-of-the-sign-in-51ab"
MORE = {value: value for value in (HEADER, COOKIE, CONSENT, PRESENTED, PASSWORD, STATE)}
SECRETS = Secrets()
PLANTED: dict[str, str] = attrs.asdict(SECRETS) | MORE

ISSUED: dict[str, object] = {
    "access_token": SECRETS.access_token,
    "refresh_token": SECRETS.refresh_token,
    "client_secret": SECRETS.client_secret,
    "registration_access_token": SECRETS.refresh_token,
}
"""What answers of token endpoints and of registration hold."""
REFUSAL = json.dumps({"error": "invalid_grant", "error_description": "It has been used."}).encode()
SET_COOKIE = f"Set-Cookie: session={COOKIE}"
LOCATION = "Location: https://example.com/cb?error=access_denied"


async def cut_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(http("200 OK", json.dumps(ISSUED).encode(), SET_COOKIE, length=100_000))
    await writer.drain()
    writer.close()


async def hang_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(http("200 OK", json.dumps(ISSUED).encode(), SET_COOKIE, length=100_000))
    await writer.drain()
    await reader.read()


WRONG = {
    **ISSUED,
    "data": {"client_secret": SECRETS.client_secret},
    "token_type": [],
    "expires_in": {},
    "client_id": 7,
    "keys": 7,
    "issuer": 7,
    "active": "yes",
    "redirect_uri": 7,
    "resource": 7,
    "client_id_issued_at": "then",
}
FAILURES = {
    "cut": cut,
    "cut in the body": cut_in_the_body,
    "late": hang,
    "late in the body": hang_in_the_body,
    "401": http("401 Unauthorized", REFUSAL, SET_COOKIE, 'WWW-Authenticate: Bearer error="invalid_token"'),
    "400": http("400 Bad Request", REFUSAL, SET_COOKIE),
    "302": http("302 Found", b"", LOCATION, SET_COOKIE),
    "302 to nowhere": http("302 Found", REFUSAL, SET_COOKIE),
    "503": http("503 Service Unavailable", REFUSAL, SET_COOKIE),
    "HTML": http("200 OK", f"<html>{' '.join(PLANTED.values())}".encode(), SET_COOKIE),
    "{}": http("200 OK", b"{}", SET_COOKIE),
    "no JSON": http("200 OK", json.dumps(ISSUED).encode()[:-1], SET_COOKIE),
    "wrong types": http("200 OK", json.dumps(WRONG).encode(), SET_COOKIE),
    "an error under 200": http("200 OK", json.dumps({**ISSUED, "error": "invalid_client"}).encode(), SET_COOKIE),
}
LATE = 0.05
"""Seconds that a failure of the kind `late` is waited for."""


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    """A server that fails as its `behaviours` say."""
    with served(http()) as server:
        yield server


def looked_in(error: BaseException) -> None:
    assert found_among(PLANTED, error) == []


def timeout_for(failure: str) -> float:
    return LATE if failure.startswith("late") else 20.0


def options_of(operation: Operation) -> tuple[tuple[str, ...], dict[str, object]]:
    """The operation's arguments with secrets where secrets go, and some where a caller may add them."""
    secret = {
        "consent_token": CONSENT,
        "token": PRESENTED,
        "client_secret": SECRETS.client_secret,
        "code": SECRETS.code,
        "code_verifier": SECRETS.code_verifier,
        "refresh_token": SECRETS.refresh_token,
        "state": STATE,
    }
    arguments = (CONSENT,) if operation.name == "oauth.retrieve" else operation.arguments
    named: dict[str, object] = {name: secret.get(name, value) for name, value in operation.given().items()}
    added = {"extra_headers": {"X-Secret": HEADER}, "extra_query": {"api_key": HEADER}}
    if operation.method != "GET":
        added["extra_body"] = {"password": HEADER}
    return arguments, named | added


# --- the 17 operations


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("failure", FAILURES)
async def test_no_frame_of_an_operation_that_fails_shows_a_secret(server, operation, failure):
    server.behaviours = [FAILURES[failure]]
    arguments, named = options_of(operation)
    who = {"api_key": SECRETS.api_key} if operation.auth in ("none", "bearer") else ENDPOINT
    options = {"base_url": server.base_url, "max_retries": 0, "timeout": timeout_for(failure)}
    async with AsyncTelnyx(**who, **options) as client:
        for view in ("", "with_raw_response"):
            try:
                answer = await operation.method_of(client, view)(*arguments, **named)
                if view:
                    await answer.json()
                    await answer.parse()
            except (TelnyxError, ValueError) as error:
                looked_in(error)
        try:
            async with operation.method_of(client, "with_streaming_response")(*arguments, **named) as answer:
                async for _ in answer.iter_lines():
                    pass
        except TelnyxError as error:
            looked_in(error)
        try:
            async with operation.method_of(client, "with_streaming_response")(*arguments, **named) as answer:
                await answer.parse()
        except TelnyxError as error:
            looked_in(error)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("failure", FAILURES)
def test_no_frame_of_a_blocking_operation_that_fails_shows_a_secret(server, operation, failure):
    server.behaviours = [FAILURES[failure]]
    arguments, named = options_of(operation)
    options = {"base_url": server.base_url, "max_retries": 0, "timeout": timeout_for(failure)}
    with Telnyx(api_key=SECRETS.api_key, **options) as client:
        for view in ("", "with_raw_response"):
            try:
                answer = operation.method_of(client, view)(*arguments, **named)
                if view:
                    answer.json()
                    answer.parse()
            except (TelnyxError, ValueError) as error:
                looked_in(error)
        try:
            with operation.method_of(client, "with_streaming_response")(*arguments, **named) as answer:
                for _ in answer.iter_lines():
                    pass
                answer.parse()
        except (TelnyxError, RuntimeError) as error:
            looked_in(error)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_no_frame_shows_a_secret_when_nobody_listens(operation):
    arguments, named = options_of(operation)
    async with AsyncTelnyx(api_key=SECRETS.api_key, base_url="http://127.0.0.1:1/v2", max_retries=0) as client:
        with pytest.raises(TelnyxError) as caught:
            await operation.method_of(client)(*arguments, **named)
        looked_in(caught.value)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("behaviour", [hang, hang_in_the_body])
async def test_no_frame_of_an_operation_that_is_cancelled_shows_a_secret(operation, behaviour):
    arguments, named = options_of(operation)
    async with (
        RawServer.of(behaviour) as server,
        AsyncTelnyx(api_key=SECRETS.api_key, base_url=server.base_url, max_retries=0) as client,
    ):

        async def call() -> None:
            await operation.method_of(client)(*arguments, **named)

        task = asyncio.create_task(call())
        await until(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        looked_in(caught.value)


class Colour:
    """Something that no request can carry."""


WRONG_OPTIONS: dict[str, dict[str, object]] = {
    "a header with a line break": {"extra_headers": {"X-Secret": f"{HEADER}\r\nX: y"}},
    "a header that is no text": {"extra_headers": {"X-Secret": [HEADER]}},
    "a header after a secret one": {"extra_headers": {"X-Secret": HEADER, "X": "\n"}},
    "a header's name that is none": {"extra_headers": {f"Authorization: Bearer {HEADER}": HEADER}},
    "a header's name that is no text": {"extra_headers": {1: HEADER}},
    "headers that are none": {"extra_headers": [("X-Secret", HEADER)]},
    "a query of a mapping": {"extra_query": {"api_key": HEADER, "filter": {"a": HEADER}}},
    "a query of an object": {"extra_query": {"api_key": HEADER, "filter": [HEADER, Colour()]}},
    "a query of half a character": {"extra_query": {"api_key": f"{HEADER}\ud800"}},
    "a body of an object": {"extra_body": {"password": HEADER, "colour": Colour()}},
    "a body of no number": {"extra_body": {"password": HEADER, "number": float("nan")}},
    "a body of half a character": {"extra_body": {"password": f"{HEADER}\ud800"}},
    "a body that is none": {"extra_body": HEADER},
    "a timeout that is none": {"timeout": -1, "extra_headers": {"X-Secret": HEADER}},
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("what", WRONG_OPTIONS)
async def test_no_frame_that_refuses_an_option_shows_a_secret(server, operation, what):
    server.behaviours = [http()]
    arguments, named = options_of(operation)
    wrong = WRONG_OPTIONS[what]
    refused = 0
    async with AsyncTelnyx(api_key=SECRETS.api_key, base_url=server.base_url, max_retries=0) as client:
        for view in ("", "with_raw_response"):
            try:
                await operation.method_of(client, view)(*arguments, **(named | wrong))
            except Exception as error:
                refused += 1
                looked_in(error)
    with Telnyx(api_key=SECRETS.api_key, base_url=server.base_url, max_retries=0) as blocking:
        try:
            operation.method_of(blocking)(*arguments, **(named | wrong))
        except Exception as error:
            refused += 1
            looked_in(error)
    # JSON that is a text will do where nothing else is sent.
    assert refused or what == "a body that is none"


@pytest.mark.parametrize("consent", ["", ".", "..", f"{CONSENT}\ud800", CONSENT.encode()])
async def test_no_frame_that_refuses_a_path_shows_it(consent):
    async with AsyncTelnyx(api_key=SECRETS.api_key) as client:
        with pytest.raises((ValueError, TypeError)) as caught:
            await client.oauth.retrieve(consent, extra_headers={"X-Secret": HEADER})
        looked_in(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": f"/x?token={HEADER} "},
        {"path": f"https://elsewhere.example/?token={HEADER}"},
        {"path": f"https://[{HEADER}/"},
        {"cast_to": Colour},
        {"body": {"password": HEADER, "colour": Colour()}},
        {"options": {"headers": {"Authorization": f"Bearer {HEADER}\n"}}},
        {"options": {"headers": {"Authorization": f"Bearer {HEADER}"}, "max_retries": -1}},
        {"options": {"headers": {"Authorization": f"Bearer {HEADER}"}, "timeout": -1}},
        {"options": {"extra_json": {"password": HEADER, "colour": Colour()}}},
    ],
)
async def test_no_frame_of_a_call_to_any_path_shows_a_secret(wrong):
    given = {"path": "/x", "cast_to": object, "body": {"password": HEADER}} | wrong
    path = given.pop("path")
    async with AsyncTelnyx(api_key=SECRETS.api_key, base_url="http://127.0.0.1:1/v2", max_retries=0) as client:
        for verb in ("post", "put", "patch", "delete"):
            with pytest.raises((TelnyxError, ValueError, TypeError)) as caught:
                await getattr(client, verb)(path, **given)
            looked_in(caught.value)
        del given["body"]
        with suppress(TelnyxError):
            with pytest.raises((TelnyxError, ValueError, TypeError)) as caught:
                await client.get(path, **given)
            looked_in(caught.value)


# --- lists


@pytest.mark.parametrize("failure", FAILURES)
async def test_no_frame_of_a_list_that_fails_at_its_second_page_shows_a_secret(failure):
    first = {"data": [{**CLIENT, "client_secret": SECRETS.client_secret}], "meta": {**META, "total_pages": 3}}
    options = {"api_key": SECRETS.api_key, "max_retries": 0, "timeout": timeout_for(failure)}
    extra = {"extra_headers": {"X-Secret": HEADER}, "extra_query": {"api_key": HEADER}}
    page = http("200 OK", json.dumps(first).encode())
    for kind in ("pages", "items", "concurrently"):
        async with (
            RawServer.of(*[page] * (1 if kind == "pages" else 2), FAILURES[failure]) as server,
            AsyncTelnyx(base_url=server.base_url, **options) as client,
        ):
            listing = client.oauth_clients.list(**extra)
            everything = {
                "items": lambda listing=listing: aiter(listing),
                "concurrently": lambda listing=listing: listing.concurrently(2),
                "pages": (await listing).iter_pages,
            }[kind]()
            with pytest.raises(TelnyxError) as caught:
                [each async for each in everything]
            looked_in(caught.value)


@pytest.mark.parametrize("failure", FAILURES)
def test_no_frame_of_a_blocking_list_that_fails_at_its_second_page_shows_a_secret(failure):
    first = {"data": [{**CLIENT, "client_secret": SECRETS.client_secret}], "meta": {**META, "total_pages": 3}}
    options = {"api_key": SECRETS.api_key, "max_retries": 0, "timeout": timeout_for(failure)}
    for pages in (False, True):
        with (
            served(http("200 OK", json.dumps(first).encode()), FAILURES[failure]) as server,
            Telnyx(base_url=server.base_url, **options) as client,
        ):
            page = client.oauth_clients.list(extra_headers={"X-Secret": HEADER})
            with pytest.raises(TelnyxError) as caught:
                for _ in page.concurrently(2) if pages else page:
                    pass
            looked_in(caught.value)


# --- tokens

ENDPOINT = {"client_id": "id", "client_secret": SECRETS.client_secret}


async def given_secret() -> str:
    return SECRETS.client_secret


def sources(send, endpoint: str, **changes) -> dict[str, object]:
    given = ENDPOINT | changes
    refresh_token = SECRETS.refresh_token
    code = {"code": SECRETS.code, "code_verifier": SECRETS.code_verifier, "redirect_uri": "http://127.0.0.1/cb"}
    return {
        "client_credentials": ClientCredentials(send, endpoint, **given),
        "in the form": ClientCredentials(send, endpoint, **given, auth_method="client_secret_post"),
        "a function": ClientCredentials(send, endpoint, **(given | {"client_secret": given_secret})),
        "refresh_token": RefreshToken(send, endpoint, **given, refresh_token=refresh_token),
        "authorization_code": AuthorizationCode(send, endpoint, **given, **code),
    }


GRANTS = tuple(sources(None, "https://as.example/token"))


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("failure", [*FAILURES, "refused"])
async def test_no_frame_of_a_token_request_that_fails_shows_a_secret(server, grant, failure):
    server.behaviours = [FAILURES.get(failure, cut)]
    transport = HttpTransport()

    async def send(request):
        return await transport(attrs.evolve(request, timeout=Timeout(timeout_for(failure), 5.0)))

    endpoint = f"{server.origin if failure != 'refused' else 'http://127.0.0.1:1'}/token"
    source = sources(send, endpoint)[grant]
    with pytest.raises(TelnyxError) as caught:
        await source(source.key)
    looked_in(caught.value)
    await transport.aclose()


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("failure", [*FAILURES, "refused"])
async def test_no_frame_of_a_manager_whose_renewal_fails_shows_a_secret(server, grant, failure):
    server.behaviours = [FAILURES.get(failure, cut)]
    transport = HttpTransport()

    async def send(request):
        return await transport(attrs.evolve(request, timeout=Timeout(timeout_for(failure), 5.0)))

    endpoint = f"{server.origin if failure != 'refused' else 'http://127.0.0.1:1'}/token"
    manager = TokenManager(sources(send, endpoint)[grant], policy=RefreshPolicy(replay_window=0.05))
    for _ in range(2):  # the second time, what is remembered of the first
        with pytest.raises(TelnyxError) as caught:
            await manager.get(timeout=0.2)
        looked_in(caught.value)
    await manager.aclose()
    await transport.aclose()


@pytest.mark.parametrize("failure", FAILURES)
async def test_no_frame_of_a_call_that_gets_no_token_shows_a_secret(server, failure):
    server.behaviours = [FAILURES[failure]]
    async with AsyncTelnyx(
        client_id="id",
        client_secret=SECRETS.client_secret,
        base_url=server.base_url,
        max_retries=0,
        timeout=timeout_for(failure),
    ) as client:
        for _ in range(2):
            try:
                async with asyncio.timeout(0.3):
                    await client.oauth_clients.list(extra_headers={"X-Secret": HEADER})
            except (TelnyxError, TimeoutError) as error:
                looked_in(error)


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("behaviour", [hang, hang_in_the_body])
async def test_no_frame_of_a_token_request_that_is_cancelled_shows_a_secret(grant, behaviour):
    async with RawServer.of(behaviour) as server:
        transport = HttpTransport()

        async def send(request):  # a refresh token's answer is waited for, even then
            return await transport(attrs.evolve(request, timeout=Timeout(0.5, 0.5)))

        source = sources(send, f"{server.origin}/token")[grant]
        task = asyncio.create_task(source(source.key))
        await until(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        looked_in(caught.value)
        await transport.aclose()


@pytest.mark.parametrize("wrong", ["raises", "cancelled", "half a character", "no text"])
async def test_no_frame_shows_what_the_secrets_function_gives(server, wrong):
    server.behaviours = [http()]

    async def secret():
        if wrong == "raises":
            raise RuntimeError(f"{SECRETS.client_secret} is no good")
        if wrong == "cancelled":
            raise asyncio.CancelledError
        return f"{SECRETS.client_secret}\ud800" if wrong == "half a character" else [SECRETS.client_secret]

    transport = HttpTransport()
    for source in (
        ClientCredentials(transport, f"{server.origin}/token", "id", secret),
        RefreshToken(transport, f"{server.origin}/token", "id", secret, refresh_token=SECRETS.refresh_token),
        AuthorizationCode(transport, f"{server.origin}/token", "id", secret, code=SECRETS.code),
    ):
        with pytest.raises((TelnyxError, ValueError, TypeError, asyncio.CancelledError)) as caught:
            await source(source.key)
        looked_in(caught.value)
    await transport.aclose()


class Fails:
    """A user's own hook, verifier or store, which raises."""

    shared = False

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def hook(self, event: object) -> None:
        raise self.kind("mine")

    async def prepare(self) -> None:
        return None

    async def __call__(self, access_token: str, /) -> str | None:
        raise self.kind("mine")

    async def load(self, key: str) -> None:
        raise self.kind("mine")

    async def compare_and_swap(self, key: str, expected: object, new: object) -> str:
        raise self.kind("mine")

    async def delete(self, key: str) -> None:
        raise self.kind("mine")

    def lock(self, key: str, *, timeout: float) -> object:
        raise self.kind("mine")


@pytest.mark.parametrize("error", [RuntimeError, TokenVerificationError])
@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("store", [False, True])
async def test_no_frame_shows_a_secret_where_a_users_hook_verifier_or_store_raises(server, grant, error, store):
    issued = {"access_token": SECRETS.access_token, "refresh_token": SECRETS.refresh_token, "expires_in": 3600}
    server.behaviours = [http("200 OK", json.dumps(issued).encode())]
    fails = Fails(error)
    transport = HttpTransport()
    source = sources(transport, f"{server.origin}/token")[grant]
    manager = TokenManager(source, hooks=[fails.hook], verifier=fails, store=fails if store else None)
    with pytest.raises(TelnyxError) as caught:
        await manager.get(timeout=5)
    looked_in(caught.value)
    held = Token(SECRETS.access_token, key=manager.status().key)
    with pytest.raises(TelnyxError) as caught:
        await manager.replace(held, timeout=5)
    looked_in(caught.value)
    with suppress(RuntimeError, TelnyxError):
        await manager.forget()
    await manager.aclose()
    await transport.aclose()


async def test_no_frame_shows_a_token_that_is_refused_again_and_again():
    issued = http("200 OK", json.dumps({"access_token": SECRETS.access_token, "expires_in": 3600}).encode())
    async with (
        RawServer.of(issued, FAILURES["401"], issued, FAILURES["401"]) as server,
        AsyncTelnyx(**ENDPOINT, base_url=server.base_url, max_retries=0, verify_issued=False) as client,
    ):
        with pytest.raises(TelnyxError) as caught:
            await client.oauth_clients.retrieve("x", extra_headers={"X-Secret": HEADER})
        looked_in(caught.value)


# --- introspection, keys, discovery


@pytest.mark.parametrize("failure", [*FAILURES, "refused"])
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_no_frame_of_an_introspection_that_fails_shows_a_secret(server, failure, method):
    server.behaviours = [FAILURES.get(failure, cut)]
    origin = server.origin if failure != "refused" else "http://127.0.0.1:1"
    cache = IntrospectionCache(
        f"{origin}/introspect",
        ClientAuthentication("id", SECRETS.client_secret, method),
        timeout=timeout_for(failure),
        allow_insecure_loopback=True,
    )
    for text in (PRESENTED, PRESENTED, f"{PRESENTED}\ud800"):
        with pytest.raises((TelnyxError, ValueError)) as caught:
            await cache.introspect(text)
        looked_in(caught.value)
    await cache.aclose()


@pytest.mark.parametrize("failure", [*FAILURES, "refused"])
async def test_no_frame_of_a_discovery_that_fails_shows_a_secret(server, failure):
    server.behaviours = [FAILURES.get(failure, cut)]
    transport = HttpTransport()

    async def send(request):
        return await transport(attrs.evolve(request, timeout=Timeout(timeout_for(failure), 5.0)))

    origin = server.origin if failure != "refused" else "http://127.0.0.1:1"
    with pytest.raises(TelnyxError) as caught:
        await discover(send, origin)
    # Metadata is public: what must not be shown is what came beside it.
    assert found_among(MORE, caught.value) == []
    await transport.aclose()


# --- tokens that others present, and those that were just issued

BAD_TOKENS = {
    "opaque": PRESENTED,
    "half a character": f"{PRESENTED}\ud800",
    "forged": token(key("evil"), header={"kid": "rsa"}),
    "expired": token(exp=NOW - 3600),
    "another's": token(aud="https://other.example"),
    "of an unknown key": token(header={"kid": "unknown"}),
    "no claims": token(payload=b"[]"),
    "no header": token(header={"alg": 7}, signed_by="RS256"),
}


@pytest.mark.parametrize("what", BAD_TOKENS)
async def test_no_frame_that_refuses_a_token_shows_it(what):
    text = BAD_TOKENS[what]
    validator = TokenValidator(policy(), StaticKeys(jwks()), clock=MovedClock())
    errors: list[BaseException] = []
    for judge in (
        validator.validate,
        IssuedTokenVerifier(StaticKeys(jwks()), issuer="https://other.example", clock=MovedClock()),
    ):
        try:
            await judge(text)
        except (TelnyxError, ValueError) as error:
            errors.append(error)
    request = make_mocked_request(
        "GET", "/", headers={"Authorization": f"Bearer {text}".encode(errors="replace").decode()}
    )
    try:
        await BearerAuth(validator)(request, never)
    except web.HTTPException as error:
        errors.append(error)
    assert errors
    for error in errors:
        assert found_among({"the token": text}, error) == []


async def never(request: web.Request) -> web.StreamResponse:
    raise AssertionError("it is not reached")


# --- signing in

REDIRECT = "https://app.example/cb"


def flow_at(origin: str, send=None) -> AuthorizationFlow:
    as_it_is = AuthorizationServer("https://as.example", f"{origin}/authorize", f"{origin}/token", f"{origin}/register")
    return AuthorizationFlow(client_id="id", client_secret=SECRETS.client_secret, server=as_it_is, send=send)


async def planted_pending(flow: AuthorizationFlow) -> PendingAuthorization:
    pending = await flow.begin_authorization(redirect_uri=REDIRECT)
    url = pending.url.replace(pending.state, STATE)
    return attrs.evolve(pending, url=url, state=STATE, code_verifier=SECRETS.code_verifier)


@pytest.mark.parametrize("failure", [*FAILURES, "refused"])
async def test_no_frame_of_a_sign_in_that_fails_shows_a_secret(server, failure):
    server.behaviours = [FAILURES.get(failure, cut)]
    transport = HttpTransport()

    async def send(request):
        return await transport(attrs.evolve(request, timeout=Timeout(timeout_for(failure), 5.0)))

    origin = server.origin if failure != "refused" else "http://127.0.0.1:1"
    async with flow_at(origin, send) as flow:
        pending = await planted_pending(flow)
        with pytest.raises(TelnyxError) as caught:
            await flow.complete_authorization(f"{REDIRECT}?code={SECRETS.code}&state={STATE}", pending=pending)
        looked_in(caught.value)
        with pytest.raises(TelnyxError) as caught:
            await flow.register(redirect_uris=[REDIRECT], client_name="x", auth_method="client_secret_basic")
        looked_in(caught.value)
    await transport.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        "",
        f"code={SECRETS.code}",
        f"code={SECRETS.code}&state=other",
        f"code={SECRETS.code}&code=x&state={STATE}",
        f"code={SECRETS.code}&state={STATE}&iss=https://other.example",
        f"code={SECRETS.code}%0A&state={STATE}",
        f"error=access_denied&state={STATE}",
        f"x={SECRETS.code}&" * 60,
    ],
)
async def test_no_frame_that_refuses_a_callback_shows_a_secret(answer):
    async with flow_at("http://127.0.0.1:1") as flow:
        pending = await planted_pending(flow)
        with pytest.raises(TelnyxError) as caught:
            await flow.complete_authorization(f"{REDIRECT}?{answer}", pending=pending)
        looked_in(caught.value)
    with Telnyx(client_id="id", client_secret=SECRETS.client_secret, base_url="http://127.0.0.1:1/v2") as client:
        with pytest.raises(TelnyxError) as caught:
            client.authorization.complete_authorization(f"{REDIRECT}?{answer}", pending=pending)
        looked_in(caught.value)


@pytest.mark.parametrize("failure", ["400", "cut", "wrong types", "HTML"])
async def test_no_frame_of_a_sign_in_at_this_machine_shows_a_secret(server, failure):
    server.behaviours = [FAILURES[failure]]
    async with flow_at(server.origin) as flow:
        seen: dict[str, str] = {}

        async def show(url: str) -> None:
            query = url.partition("?")[2]
            seen["state"] = dict(pair.split("=", 1) for pair in query.split("&"))["state"]

        async def paste(problem: str | None) -> str | None:
            return f"http://127.0.0.1/callback?code={SECRETS.code}&state={seen['state']}"

        with pytest.raises(TelnyxError) as caught:
            await sign_in(flow, show=show, paste=paste)
        assert found_among(PLANTED | {"state": seen["state"]}, caught.value) == []


async def test_no_frame_that_cannot_begin_a_sign_in_shows_a_secret():
    async with flow_at("http://127.0.0.1:1") as flow:
        for wrong in ({"redirect_uri": "javascript:x"}, {"redirect_uri": REDIRECT, "extra": {"state": "mine"}}):
            with pytest.raises(ValueError, match="`") as caught:
                await flow.begin_authorization(**wrong)
            looked_in(caught.value)
    with pytest.raises(ValueError, match="no pending authorization") as caught:
        PendingAuthorization.from_json(json.dumps({"state": STATE, "code_verifier": SECRETS.code_verifier}))
    looked_in(caught.value)


# --- what cannot be made

WRONG_CLIENTS: dict[str, dict[str, object]] = {
    "base_url": {"base_url": "ftp://x"},
    "a base_url with a password": {"base_url": f"https://user:{PASSWORD}@127.0.0.1"},
    "timeout": {"timeout": -1},
    "max_retries": {"max_retries": -1},
    "a header": {"default_headers": {"X-Secret": f"{HEADER}\n"}},
    "another header": {"default_headers": {"X-Secret": HEADER, "X": "\n"}},
    "headers that are none": {"default_headers": [HEADER]},
    "proxy": {"proxy": f"socks5://user:{PASSWORD}@127.0.0.1"},
    "api_key": {"api_key": f"{SECRETS.api_key}\n"},
    "client_secret": {"client_secret": f"{SECRETS.client_secret}\ud800"},
    "scopes": {"scopes": 5},
    "audience": {"audience": 5},
    "a base_url that is no text": {"base_url": URL(f"https://user:{PASSWORD}@127.0.0.1")},
    "a proxy that is no text": {"proxy": f"http://user:{PASSWORD}@127.0.0.1".encode()},
    "an api_key that is no text": {"api_key": SECRETS.api_key.encode()},
    "a client_secret that is no text": {"client_secret": [SECRETS.client_secret]},
    "a query that is none": {"default_query": [HEADER]},
    "half a character in a query": {"default_query": {"api_key": f"{HEADER}\ud800"}},
    "a query's value": {"default_query": {"api_key": {"a": HEADER}}},
    "ssl_context": {"ssl_context": 5},
    "issuer": {"issuer": 5},
    "token_hooks": {"token_hooks": 5},
    "verify_issued": {"verify_issued": "yes"},
}


@pytest.mark.parametrize("what", WRONG_CLIENTS)
@pytest.mark.parametrize("kind", [AsyncTelnyx, Telnyx])
def test_no_frame_that_cannot_make_a_client_shows_a_secret(kind, what):
    good = {
        "api_key": SECRETS.api_key,
        "client_id": "id",
        "client_secret": SECRETS.client_secret,
        "default_headers": {"X-Secret": HEADER},
        "default_query": {"api_key": HEADER},
        "proxy": f"http://user:{PASSWORD}@127.0.0.1",
    }
    with pytest.raises((ValueError, TypeError)) as caught:
        kind(**(good | WRONG_CLIENTS[what]))
    looked_in(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "ftp://x"},
        {"base_url": f"https://user:{PASSWORD}@127.0.0.1"},
        {"timeout": -1},
        {"max_retries": -1},
        {"default_headers": {"X-Secret": f"{HEADER}\n"}},
        {"default_headers": {"X-Secret": HEADER}, "set_default_headers": {"X-Secret": HEADER}},
        {"default_query": {"api_key": HEADER}, "set_default_query": {"api_key": HEADER}},
        {"client_id": "id", "client_secret": f"{SECRETS.client_secret}\ud800"},
    ],
)
@pytest.mark.parametrize("kind", [AsyncTelnyx, Telnyx])
def test_no_frame_that_cannot_make_a_copy_shows_a_secret(kind, wrong):
    client = kind(api_key=SECRETS.api_key, default_headers={"X-Secret": HEADER}, default_query={"api_key": HEADER})
    with pytest.raises((ValueError, TypeError)) as caught:
        client.with_options(**({"api_key": SECRETS.api_key} | wrong))
    looked_in(caught.value)


def wrong_values() -> Mapping[str, object]:
    endpoint, secret = "https://as.example/token", SECRETS.client_secret
    half = f"{SECRETS.client_secret}\ud800"
    return {
        "method": lambda: ClientAuthentication("id", secret, "private_key_jwt"),
        "half": lambda: ClientAuthentication("id", half).apply(),
        "credentials": lambda: ClientCredentials(None, endpoint, "id", secret, auth_method="x"),
        "credentials' scopes": lambda: ClientCredentials(None, endpoint, "id", secret, scopes=5),
        "refresh": lambda: RefreshToken(
            None, endpoint, "id", secret, refresh_token=SECRETS.refresh_token, auth_method="x"
        ),
        "refresh's scopes": lambda: RefreshToken(
            None, endpoint, "id", secret, refresh_token=SECRETS.refresh_token, scopes=5
        ),
        "code": lambda: AuthorizationCode(
            None, endpoint, "id", secret, code=SECRETS.code, code_verifier=SECRETS.code_verifier, auth_method="x"
        ),
        "code's scopes": lambda: AuthorizationCode(
            None, endpoint, "id", secret, code=SECRETS.code, code_verifier=SECRETS.code_verifier, scopes=5
        ),
        "flow": lambda: AuthorizationFlow(client_id="id", client_secret=secret, base_url="ftp://x"),
        "flow's address": lambda: AuthorizationFlow(base_url=f"https://user:{PASSWORD}@127.0.0.1"),
        "token": lambda: Token(f"{SECRETS.access_token}\n"),
        "token's scopes": lambda: Token(SECRETS.access_token, scopes=5),
        "key": lambda: TokenManager(ApiKey(f"{SECRETS.api_key}\n")),
        "proxy": lambda: HttpTransport(proxy=f"socks5://user:{PASSWORD}@127.0.0.1"),
        "introspection": lambda: IntrospectionCache("ftp://x", ClientAuthentication("id", secret)),
        "Redis": lambda: RedisStore(f"redis://:{PASSWORD}@h:port"),
        "introspection's pair": lambda: IntrospectionCache("https://x.test", ("id", secret)),
    }


@pytest.mark.parametrize("what", wrong_values())
def test_no_frame_that_cannot_make_a_value_shows_a_secret(what):
    with pytest.raises((ValueError, TypeError)) as caught:
        wrong_values()[what]()
    looked_in(caught.value)


async def test_no_frame_shows_the_password_of_the_environments_proxy(monkeypatch):
    for address in (f"socks5://user:{PASSWORD}@127.0.0.1:1", f"http://user:{PASSWORD}@127.0.0.1:1"):
        monkeypatch.setenv("HTTPS_PROXY", address)
        async with AsyncTelnyx(api_key=SECRETS.api_key, base_url="https://telnyx.test/v2", max_retries=0) as client:
            with pytest.raises(TelnyxError) as caught:
                await client.oauth.retrieve_jwks()
            looked_in(caught.value)


def test_no_frame_that_makes_clients_of_a_sandbox_shows_its_credentials():
    sandbox = Sandbox(api_key=SECRETS.api_key, client_id="id", client_secret=SECRETS.client_secret)
    for make in (sandbox.client, sandbox.async_client):
        for given in ({}, {"api_key": SECRETS.api_key}):
            with pytest.raises(RuntimeError, match="not started") as caught:
                make(**given)
            looked_in(caught.value)
            with sandbox, pytest.raises(ValueError, match="timeout") as caught:
                make(timeout=-1, **given)
            looked_in(caught.value)
    with pytest.raises(ValueError, match="not issued") as caught:
        sandbox.revoke(SECRETS.access_token)
    looked_in(caught.value)
    with pytest.raises(ValueError, match="no consent") as caught:
        sandbox.approve(f"{sandbox.base_url}/x")
    looked_in(caught.value)
    with pytest.raises(ValueError, match="refuses") as caught:
        sandbox.approve(f"{sandbox.base_url}/x?consent_token=none")
    looked_in(caught.value)


SECRET_FIELDS = frozenset(PLANTED) | {
    "authorization", "body", "content", "form", "headers", "id_token", "password", "secret", "secrets", "verifier",
}  # fmt: skip
HARMLESS = {
    ("ErrorDetail", "code"): "a name of the error",
    ("Code", "authorization"): "the sandbox's own record",
}


def test_no_value_of_the_package_has_a_field_that_tells_a_secret():
    """Tools that know attrs print the fields, whatever the class says of its repr."""
    told = set()
    for found in pkgutil.walk_packages(telnyx_oauth.__path__, "telnyx_oauth."):
        if not found.name.endswith("__main__"):
            for kind in vars(importlib.import_module(found.name)).values():
                if inspect.isclass(kind) and attrs.has(kind):
                    shown = {field.name.lstrip("_") for field in attrs.fields(kind) if field.repr}
                    told |= {(kind.__name__, name) for name in shown & SECRET_FIELDS}
    assert told == set(HARMLESS)


# --- the client middleware


@pytest.mark.parametrize("failure", ["400", "cut", "503", "HTML", "wrong types"])
async def test_no_frame_of_the_client_middleware_shows_a_secret(failure):
    issued = http("200 OK", json.dumps({"access_token": SECRETS.access_token, "expires_in": 3600}).encode())
    refusal = http("401 Unauthorized", REFUSAL, SET_COOKIE)
    async with RawServer.of(issued, refusal, FAILURES[failure]) as server:
        transport = HttpTransport()
        manager = TokenManager(ClientCredentials(transport, f"{server.origin}/token", "id", SECRETS.client_secret))
        middleware = BearerTokenMiddleware(manager, origins=server.origin, allow_insecure_loopback=True)
        async with aiohttp.ClientSession(middlewares=[middleware]) as session:
            with pytest.raises(TelnyxError) as caught:
                await session.get(f"{server.origin}/x?api_key={HEADER}", headers={"X-Secret": HEADER})
            looked_in(caught.value)
        await manager.aclose()
        await transport.aclose()


# --- what is logged meanwhile


async def test_no_log_of_all_that_fails_tells_a_secret(server, caplog):
    caplog.set_level(logging.DEBUG)
    for failure in FAILURES:
        await test_no_frame_of_a_manager_whose_renewal_fails_shows_a_secret(server, "refresh_token", failure)
        await test_no_frame_of_a_sign_in_that_fails_shows_a_secret(server, failure)
        await test_no_frame_of_an_introspection_that_fails_shows_a_secret(server, failure, "client_secret_basic")
    assert found_among(PLANTED, caplog.text) == []


# --- the search itself


def ours(source: str) -> types.ModuleType:
    """A module that counts as one of the package's."""
    module = types.ModuleType("telnyx_oauth.made_up")
    exec(compile(source, f"{PLACE}/made_up.py", "exec"), vars(module))
    return module


LEAKS = {
    "text": "value",
    "bytes": "value.encode()",
    "in a dictionary": "{'a': [1, (2, {'Authorization': value})]}",
    "in a name": "{value: 1}",
    "in a header": "__import__('multidict').CIMultiDict(a=value)",
    "base64": "'Basic ' + __import__('base64').b64encode(b'id:' + value.encode()).decode()",
    "base64 elsewhere": "__import__('base64').urlsafe_b64encode(b'x' + value.encode())",
    "in a repr": "__import__('types').SimpleNamespace(value=value)",
    "in a partial": "__import__('functools').partial(print, value)",
    "cut short": "value[:-6]",
    "in an error": "ValueError(value)",
    "in a deque": "__import__('collections').deque([value])",
    "in an address": "'https://x.test/?a=' + value",
}


@pytest.mark.parametrize("how", LEAKS)
def test_the_search_finds_what_a_frame_shows(how):
    module = ours(f"def fail(give):\n    held = (lambda value: {LEAKS[how]})(give())\n    raise RuntimeError")
    with pytest.raises(RuntimeError) as caught:
        module.fail(lambda: SECRETS.client_secret)
    assert found_among(PLANTED, caught.value) == ["client_secret in held at made_up.py:3 fail"]


@pytest.mark.parametrize(
    "way",
    [
        "raise KeyError from error",
        "raise KeyError",
        "raise ExceptionGroup('', [error])",
        "raise BaseExceptionGroup('', [ExceptionGroup('', [error])]) from None",
    ],
)
def test_the_search_follows_every_link_between_errors(way):
    module = ours("def fail(give):\n    held = give()\n    raise RuntimeError")
    linking = ours(f"def link(fail):\n    try:\n        fail()\n    except RuntimeError as error:\n        {way}")
    with pytest.raises(BaseException) as caught:
        linking.link(functools.partial(module.fail, lambda: SECRETS.code))
    assert "code in held at made_up.py:3 fail" in found_among(PLANTED, caught.value)


def test_the_search_finds_what_the_closure_of_a_frame_shows():
    module = ours("def fail(held):\n    def inner():\n        raise RuntimeError(len(held))\n    return inner")
    with pytest.raises(RuntimeError) as caught:
        module.fail(SECRETS.api_key)()
    assert found_among(PLANTED, caught.value) == ["api_key in held at made_up.py:3 fail.<locals>.inner"]


def test_the_search_finds_what_the_package_shows():
    """The same that the tests above look at: a request that is made plain."""
    from telnyx_oauth.messages import Request, RequestInfo

    request = Request("GET", f"https://x.test/?{quote(SECRETS.code)}", RequestInfo("GET", "https://x.test/"))
    module = ours("def fail(request):\n    url = request.url\n    raise RuntimeError")
    with pytest.raises(RuntimeError) as caught:
        module.fail(request)
    assert found_among(PLANTED, caught.value) == ["code in url at made_up.py:3 fail"]
    assert base64.b64encode(b"id:" + SECRETS.client_secret.encode()).decode() not in repr(request)
