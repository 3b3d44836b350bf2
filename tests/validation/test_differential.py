"""Against two other JOSE libraries: what both refuse, ours must refuse."""

from __future__ import annotations

import json
import warnings

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwcrypto.jwk import JWKSet
from jwcrypto.jws import JWS

from telnyx_oauth.errors import TokenValidationError
from telnyx_oauth.validation.keys import StaticKeys
from telnyx_oauth.validation.validator import TokenValidator
from tests.attacks import ATTACKS, GOOD
from tests.forge import AUDIENCE, ISSUER, MovedClock, ec, ed, jwks, policy, rsa, token

ALGORITHMS = sorted(policy().algorithms)


def pyjwt_accepts(text: str, keys: dict[str, object]) -> bool:
    """PyJWT at its best: the key by kid, our algorithms, issuer and audience; the time left out, since it is ours."""
    options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "iss", "aud"]}
    try:
        kid = jwt.get_unverified_header(text).get("kid")
        found = [jwt.PyJWK(jwk) for jwk in keys["keys"] if isinstance(jwk, dict) and kid in (None, jwk.get("kid"))]
        algorithms = [name for name in ALGORITHMS if name != "Ed25519"]
        return any(_decodes(text, each, algorithms, options) for each in found)
    except Exception:
        return False


def _decodes(text: str, key: jwt.PyJWK, algorithms: list[str], options: dict[str, object]) -> bool:
    try:
        jwt.decode(text, key, algorithms=algorithms, issuer=ISSUER, audience=AUDIENCE, options=options)
    except Exception:
        return False
    return True


def jwcrypto_accepts(text: str, keys: dict[str, object]) -> bool:
    """jwcrypto checks the signature alone."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signed = JWS()
            signed.allowed_algs = ALGORITHMS
            signed.deserialize(text)
            signed.verify(JWKSet.from_json(json.dumps(keys)))
    except Exception:
        return False
    return True


async def accepts(text: str, keys: dict[str, object]) -> bool:
    try:
        await TokenValidator(policy(), StaticKeys(keys), clock=MovedClock(), cache_size=0).validate(text)
    except TokenValidationError:
        return False
    return True


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.number}-{attack.name}")
async def test_ours_never_accepts_what_both_others_refuse(attack):
    text, keys = attack.token(), attack.jwks()
    assert not await accepts(text, keys) or pyjwt_accepts(text, keys) or jwcrypto_accepts(text, keys)


@pytest.mark.parametrize("name", [name for name in GOOD if name not in ("Ed25519", "EdDSA")])
async def test_at_least_one_of_the_others_accepts_what_ours_does(name):
    """So that the comparison means something: the oracles do not refuse everything."""
    text = GOOD[name]()
    assert await accepts(text, jwks())
    assert pyjwt_accepts(text, jwks()) or jwcrypto_accepts(text, jwks())


TOKENS = {"RS256": token, "ES256": lambda: token(ec(), alg="ES256"), "Ed25519": lambda: token(ed(), alg="Ed25519")}


@given(st.sampled_from(sorted(TOKENS)), st.data())
async def test_no_token_with_one_character_changed_passes(name, data):
    good = TOKENS[name]()
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.characters(max_codepoint=0x17F).filter(lambda letter: letter != good[place]))
    assert not await accepts(good[:place] + other + good[place + 1 :], jwks())


@given(st.sampled_from(sorted(TOKENS)), st.data())
async def test_no_token_with_a_part_cut_out_doubled_or_put_in_passes(name, data):
    good = TOKENS[name]()
    start = data.draw(st.integers(0, len(good) - 1))
    end = data.draw(st.integers(start + 1, len(good)))
    put_in = data.draw(st.sampled_from(["", good[start:end] * 2, good[start:end][::-1]]))
    changed = good[:start] + put_in + good[end:]
    assert changed == good or not await accepts(changed, jwks())


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just(ISSUER)
    | st.just(AUDIENCE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "client_id", "jti", "scope", "cnf", "nonce", "x"])


@given(
    st.dictionaries(NAMES, VALUES, max_size=4),
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "x"]), VALUES),
)
async def test_claims_and_headers_of_any_type_end_in_a_verdict(claims, header):
    text = token(**claims, header=header, signed_by="RS256")
    judge = TokenValidator(policy(max_token_bytes=100_000), StaticKeys(jwks()), clock=MovedClock(), cache_size=0)
    try:
        access = await judge.validate(text)
    except TokenValidationError:
        return
    assert access.issuer == ISSUER
    assert AUDIENCE in access.audience
    assert access.key_id in (rsa().kid, None)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.decode("latin-1")))
async def test_any_text_ends_in_a_verdict(text):
    with pytest.raises(TokenValidationError):
        await TokenValidator(policy(), StaticKeys(jwks()), clock=MovedClock()).validate(text)
