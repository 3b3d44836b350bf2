"""What a newcomer would try, coming from telnyx, requests, httpx, authlib or google-auth: each ends in the right word."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from unittest import mock

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import telnyx_oauth
from telnyx_oauth import (
    AsyncTelnyx,
    ClientCredentials,
    EncryptedStore,
    FileStore,
    MemoryStore,
    RedisStore,
    Telnyx,
    Timeout,
    TokenManager,
    TokenValidator,
)
from telnyx_oauth.aiohttp import BearerAuth, BearerTokenMiddleware, require_scopes
from telnyx_oauth.sandbox import Sandbox

KEY = "KEYthat-no-message-may-hold"
NEW = {"client_type": "confidential", "allowed_grant_types": ["client_credentials"], "allowed_scopes": ["admin"]}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Telnyx]:
    with sandbox.client(api_key=sandbox.api_key) as made:
        yield made


@pytest.fixture
async def async_client(sandbox: Sandbox) -> AsyncIterator[AsyncTelnyx]:
    async with sandbox.async_client(api_key=sandbox.api_key) as made:
        yield made


def told(error: BaseException) -> str:
    """What the traceback's last line says, with nothing secret in it."""
    assert KEY not in repr(error)
    return str(error)


# --- names of modules

NAMES = {
    ("telnyx_oauth", "Client"): "Telnyx, or AsyncTelnyx",
    ("telnyx_oauth", "TelnyxClient"): "Telnyx, or AsyncTelnyx",
    ("telnyx_oauth", "OAuth2Client"): "Telnyx, or AsyncTelnyx",
    ("telnyx_oauth", "OAuth2Session"): "Telnyx, or AsyncTelnyx",
    ("telnyx_oauth", "AsyncClient"): "AsyncTelnyx",
    ("telnyx_oauth", "NOT_GIVEN"): "omit",
    ("telnyx_oauth", "NotGiven"): "omit",
    ("telnyx_oauth", "DefaultHttpxClient"): "http_session",
    ("telnyx_oauth", "HTTPError"): "APIStatusError",
    ("telnyx_oauth", "RequestException"): "TelnyxError",
    ("telnyx_oauth", "TimeoutException"): "APITimeoutError",
    ("telnyx_oauth", "ConnectError"): "APIConnectionError",
    ("telnyx_oauth", "APIStatusErorr"): "'APIStatusError'",
    ("telnyx_oauth", "FileTokenStore"): "FileStore",
    ("telnyx_oauth", "BearerAuth"): "telnyx_oauth.aiohttp",
    ("telnyx_oauth", "Sandbox"): "telnyx_oauth.sandbox",
    ("telnyx_oauth", "BaseModel"): "telnyx_oauth.types",
    ("telnyx_oauth.aiohttp", "BearerMiddleware"): "BearerTokenMiddleware",
    ("telnyx_oauth.aiohttp", "OAuthMiddleware"): "BearerAuth, BearerTokenMiddleware",
    ("telnyx_oauth.aiohttp", "require_scope"): "require_scopes",
    ("telnyx_oauth.aiohttp", "AsyncTelnyx"): "It is in telnyx_oauth.",
    ("telnyx_oauth.sandbox", "SandboxServer"): "'Sandbox'",
}
names = pytest.mark.parametrize(("module", "name", "right"), [(*guess, right) for guess, right in NAMES.items()])


@names
def test_a_wrong_name_is_answered_with_the_right_one(module, name, right):
    with pytest.raises(AttributeError) as caught:
        getattr(importlib.import_module(module), name)
    assert right in told(caught.value)
    assert name in told(caught.value)


@names
def test_so_is_one_that_is_imported(module, name, right):
    with pytest.raises(ImportError) as caught:
        exec(f"from {module} import {name}")
    assert right in told(caught.value)


@names
def test_for_hasattr_a_hint_is_nothing(module, name, right):
    del right
    assert not hasattr(importlib.import_module(module), name)
    assert name not in dir(importlib.import_module(module))


