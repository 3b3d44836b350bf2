from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.errors import (
    APIResponseValidationError,
    APIStatusError,
    InvalidClientError,
    InvalidGrantError,
    RateLimitError,
    TokenEndpointError,
)
from telnyx_oauth.messages import RequestInfo, Response, Timeout, headers
from telnyx_oauth.protocol.secret import Secret
from telnyx_oauth.protocol.token_endpoint import (
    LONGEST_LIFETIME,
    ClientAuthentication,
    TokenGrant,
    authorization_code_form,
    authorize_url,
    client_credentials_form,
    is_bearer,
    lifetime,
    parse_token_response,
    pkce,
    read_token_response,
    refresh_token_form,
    token_request,
)

INFO = RequestInfo("POST", "https://auth.test/token")


def answer(body, status=200, *pairs, fault=""):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers(*pairs), content, INFO, fault=fault)


# --- what is sent


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (client_credentials_form(()), {"grant_type": "client_credentials"}),
        (
            client_credentials_form({"b", "a"}, "https://r"),
            {"grant_type": "client_credentials", "scope": "a b", "resource": "https://r"},
        ),
        (refresh_token_form(Secret("r")), {"grant_type": "refresh_token", "refresh_token": "r"}),
        (
            refresh_token_form(Secret("r"), ("s",), "https://r"),
            {"grant_type": "refresh_token", "refresh_token": "r", "scope": "s", "resource": "https://r"},
        ),
        (
            authorization_code_form(Secret("c"), redirect_uri=None, code_verifier=None),
            {"grant_type": "authorization_code", "code": "c"},
        ),
        (
            authorization_code_form(
                Secret("c"), redirect_uri="http://cb", code_verifier=Secret("v"), resource="https://r"
            ),
            {
                "grant_type": "authorization_code",
                "code": "c",
                "redirect_uri": "http://cb",
                "code_verifier": "v",
                "resource": "https://r",
            },
        ),
    ],
)
def test_forms_hold_what_the_rfc_names_and_no_more(form, expected):
    assert dict(form.plain) == expected
    assert len(form.plain) == len(expected)


@pytest.mark.parametrize(
    ("client", "sent", "fields"),
    [
        (ClientAuthentication("id"), {}, {"client_id": "id"}),
        (ClientAuthentication("id", None, "none"), {}, {"client_id": "id"}),
        (ClientAuthentication("id", "s", "none"), {}, {"client_id": "id"}),
        (ClientAuthentication("id", "s", "client_secret_post"), {}, {"client_id": "id", "client_secret": "s"}),
        (ClientAuthentication("id", "s"), {"Authorization": "Basic aWQ6cw=="}, {}),
        (ClientAuthentication("id", "s", "client_secret_basic"), {"Authorization": "Basic aWQ6cw=="}, {}),
    ],
)
def test_a_client_authenticates_in_one_way_only(client, sent, fields):
    assert client.apply() == (sent, tuple(fields.items()))
    assert "'s'" not in repr(client)


def test_basic_credentials_are_form_encoded_first():
    sent, _ = ClientAuthentication("a:b c", "p%/+-._~é").apply()
    decoded = base64.b64decode(sent["Authorization"].removeprefix("Basic ")).decode()
    assert decoded == "a%3Ab%20c:p%25%2F%2B-._~%C3%A9"


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("secret", [None, ""])
def test_a_method_that_needs_a_secret_says_so(method, secret):
    with pytest.raises(ValueError, match=method):
        ClientAuthentication("id", secret, method)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="auth_method"):
        ClientAuthentication("id", "s", "private_key_jwt")


