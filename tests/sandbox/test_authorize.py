from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.sandbox.authorize import redirect_matches

from .serve import serve

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
REQUEST = {"client_id": "client_id", "redirect_uri": "https://example.com", "response_type": "code"}


def sent(response):
    """The address and the parameters of a redirect."""
    assert response.status_code == 302
    parts = urlsplit(response.headers["Location"])
    return f"{parts.scheme}://{parts.netloc}{parts.path}", {k: v[0] for k, v in parse_qs(parts.query).items()}


@pytest.fixture
def authorize(ask):
    return lambda **changes: ask(
        "GET", "/oauth/authorize", key=None, query={k: v for k, v in (REQUEST | changes).items() if v is not None}
    )


def test_the_browser_is_redirected_to_the_consent_page_with_a_token_for_the_request(ask, authorize, telnyx):
    place, parameters = sent(authorize(scope="voice.read admin voice.read ai.write", state="s"))
    assert place == f"{telnyx.root_url}/consent"
    consent = ask("GET", f"/oauth/consent/{parameters['consent_token']}").json()["data"]
    assert (consent["name"], consent["redirect_uri"]) == ("Example application", "https://example.com")
    assert (consent["verified"], consent["logo_uri"]) == (False, None)
    assert [scope["id"] for scope in consent["requested_scopes"]] == ["voice.read", "admin", "ai.write"]
    assert consent["requested_scopes"][0]["description"] == "See voice in your Telnyx account."
    assert [scope["name"] for scope in consent["requested_scopes"]] == ["Voice: read", "Full access", "AI: write"]


def test_without_a_scope_the_request_is_for_full_access(ask, authorize):
    _, parameters = sent(authorize())
    consent = ask("GET", f"/oauth/consent/{parameters['consent_token']}").json()["data"]
    assert [scope["id"] for scope in consent["requested_scopes"]] == ["admin"]


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"client_id": None}, 400, "client_id"),
        ({"redirect_uri": None}, 400, "redirect_uri"),
        ({"client_id": "nobody"}, 404, "No application"),
        ({"redirect_uri": "https://example.com/other"}, 422, "not registered"),
        ({"redirect_uri": "https://example.com:1/"}, 422, "not registered"),
        ({"redirect_uri": "http://127.0.0.1:x"}, 422, "not registered"),
    ],
)
def test_until_client_and_redirect_uri_are_verified_an_error_is_a_page(authorize, changes, status, said):
    page = authorize(**changes)
    assert page.status_code == status
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert said in page.text()


def test_a_repeated_parameter_is_a_page(telnyx):
    url = f"{telnyx.base_url}/oauth/authorize?client_id=a&client_id=b"
    page = serve(telnyx, Request("GET", url, RequestInfo("GET", url)))
    assert (page.status_code, "repeated" in page.text()) == (400, True)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "voice.read nothing"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
        ({"code_challenge": CHALLENGE}, "invalid_request"),
        ({"code_challenge": CHALLENGE, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request"),
    ],
)
def test_afterwards_an_error_is_a_redirect_with_the_clients_state(authorize, changes, error):
    place, parameters = sent(authorize(**changes, state="kept & safe"))
    assert place == "https://example.com"
    assert (parameters["error"], parameters["state"]) == (error, "kept & safe")


def test_a_client_without_the_authorization_code_grant_is_unauthorized(ask, authorize, telnyx):
    ask("PUT", "/oauth/clients/client_id", body={"allowed_grant_types": ["refresh_token"]})
    assert sent(authorize())[1]["error"] == "unauthorized_client"


def test_a_client_that_must_use_pkce_cannot_do_without(ask, authorize):
    ask("PUT", "/oauth/clients/client_id", body={"require_pkce": True})
    assert sent(authorize())[1]["error"] == "invalid_request"
    assert "consent_token" in sent(authorize(code_challenge=CHALLENGE, code_challenge_method="S256"))[1]