@pytest.mark.parametrize("name", ["", "no such", "a.b", "cli.x", "sandbox.", "_private", "__wrapped__", "é"])
@pytest.mark.parametrize("module", ["telnyx_oauth", "telnyx_oauth.aiohttp", "telnyx_oauth.sandbox"])
def test_whatever_is_asked_for_is_not_there(module, name):
    assert not hasattr(importlib.import_module(module), name)


def test_modules_of_the_package_are_imported_as_ever():
    from telnyx_oauth import aiohttp, pagination, sandbox

    assert [module.__name__ for module in (aiohttp, pagination, sandbox)] == [
        f"telnyx_oauth.{name}" for name in ("aiohttp", "pagination", "sandbox")
    ]


# --- members

MEMBERS = {
    "client.get_token": "client.tokens.get()",
    "client.fetch_token": "client.tokens.get()",
    "client.token": "client.tokens.get()",
    "client.oauth.get_token": "client.tokens.get()",
    "client.oauth.retrieve_token": "client.tokens.get()",
    "client.clients": "client.oauth_clients",
    "client.oauth.clients": "client.oauth_clients",
    "client.grants": "client.oauth_grants",
    "client.oauth_client": "'oauth_clients'",
    "client.wellknown": "'well_known'",
    "client.jwks": "client.oauth.retrieve_jwks()",
    "client.oauth.authorize": "'retrieve_authorize'",
    "client.oauth.revoke": "client.oauth_grants.delete",
    "client.oauth_grants.revoke": "client.oauth_grants.delete",
    "client.oauth_clients.get": "retrieve",
    "client.oauth_clients.patch": "update",
    "client.oauth_clients.with_raw_response.get": "retrieve",
    "client.oauth_clients.with_streaming_response.get": "retrieve",
    "client.with_raw_response": "client.oauth_clients.with_raw_response",
    "client.request": "client.get",
    "client.headers": "default_headers",
    "client.session": "http_session",
    "client.validate": "client.validator.validate(token)",
    "client.aclose": "close()",
    "client.authorization.create_authorization_url": "begin_authorization",
    "client.authorization.start": "begin_authorization",
}
members = pytest.mark.parametrize(("guess", "right"), MEMBERS.items(), ids=MEMBERS)


def ask(whole: object, guess: str) -> object:
    for name in guess.split(".")[1:]:
        whole = getattr(whole, name)
    return whole


@members
def test_a_wrong_member_is_answered_with_the_right_one(client, guess, right):
    with pytest.raises(AttributeError) as caught:
        ask(client, guess)
    assert right in told(caught.value)


@members
async def test_so_is_one_of_the_async_client(async_client, guess, right):
    with pytest.raises(AttributeError) as caught:
        ask(async_client, guess)
    assert right in told(caught.value)


@pytest.mark.parametrize("kind", [Telnyx, AsyncTelnyx])
@members
def test_for_hasattr_and_mocks_it_is_not_there(kind, guess, right):
    del right
    *way, last = guess.split(".")
    faked = ask(mock.create_autospec(kind, instance=True), ".".join(way))
    assert not hasattr(faked, last)
    assert last not in dir(ask(kind, ".".join(way)))


