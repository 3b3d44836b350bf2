from __future__ import annotations

import base64

import pytest
from multidict import CIMultiDict

from telnyx_oauth.messages import Request, RequestInfo

from .serve import serve


def challenge(response):
    return response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("header", [None, "Basic YTpi", "KEY123", "Bearer"])
def test_without_bearer_credentials_the_challenge_only_points_to_the_metadata(ask, telnyx, header):
    refused = ask("GET", "/oauth/clients", key=None, headers={"Authorization": header} if header else {})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (401, "10009")
    metadata = f'resource_metadata="{telnyx.root_url}/.well-known/oauth-protected-resource"'
    assert challenge(refused) in (f"Bearer {metadata}", f'Bearer error="invalid_token", {metadata}')


@pytest.mark.parametrize(
    "bad",
    [
        {"lifetime": -1},
        {"issuer": "https://elsewhere.example"},
        {"audience": "https://elsewhere.example"},
        {"audience": []} | {"claims": {"aud": ["https://elsewhere.example"]}},
        {"client_id": "nobody"},
        {"forged": True},
        {"claims": {"exp": None}},
        {"claims": {"exp": "soon"}},
    ],
)
def test_a_bad_access_token_is_an_invalid_token(ask, telnyx, bad):
    refused = ask("GET", "/oauth/clients", key=telnyx.issue_token(**bad))
    assert refused.status_code == 401
    assert challenge(refused).startswith('Bearer error="invalid_token", ')


def test_a_valid_access_token_is_accepted_like_the_key(ask, telnyx):
    for token in (
        telnyx.issue_token(),
        telnyx.issue_token(opaque=True),
        telnyx.issue_token(audience=["https://other.example", telnyx.root_url]),
    ):
        assert ask("GET", "/oauth/clients", key=token).status_code == 200
    assert ask("GET", "/oauth/clients", key="nonsense").status_code == 401
    assert ask("GET", "/oauth/clients", headers={"Authorization": f"bearer {telnyx.api_key}"}).status_code == 200


@pytest.mark.parametrize(
    ("scope", "reads", "writes"),
    [
        ("admin", 200, 404),
        ("account_management.read", 200, 403),
        ("authentication_and_access.read voice.read", 200, 403),
        ("account_management.write", 403, 404),
        ("voice.write", 403, 403),
        ("", 403, 403),
    ],
)
def test_a_scope_allows_reading_or_writing(ask, telnyx, scope, reads, writes):
    token = telnyx.issue_token(scope=scope)
    read = ask("GET", "/oauth/grants", key=token)
    written = ask("DELETE", "/oauth/grants/nothing", key=token)
    assert (read.status_code, written.status_code) == (reads, writes)
    for refused in (answer for answer in (read, written) if answer.status_code == 403):
        assert refused.json()["errors"][0]["code"] == "10010"
        assert challenge(refused).startswith('Bearer error="insufficient_scope", scope="')


def test_two_authorization_headers_are_refused(telnyx):
    header = CIMultiDict([("Authorization", f"Bearer {telnyx.api_key}")] * 2)
    url = f"{telnyx.base_url}/oauth/clients"
    assert serve(telnyx, Request("GET", url, RequestInfo("GET", url), header)).status_code == 401


def basic(client_id, secret):
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@pytest.mark.parametrize("operation", ["/oauth/token", "/oauth/introspect"])
@pytest.mark.parametrize("how", ["basic", "post", "json", "post beside a bearer", "basic and client_id"])
def test_a_client_authenticates_by_basic_or_in_the_body(ask, telnyx, own, operation, how):
    form = {"grant_type": "client_credentials", "token": "x"}
    headers = basic(telnyx.client_id, telnyx.client_secret)
    answers = {
        "basic": lambda: ask("POST", operation, form=form, headers=headers),
        "post": lambda: ask("POST", operation, form=form | own, key=None),
        "json": lambda: ask("POST", operation, body=form | own, key=None),
        "post beside a bearer": lambda: ask("POST", operation, form=form | own),
        "basic and client_id": lambda: ask(
            "POST", operation, form=form | {"client_id": telnyx.client_id}, headers=headers
        ),
    }
    assert answers[how]().status_code == 200


def test_basic_credentials_are_form_urlencoded_first(telnyx, ask):
    odd = type(telnyx)(client_id="a:b%c d", client_secret="s:%25 é")
    headers = basic("a%3Ab%25c+d", "s%3A%2525+%C3%A9") | {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{odd.base_url}/oauth/token"
    request = Request("POST", url, RequestInfo("POST", url), headers, b"grant_type=client_credentials")
    assert serve(odd, request).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, basic("nobody", "x"), {"Authorization": "Basic !"}, {"Authorization": "Basic /w=="}, basic("client_id", "x")],
)
@pytest.mark.parametrize("operation", ["/oauth/token", "/oauth/introspect"])
def test_a_client_that_fails_to_authenticate_is_invalid(ask, operation, headers):
    form = {"grant_type": "client_credentials", "token": "x"}
    refused = ask("POST", operation, form=form, headers=headers)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert challenge(refused).startswith("Basic ")


def test_the_wrong_secret_is_refused(ask, own):
    refused = ask("POST", "/oauth/token", form={"grant_type": "client_credentials", **own, "client_secret": "wrong"})
    assert refused.json()["error"] == "invalid_client"


@pytest.mark.parametrize("second", [{"client_secret": "x"}, {"client_id": "another"}])
def test_two_ways_of_authentication_at_once_are_refused(ask, telnyx, second):
    headers = basic(telnyx.client_id, telnyx.client_secret)
    refused = ask("POST", "/oauth/token", form={"grant_type": "client_credentials", **second}, headers=headers)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
