"""The wrong thing is refused where it is given, by its type, with the right thing named."""

from __future__ import annotations

import pytest
import redis
import redis.asyncio
from cryptography.fernet import Fernet

from telnyx_oauth import (
    ApiKey,
    AsyncTelnyx,
    AuthorizationFlow,
    ClientAuthentication,
    EncryptedStore,
    FileStore,
    IntrospectionCache,
    JWKSCache,
    MemoryStore,
    RedisStore,
    RefreshPolicy,
    StaticKeys,
    Telnyx,
    TokenManager,
    TokenPolicy,
    TokenValidator,
)
from telnyx_oauth.aiohttp import BearerAuth, BearerTokenMiddleware
from telnyx_oauth.protocol.keyfetch import FetchPolicy
from telnyx_oauth.transport.clock import SystemClock

BLOCKING = Telnyx(api_key="k", audience="a")
ASYNC = AsyncTelnyx(api_key="k", audience="a")
POLICY = TokenPolicy.telnyx(audience="a")
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
    "RedisStore": (RedisStore, r"`server`.*redis.asyncio", [None, 7, ASYNC, redis.Redis(), redis.asyncio.Redis]),
}
RIGHT = {
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
    ("validator", "policy", "TokenPolicy", [None, 7, {}, "a", TokenPolicy, RefreshPolicy(), ASYNC]),
    ("validator", "mode", "'jwt', 'introspect'", [None, 7, "JWT", "", []]),
    *(("validator", name, "number", [None, "7", OTHER, True]) for name in ("cache_size", "cache_ttl")),
    ("validator", "clock", "boot", [7, OTHER, SystemClock]),
    ("keys", "uri", "address", [None, 7, b"https://a.example"]),
    ("keys", "policy", "FetchPolicy", [7, {}, POLICY, FetchPolicy]),
    *(("keys", name, "number", ["7", OTHER]) for name in ("timeout", "connect_timeout")),
    ("keys", "max_bytes", "number", [None, "7", OTHER]),
    ("keys", "send", "function", [7, OTHER, "x"]),
    ("keys", "on_event", "function", [7, OTHER, "x"]),
    ("keys", "clock", "boot", [7, SystemClock]),
    ("keys", "allow_insecure_loopback", "True or False", ["yes", 1, None]),
    ("introspection", "endpoint", "address", [None, 7]),
    ("introspection", "auth", "ClientAuthentication", [None, ("c", "s"), "c", ASYNC, ClientAuthentication]),
    ("introspection", "ttl", "number", [None, "7"]),
    ("introspection", "send", "function", [7]),
    ("server", "realm", "str", [7, b"r", ["r"]]),
    ("server", "resource_metadata", "str", [7, b"r", ["r"]]),
    ("server", "scopes", "scopes", [None, 7, b"a", [7], [None]]),
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


@pytest.mark.parametrize("keys", [["abc"], "abc", b"abc", b"A" * 43 + b"=", [], None, [b"x" * 32], [7]], ids=repr)
def test_keys_that_are_none_are_told_what_a_key_is_and_not_quoted(keys):
    with pytest.raises(ValueError, match=r"Fernet.generate_key\(\)") as caught:
        EncryptedStore(MemoryStore(), keys)
    assert "abc" not in str(caught.value)
    assert EncryptedStore(MemoryStore(), [Fernet.generate_key(), Fernet.generate_key().decode()])


@pytest.mark.parametrize(
    "origins, says", [([], "origins is empty"), (["http://127.0.0.1"], "allow_insecure_loopback=True")]
)
def test_origins_that_cannot_be_meant_are_told_what_to_give(origins, says):
    with pytest.raises(ValueError, match=says):
        BearerTokenMiddleware(ASYNC.tokens, origins=origins)