def test_a_property_that_raises_keeps_its_own_words(monkeypatch):
    for name in ("API_KEY", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.delenv(f"TELNYX_{name}", raising=False)
    for client in (Telnyx(), AsyncTelnyx()):
        with pytest.raises(telnyx_oauth.MissingCredentialsError):
            _ = client.tokens
        with pytest.raises(ValueError, match="audience="):
            _ = client.validator


def test_a_page_an_answer_and_a_response_say_what_they_have(client):
    page = client.oauth_clients.list()
    with pytest.raises(AttributeError, match="data"):
        _ = page.results
    with pytest.raises(TypeError, match="`data`"):
        page[0]
    answer = client.oauth_clients.retrieve(page.data[0].client_id)
    with pytest.raises(AttributeError, match=r"`\.data\.name`"):
        _ = answer.name
    with pytest.raises(TypeError, match="attributes"):
        answer["data"]
    with pytest.raises(AttributeError, match="client_id"):
        _ = page.data[0].id
    with pytest.raises(AttributeError, match="'allowed_scopes'"):
        _ = page.data[0].scopes
    with pytest.raises(AttributeError, match="status_code"):
        client.oauth.with_raw_response.retrieve_jwks().raise_for_status()
    with pytest.raises(AttributeError, match="`with"):
        client.oauth.with_streaming_response.retrieve_jwks().parse()


def test_a_token_says_how_it_is_sent(client):
    token = client.tokens.get()
    with pytest.raises(TypeError, match="access_token"):
        token["access_token"]
    with pytest.raises(TypeError, match="authorization"):
        _ = "Bearer " + token
    with pytest.raises(TypeError, match="authorization"):
        _ = token + ""


# --- options and parameters

OPTIONS = {
    "token": "'api_key'",
    "access_token": "'api_key'",
    "key": "'api_key'",
    "id": "'client_id'",
    "secret": "'client_secret'",
    "scope": "'scopes'",
    "http_client": "'http_session'",
    "session": "'http_session'",
    "url": "'base_url'",
    "verify": "'ssl_context'",
    "proxies": "'proxy'",
    "retries": "'max_retries'",
    "headers": "'default_headers'",
    "store": "'token_store'",
}


@pytest.mark.parametrize("kind", [Telnyx, AsyncTelnyx])
@pytest.mark.parametrize(("option", "right"), OPTIONS.items(), ids=OPTIONS)
def test_a_wrong_option_is_answered_with_the_right_one(kind, option, right):
    with pytest.raises(TypeError) as caught:
        kind(**{option: KEY})
    assert f"{kind.__name__}() has no option" in told(caught.value)
    assert right in told(caught.value)


@pytest.mark.parametrize("kind", [Telnyx, AsyncTelnyx])
def test_options_go_by_name(kind, secrets):
    with pytest.raises(TypeError, match="api_key=") as caught:
        kind(secrets.api_key)
    assert secrets.found_in(caught.value) == []
    with pytest.raises(TypeError, match="'api_key'") as caught:
        kind(client_secret=secrets.client_secret, token=secrets.api_key)
    assert secrets.found_in(caught.value) == []


@pytest.mark.parametrize("kind", [Telnyx, AsyncTelnyx, BearerAuth, BearerTokenMiddleware])
def test_a_subclass_may_take_options_of_its_own(kind):
    class Own(kind):
        def __init__(self, first: str, *, own: int) -> None:
            self.got = first, own

    class Handing(kind):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)

    assert Own("a", own=1).got == ("a", 1)
    assert list(inspect.signature(kind).parameters) == list(inspect.signature(kind.__init__).parameters)[1:]
    with pytest.raises(TypeError):
        Handing(nothing_like_it=1)


CALLS = {
    "an unknown parameter": (lambda c: c.oauth_clients.create(name="n", scopes=["admin"]), "allowed_scopes"),
    "another parameter's name": (lambda c: c.oauth_clients.create(client_name="n"), "'name'"),
    "one of several": (lambda c: c.oauth_clients.create(name="n", redirect_uri="https://a"), "'redirect_uris'"),
    "missing parameters": (lambda c: c.oauth_clients.create(name="n"), "'allowed_scopes'"),
    "a dict for parameters": (lambda c: c.oauth_clients.create({"name": "n"}), "name="),
    "a text for a list": (lambda c: c.oauth_clients.create(name="n", **{**NEW, "allowed_scopes": "a"}), "a list"),
    "a text for addresses": (lambda c: c.oauth.register(redirect_uris="https://a"), "a list"),
    "no id": (lambda c: c.oauth_clients.retrieve(), "'id'"),
    "an id by another name": (lambda c: c.oauth_clients.retrieve(client_id="x"), "'id'"),
    "None for an id": (lambda c: c.oauth_clients.retrieve(None), "`id` must be a str"),
    "a client for its id": (lambda c: c.oauth_clients.retrieve(c.oauth_clients.list().data[0]), "`id` must be a str"),
    "a limit": (lambda c: c.oauth_clients.list(limit=3), "'page_size'"),
    "a page": (lambda c: c.oauth_clients.list(page=3), "'page_number'"),
    "a dict for a filter": (lambda c: c.oauth_clients.list(filter_name={"contains": "x"}), "`filter[name]` must be"),
    "a filter": (lambda c: c.oauth_clients.list(filter={"name": "x"}), "'filter_name'"),
    "headers of one call": (lambda c: c.oauth_clients.list(headers={}), "'extra_headers'"),
    "a query of one call": (lambda c: c.oauth_clients.list(params={}), "'extra_query'"),
    "a raw call": (lambda c: c.oauth_clients.with_raw_response.retrieve(client_id="x"), "'id'"),
    "a grant type by position": (lambda c: c.oauth.token("client_credentials"), "grant_type="),
    "a list of scopes": (lambda c: c.oauth.token(grant_type="client_credentials", scope=["a", "b"]), "spaces"),
    "scopes": (lambda c: c.oauth.token(grant_type="client_credentials", scopes="a"), "'scope'"),
    "no token": (lambda c: c.oauth.introspect(token=None), "`token` must be a str"),
    "a token object": (lambda c: c.oauth.introspect(token=c.tokens.get()), "`token` must be a str"),
    "a token by position": (lambda c: c.oauth.introspect("x"), "token="),
    "a scope of a token": (lambda c: c.tokens.get(scope="x"), "'scopes'"),
    "a request's query": (lambda c: c.get("/x", params={}, cast_to=object), "'options'"),
    "a typing mistake": (lambda c: c.with_options(timout=3), "'timeout'"),
}


