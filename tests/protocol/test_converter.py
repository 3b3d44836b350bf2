from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
from datetime import datetime
from typing import get_args, get_type_hints

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth import types
from telnyx_oauth.errors import APIResponseValidationError
from telnyx_oauth.messages import Request, RequestInfo, Response, headers
from telnyx_oauth.protocol import converter
from telnyx_oauth.protocol.converter import check_kind, decode
from telnyx_oauth.types import (
    BaseModel,
    OAuthClient,
    OAuthClientCreateResponse,
    OAuthClientListResponse,
    OAuthGrant,
    OAuthIntrospectResponse,
    OAuthOAuthPaginationMeta,
    OAuthRetrieveAuthorizeResponse,
    OAuthRetrieveJwksResponse,
    OAuthTokenResponse,
)


@pytest.fixture(scope="module", autouse=True, params=[converter.plain_loads, orjson.loads], ids=["json", "orjson"])
def parser(request):
    """All of this holds with either parser."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converter, "loads", request.param)
        yield


INFO = RequestInfo("GET", "https://api.telnyx.com/v2/x")
TIME = "2026-01-02T12:00:00Z"
CLIENT = {
    "record_type": "oauth_client",
    "client_id": "c-1",
    "name": "One",
    "org_id": "o",
    "user_id": "u",
    "client_type": "confidential",
    "require_pkce": True,
    "created_at": TIME,
    "updated_at": TIME,
}
CLIENT_IN_FULL = CLIENT | {
    "allowed_grant_types": ["client_credentials"],
    "allowed_scopes": ["admin"],
    "redirect_uris": [],
    "client_secret": "s",
    "logo_uri": "https://example.com/logo",
    "policy_uri": None,
    "tos_uri": None,
}
GRANT = {"id": "g", "record_type": "oauth_grant", "client_id": "c", "scopes": ["admin"], "created_at": TIME}
META = {"page_number": 1, "page_size": 20, "total_pages": 1, "total_results": 1}
SCOPE = {"id": "admin", "name": "Admin", "description": "All"}
CONSENT = {
    "client_id": "c",
    "name": "One",
    "verified": False,
    "redirect_uri": "https://example.com/callback",
    "requested_scopes": [SCOPE],
    "logo_uri": None,
    "policy_uri": None,
    "tos_uri": None,
}
KEY = dict.fromkeys(("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y"), "v")
URIS = (
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "introspection_endpoint",
    "registration_endpoint",
    "jwks_uri",
)
LISTS = (
    "scopes_supported",
    "response_types_supported",
    "grant_types_supported",
    "code_challenge_methods_supported",
    "token_endpoint_auth_methods_supported",
    "protected_resources",
)
# Of each type: an answer with every member, and one with those alone that the API promises.
EXAMPLES = {
    "WellKnownRetrieveAuthorizationServerMetadataResponse": (
        dict.fromkeys(URIS, "https://x.test") | {key: ["v"] for key in LISTS},
        {},
    ),
    "WellKnownRetrieveProtectedResourceMetadataResponse": (
        {
            "resource": "https://x.test",
            "authorization_servers": ["https://x.test"],
            "resource_name": "n",
            "scopes_supported": [],
            "bearer_methods_supported": ["header"],
        },
        {},
    ),
    "OAuthTokenResponse": (
        {"access_token": "a", "token_type": "Bearer", "expires_in": 60, "refresh_token": "r", "scope": "admin"},
        {"access_token": "a", "token_type": "Bearer", "expires_in": 60},
    ),
    "OAuthIntrospectResponse": (
        {"active": True, "exp": 1, "iat": 1, "nbf": 1}
        | dict.fromkeys(("client_id", "scope", "aud", "iss", "sub", "jti", "username", "token_type"), "v"),
        {"active": False},
    ),
    "Key": (KEY, {}),
    "OAuthRetrieveJwksResponse": ({"keys": [KEY, {}]}, {}),
    "OAuthRegisterResponse": (
        {"client_id": "c", "client_id_issued_at": 1, "client_secret": "s", "client_secret_expires_at": 0}
        | dict.fromkeys(
            ("client_name", "scope", "token_endpoint_auth_method", "logo_uri", "policy_uri", "tos_uri"), "v"
        )
        | {key: ["v"] for key in ("grant_types", "redirect_uris", "response_types")},
        {"client_id": "c", "client_id_issued_at": 1},
    ),
    "OAuthGrantsResponse": ({"redirect_uri": "https://x.test"}, {"redirect_uri": "https://x.test"}),
    "DataRequestedScope": (SCOPE, {}),
    "Data": (CONSENT, {}),
    "OAuthRetrieveResponse": ({"data": CONSENT}, {}),
    "OAuthClient": (CLIENT_IN_FULL, CLIENT),
    "OAuthClientCreateResponse": ({"data": CLIENT_IN_FULL}, {}),
    "OAuthClientRetrieveResponse": ({"data": CLIENT_IN_FULL}, {}),
    "OAuthClientUpdateResponse": ({"data": CLIENT_IN_FULL}, {}),
    "OAuthGrant": (GRANT | {"last_used_at": TIME}, GRANT),
    "OAuthGrantRetrieveResponse": ({"data": GRANT | {"last_used_at": None}}, {}),
    "OAuthGrantDeleteResponse": ({"data": GRANT | {"last_used_at": None}}, {}),
    "OAuthOAuthPaginationMeta": (META, {}),
    "OAuthClientListResponse": ({"data": [CLIENT_IN_FULL, CLIENT], "meta": META}, {"data": []}),
    "OAuthGrantListResponse": ({"data": [GRANT], "meta": META}, {"data": []}),
}
every_type = pytest.mark.parametrize("name", EXAMPLES)


def answer(body: object, status: int = 200, *pairs: tuple[str, str]) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers(*pairs), content, INFO)


def read(body: object, kind):
    return decode(answer(body), kind)


def problems(body: object, kind) -> tuple[str, ...]:
    with pytest.raises(APIResponseValidationError) as caught:
        read(body, kind)
    assert caught.value.__context__ is None, "a cause could quote what was found"
    return caught.value.problems


# --- every type


def test_there_is_an_example_of_every_type():
    models = {name for name, kind in vars(types).items() if inspect.isclass(kind) and issubclass(kind, BaseModel)}
    assert models - {"BaseModel"} == EXAMPLES.keys()


@every_type
def test_a_full_answer_comes_back_as_it_was(name):
    kind, (full, _) = getattr(types, name), EXAMPLES[name]
    value = read(full, kind)
    assert type(value) is kind
    assert value.to_dict(mode="json") == full
    assert value.model_fields_set == full.keys()
    assert {field.name for field in attrs.fields(kind)} - {"model_extra", "_absent"} == full.keys()


@every_type
def test_a_minimal_answer_comes_back_as_it_was(name):
    kind, (full, minimal) = getattr(types, name), EXAMPLES[name]
    value = read(minimal, kind)
    assert value.to_dict(mode="json") == minimal
    assert value.to_dict(exclude_unset=False).keys() == full.keys()
    assert all(getattr(value, field) is None for field in full.keys() - minimal.keys())


@every_type
def test_what_a_type_does_not_know_is_kept_and_given_back(name):
    kind, (full, _) = getattr(types, name), EXAMPLES[name]
    odd = {"new": {"a": [1, None]}, "model_extra": 1, "_absent": [2], "to_dict": 3, "__class__": 4, "": 5}
    value = read(full | odd, kind)
    assert value.model_extra == odd
    assert value.new == {"a": [1, None]}
    assert value.to_dict(mode="json") == full | odd
    assert value.model_fields_set == (full | odd).keys()


@every_type
def test_every_promised_member_is_missed_by_name(name):
    minimal = EXAMPLES[name][1]
    for member in minimal:
        without = {each: value for each, value in minimal.items() if each != member}
        assert problems(without, getattr(types, name)) == (f"$.{member}: is missing",)


@every_type
def test_a_value_of_the_wrong_kind_is_refused_wherever_it_stands(name):
    kind, (full, minimal) = getattr(types, name), EXAMPLES[name]
    for member, good in full.items():
        for wrong in (1.5, {"planted-secret": "planted-secret"}, ["planted-secret", 1], "planted-secret", True, 7):
            if type(wrong) is type(good) or (isinstance(wrong, str) and isinstance(good, str)):
                continue
            if good is None or (wrong is not True and isinstance(wrong, int) and isinstance(good, int)):
                continue
            found = problems(full | {member: wrong}, kind)
            assert all(each.startswith(f"$.{member}") for each in found)
            assert "planted" not in str(found)
    for member in minimal:
        assert problems(minimal | {member: None}, kind)[0].startswith(f"$.{member}: expected ")


@every_type
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_read_answer_equals_its_copies_and_the_same_made_by_hand(name, duplicate):
    kind, (full, _) = getattr(types, name), EXAMPLES[name]
    value = read(full | {"new": 1}, kind)
    assert duplicate(value) == value == read(full | {"new": 1}, kind)
    assert duplicate(value).to_dict() == value.to_dict()
    assert attrs.evolve(value) == value
    assert value != read(full, kind)
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(kind) if field.name != "_absent"}
    assert kind(**fields) == value


@every_type
def test_no_answer_of_a_server_that_is_read_shows_a_secret(name, secrets):
    full = EXAMPLES[name][0]
    told = {"access_token": secrets.access_token, "refresh_token": secrets.refresh_token}
    planted = {
        member: {"client_secret": secrets.client_secret, "redirect_uri": secrets.code}.get(
            member, told.get(member, value)
        )
        for member, value in full.items()
        if not (name == "Data" and member == "redirect_uri")
    }
    value = read(full | planted | {"id_token": secrets.access_token}, getattr(types, name))
    assert secrets.found_in(value) == []


@every_type
@pytest.mark.parametrize("body", [None, True, 1, 1.5, "x", []])
def test_an_answer_that_is_no_object_is_refused(name, body):
    (problem,) = problems(body, getattr(types, name))
    assert problem.startswith("$: expected an object, found ")


# --- strictness


@pytest.mark.parametrize(
    "found, named",
    [
        ("false", "a string"),
        ("true", "a string"),
        (0, "an integer"),
        (1, "an integer"),
        (None, "null"),
        ([], "an array"),
        ({}, "an object"),
        (1.0, "a number"),
    ],
)
def test_nothing_but_true_makes_a_token_active(found, named):
    assert problems({"active": found}, OAuthIntrospectResponse) == (f"$.active: expected true or false, found {named}",)


@pytest.mark.parametrize(
    "found", [12.9, 12.0, "12.9", "x", "-1", "+1", "1_0", " 1", "٣", "1" * 20, True, [1], {"a": 1}]
)
def test_a_whole_number_is_whole(found):
    (problem,) = problems({"active": True, "exp": found}, OAuthIntrospectResponse)
    assert problem.startswith("$.exp: expected an integer, found ")


@pytest.mark.parametrize("far", [2**63, 2**64, 10**25, -(10**25), 10**300])
def test_a_whole_number_may_have_more_than_64_bits(far):
    value = read({"active": True, "exp": far}, OAuthIntrospectResponse).exp
    assert isinstance(value, int)
    assert abs(value - far) <= abs(far) // 2**52


@pytest.mark.parametrize("nothing", ["", [], {}])
def test_an_optional_member_that_is_empty_is_absent(nothing):
    told = read({"active": True, "exp": nothing, "nbf": nothing, "aud": {}, "sub": []}, OAuthIntrospectResponse)
    assert (told.exp, told.nbf, told.aud, told.sub) == (None, None, None, None)
    key = read({"keys": [{"kty": "RSA", "alg": [], "kid": {}}]}, OAuthRetrieveJwksResponse).keys[0]
    assert (key.alg, key.kid) == (None, None)
    page = read({"data": [], "meta": {"page_number": nothing}}, OAuthClientListResponse)
    assert page.meta is not None
    assert page.meta.page_number is None
    assert read({"data": [], "meta": []}, OAuthClientListResponse).meta is None
    assert problems({"active": nothing}, OAuthIntrospectResponse)


def test_an_optional_text_or_list_that_is_empty_stays_as_it_was_sent():
    assert read({"active": True, "scope": "", "aud": []}, OAuthIntrospectResponse).to_dict() == {
        "active": True,
        "scope": "",
        "aud": [],
    }


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-16", "utf-16-le", "utf-8"])
def test_an_answer_is_read_in_the_charset_that_it_declares(charset):
    body = json.dumps({"active": True, "username": "José"}, ensure_ascii=False).encode(charset)
    told = decode(answer(body, 200, ("Content-Type", f"application/json; charset={charset}")), OAuthIntrospectResponse)
    assert told.username == "José"


def test_an_answer_in_utf_8_is_that_whatever_it_declares():
    body = json.dumps({"active": True, "username": "José"}, ensure_ascii=False).encode()
    told = decode(answer(body, 200, ("Content-Type", "application/json; charset=iso-8859-1")), OAuthIntrospectResponse)
    assert told.username == "José"


def test_an_answer_that_is_not_in_its_charset_is_no_json():
    for declared in ("utf-8", "ascii", "utf-16", "no-such-charset"):
        told = answer(
            b'{"active": true, "username": "\xe9"}', 200, ("Content-Type", f"application/json; charset={declared}")
        )
        with pytest.raises(APIResponseValidationError, match="expected JSON"):
            decode(told, OAuthIntrospectResponse)


@pytest.mark.parametrize("found, number", [(0, 0), (-5, -5), (2**63, 2**63), ("3600", 3600), ("007", 7)])
def test_a_whole_number_may_come_as_digits(found, number):
    value = read({"active": True, "exp": found}, OAuthIntrospectResponse)
    assert value.exp == number
    assert type(value.exp) is int


@pytest.mark.parametrize("aud", ["a", ["a", "b"], [], None])
def test_an_audience_is_one_or_many(aud):
    assert read({"active": True, "aud": aud}, OAuthIntrospectResponse).aud == aud


@pytest.mark.parametrize("aud", [1, True, {"a": 1}, ["a", 1], [None], [["a"]]])
def test_an_audience_is_of_text(aud):
    (problem,) = problems({"active": True, "aud": aud}, OAuthIntrospectResponse)
    assert problem.startswith("$.aud")


@pytest.mark.parametrize(
    "found, time",
    [
        ("2026-01-02T12:00:00Z", "2026-01-02T12:00:00+00:00"),
        ("2026-01-02T12:00:00.123Z", "2026-01-02T12:00:00.123000+00:00"),
        ("2026-01-02T12:00:00.123456789Z", "2026-01-02T12:00:00.123456+00:00"),
        ("2026-01-02T12:00:00-05:00", "2026-01-02T12:00:00-05:00"),
        ("2026-01-02 12:00:00", "2026-01-02T12:00:00+00:00"),
        ("2026-01-02T12:00:00", "2026-01-02T12:00:00+00:00"),
        ("2026-01-02", "2026-01-02T00:00:00+00:00"),
    ],
)
def test_a_time_is_aware_and_one_without_zone_is_utc(found, time):
    value = read(GRANT | {"created_at": found, "last_used_at": found}, OAuthGrant)
    assert value.created_at.isoformat() == value.last_used_at.isoformat() == time
    assert value.created_at.tzinfo is not None


@pytest.mark.parametrize(
    "found",
    [
        "",
        "now",
        "1767355200",
        1767355200,
        1.5,
        None,
        True,
        "2026-13-01T00:00:00Z",
        "2026-01-02T25:00:00Z",
        "2026-01-02T00:00:00+99:00",
        [],
        {},
    ],
)
def test_a_time_that_is_none_is_refused(found):
    (problem,) = problems(GRANT | {"created_at": found}, OAuthGrant)
    assert problem.startswith("$.created_at: expected a date and time, found ")


def test_enumerations_may_grow():
    value = read(CLIENT | {"client_type": "new", "allowed_grant_types": ["new"]}, OAuthClient)
    assert (value.client_type, value.allowed_grant_types) == ("new", ["new"])


def test_null_and_absence_are_told_apart():
    value = read(CLIENT | {"logo_uri": None}, OAuthClient)
    assert value.logo_uri is None
    assert value.tos_uri is None
    assert "logo_uri" in value.to_dict()
    assert "tos_uri" not in value.to_dict()
    assert value == read(CLIENT, OAuthClient), "equal all the same: both say nothing"


@pytest.mark.parametrize("kind", [getattr(types, name) for name in EXAMPLES], ids=lambda kind: kind.__name__)
def test_every_field_is_of_a_kind_that_the_codec_is_strict_about(kind):
    strict = {str, bool, int, datetime, list[str], type(None)}
    for field, hint in get_type_hints(kind).items():
        if field in {"model_extra", "_absent"}:
            continue
        for part in get_args(hint) if type(None) in get_args(hint) else (hint,):
            (inner,) = get_args(part) if part not in strict and get_args(part) else (part,)
            assert inner in strict or issubclass(inner, BaseModel), (field, hint)


# --- problems


def test_every_problem_is_named_by_its_place():
    bad = {key: value for key, value in CLIENT.items() if key != "client_id"} | {
        "name": None,
        "redirect_uris": ["a", 1],
    }
    body = {
        "data": [CLIENT, bad, 7, CLIENT | {"created_at": "planted-secret"}],
        "meta": {"page_number": "planted-secret"},
    }
    assert problems(body, OAuthClientListResponse) == (
        "$.data[1].client_id: is missing",
        "$.data[1].name: expected a string, found null",
        "$.data[1].redirect_uris[1]: expected a string, found an integer",
        "$.data[2]: expected an object, found an integer",
        "$.data[3].created_at: expected a date and time, found a string",
        "$.meta.page_number: expected an integer, found a string",
    )
    assert problems({"data": bad}, OAuthClientCreateResponse)[0] == "$.data.client_id: is missing"


def test_a_whole_page_of_problems_is_told_in_part():
    found = problems({"data": [1] * 50}, OAuthClientListResponse)
    assert len(found) == 21
    assert found[19:] == ("$.data[19]: expected an object, found an integer", "and 30 more")


def test_a_refused_answer_never_quotes_what_it_held(secrets):
    body = {
        "access_token": [secrets.access_token],
        "token_type": {secrets.client_secret: 1},
        "expires_in": secrets.code,
    }
    response = answer(body, 200, ("X-Echo", secrets.api_key), ("Set-Cookie", secrets.refresh_token))
    for kind in (OAuthTokenResponse, OAuthClientListResponse, OAuthRetrieveAuthorizeResponse):
        with pytest.raises(APIResponseValidationError) as caught:
            decode(attrs.evolve(response, status_code=302), kind)
        error = caught.value
        assert secrets.found_in(error, error.response.content, *error.response.headers) == []
        assert str(error).startswith(str(INFO))
    with pytest.raises(APIResponseValidationError) as caught:
        decode(attrs.evolve(response, content=f"<{secrets.access_token}>".encode()), OAuthTokenResponse)
    assert secrets.found_in(caught.value) == []


# --- bodies that are no JSON


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"<html>planted</html>",
        b'{"data": [',
        b'{"data": []}}',
        b'{"data": []} x',
        b"{'data': []}",
        b'{"data": [1,]}',
        b"\xff\xfe{",
        b'{"data": ["\xff"]}',
        b'{"data": ["\n"]}',
        '{"data": []}'.encode("utf-16"),
        b'{"x": NaN}',
        b'{"x": [-Infinity]}',
        b"Infinity",
        b"[" * 200_000,
        b'{"data":' * 200_000,
        b'{"x": ' + b"1" * 5_000 + b"}",
    ],
)
def test_a_body_that_is_no_json_is_refused_by_its_size_alone(content):
    (problem,) = problems(content, OAuthOAuthPaginationMeta)
    assert problem == f"$: expected JSON, found {len(content)} bytes of something else (no content type)"
    assert problems(content, object) == (problem,)


@pytest.mark.parametrize(
    "content_type, named",
    [
        ("text/html; charset=utf-8", "text/html"),
        ("application/problem+json", "application/problem+json"),
        ("planted secret", "no content type"),
        ("text/" + "x" * 999, "no content type"),
        ("", "no content type"),
    ],
)
def test_a_body_that_is_no_json_is_named_by_its_type(content_type, named):
    with pytest.raises(APIResponseValidationError, match=f"something else \\({named.replace('+', '.')}\\)$"):
        decode(answer(b"<", 200, ("Content-Type", content_type)), object)


def test_a_byte_order_mark_is_no_problem():
    assert read(b'\xef\xbb\xbf{"page_number": 3}', OAuthOAuthPaginationMeta).page_number == 3


def test_of_a_member_that_comes_twice_the_last_counts():
    assert read(b'{"active": true, "active": false}', OAuthIntrospectResponse).active is False


@pytest.mark.parametrize("kind", [OAuthTokenResponse, object, str, bytes, Response, OAuthRetrieveAuthorizeResponse])
def test_a_body_that_is_not_whole_is_refused_whatever_it_is_read_as(kind):
    broken = attrs.evolve(answer({"active": True}), fault="the body ended early")
    with pytest.raises(APIResponseValidationError) as caught:
        decode(broken, kind)
    assert caught.value.problems == ("$: the body ended early",)


# --- what is no model


def test_a_body_can_be_had_as_json_text_or_bytes_or_not_at_all():
    response = answer('{"a": [1, null, "é"]}'.encode())
    assert decode(response, object) == {"a": [1, None, "é"]}
    assert decode(response, dict[str, object]) == decode(response, dict) == {"a": [1, None, "é"]}
    assert decode(response, str) == response.text()
    assert decode(response, bytes) == response.content
    assert decode(response, Response) is response
    assert decode(response, type(None)) is None
    assert decode(Response(204), type(None)) is None
    assert decode(attrs.evolve(response, fault="the body ended early"), type(None)) is None


def test_a_body_can_be_a_list_of_models():
    assert [each.page_number for each in read([META, {}], list[OAuthOAuthPaginationMeta])] == [1, None]
    assert problems([{}, {"page_number": "x"}], list[OAuthOAuthPaginationMeta])[0].startswith("$[1].page_number: ")
    assert problems({}, list[OAuthOAuthPaginationMeta]) == ("$: expected an array, found an object",)
    assert problems([], dict) == ("$: expected an object, found an array",)
    assert read([1, "a"], list[object]) == [1, "a"]
    assert read([True], list[bool]) == [True]
    assert read(None, str | list[str] | None) is None
    assert read(["a"], str | list[str] | None) == ["a"]
    assert read(5, int | str) == 5
    assert problems([], int | str) == ("$: expected an integer, found an array",)
    assert problems(None, int | str) == ("$: expected an integer, found null",)


def test_the_answer_to_an_authorization_is_its_page():
    response = answer("<html>é".encode("latin-1"), 200, ("Content-Type", "text/html; charset=latin-1"))
    value = decode(
        response, OAuthRetrieveAuthorizeResponse, asked=Request("GET", "https://x.test/authorize?state=1", INFO)
    )
    assert (value, value.html, value.url) == ("<html>é", "<html>é", "https://x.test/authorize?state=1")


@pytest.mark.parametrize(
    "location, target",
    [
        ("https://consent.test/?t=1", "https://consent.test/?t=1"),
        ("/consent?t=1", "https://x.test/consent?t=1"),
        ("com.example.app:/callback?code=1", "com.example.app:/callback?code=1"),
    ],
)
def test_the_answer_to_an_authorization_is_where_it_redirects_to(location, target):
    response = answer(b"moved", 302, ("Location", location))
    value = decode(
        response,
        OAuthRetrieveAuthorizeResponse,
        asked=Request("GET", "https://x.test/v2/oauth/authorize?state=1", INFO),
    )
    assert (value, value.html, value.url) == (target, None, target)


@pytest.mark.parametrize("pairs", [(), (("Location", ""),), (("Location", "https://[::1"),)])
def test_an_authorization_that_leads_nowhere_is_refused(pairs):
    with pytest.raises(APIResponseValidationError, match="Location") as caught:
        decode(answer(b"", 302, *pairs), OAuthRetrieveAuthorizeResponse, asked=Request("GET", "https://x.test/", INFO))
    assert caught.value.__context__ is None


# --- whatever comes

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(CLIENT_IN_FULL | META | {"data": 1, "meta": 1, "active": 1})), inner)
    ),
)


@given(
    st.one_of(st.binary(), json_values.map(lambda value: json.dumps(value).encode())),
    st.sampled_from([getattr(types, name) for name in EXAMPLES] + [object, str, OAuthRetrieveAuthorizeResponse]),
)
def test_any_bytes_are_an_answer_or_a_refusal(content, kind):
    try:
        value = decode(Response(200, headers(), content, INFO), kind, asked=Request("GET", "https://x.test/", INFO))
    except APIResponseValidationError as error:
        value, kind = pickle.loads(pickle.dumps(error)).problems, tuple
    assert isinstance(value, kind)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=3))
def test_what_is_read_is_written_back(extra):
    body = {**extra, **{key: value for key, value in META.items() if key not in extra}}
    try:
        value = read(body, OAuthOAuthPaginationMeta)
    except APIResponseValidationError:
        assert extra.keys() & META.keys()
        return
    written = json.loads(value.to_json())
    assert written.keys() == body.keys()
    assert {key: written[key] for key in body.keys() - META.keys()} == {
        key: body[key] for key in body.keys() - META.keys()
    }


@pytest.mark.parametrize(
    "kind", [dict, dict[str, object], object, str, bytes, Response, type(None), OAuthClient, list[OAuthClient | None]]
)
def test_these_kinds_can_be_asked_for(kind):
    check_kind(kind)


@pytest.mark.parametrize("kind", [float, list, Exception, list[float], "str", set[str]])
def test_a_kind_that_no_answer_can_be_read_as_is_refused_before_anything_is_sent(kind):
    with pytest.raises(TypeError, match="cast_to"):
        check_kind(kind)


@pytest.mark.parametrize("content, kind, value", [(b"true", bool, True), (b"7", int, 7), (b'["a"]', list[str], ["a"])])
def test_a_bare_value_can_be_asked_for(content, kind, value):
    assert decode(Response(200, content=content), kind) == value


def test_a_bare_value_of_another_kind_is_refused():
    with pytest.raises(APIResponseValidationError, match=r"\$: expected true or false, found a string"):
        decode(Response(200, content=b'"true"'), bool)


def test_text_among_other_kinds_is_kept():
    assert decode(Response(200, content=b'["a", ["b"], null]'), list[str | list[str] | None]) == ["a", ["b"], None]


documents = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
).map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))


def parsed(loads, content):
    try:
        return loads(content)
    except (ValueError, RecursionError):
        return ValueError


@given(
    documents | st.binary(max_size=30) | st.text('[]{}":,0123456789.eE-+ntrufalsNI \\\n', max_size=12).map(str.encode)
)
def test_both_parsers_read_the_same(content):
    plain, fast = parsed(converter.plain_loads, content), parsed(orjson.loads, content)
    if (
        fast is ValueError and plain is not ValueError
    ):  # what only Python's takes for JSON: half characters, endless floats
        assert b"\\u" in content or "inf" in repr(plain)
    else:
        assert plain == fast


@pytest.mark.parametrize("there", [True, False])
def test_the_fast_parser_is_taken_where_there_is_one(there):
    hidden = "" if there else "sys.modules['orjson'] = None; "
    look = f"import sys; {hidden}from telnyx_oauth.protocol import converter; print(converter.loads is not converter.plain_loads)"
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(there)
