from __future__ import annotations

import copy
import pickle
import time

import pytest

from telnyx_oauth.errors import InvalidTokenError, TokenValidationError
from telnyx_oauth.protocol.jws import parse_object
from telnyx_oauth.validation.jwks import JWKSCache
from telnyx_oauth.validation.keys import StaticKeys
from telnyx_oauth.validation.validator import TokenValidator
from tests.attacks import ATTACKS, GOOD
from tests.forge import DROP, NOW, MovedClock, Wire, answer, ec, jwks, key, policy, public, token


def validator(keys=None, **changes):
    return TokenValidator(policy(**changes), keys or StaticKeys(jwks()), clock=MovedClock())


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.number}-{attack.name}")
async def test_the_attack_is_refused_for_its_reason_and_tells_nothing(attack):
    hostile = attack.token()
    with pytest.raises(InvalidTokenError) as caught:
        await validator(StaticKeys(attack.jwks())).validate(hostile)
    error = caught.value
    assert (error.reason, error.status, error.error) == (attack.reason, 401, "invalid_token")
    assert str(error) in ("The access token is invalid", "The access token expired")
    assert error.__cause__ is None
    assert error.__context__ is None
    told = repr(error) + repr(vars(error)) + repr(getattr(error, "__notes__", ""))
    assert not hostile or hostile[:24] not in told
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), other.reason, str(other)) == (type(error), error.reason, str(error))


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD.keys())
async def test_a_good_token_passes(make):
    assert (await validator().validate(make())).issuer == policy().issuer


def test_each_attack_on_a_token_or_a_key_has_its_test():
    elsewhere = {37, 38}  # below: they are about what must go on working
    assert {attack.number for attack in ATTACKS} | elsewhere == set(range(1, 51))


@pytest.mark.parametrize(
    "attack", [attack for attack in ATTACKS if attack.number in (24, 25, 26, 44, 45)], ids=lambda attack: attack.name
)
async def test_no_attack_makes_the_validator_fetch_more_than_the_keys(attack):
    wire = Wire(answer(jwks()))
    keys = JWKSCache("https://issuer.example/jwks", send=wire, clock=MovedClock())
    with pytest.raises(InvalidTokenError):
        await validator(keys).validate(attack.token())
    assert {request.url for request in wire.requests} <= {"https://issuer.example/jwks"}
    # A token for someone else costs no fetch at all; an unknown key id one more than the first.
    assert len(wire.requests) <= (0 if attack.number in (44, 45) else 1)


@pytest.mark.parametrize(
    "odd",
    [
        "a text",
        7,
        None,
        [],
        {},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": ["P-256"]},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
        {"kty": ["RSA"]},
        public(ec(), kid=7),
        public(ec(), use="wrap"),
        public(ec(), x="not base64!"),
        public(ec(), x=7),
        public(ec(), alg="ES384"),
        public(ec(), alg=["ES256"]),
        public(key("rsa"), alg="HS256"),
        public(key("rsa"), e="AQAC"),
        public(key("rsa"), n="AAAA"),
        public(key("ed", "OKP"), crv="X25519"),
        public(key("ed", "OKP"), x="AAAA"),
        {"kty": "RSA", "n": "A" * 43, "e": "AQAB", "__proto__": {"a": [1]}},
    ],
)
async def test_a_key_that_cannot_be_used_takes_no_other_with_it(odd):
    """Attack 37."""
    keys = StaticKeys({"keys": [odd, public(key("good"))]})
    assert len(keys.skipped) == 1
    assert keys.skipped[0].startswith("keys[0]: ")
    assert (await validator(keys).validate(token(key("good")))).key_id == "good"


async def test_more_keys_than_anyone_needs_are_refused_as_a_whole():
    """Attack 38."""
    many = {"keys": [public(ec(), kid=str(number)) for number in range(65)]}
    with pytest.raises(ValueError, match="at most 64 keys"):
        StaticKeys(many)
    wire = Wire(answer(jwks()), answer(many))
    keys = JWKSCache("https://issuer.example/jwks", send=wire, clock=MovedClock())
    await keys.warm()
    assert not await keys.refresh(force=True)
    assert (keys.health.state, keys.health.keys) == ("failing", 3)
    assert (await validator(keys).validate(token())).key_id == "rsa"


@pytest.mark.parametrize("bomb", [b"[" * 100_000, b'{"a":' * 100_000, b'{"a":[' * 255 + b"1"])
def test_nesting_costs_next_to_nothing(bomb):
    """Attack 28, without the limit on a token's length."""
    began = time.process_time()
    assert parse_object(bomb) is None
    assert time.process_time() - began < 0.05


async def test_what_the_policy_bounds_is_refused_beyond_the_bound():
    for limits, changes in (
        ({"max_lifetime": 600}, {}),
        ({"max_age": 5}, {"iat": NOW - 36}),
        ({"max_lifetime": 7200, "leeway": 0}, {"exp": NOW}),
    ):
        with pytest.raises(TokenValidationError):
            await validator(**limits).validate(token(**changes))
    assert await validator(max_lifetime=610, max_age=5).validate(token(iat=NOW - 10))


TELNYX = ["nonce", "at_hash", "c_hash", "s_hash", "events", "sid"]


@pytest.mark.parametrize("claim", TELNYX)
async def test_an_id_token_or_a_logout_token_is_no_access_token(claim):
    """Attack 51."""
    judge = TokenValidator(
        policy().telnyx(issuer=policy().issuer, audience=policy().audience), StaticKeys(jwks()), clock=MovedClock()
    )
    bare = {"header": {"typ": "JWT"}, "sub": DROP}
    assert (await judge.validate(token(**bare))).subject is None
    assert await judge.validate(token(header={"typ": "JWT"}, sid="s"))
    with pytest.raises(InvalidTokenError) as caught:
        await judge.validate(token(**bare, **{claim: "x"}))
    assert caught.value.reason == "not_an_access_token"
    assert await judge.validate(token(**{claim: "x"})), "typ says what it is"