@pytest.mark.parametrize(("call", "right"), CALLS.values(), ids=CALLS)
def test_a_wrong_call_is_answered_with_what_is_right_and_nothing_is_sent(sandbox, client, call, right):
    before = sum(1 for each in sandbox.requests if each.method != "GET")
    with pytest.raises(TypeError) as caught:
        call(client)
    assert right in told(caught.value)
    assert not told(caught.value).startswith("_")
    assert sum(1 for each in sandbox.requests if each.method != "GET") == before


def test_a_grant_type_that_there_is_not_is_the_servers_to_refuse(client):
    with pytest.raises(telnyx_oauth.UnsupportedGrantTypeError, match="grant_type"):
        client.oauth.token(grant_type="password")


@pytest.mark.parametrize(
    "left_out", ["client_secret", "code", "code_verifier", "refresh_token", "scope", "redirect_uri"]
)
async def test_none_leaves_a_field_of_the_token_request_out(sandbox, left_out):
    async with sandbox.async_client() as client:
        answer = await client.oauth.token(grant_type="client_credentials", **{left_out: None})
    assert answer.access_token
    assert left_out.encode() not in sandbox.requests[-1].content


# --- async and blocking


async def test_a_blocking_thing_in_an_async_place_names_the_async_client(client):
    with pytest.raises(TypeError, match="AsyncTelnyx"):
        async with client:
            pass
    with pytest.raises(TypeError, match="AsyncTelnyx"):
        async with client.oauth.with_streaming_response.retrieve_jwks():
            pass


async def test_an_async_thing_in_a_blocking_place_says_how_it_is_used(async_client):
    with pytest.raises(TypeError, match=r"`async with`.*Telnyx"), async_client:
        pass
    with pytest.raises(TypeError, match="`async with`"), async_client.oauth.with_streaming_response.retrieve_jwks():
        pass
    with pytest.raises(TypeError, match="`async for`"):
        list(async_client.oauth_clients.list())
    with pytest.raises(TypeError, match="`async for`"):
        list(await async_client.oauth_clients.list())
    with pytest.raises(TypeError, match="`await`"):
        async_client.oauth_clients.list()[0]
    with pytest.raises(AttributeError, match="`await`"):
        _ = async_client.oauth_clients.list().data
    with pytest.raises(AttributeError, match="`async with"):
        async_client.oauth.with_streaming_response.retrieve_jwks().parse()
    assert [each.name async for each in await async_client.oauth_clients.list()]


