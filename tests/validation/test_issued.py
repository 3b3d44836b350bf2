from __future__ import annotations

import pytest

from telnyx_oauth.errors import APIConnectionError, InvalidTokenError, KeysUnavailableError, TokenVerificationError
from telnyx_oauth.validation.issued import IssuedTokenVerifier
from telnyx_oauth.validation.jwks import JWKSCache
from telnyx_oauth.validation.keys import StaticKeys
from tests.forge import DROP, ISSUER, NOW, MovedClock, Wire, answer, ec, jwks, key, public, token


def verifier(keys=None, issuer=None) -> IssuedTokenVerifier:
    return IssuedTokenVerifier(keys or StaticKeys(jwks()), issuer=issuer, clock=MovedClock())


@pytest.mark.parametrize(
    "changes",
    [{}, {"exp": DROP}, {"exp": NOW - 59}, {"aud": "https://anyone.example"}, {"header": {"typ": "JWT", "kid": DROP}}],
)
async def test_a_token_by_the_servers_key_is_proven_whomever_it_is_for(changes):
    assert await verifier()(token(**changes)) is None


async def test_a_configured_issuer_must_be_the_tokens():
    assert await verifier(issuer=ISSUER)(token()) is None
    with pytest.raises(TokenVerificationError, match="another issuer"):
        await verifier(issuer="https://other.example")(token())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("opaque", "opaque"),
        ("a.b.c", "opaque"),
        ("AAAA.AAAA.AAAA", "opaque"),
        (token(payload=b"[]"), "opaque"),
        (token(header={"alg": 7}, signed_by="RS256"), "unusual"),
        (token(header={"kid": 7}), "unusual"),
        (token(header={"kid": "unknown"}), "not among the published ones"),
        (token(header={"alg": "none"}, signed_by="RS256"), "not among the published ones"),
    ],
)
async def test_what_cannot_be_checked_is_told_and_not_held_against_the_token(text, why):
    assert why in str(await verifier()(text))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"private": key("evil"), "header": {"kid": "rsa"}}, "signature"),
        ({"private": ec(), "alg": "ES256", "signature": bytes(64)}, "signature"),
        ({"exp": NOW - 61}, "expired"),
        ({"exp": "soon"}, "expired"),
    ],
)
async def test_what_is_wrong_is_an_error_that_quotes_nothing(changes, why):
    wrong = token(**changes)
    with pytest.raises(TokenVerificationError, match=why) as caught:
        await verifier()(wrong)
    assert wrong[:20] not in repr(caught.value)
    assert caught.value.__context__ is None


async def test_keys_that_cannot_be_had_are_no_fault_of_the_token():
    keys = JWKSCache("https://issuer.example/jwks", send=Wire(APIConnectionError()), clock=MovedClock())
    check = verifier(keys)
    await check.prepare()
    assert await check(token()) == "the keys could not be fetched"


async def test_the_keys_are_fetched_before_they_are_needed():
    wire = Wire(answer(jwks()))
    check = verifier(JWKSCache("https://issuer.example/jwks", send=wire, clock=MovedClock()))
    await check.prepare()
    assert len(wire.requests) == 1
    assert await check(token()) is None
    assert len(wire.requests) == 1


async def test_the_key_of_an_issued_token_is_looked_for_whatever_strangers_have_asked_for():
    late = answer(jwks(public(key("second"))))
    wire, clock = Wire(answer(jwks()), answer(jwks()), answer(jwks()), answer(jwks()), late), MovedClock()
    keys = JWKSCache("https://issuer.example/jwks", send=wire, clock=clock)
    issued = token(key("second"), header={"kid": "second"})
    check = verifier(keys)
    await check.prepare()
    for kid in ("second", "nobody", "no-one"):
        clock.now += 0.1
        with pytest.raises(KeysUnavailableError if kid == "no-one" else InvalidTokenError):
            await keys.select(alg="RS256", kid=kid)
    assert len(wire.requests) == 3, "the strangers have had their share"
    clock.now += 0.1
    assert "not among the published ones" in str(await check(issued))
    assert len(wire.requests) == 4
    clock.now += 0.1
    assert await check(issued) is None
    assert len(wire.requests) == 5


REPLACED = jwks(public(key("second"), kid="rsa"))


async def test_a_key_replaced_under_its_id_is_fetched_before_an_issued_token_is_called_forged():
    wire = Wire(answer(jwks()), answer(REPLACED))
    check = verifier(JWKSCache("https://issuer.example/jwks", send=wire, clock=MovedClock()))
    await check.prepare()
    assert await check(token(key("second"), header={"kid": "rsa"})) is None
    assert len(wire.requests) == 2
    with pytest.raises(TokenVerificationError, match="signature"):
        await check(token(header={"kid": "rsa"}))
    assert len(wire.requests) == 3, "once for each, whatever strangers have cost"


async def test_an_issued_token_stays_forged_when_no_newer_keys_can_be_had():
    wire = Wire(answer(jwks()), answer(b"", 500))
    check = verifier(JWKSCache("https://issuer.example/jwks", send=wire, clock=MovedClock()))
    await check.prepare()
    for _ in range(2):
        with pytest.raises(TokenVerificationError, match="signature"):
            await check(token(key("evil"), header={"kid": "rsa"}))
    assert len(wire.requests) == 2, "a back-off counts all the same"
