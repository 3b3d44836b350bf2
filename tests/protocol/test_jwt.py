from __future__ import annotations

import time

import pytest

from telnyx_oauth.errors import ExpiredTokenError, InvalidTokenError, Reason
from telnyx_oauth.protocol.jwt import (
    ALGORITHMS,
    TELNYX_ISSUER,
    TokenPolicy,
    check_claims,
    check_expiry,
    check_header,
    check_present,
    numeric_date,
    read_token,
)
from tests.forge import AUDIENCE, DROP, ISSUER, NOW, claims, policy, token

HEADER = {"alg": "RS256", "kid": "k", "typ": "at+jwt"}


def refused(call, *args, **kwargs) -> Reason:
    with pytest.raises(InvalidTokenError) as caught:
        call(*args, **kwargs)
    return caught.value.reason


def test_the_policy_of_rfc_9068_is_the_default_one():
    made = TokenPolicy.rfc9068(issuer=ISSUER, audience=[AUDIENCE], leeway=5, max_lifetime=60, max_age=30)
    assert made == TokenPolicy(issuer=ISSUER, audience=AUDIENCE, leeway=5, max_lifetime=60, max_age=30)
    assert made.required == {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"}


def test_the_telnyx_policy_makes_do_with_less():
    made = TokenPolicy.telnyx(audience=AUDIENCE)
    assert made.issuer == TELNYX_ISSUER
    assert made.typ == {"at+jwt", "jwt"}
    assert made.required == {"iss", "exp", "aud", "client_id"}


def test_the_three_claims_without_which_nothing_can_be_judged_are_always_required():
    assert policy(required="sub").required == {"iss", "exp", "aud", "sub"}
    assert policy(typ=["application/AT+JWT"]).typ == {"at+jwt"}


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithms": {"HS256"}},
        {"algorithms": {"RS256", "none"}},
        {"algorithms": ()},
        {"leeway": -1},
        {"leeway": 301},
        {"leeway": float("nan")},
        {"typ": ()},
        {"lifetime_without_exp": 0},
        {"lifetime_without_exp": float("nan")},
        {"lifetime_without_exp": float("inf")},
    ],
)
def test_a_policy_that_cannot_be_meant_is_an_error(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        policy(**changes)


def test_a_policy_without_issuer_or_audience_is_an_error():
    for issuer, audience in (("", AUDIENCE), (ISSUER, ()), (ISSUER, ""), (ISSUER, [AUDIENCE, ""])):
        with pytest.raises(ValueError, match=r"issuer|audience"):
            TokenPolicy(issuer=issuer, audience=audience)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_an_allowed_algorithm_passes_and_no_other(algorithm):
    only = policy(algorithms=algorithm)
    assert check_header(only, {**HEADER, "alg": algorithm}) == (algorithm, "k", "at+jwt")
    others = [refused(check_header, only, {**HEADER, "alg": other}) for other in ALGORITHMS - {algorithm}]
    assert set(others) == {Reason.ALG_NOT_ALLOWED}


def test_a_header_without_kid_is_allowed():
    assert check_header(policy(), {"alg": "RS256", "typ": "at+jwt"}) == ("RS256", None, "at+jwt")


def test_a_token_is_taken_apart():
    read = read_token(policy(), token(sub="s"))
    assert (read.algorithm, read.key_id, read.claims["sub"]) == ("RS256", "rsa", "s")
    assert read.signing_input.decode() == token(sub="s").rpartition(".")[0]
    assert "user-1" not in repr(read_token(policy(), token()))


@pytest.mark.parametrize(
    ("changes", "limits", "reason"),
    [
        ({"exp": NOW - 30}, {}, Reason.EXPIRED),
        ({"nbf": NOW + 31}, {}, Reason.NOT_YET_VALID),
        ({"iat": NOW + 31}, {}, Reason.ISSUED_IN_FUTURE),
        ({}, {"max_lifetime": 609}, Reason.LIFETIME_TOO_LONG),
        ({"iat": DROP}, {"max_lifetime": 609}, Reason.LIFETIME_TOO_LONG),
        ({"exp": DROP}, {"max_lifetime": 609}, Reason.LIFETIME_TOO_LONG),
        ({"iat": NOW - 91}, {"max_age": 60}, Reason.TOO_OLD),
        ({"iat": DROP}, {"max_age": 60}, Reason.TOO_OLD),
        ({"tenant": ""}, {"required": {"tenant"}}, Reason.CLAIM_MISSING),
        ({}, {"required": {"tenant"}}, Reason.CLAIM_MISSING),
        ({"exp": DROP}, {"required": ()}, Reason.CLAIM_MISSING),
        ({"exp": DROP, "iat": DROP}, {"required": (), "lifetime_without_exp": 600}, Reason.CLAIM_MISSING),
        ({"exp": None}, {"required": (), "lifetime_without_exp": 600}, Reason.CLAIM_MISSING),
        ({"exp": DROP, "iat": NOW - 630}, {"required": (), "lifetime_without_exp": 600}, Reason.EXPIRED),
    ],
)
def test_the_claims_are_held_to_the_policy(changes, limits, reason):
    check = check_claims if "required" in limits else check_present
    assert refused(check, policy(**limits), claims(**changes), NOW) is reason


@pytest.mark.parametrize(
    ("changes", "limits"),
    [
        ({}, {"max_lifetime": 610}),
        ({"iat": NOW - 90}, {"max_age": 60}),
        ({"exp": NOW - 29.5}, {}),
        ({"nbf": NOW + 30, "iat": NOW + 30}, {}),
        ({"iss": DROP, "aud": DROP, "exp": DROP, "sub": DROP, "scope": DROP}, {}),
        ({"tenant": "t"}, {"required": {"tenant"}}),
        ({"exp": DROP, "iat": NOW - 629}, {"required": {"exp"}, "lifetime_without_exp": 600}),
        ({"token_type": "Bearer", "token_use": "access", "typ": "at+JWT"}, {}),
        ({"tokenType": "access-token", "Typ": "JWT"}, {}),
        ({"scope": "  a   b "}, {}),
    ],
)
def test_what_the_policy_allows_passes(changes, limits):
    check = check_claims if "required" in limits else check_present
    check(policy(**limits), claims(**changes), NOW)


@pytest.mark.parametrize("value", [0, 1, 1.5, 2**53 - 1])
def test_a_numeric_date_is_a_number_of_seconds(value):
    assert numeric_date({"exp": value}, "exp") == value
    assert numeric_date({}, "exp") is None


FAR = [2**53, 2.0**53, 9223372036854775, 9223372036854775807, 2**64, 10**400, 1e300, float("inf")]


@pytest.mark.parametrize("value", FAR)
def test_a_date_too_large_to_count_with_is_far_away(value):
    assert numeric_date({"exp": value}, "exp") > 2**52
    check_claims(policy(), claims(exp=value), NOW)
    assert refused(check_claims, policy(), claims(nbf=value), NOW) is Reason.NOT_YET_VALID
    assert refused(check_claims, policy(), claims(iat=value), NOW) is Reason.ISSUED_IN_FUTURE
    assert refused(check_claims, policy(max_lifetime=600), claims(exp=value), NOW) is Reason.LIFETIME_TOO_LONG


@pytest.mark.parametrize("value", [None, True, "1", (1,), -1, -0.1, float("nan"), float("-inf"), -(10**400)])
def test_what_is_no_numeric_date_is_refused(value):
    assert refused(numeric_date, {"exp": value}, "exp") is Reason.CLAIM_INVALID


def test_a_token_that_was_good_says_that_it_expired():
    with pytest.raises(ExpiredTokenError, match="The access token expired"):
        check_expiry(policy(leeway=0), claims(exp=NOW), NOW)
    assert check_expiry(policy(leeway=0), claims(exp=NOW + 0.5), NOW) == NOW + 0.5
    assert check_expiry(policy(), claims(exp=DROP), NOW) is None


SPELLINGS = [
    *(
        "token_type",
        "token_use",
        "typ",
        "tokenType",
        "Token-Use",
        "TYP",
        "tokentype",
        "TOKEN_USE",
        "_token_type",
        "token type",
    ),
    *("https://login.example/token_use", "cognito:token_use", "login.example.tokenType", "urn:example:token-type"),
]


@pytest.mark.parametrize("piece", ["/", "_", "/token", "token_", "/_", "a", ":token_type", ":kind", ".", "#use"])
def test_a_long_name_of_a_claim_costs_next_to_nothing(piece):
    began = time.process_time()
    check_claims(policy(), claims(**{piece * 1500 + "x": "refresh"}), NOW)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("kind", ["Bearer", "access_token", "at+jwt", "urn:ietf:params:oauth:token-type:jwt", None])
def test_a_token_that_is_said_to_be_a_bearer_access_token_passes(name, kind):
    check_claims(policy(), claims(**{name: kind}), NOW)


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(
    "kind",
    [
        "refresh_token",
        "Refresh",
        "RefreshToken",
        "id",
        "ID",
        "id_token",
        "Offline",
        "logout+jwt",
        "N_A",
        "",
        7,
        ("Bearer",),
    ],
)
def test_a_token_that_is_said_to_be_something_else_is_no_access_token(name, kind):
    assert refused(check_present, policy(), claims(**{name: kind}), NOW) is Reason.NOT_AN_ACCESS_TOKEN


MAY_SAY = [
    *("kind", "use", "type", "token_kind", "tokenKind", "Kind", "jwt_type", "token_purpose", "usage", "token-class"),
    *("https://login.example/kind", "cognito:use", "login.example.tokenKind", "_type"),
]


@pytest.mark.parametrize("name", MAY_SAY)
@pytest.mark.parametrize("kind", ["refresh", "Refresh-Token", "ID", "id_token", "IdToken", "offline", "logout+jwt"])
def test_a_value_that_is_plainly_another_kind_of_token_is_refused_under_any_name_of_a_kind(name, kind):
    for value in (kind, [kind]):
        assert refused(check_present, policy(), claims(**{name: value}), NOW) is Reason.NOT_AN_ACCESS_TOKEN


@pytest.mark.parametrize("name", MAY_SAY)
def test_a_value_that_names_a_key_is_refused_under_any_name_of_a_kind(name):
    assert refused(check_present, policy(), claims(**{name: "DPoP"}), NOW) is Reason.SENDER_CONSTRAINED


@pytest.mark.parametrize("name", MAY_SAY)
@pytest.mark.parametrize(
    "value", ["access", "Bearer", "sig", "user", "service", "idle", "refreshing", "", 7, None, [], ["a", 7], {"id": 1}]
)
def test_any_other_value_under_such_a_name_is_none_of_our_business(name, value):
    check_claims(policy(), claims(**{name: value}), NOW)


@pytest.mark.parametrize("name", ["sub", "jti", "misuse", "kindness", "refresh", "because", "house", "user_id", "acr"])
def test_a_name_of_something_else_may_have_any_value(name):
    check_claims(policy(), claims(**{name: "id"}), NOW)


@pytest.mark.parametrize("kind", ["DPoP", "dpop", "PoP", "MAC"])
def test_a_token_that_is_said_to_be_bound_to_a_key_is_no_bearer_token(kind):
    assert refused(check_present, policy(), claims(token_type=kind), NOW) is Reason.SENDER_CONSTRAINED
