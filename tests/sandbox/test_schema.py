from __future__ import annotations

import pytest

EXAMPLE = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
NEW = {"name": "n", "client_type": "confidential", "allowed_grant_types": ["client_credentials"], "allowed_scopes": []}
AUTHORIZE = {"client_id": "client_id", "redirect_uri": "https://example.com", "response_type": "code"}


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/.well-known/oauth-authorization-server", {}),
        ("GET", "/.well-known/oauth-protected-resource", {}),
        ("GET", "/oauth/consent/consent_token", {}),
        ("POST", "/oauth/grants", {"body": {"allowed": True, "consent_token": "consent_token"}}),
        ("POST", "/oauth/grants", {"body": {"allowed": False, "consent_token": "consent_token"}}),
        ("POST", "/oauth/introspect", {"form": {"token": "token"}}),
        ("POST", "/oauth/introspect", {"form": {"token": "garbage"}}),
        ("GET", "/oauth/jwks", {}),
        ("POST", "/oauth/register", {"body": {}}),
        ("POST", "/oauth/token", {"form": {"grant_type": "client_credentials"}}),
        ("GET", "/oauth_clients", {}),
        ("POST", "/oauth_clients", {"body": NEW}),
        ("GET", f"/oauth_clients/{EXAMPLE}", {}),
        ("PUT", f"/oauth_clients/{EXAMPLE}", {"body": {"logo_uri": "https://a.example/l.png"}}),
        ("GET", "/oauth_grants", {}),
        ("GET", f"/oauth_grants/{EXAMPLE}", {}),
        ("DELETE", f"/oauth_grants/{EXAMPLE}", {}),
    ],
)
def test_every_answer_with_a_body_is_one_that_the_api_documents(ask, own, documented_answer, method, path, options):
    if "form" in options:
        options = {"form": options["form"] | own}
    assert documented_answer(method, path, ask(method, path, **options))


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [("GET", "/oauth/authorize", AUTHORIZE, 302), ("DELETE", f"/oauth_clients/{EXAMPLE}", None, 204)],
)
def test_the_others_have_the_status_that_the_api_documents(ask, documented_answer, method, path, query, status):
    answer = ask(method, path, query=query)
    assert (answer.status_code, documented_answer(method, path, answer)) == (status, False)