def test_the_token_request_is_a_form_and_tells_nothing():
    form = refresh_token_form(Secret("r/+ é"), ("s",))
    request = token_request(
        "https://auth.test/token?tenant=1",
        form,
        ClientAuthentication("id", "s3cret", "client_secret_post"),
        timeout=Timeout(7.0, 3.0),
    )
    assert request.method == "POST"
    assert request.url == "https://auth.test/token?tenant=1"
    assert str(request.info) == "POST https://auth.test/token"
    assert dict(request.headers) == {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    assert dict(parse_qsl(request.content.decode("ascii"))) == {
        "grant_type": "refresh_token",
        "refresh_token": "r/+ é",
        "scope": "s",
        "client_id": "id",
        "client_secret": "s3cret",
    }
    assert request.timeout == Timeout(7.0, 3.0)
    assert request.max_bytes == 1024 * 1024
    assert request.secrets == ("s3cret", "r/+ é")
    assert "s3cret" not in repr(request)


def test_the_requests_secrets_name_all_that_must_not_be_echoed():
    form = authorization_code_form(Secret("the-code"), redirect_uri=None, code_verifier=Secret("the-verifier"))
    request = token_request("https://auth.test/token", form, ClientAuthentication("id", "s3cret"))
    assert set(request.secrets) == {"the-code", "the-verifier", "s3cret", "aWQ6czNjcmV0"}
    assert request.headers["Authorization"] == "Basic aWQ6czNjcmV0"
    assert token_request("https://a/t", Secret(()), ClientAuthentication("id")).secrets == ()
    assert token_request("https://a/t", Secret(()), ClientAuthentication("id")).timeout == Timeout(30.0, 5.0)


# --- what comes back


def test_an_answer_in_full():
    grant = parse_token_response(
        answer(
            {
                "access_token": "at",
                "token_type": "bearer",
                "expires_in": 3600,
                "refresh_token": "rt",
                "scope": "a b",
                "extra": 1,
            }
        )
    )
    assert grant == TokenGrant("at", "Bearer", 3600.0, "rt", frozenset({"a", "b"}))
    assert "at'" not in repr(grant)
    assert "rt'" not in repr(grant)


def test_an_answer_with_the_token_alone():
    assert parse_token_response(answer({"access_token": "at"})) == TokenGrant("at")
    nothing = {"access_token": "at", "token_type": None, "expires_in": None, "refresh_token": None, "scope": None}
    assert parse_token_response(answer(nothing)) == TokenGrant("at")
    assert parse_token_response(answer({"access_token": "at", "refresh_token": "", "scope": ""})) == TokenGrant("at")


def test_scopes_may_come_as_a_list():
    assert parse_token_response(answer({"access_token": "at", "scope": ["a", "b c", 3]})).scopes == {"a", "b", "c"}
    assert parse_token_response(answer({"access_token": "at", "scope": 3})).scopes is None


@pytest.mark.parametrize("odd", ["\x1b[2J", "\u202e", "\u200e", "é", '"', "\\", "\x00", "\x7f"])
def test_what_is_no_scope_is_not_among_the_granted_ones(odd):
    for scope in (f"a {odd} b{odd}c", ["a", odd, f"b{odd}c"]):
        assert parse_token_response(answer({"access_token": "at", "scope": scope})).scopes == {"a"}


@pytest.mark.parametrize("nothing", [None, "", [], {}])
@pytest.mark.parametrize(
    "name", ["expires_in", "scope", "refresh_token", "id_token", "error", "error_description", "x"]
)
def test_an_optional_member_that_is_null_or_empty_is_absent(name, nothing):
    assert parse_token_response(answer({"access_token": "at", name: nothing})) == TokenGrant("at")


@pytest.mark.parametrize("status", [200, 201, 203])
def test_any_2xx_grants(status):
    assert parse_token_response(answer({"access_token": "at"}, status)).access_token == "at"


@pytest.mark.parametrize(
    ("expires_in", "expected"),
    [
        (None, None),
        (3600, 3600.0),
        (0.5, 0.5),
        ("3600", 3600.0),
        (" 60 ", 60.0),
        ("1e3", 1000.0),
        (0, 0.0),
        (-1, 0.0),
        ("-1", 0.0),
        ("", None),
        ("soon", 0.0),
        (True, 0.0),
        (False, 0.0),
        ([], None),
        ({}, None),
        ([60], 0.0),
        ("nan", 0.0),
        ("inf", LONGEST_LIFETIME),
        ("-inf", 0.0),
        (float("inf"), LONGEST_LIFETIME),
        (float("-inf"), 0.0),
        (10**400, LONGEST_LIFETIME),
        (-(10**400), 0.0),
        ("9" * 400, LONGEST_LIFETIME),
        (2**63 - 1, LONGEST_LIFETIME),
        (10**12, LONGEST_LIFETIME),
    ],
)
def test_lifetimes_are_read_with_tolerance_and_without_faith(expires_in, expected):
    assert lifetime(expires_in) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"9" * 5_000, LONGEST_LIFETIME),
        (b"-" + b"9" * 5_000, 0.0),
        (b"1" + b"0" * 4_300, LONGEST_LIFETIME),
        (b'"' + b"9" * 5_000 + b'"', LONGEST_LIFETIME),
    ],
    ids=["nines", "below zero", "one digit too many", "in quotes"],
)
def test_a_lifetime_of_more_digits_than_python_reads_costs_no_grant(written, expected):
    grant = read_token_response(answer(b'{"access_token": "a", "refresh_token": "r", "expires_in": %s}' % written))
    assert (grant.access_token, grant.refresh_token, grant.expires_in) == ("a", "r", expected)
    assert grant.refused is None


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "access_token"),
        ({"access_token": ""}, "access_token"),
        ({"access_token": 5}, "access_token"),
        ({"access_token": None}, "access_token"),
        ({"access_token": "planted secret"}, "access_token"),
        ({"access_token": "planted\r\nsecret"}, "access_token"),
        ({"access_token": "plantedé"}, "access_token"),
        ({"access_token": "planted", "token_type": "mac"}, "token_type"),
        ({"access_token": "planted", "token_type": 1}, "token_type"),
        ({"access_token": "planted", "refresh_token": 1}, "refresh_token"),
        ({"access_token": "planted", "refresh_token": "planted\ud800"}, "refresh_token"),
        ([], "no JSON object"),
        ("planted", "no JSON object"),
        (None, "no JSON object"),
        (b"", "no JSON object"),
        (b"<html>planted", "no JSON object"),
        (b"\xff\xfe\x00", "no JSON object"),
        (b"[" * 200_000, "no JSON object"),
        (b"9" * 10_000, "no JSON object"),
    ],
)
def test_what_is_no_token_is_named_by_its_place_and_never_quoted(body, problem):
    with pytest.raises(APIResponseValidationError, match=problem) as caught:
        parse_token_response(answer(body))
    assert len(caught.value.problems) == 1
    assert "planted" not in str(caught.value) + repr(vars(caught.value))
    assert caught.value.response.content == b""


