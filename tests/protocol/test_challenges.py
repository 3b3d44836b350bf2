from __future__ import annotations

import pytest

from telnyx_oauth.errors import (
    ExpiredTokenError,
    InsufficientScopeError,
    InvalidTokenError,
    KeysUnavailableError,
    MalformedCredentialsError,
    MissingTokenError,
    Reason,
)
from telnyx_oauth.protocol.auth_headers import bearer_token, challenge, check_quotable, check_scopes, metadata_path
from telnyx_oauth.protocol.urls import check_endpoint

INVALID = InvalidTokenError(Reason.SIGNATURE_INVALID)


@pytest.mark.parametrize("value", ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR abc"])
def test_the_scheme_is_known_in_any_case(value):
    assert bearer_token([value]) == "abc"


def test_a_token_may_have_every_character_of_a_b64token():
    assert bearer_token(["Bearer aZ09-._~+/=="]) == "aZ09-._~+/=="


@pytest.mark.parametrize("values", [[], ["Basic abc"], ["BearerX t"], [""], ["Bear er"], ["DPoP abc"]])
def test_no_bearer_credentials_are_no_credentials(values):
    with pytest.raises(MissingTokenError):
        bearer_token(values)


def test_a_token_in_the_query_alone_is_no_credential():
    with pytest.raises(MissingTokenError):
        bearer_token([], token_in_query=True)


@pytest.mark.parametrize(
    "values",
    [
        ["Bearer a", "Bearer a"],
        ["Basic a", "Bearer a"],
        ["Bearer"],
        ["Bearer "],
        ["Bearer a b"],
        ["Bearer a,b"],
        ["Bearer =a"],
        ["Bearer é"],
        ["Bearer a\n"],
        ['Bearer "a"'],
    ],
)
def test_credentials_in_a_form_that_the_rfc_does_not_know_are_malformed(values):
    with pytest.raises(MalformedCredentialsError):
        bearer_token(values)


@pytest.mark.parametrize("value", ["Bearer a", "bearer a", "Bearer  a", "BEARER     a"])
def test_spaces_between_the_scheme_and_the_token_are_one_or_more(value):
    assert bearer_token([value]) == "a"


def test_a_token_in_the_query_beside_the_header_is_malformed():
    with pytest.raises(MalformedCredentialsError):
        bearer_token(["Bearer a"], token_in_query=True)


@pytest.mark.parametrize(
    ("error", "given", "said"),
    [
        (MissingTokenError(), {}, "Bearer"),
        (MissingTokenError(), {"realm": "a"}, 'Bearer realm="a"'),
        (MissingTokenError(), {"scopes": {"b", "a"}}, 'Bearer scope="a b"'),
        (
            MissingTokenError(),
            {"realm": 'a"\\b', "resource_metadata": "https://s/x"},
            'Bearer realm="a\\"\\\\b", resource_metadata="https://s/x"',
        ),
        (
            MalformedCredentialsError(),
            {"resource_metadata": "https://s/x", "scopes": {"a"}},
            'Bearer error="invalid_request"',
        ),
        (
            INVALID,
            {"scopes": {"a"}},
            'Bearer error="invalid_token", error_description="The access token is invalid"',
        ),
        (
            ExpiredTokenError(),
            {"resource_metadata": "https://s/x"},
            'Bearer error="invalid_token", error_description="The access token expired", resource_metadata="https://s/x"',
        ),
        (
            InsufficientScopeError(frozenset({"b", "a"})),
            {"scopes": {"c"}, "realm": "r"},
            'Bearer realm="r", error="insufficient_scope", scope="a b"',
        ),
        (KeysUnavailableError(retry_after=1), {"realm": "r"}, None),
    ],
)
def test_the_challenge_says_what_the_client_lacks_and_no_more(error, given, said):
    assert challenge(error, **given) == said


def test_what_would_break_a_header_is_an_error_of_configuration():
    assert check_quotable('a "b" c', "realm") == 'a "b" c'
    for value in ("a\r\nSet-Cookie: x", "é", "\x7f", "\0"):
        with pytest.raises(ValueError, match="realm"):
            check_quotable(value, "realm")


def test_scopes_are_scopes():
    assert check_scopes("a b", "scopes") == check_scopes(["b", "a"], "scopes") == {"a", "b"}
    for value in (['a"b'], ["a b"], ["é"], [""]):
        with pytest.raises(ValueError, match="scopes"):
            check_scopes(value, "scopes")


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("https://api.example.com", ""),
        ("https://api.example.com/", ""),
        ("https://api.example.com/v2/mcp", "/v2/mcp"),
        ("https://api.example.com/v2/", "/v2"),
    ],
)
def test_the_metadata_of_a_resource_is_before_its_path(resource, path):
    assert metadata_path(resource) == "/.well-known/oauth-protected-resource" + path


@pytest.mark.parametrize("url", ["https://h", "https://h:8443/x?y=1", "http://127.0.0.9:80", "http://localhost/x"])
def test_an_address_that_is_safe_is_taken(url):
    assert check_endpoint(url, "uri", allow_insecure_loopback=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "http://localhost.evil.example",
        "ftp://h",
        "https://",
        "https://u@h",
        "https://h#f",
        "https://h:x",
        "//h",
    ],
)
def test_an_address_that_is_not_safe_is_an_error_that_names_the_parameter(url):
    with pytest.raises(ValueError, match=r"^uri "):
        check_endpoint(url, "uri", allow_insecure_loopback=True)
