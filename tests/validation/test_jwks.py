from __future__ import annotations

import pytest

from telnyx_oauth.errors import APIConnectionError, InvalidTokenError, KeysUnavailableError, TokenVerificationError
from telnyx_oauth.validation.jwks import IssuedTokenVerifier, JWKSCache
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
    assert await verifier(issuer=f"{ISSUER}/")(token()) is None, "only the slash of an empty path differs"
    assert await verifier(issuer=ISSUER)(token(iss=f"{ISSUER}/")) is None
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
        ({"exp": "soon"}, "no date"),
        ({"exp": None}, "no date"),
        ({"exp": True}, "no date"),
        ({"exp": -1}, "no date"),
    ],
)
async def test_what_is_wrong_is_an_error_that_quotes_nothing(changes, why):
    wrong = token(**changes)
    with pytest.raises(TokenVerificationError, match=why) as caught:
        await verifier()(wrong)
    assert wrong[:20] not in repr(caught.value)
    assert caught.value.__context__ is None


DAY = 86400


@pytest.mark.parametrize("far", [2**53, 9223372036854775, 9223372036854775807, 2**64, 10**400, 1e300])
async def test_an_expiry_beyond_what_a_number_can_hold_is_far_away_and_not_past(far):
    issued = token(exp=far)
    assert await verifier()(issued) is None
    assert await verifier().verify_at(issued, server_time=NOW + 1000 * 365 * DAY) is None


@pytest.mark.parametrize("ahead", [3600, 2 * DAY, 40 * 365 * DAY])
async def test_a_clock_that_is_ahead_by_more_than_a_lifetime_is_told_from_an_expired_token(ahead, caplog):
    check, server_time = verifier(), NOW - ahead
    issued = token(iat=server_time, exp=server_time + 600)
    for _ in range(3):
        said = await check.verify_at(issued, server_time=server_time)
        assert said == f"this machine's clock is {ahead} s ahead of the server's"
    assert [record.getMessage() for record in caplog.records] == [
        f"This machine's clock is {ahead} s ahead of the server's: set it, or good tokens will look expired."
    ]
    with pytest.raises(TokenVerificationError, match="by this machine's clock, and the server does not say what time"):
        await check.verify_at(issued, server_time=None)


@pytest.mark.parametrize("skew", [-2 * DAY, 0, 2 * DAY])
async def test_a_token_that_has_expired_by_the_servers_clock_has_expired(skew):
    server_time = NOW + skew
    with pytest.raises(TokenVerificationError, match="by the server's own clock"):
        await verifier().verify_at(token(exp=server_time - 61), server_time=server_time)
    assert await verifier().verify_at(token(exp=max(server_time, NOW) + 1), server_time=server_time) is None


async def test_a_clock_that_is_ahead_is_no_excuse_for_a_forged_or_a_foreign_token():
    late = {"exp": NOW - DAY}
    forged = token(private=key("evil"), header={"kid": "rsa"}, **late)
    with pytest.raises(TokenVerificationError, match="signature"):
        await verifier().verify_at(forged, server_time=NOW - 2 * DAY)
    with pytest.raises(TokenVerificationError, match="another issuer"):
        await verifier(issuer="https://other.example").verify_at(token(**late), server_time=NOW - 2 * DAY)


async def test_keys_that_cannot_be_had_are_no_fault_of_the_token():
    keys = JWKSCache("https://issuer.example/jwks", send=Wire(APIConnectionError("No route.")), clock=MovedClock())
    check = verifier(keys)
    await check.prepare()
    assert await check(token()) == "the keys could not be fetched (No route)"


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