def test_what_is_refused_is_not_there(client):
    assert not isinstance(client, typing.AsyncContextManager)
    assert not isinstance(AsyncTelnyx(), typing.ContextManager)
    assert not any(hasattr(it, name) for it in (client, Telnyx) for name in ("__aenter__", "__aexit__"))
    assert not any(hasattr(it, name) for it in (AsyncTelnyx(), AsyncTelnyx) for name in ("__enter__", "__exit__"))
    for kind, names in ((AsyncTelnyx, "with"), (telnyx_oauth.AsyncPaginator, "for")):
        assert not issubclass(kind, typing.Iterable), names
    with pytest.raises(TypeError), mock.create_autospec(AsyncTelnyx, instance=True):
        pass


# --- the wrong thing in the place of the right one

THINGS = {
    "a token for a validator": (lambda: BearerAuth("token"), "AsyncTelnyx(audience=...).validator"),
    "a client for a validator": (lambda: BearerAuth(AsyncTelnyx()), "AsyncTelnyx(audience=...).validator"),
    "a token for tokens": (lambda: BearerTokenMiddleware("t", origins=["https://a"]), "AsyncTelnyx(...).tokens"),
    "no origins": (lambda: BearerTokenMiddleware(AsyncTelnyx(api_key="k").tokens), "'origins'"),
    "a list of scopes": (lambda: require_scopes(["admin"]), '@require_scopes("admin"'),
    "no call": (lambda: require_scopes(print), '@require_scopes("admin"'),
    "a folder for a store": (lambda: Telnyx(client_id="a", client_secret="b", token_store=Path()), "FileStore(...)"),
    "an address for a store": (lambda: Telnyx(token_store="redis://localhost"), "FileStore(...)"),
    "a blocking Redis": (lambda: RedisStore(7), "redis.asyncio"),
    "a password for a key": (lambda: EncryptedStore(MemoryStore(), "secret"), "Fernet.generate_key()"),
    "a secret for a source": (lambda: TokenManager("secret"), "ClientCredentials(...)"),
    "credentials by position": (lambda: ClientCredentials("a", "b"), "'client_id' and 'client_secret'"),
    "an issuer for a policy": (lambda: TokenValidator("https://a"), "JWKSCache(uri)"),
    "a pair for a timeout": (lambda: Telnyx(timeout=(3, 5)), "telnyx_oauth.Timeout"),
    "a host for an address": (lambda: Telnyx(base_url="api.telnyx.com"), "https://api.telnyx.com/v2"),
    "plain http": (lambda: Telnyx(base_url="http://api.telnyx.com"), "https"),
    "a secret alone": (lambda: Telnyx(client_secret="s"), "client_id"),
    "a sandbox that is not started": (lambda: Sandbox().client(), "with Sandbox() as"),
    "an async one": (lambda: Sandbox().async_client(), "with Sandbox() as"),
}


@pytest.mark.parametrize(("make", "right"), THINGS.values(), ids=THINGS)
def test_the_wrong_thing_is_answered_with_the_right_one(make, right):
    with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
        make()
    assert right in told(caught.value)


async def test_a_class_in_the_place_of_a_servers_middleware_is_told_to_be_made(caplog):
    app = web.Application()
    app.middlewares.append(BearerAuth)
    async with TestClient(TestServer(app)) as server:
        assert (await server.get("/")).status == 500
    assert "BearerAuth(client.validator)" in caplog.text


async def test_a_class_in_the_place_of_a_clients_middleware_is_told_to_be_made(sandbox):
    async with aiohttp.ClientSession(middlewares=(BearerTokenMiddleware,)) as session:
        with pytest.raises(TypeError, match=r"BearerTokenMiddleware\(client.tokens, origins="):
            await session.get(sandbox.base_url)


def test_a_file_in_the_place_of_a_folder_is_named(sandbox, tmp_path):
    file = tmp_path / "tokens.json"
    file.write_text("{}")
    with (
        sandbox.client(
            client_id=sandbox.client_id, client_secret=sandbox.client_secret, token_store=FileStore(file)
        ) as client,
        pytest.warns(RuntimeWarning, match="Not a directory"),
    ):
        assert client.tokens.get()


def test_a_timeout_has_two_parts():
    with pytest.raises(TypeError):
        Timeout(5, read=3)