def test_each_problem_is_named():
    with pytest.raises(APIResponseValidationError) as caught:
        parse_token_response(answer({"token_type": "mac", "refresh_token": 1}))
    assert len(caught.value.problems) == 3


def test_a_body_that_did_not_come_in_whole_is_no_token():
    with pytest.raises(APIResponseValidationError, match="ended early") as caught:
        parse_token_response(answer({"access_token": "at"}, fault="the body ended early"))
    assert caught.value.problems == ("the body ended early",)


def test_an_oauth_error_has_its_class_even_under_a_200():
    with pytest.raises(InvalidGrantError) as caught:
        parse_token_response(answer({"error": "invalid_grant", "access_token": "planted", "id_token": "planted2"}))
    assert caught.value.status_code == 200
    assert "planted" not in repr(caught.value.body) + caught.value.response.text()
    with pytest.raises(InvalidClientError):
        parse_token_response(answer({"error": "invalid_client"}, 401))
    with pytest.raises(InvalidGrantError):
        parse_token_response(answer({"error": "invalid_grant", "error_description": "gone"}, 400))


def test_an_error_member_that_is_null_is_none():
    assert parse_token_response(answer({"error": None, "access_token": "at"})).access_token == "at"


def test_other_failures_keep_their_status_and_their_wait():
    with pytest.raises(RateLimitError) as caught:
        parse_token_response(answer({}, 429, ("Retry-After", "7")))
    assert caught.value.retry_after == 7
    with pytest.raises(APIStatusError) as caught:
        parse_token_response(answer(b"", 302, ("Location", "https://elsewhere")))
    assert not isinstance(caught.value, TokenEndpointError)
    assert caught.value.location == "https://elsewhere"
    with pytest.raises(APIStatusError) as caught:
        parse_token_response(answer({}, 503, ("Retry-After", "Fri, 01 Jan 2100 00:00:10 GMT")), now=4102444800.0)
    assert caught.value.retry_after == 10


