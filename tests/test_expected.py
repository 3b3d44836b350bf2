"""The wrong thing is refused where it is given, by its type, with the right thing named."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import aiohttp
import attrs
import pytest
import redis
import redis.asyncio
from cryptography.fernet import Fernet
from yarl import URL

from telnyx_oauth import (
    ApiKey,
    AsyncTelnyx,
    AuthorizationCode,
    AuthorizationFlow,
    AuthorizationServer,
    ClientAuthentication,
    ClientCredentials,
    EncryptedStore,
    FileStore,
    HttpTransport,
    IntrospectionCache,
    JWKSCache,
    KeyringStore,
    MemoryStore,
    RedisStore,
    RefreshPolicy,
    RefreshToken,
    Request,
    Response,
    StaticKeys,
    Telnyx,
    Timeout,
    Token,
    TokenManager,
    TokenPolicy,
    TokenValidator,
    discover,
    discover_resource,
    sign_in,
)
from telnyx_oauth.aiohttp import BearerAuth, BearerTokenMiddleware
from telnyx_oauth.protocol.jwks_refresh import FetchPolicy
from telnyx_oauth.transport.clock import SystemClock

BLOCKING = Telnyx(api_key="k", audience="a")
ASYNC = AsyncTelnyx(api_key="k", audience="a")
POLICY = TokenPolicy.telnyx(audience="a")
AN_URL = URL("https://a.example")
SERVER = AuthorizationServer("https://a.example", "https://a.example/authorize", "https://a.example/token")


async def unsent(request: Request) -> Response:
    raise AssertionError("nothing is sent")


async def completed(callback_url):
    flow = AuthorizationFlow(client_id="c", server=SERVER, send=unsent)
    pending = await begun(flow)
    await flow.complete_authorization(callback_url, pending=pending)


async def begun(flow, **options):
    return await flow.begin_authorization(redirect_uri="http://127.0.0.1/callback", **options)


async def registered(**options):
    server = attrs.evolve(SERVER, registration_endpoint="https://a.example/register")
    flow = AuthorizationFlow(server=server, send=unsent)
    await flow.register(redirect_uris=["http://127.0.0.1/callback"], client_name="n", **options)


def flow():
    return AuthorizationFlow(client_id="c", server=SERVER, send=unsent)


def credentials():
    return TokenManager(ClientCredentials(unsent, "https://a.example", "id", "secret"))


DAY = dt.timedelta(days=1)
ANYTHING = [None, "text", 7, BLOCKING, BLOCKING.tokens, BLOCKING.validator, object()]
MAKES = {
    "BearerAuth": (BearerAuth, "`validator`.*TokenValidator", [*ANYTHING, ASYNC, ASYNC.tokens, TokenValidator]),
    "middleware": (
        lambda it: BearerTokenMiddleware(it, origins=["https://a.example"]),
        "`tokens`.*TokenManager",
        [*ANYTHING, ASYNC.validator, TokenManager],
    ),
    "source": (TokenManager, "`source`.*ClientCredentials", [*ANYTHING, ASYNC, ApiKey]),
    "store": (
        lambda it: TokenManager(ApiKey("k"), store=it),
        "`store`.*FileStore",
        [*ANYTHING[1:], ASYNC, FileStore, redis.Redis()],
    ),
    "flow": (
        lambda it: AuthorizationFlow(client_id="c", store=it),
        "`store`.*FileStore",
        [*ANYTHING[1:], ASYNC, FileStore, redis.Redis()],
    ),
    "hooks": (
        lambda it: TokenManager(ApiKey("k"), hooks=it),
        "`hooks`.*list of",
        [None, "text", print, [None], ["x"], 7],
    ),
    "keys": (lambda it: TokenValidator(POLICY, it), "keys.*JWKSCache", ANYTHING[1:]),
    "introspection": (
        lambda it: TokenValidator(POLICY, introspection=it, mode="introspect"),
        "introspection.*IntrospectionCache",
        ANYTHING[1:],
    ),
    "tokens": (lambda it: AsyncTelnyx(tokens=it), "`tokens`.*TokenManager", [*ANYTHING[1:], TokenManager]),
    "token_store": (lambda it: AsyncTelnyx(token_store=it), "`token_store`.*FileStore", [*ANYTHING[1:], FileStore]),
    "policy": (lambda it: TokenManager(ApiKey("k"), policy=it), "`policy`.*RefreshPolicy", [*ANYTHING, POLICY]),
    "flow's policy": (
        lambda it: AuthorizationFlow(client_id="c", policy=it),
        "`policy`.*RefreshPolicy",
        [*ANYTHING, POLICY],
    ),
    "server": (
        lambda it: AuthorizationFlow(client_id="c", server=it),
        "`server`.*AuthorizationServer",
        [*ANYTHING[1:], "https://a.example"],
    ),
    "TokenPolicy": (lambda it: TokenValidator(it, StaticKeys({"keys": []})), "`policy`.*TokenPolicy", ANYTHING),
    "FetchPolicy": (
        lambda it: JWKSCache("https://a.example", policy=it),
        "`policy`.*FetchPolicy",
        [*ANYTHING[1:], POLICY],
    ),
    "auth": (
        lambda it: IntrospectionCache("https://a.example", it),
        "`auth`.*ClientAuthentication",
        [*ANYTHING, ("id", "secret"), ClientAuthentication],
    ),
    "jwks": (StaticKeys, "`jwks` must be a mapping, a str or bytes", [None, 7, [], bytearray(b"{}"), BLOCKING]),
    "http_session": (
        lambda it: AsyncTelnyx(http_session=it),
        "`http_session`.*aiohttp.ClientSession",
        [*ANYTHING[1:], aiohttp.ClientSession],
    ),
    "http_session of a copy": (
        lambda it: ASYNC.with_options(http_session=it),
        "`http_session`.*aiohttp.ClientSession",
        [*ANYTHING[1:], aiohttp.ClientSession],
    ),
    "ssl_context": (
        lambda it: AsyncTelnyx(ssl_context=it),
        "`ssl_context`.*SSLContext",
        [True, False, "cert.pem", ssl.SSLContext],
    ),
    "token_hooks": (lambda it: AsyncTelnyx(token_hooks=it), "`token_hooks`.*list of", [None, print, [7], "text"]),
    "verify_issued": (lambda it: AsyncTelnyx(verify_issued=it), "`verify_issued`.*auto", [None, 1, 0]),
    "default_headers": (lambda it: AsyncTelnyx(default_headers=it), "`default_headers`.*mapping", ["text", 7, [1]]),
    "default_query": (lambda it: AsyncTelnyx(default_query=it), "`default_query`.*mapping", ["text", 7, [1]]),
    "a query's value": (
        lambda it: AsyncTelnyx(default_query={"a": it}),
        "`a` must be text",
        [object(), {"b": 1}, b"x"],
    ),
    "headers of a copy": (
        lambda it: ASYNC.with_options(default_headers=it),
        "`default_headers`.*mapping",
        ["text", 7, [1]],
    ),
    "set query of a copy": (
        lambda it: ASYNC.with_options(set_default_query=it),
        "`set_default_query`.*mapping",
        ["text", 7, [1]],
    ),
    "origins": (
        lambda it: BearerTokenMiddleware(ASYNC.tokens, origins=it),
        "`origins` must be a list of addresses",
        [None, 7, [None], [7], [b"https://a.example"], BLOCKING],
    ),
    **{
        f"{name} of {make.__name__}": (
            lambda it, make=make, name=name: make(**{name: it}),
            f"`{name}` must be a str",
            wrong,
        )
        for make in (AsyncTelnyx, Telnyx)
        for name, wrong in {
            "api_key": [7, b"key"],
            "client_id": [7, b"id"],
            "client_secret": [7, b"secret"],
            "base_url": [7, b"https://a.example", URL("https://a.example")],
            "proxy": [7, b"http://a.example", URL("http://a.example")],
            "issuer": [7, URL("https://a.example")],
            "resource": [7, URL("https://a.example")],
            "scopes": [None, 7, [7], [None], b"a b"],
            "audience": [None, 7, [7], [None], b"a b"],
        }.items()
    },
    **{
        f"send of {name}": (make, "`send`.*transport", ["text", 7, BLOCKING, HttpTransport])
        for name, make in {
            "RefreshToken": lambda it: RefreshToken(it, "https://a.example", "id", refresh_token="r"),
            "ClientCredentials": lambda it: ClientCredentials(it, "https://a.example", "id", "secret"),
            "AuthorizationCode": lambda it: AuthorizationCode(it, "https://a.example", "id", code="c"),
            "JWKSCache": lambda it: JWKSCache("https://a.example", send=it),
            "IntrospectionCache": lambda it: IntrospectionCache(
                "https://a.example", ClientAuthentication("id"), send=it
            ),
            "AuthorizationFlow": lambda it: AuthorizationFlow(client_id="c", send=it),
        }.items()
    },
    **{
        f"address of {name}": (make, r"must be a str, such as str\(url\)", [None, 7, b"https://a.example", AN_URL])
        for name, make in {
            "RefreshToken": lambda it: RefreshToken(unsent, it, "id", refresh_token="r"),
            "ClientCredentials": lambda it: ClientCredentials(unsent, it, "id", "secret"),
            "AuthorizationCode": lambda it: AuthorizationCode(unsent, it, "id", code="c"),
            "JWKSCache": JWKSCache,
            "IntrospectionCache": lambda it: IntrospectionCache(it, ClientAuthentication("id")),
            "AuthorizationFlow": lambda it: AuthorizationFlow(client_id="c", base_url=it),
            "AuthorizationServer": lambda it: AuthorizationFlow(
                client_id="c", server=AuthorizationServer("https://a.example", it, "https://a.example/token")
            ),
            "discover": lambda it: asyncio.run(discover(unsent, it)),
            "discover_resource": lambda it: asyncio.run(discover_resource(unsent, it)),
            "begin_authorization": lambda it: asyncio.run(
                AuthorizationFlow(client_id="c", server=SERVER).begin_authorization(redirect_uri=it)
            ),
            "complete_authorization": lambda it: asyncio.run(completed(it)),
        }.items()
    },
    "extra": (lambda it: asyncio.run(begun(flow(), extra=it)), "`extra`.*mapping", ["text", 7, [("a", "b")]]),
    "extra's value": (
        lambda it: asyncio.run(begun(flow(), extra={"a": it})),
        "`a` must be text",
        [b"text", {"b": 1}, object()],
    ),
    "metadata": (lambda it: asyncio.run(registered(metadata=it)), "`metadata`.*mapping", ["text", 7, [("a", "b")]]),
    **{
        f"scopes of {name}": (make, "`scopes` must be a str or a list of them", [7, [7], [None], b"a b"])
        for name, make in {
            "begin_authorization": lambda it: asyncio.run(begun(flow(), scopes=it)),
            "register": lambda it: asyncio.run(registered(scopes=it)),
            "RefreshToken": lambda it: RefreshToken(unsent, "https://a.example", "id", refresh_token="r", scopes=it),
            "get": lambda it: asyncio.run(
                TokenManager(ClientCredentials(unsent, "https://a.example", "id", "secret")).get(scopes=it)
            ),
        }.items()
    },
    **{
        f"seconds of {name}": (
            make,
            "`(timeout|total|connect|min_ttl)` must be a number of seconds",
            ["5", DAY, [5], True],
        )
        for name, make in {
            "Timeout": Timeout,
            "Timeout's connect": lambda it: Timeout(5.0, it),
            "AsyncTelnyx": lambda it: AsyncTelnyx(timeout=it),
            "Telnyx": lambda it: Telnyx(timeout=it),
            "with_options": lambda it: ASYNC.with_options(timeout=it),
            "RefreshToken": lambda it: RefreshToken(unsent, "https://a.example", "id", timeout=it),
            "ClientCredentials": lambda it: ClientCredentials(unsent, "https://a.example", "id", "s", timeout=it),
            "JWKSCache": lambda it: JWKSCache("https://a.example", timeout=it),
            "IntrospectionCache": lambda it: IntrospectionCache(
                "https://a.example", ClientAuthentication("id"), timeout=it
            ),
            "get": lambda it: asyncio.run(credentials().get(timeout=it)),
            "warm": lambda it: asyncio.run(credentials().warm(timeout=it)),
            "replace": lambda it: asyncio.run(credentials().replace(Token("t"), timeout=it)),
            "get's min_ttl": lambda it: asyncio.run(credentials().get(min_ttl=it)),
            "sign_in": lambda it: asyncio.run(sign_in(flow(), show=unsent, timeout=it)),
        }.items()
    },
    **{
        f"{name} of TokenPolicy": (
            lambda it, name=name: TokenPolicy(**({"issuer": "https://a.example", "audience": "a"} | {name: it})),
            f"`{name}` must be",
            wrong,
        )
        for name, wrong in {
            "issuer": [None, 7, AN_URL],
            **{each: [None, 7, [7], b"a"] for each in ("audience", "algorithms", "typ", "required")},
            **{each: ["5", DAY, True] for each in ("leeway", "max_lifetime", "max_age", "lifetime_without_exp")},
        }.items()
    },
    "refresh_token": (
        lambda it: RefreshToken(unsent, "https://a.example", "id", refresh_token=it),
        "`refresh_token` must be a str",
        [7, b"r"],
    ),
    "code": (
        lambda it: AuthorizationCode(unsent, "https://a.example", "id", code=it),
        "`code` must be a str",
        [None, 7, b"c"],
    ),
    "ApiKey": (ApiKey, "`api_key` must be a str", [None, 7, b"k"]),
    "sign_in": (
        lambda it: asyncio.run(sign_in(it, show=unsent)),
        "`flow`.*AuthorizationFlow",
        [*ANYTHING, BLOCKING.authorization],
    ),
    "show": (lambda it: asyncio.run(sign_in(flow(), show=it)), "`show`.*async function", [None, "text", 7]),
    "RedisStore": (RedisStore, r"`server`.*redis.asyncio", [None, 7, ASYNC, redis.Redis(), redis.asyncio.Redis]),
}
RIGHT = {
    "Redis": (RedisStore, {"server": "redis://127.0.0.1"}),
    "keyring": (KeyringStore, {}),
    "files": (FileStore, {"folder": "tokens"}),
    "validator": (TokenValidator, {"policy": POLICY, "keys": StaticKeys({"keys": []})}),
    "keys": (JWKSCache, {"uri": "https://a.example/jwks"}),
    "introspection": (IntrospectionCache, {"endpoint": "https://a.example/i", "auth": ClientAuthentication("c", "s")}),
    "server": (BearerAuth, {"validator": ASYNC.validator}),
    "client": (BearerTokenMiddleware, {"tokens": ASYNC.tokens, "origins": ["https://a.example"]}),
    "policy": (TokenPolicy, {"issuer": "i", "audience": "a"}),
    "manager": (TokenManager, {"source": ApiKey("k")}),
    "sign-in": (AuthorizationFlow, {"client_id": "c"}),
}
OTHER = object()
WRONG = [
    *(("Redis", name, "number", [None, "7", OTHER, DAY, True]) for name in ("lock_ttl", "timeout")),
    *(("Redis", name, "0 or more", [-1, float("nan")]) for name in ("lock_ttl", "timeout")),
    ("Redis", "prefix", "str", [None, 7, b"p"]),
    ("keyring", "service", "str", [None, 5, b"s", ["s"]]),
    ("keyring", "folder", "path", [5, b"f", OTHER, False]),
    ("files", "folder", "path", [None, 5, b"f", OTHER, Path]),
    ("validator", "policy", "TokenPolicy", [None, 7, {}, "a", TokenPolicy, RefreshPolicy(), ASYNC]),
    ("validator", "mode", "'jwt', 'introspect'", [None, 7, "JWT", "", []]),
    *(("validator", name, "number", [None, "7", OTHER, True]) for name in ("cache_size", "cache_ttl")),
    ("validator", "clock", "boot", [7, OTHER, SystemClock]),
    ("keys", "uri", "str(url)", [None, 7, b"https://a.example"]),
    ("keys", "policy", "FetchPolicy", [7, {}, POLICY, FetchPolicy]),
    *(("keys", name, "number", ["7", OTHER]) for name in ("timeout", "connect_timeout")),
    ("keys", "max_bytes", "number", [None, "7", OTHER]),
    ("keys", "send", "function", [7, OTHER, "x"]),
    ("keys", "on_event", "function", [7, OTHER, "x"]),
    ("keys", "clock", "boot", [7, SystemClock]),
    ("keys", "allow_insecure_loopback", "True or False", ["yes", 1, None]),
    ("introspection", "endpoint", "str(url)", [None, 7]),
    ("introspection", "auth", "ClientAuthentication", [None, ("c", "s"), "c", ASYNC, ClientAuthentication]),
    ("introspection", "ttl", "number", [None, "7"]),
    ("introspection", "send", "function", [7]),
    ("server", "realm", "str", [7, b"r", ["r"]]),
    ("server", "resource_metadata", "str", [7, b"r", ["r"]]),
    ("server", "scopes", "a str or a list of them", [None, 7, b"a", [7], [None]]),
    *(("server", name, "True or False", ["false", 0, None]) for name in ("optional", "protect_unmatched")),
    ("server", "allow_preflight", "True or False", ["false", 0, None]),
    ("server", "on_reject", "function", [7, "x", OTHER]),
    ("client", "origins", "https://api.telnyx.com", [None, 7, [7], [None], b"https://a.example"]),
    ("client", "on_conflict", "'keep' or 'replace'", [None, 7, "Keep", True]),
    *(("client", name, "True or False", ["false", 0, None]) for name in ("retry", "allow_insecure_loopback")),
    ("policy", "issuer", "str", [None, 7, b"i", ["i"]]),
    *(("policy", name, "str", [None, 7, b"a", [7]]) for name in ("audience", "algorithms", "typ", "required")),
    *(("policy", name, "number", [None, "7", OTHER]) for name in ("leeway", "max_token_bytes")),
    *(("policy", name, "number", ["7", OTHER]) for name in ("max_lifetime", "max_age", "lifetime_without_exp")),
    ("manager", "policy", "RefreshPolicy", [None, 7, POLICY, RefreshPolicy]),
    ("sign-in", "policy", "RefreshPolicy", [None, 7, POLICY, RefreshPolicy]),
]
CASES = {
    f"{name}-{type(given).__name__}-{number}": (make, says, given)
    for name, (make, says, wrong) in MAKES.items()
    for number, given in enumerate(wrong)
}


@pytest.mark.parametrize(("make", "says", "given"), CASES.values(), ids=CASES)
def test_the_wrong_thing_is_refused_when_it_is_given(make, says, given):
    with pytest.raises(TypeError, match=says):
        make(given)


@pytest.mark.parametrize(
    ("what", "parameter", "says", "given"),
    [(what, parameter, says, each) for what, parameter, says, wrong in WRONG for each in wrong],
    ids=lambda it: it if isinstance(it, str) else type(it).__name__,
)
def test_a_wrong_kind_of_any_argument_is_refused_by_its_name_when_it_is_given(what, parameter, says, given):
    make, right = RIGHT[what]
    assert make(**right)
    with pytest.raises((TypeError, ValueError)) as caught:
        make(**{**right, parameter: given})
    assert parameter in str(caught.value)
    assert says in str(caught.value)


def test_the_right_thing_is_taken_whoever_wrote_it():
    class Own:
        def peek(self): ...
        async def get(self): ...
        async def replace(self, rejected): ...
        async def validate(self, token, *, scopes=()): ...
        def cached(self, token): ...
        async def load(self, key): ...
        async def compare_and_swap(self, key, expected, new): ...
        async def delete(self, key): ...
        def lock(self, key, *, timeout): ...

        __call__ = load

    own = Own()
    assert BearerAuth(own)
    assert BearerTokenMiddleware(own, origins=["https://a.example"])
    assert TokenManager(own, store=own, hooks=[own, print])
    assert TokenManager(own, hooks=(hook for hook in (print,)))
    assert AsyncTelnyx(tokens=BLOCKING.tokens.manager, token_store=MemoryStore())
    assert RedisStore(redis.asyncio.Redis())
    assert RedisStore("redis://127.0.0.1")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://x",
        "127.0.0.1:6379",
        "redis://h:port",
        "redis://h:99999",
        "redis://[x",
        "redis://h?db=x",
        "redis://h?nope=1",
        "redis://:planted@h:port",
        "redis://h?protocol=9",
        "rediss://h?ssl_cert_reqs=no",
    ],
)
def test_an_address_that_is_no_redis_is_refused_when_it_is_given_and_not_quoted(url):
    with pytest.raises(ValueError, match=r"`server` must be a URL.*redis://") as caught:
        RedisStore(url)
    assert "planted" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    "url", ["redis://", "rediss://h:1/2", "unix:///run/redis.sock", "redis://u:p@h?db=1&socket_timeout=2"]
)
def test_an_address_that_is_a_redis_is_taken(url):
    assert RedisStore(url)


@pytest.mark.parametrize("keys", [["abc"], "abc", b"abc", b"A" * 43 + b"=", [], None, [b"x" * 32], [7]], ids=repr)
def test_keys_that_are_none_are_told_what_a_key_is_and_not_quoted(keys):
    with pytest.raises(ValueError, match=r"Fernet.generate_key\(\)") as caught:
        EncryptedStore(MemoryStore(), keys)
    assert "abc" not in str(caught.value)
    assert EncryptedStore(MemoryStore(), [Fernet.generate_key(), Fernet.generate_key().decode()])


def test_a_mode_that_is_none_is_told_which_there_are():
    with pytest.raises(ValueError, match=r"mode must be one of 'jwt', 'introspect', .*'jwt_or_opaque_then_introspect'"):
        TokenValidator(POLICY, StaticKeys({"keys": []}), mode="jwts")


@pytest.mark.parametrize(
    "proxy", ["http://a b:1", "a b:1", " ", "http://a.example:0", "http://a..example:1", "http://a.example:x"]
)
@pytest.mark.parametrize("make", [AsyncTelnyx, Telnyx, HttpTransport], ids=lambda make: make.__name__)
def test_a_proxy_that_no_way_leads_through_is_refused_when_it_is_given(make, proxy):
    with pytest.raises(ValueError, match="`proxy` must be an http:// or https:// address"):
        make(proxy=proxy)


@pytest.mark.parametrize(
    "origins, says", [([], "origins is empty"), (["http://127.0.0.1"], "allow_insecure_loopback=True")]
)
def test_origins_that_cannot_be_meant_are_told_what_to_give(origins, says):
    with pytest.raises(ValueError, match=says):
        BearerTokenMiddleware(ASYNC.tokens, origins=origins)