def test_plain_challenges_can_be_allowed(authorize, telnyx):
    telnyx.pkce_methods = ("plain", "S256")
    assert "consent_token" in sent(authorize(code_challenge=CHALLENGE))[1]


@pytest.mark.parametrize("allowed", [True, False])
def test_a_decision_uses_up_the_consent_token(ask, authorize, allowed):
    token = sent(authorize(state="s"))[1]["consent_token"]
    body = {"consent_token": token, "allowed": allowed}
    redirect = ask("POST", "/oauth/grants", body=body).json()["redirect_uri"]
    parameters = parse_qs(urlsplit(redirect).query)
    assert parameters["state"] == ["s"]
    assert ("code" in parameters, parameters.get("error")) == ((True, None) if allowed else (False, ["access_denied"]))
    assert len(ask("GET", "/oauth/grants").json()["data"]) == 1 + allowed
    for again in (ask("POST", "/oauth/grants", body=body), ask("GET", f"/oauth/consent/{token}")):
        assert (again.status_code, again.json()["error"]) == (422, "invalid_request")


def test_a_consent_token_expires(ask, authorize, telnyx):
    token = sent(authorize())[1]["consent_token"]
    telnyx.clock.advance(599)
    assert ask("GET", f"/oauth/consent/{token}").status_code == 200
    telnyx.clock.advance(1)
    assert ask("GET", f"/oauth/consent/{token}").status_code == 422


def test_a_consent_token_ends_with_its_client(ask):
    ask("DELETE", "/oauth/clients/client_id")
    assert ask("GET", "/oauth/consent/consent_token").status_code == 422


@pytest.mark.parametrize("body", [{"allowed": True}, {"allowed": "yes", "consent_token": "x"}, {"consent_token": ""}])
def test_a_grant_needs_a_fitting_body(ask, body):
    refused = ask("POST", "/oauth/grants", body=body)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "10027")


def test_consent_and_grants_need_credentials(ask):
    assert ask("GET", "/oauth/consent/consent_token", key=None).status_code == 401
    body = {"consent_token": "consent_token", "allowed": True}
    assert ask("POST", "/oauth/grants", key=None, body=body).status_code == 401


def test_a_redirect_keeps_the_query_that_was_registered(ask, authorize):
    ask("PUT", "/oauth/clients/client_id", body={"redirect_uris": ["https://example.com/cb?tenant=7"]})
    token = sent(authorize(redirect_uri="https://example.com/cb?tenant=7"))[1]["consent_token"]
    redirect = ask("POST", "/oauth/grants", body={"consent_token": token, "allowed": True}).json()["redirect_uri"]
    assert redirect.startswith("https://example.com/cb?tenant=7&code=")


def test_iss_is_sent_when_the_setting_says_so(ask, authorize, telnyx):
    telnyx.issuer_in_redirect = True
    assert sent(authorize(scope="nothing"))[1]["iss"] == telnyx.root_url


@pytest.mark.parametrize(
    ("given", "registered", "same"),
    [
        ("https://a.example/cb", "https://a.example/cb", True),
        ("https://a.example:444/cb", "https://a.example/cb", False),
        ("http://127.0.0.1:5000/cb", "http://127.0.0.1/cb", True),
        ("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb", True),
        ("http://[::1]:5000/cb", "http://[::1]/cb", True),
        ("http://localhost:5000/cb", "http://localhost/cb", True),
        ("http://localhost:5000/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:5000/other", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:5000/cb?x=1", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:5000/cb#x", "http://127.0.0.1/cb", False),
        ("https://127.0.0.1:5000/cb", "http://127.0.0.1/cb", False),
        ("http://me@127.0.0.1:5000/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:port/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1.evil.example:5000/cb", "http://127.0.0.1/cb", False),
    ],
)
def test_only_a_loopback_redirect_may_differ_and_only_in_its_port(given, registered, same):
    assert redirect_matches(given, registered) is same