def test_echoed_secrets_are_struck_out():
    with pytest.raises(APIStatusError) as caught:
        parse_token_response(
            answer({"error": "invalid_grant", "error_description": "bad r-secret"}, 400), secrets=Secret(("r-secret",))
        )
    assert "r-secret" not in str(caught.value) + repr(caught.value.body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)
BODIES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("access_token", "token_type", "expires_in", "refresh_token", "scope", "error", "errors"), JSON
    ),
)


@given(st.integers(100, 599), st.binary() | BODIES | JSON, st.sampled_from(["", "ended"]))
def test_any_bytes_give_a_token_or_a_typed_error(status, body, fault):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        grant = parse_token_response(answer(content, status, ("Retry-After", "soon"), fault=fault))
    except (APIStatusError, APIResponseValidationError):
        return
    assert is_bearer(grant.access_token)
    assert grant.expires_in is None or 0 <= grant.expires_in <= LONGEST_LIFETIME
    assert grant.token_type == "Bearer"


# --- PKCE and the authorize URL


def test_pkce_as_in_the_rfcs_own_example():
    pair = pkce(Secret(base64.urlsafe_b64decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk=")))
    assert pair.verifier == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert pair.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert "dBjft" not in repr(pair)


def test_a_verifier_is_long_enough_and_not_too_long():
    assert len(pkce(Secret(bytes(96))).verifier) == 128
    for length in (0, 31, 97):
        with pytest.raises(ValueError, match="32 to 96 bytes"):
            pkce(Secret(bytes(length)))


def test_the_authorize_url_in_full():
    url = authorize_url(
        "https://auth.test/authorize?tenant=1",
        client_id="id",
        redirect_uri="http://127.0.0.1:9/cb?x=1",
        scopes=["b", "a"],
        state=Secret("s&t"),
        code_challenge="ch",
        resource="https://r",
        extra={"prompt": "consent"},
    )
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://auth.test/authorize"
    assert parse_qs(parts.query) == {
        "tenant": ["1"],
        "response_type": ["code"],
        "client_id": ["id"],
        "redirect_uri": ["http://127.0.0.1:9/cb?x=1"],
        "scope": ["a b"],
        "state": ["s&t"],
        "code_challenge": ["ch"],
        "code_challenge_method": ["S256"],
        "resource": ["https://r"],
        "prompt": ["consent"],
    }


REQUIRED = {"client_id": "id", "redirect_uri": "https://c/cb", "state": Secret("s"), "code_challenge": "ch"}


@pytest.mark.parametrize("endpoint", ["https://a/authorize", "https://a/authorize?", "https://a/authorize?x=1&"])
def test_the_authorize_url_at_its_shortest(endpoint):
    url = authorize_url(endpoint, **REQUIRED, scopes=())
    told = {"response_type": "code", "code_challenge_method": "S256", **REQUIRED, "state": "s"}
    assert dict(parse_qsl(urlsplit(url).query)) == told | ({"x": "1"} if "x=1" in endpoint else {})
    assert "&&" not in url
    assert url.count("?") == 1


def test_the_authorize_url_is_not_talked_into_anything_else():
    with pytest.raises(ValueError, match="state"):
        authorize_url("https://a", **REQUIRED, scopes=(), extra={"state": "other"})
    with pytest.raises(ValueError, match="fragment"):
        authorize_url("https://a#x", **REQUIRED, scopes=())


@pytest.mark.parametrize(("date", "seconds"), [("Wed, 21 Oct 2015 07:28:00 GMT", 1_445_412_480), ("soon", None)])
def test_a_grant_knows_what_time_it_was_at_the_server(date, seconds):
    body = b'{"access_token": "a", "token_type": "Bearer"}'
    answer = Response(200, headers(("Content-Type", "application/json"), ("Date", date)), body)
    assert parse_token_response(answer).server_time == seconds
    assert parse_token_response(answer) == TokenGrant("a"), "when it was granted is no part of what was granted"
