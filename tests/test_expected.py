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
    EncryptedStore,
    FileStore,
    MemoryStore,
    RedisStore,
    Telnyx,
    TokenManager,
    TokenPolicy,
    TokenValidator,
)
from telnyx_oauth.aiohttp import BearerAuth, BearerTokenMiddleware

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
CASES = {
    f"{name}-{type(given).__name__}-{number}": (make, says, given)
    for name, (make, says, wrong) in MAKES.items()
    for number, given in enumerate(wrong)
}


@pytest.mark.parametrize(("make", "says", "given"), CASES.values(), ids=CASES)
def test_the_wrong_thing_is_refused_when_it_is_given(make, says, given):
    with pytest.raises(TypeError, match=says):
        make(given)


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


@pytest.mark.parametrize("keys", [["abc"], "abc", b"abc", Fernet.generate_key(), [], None, [b"x" * 32], [7]], ids=repr)
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
