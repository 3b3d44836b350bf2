from __future__ import annotations

import pytest


def test_registration_needs_no_credentials_and_no_field(ask):
    registered = ask("POST", "/oauth/register", body={}, key=None)
    assert registered.status_code == 201
    client = registered.json()
    assert client["grant_types"] == ["authorization_code"]
    assert client["token_endpoint_auth_method"] == "client_secret_basic"
    assert client["client_secret"]
    assert ask("GET", f"/oauth/clients/{client['client_id']}").json()["data"]["client_type"] == "confidential"
    assert ask("POST", "/oauth/register", key=None).status_code == 201


def test_a_public_client_gets_no_secret_and_keeps_its_metadata(ask):
    metadata = {
        "client_name": "Terminal",
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": ["http://127.0.0.1/callback", "com.example.app:/done"],
        "response_types": ["code"],
        "scope": "messaging.read voice.read",
        "token_endpoint_auth_method": "none",
        "policy_uri": "https://app.example/privacy",
    }
    client = ask("POST", "/oauth/register", body=metadata, key=None).json()
    assert metadata.items() <= client.items()
    assert "client_secret" not in client
    shown = ask("GET", f"/oauth/clients/{client['client_id']}").json()["data"]
    assert (shown["name"], shown["client_type"]) == ("Terminal", "public")
    assert shown["allowed_scopes"] == ["messaging.read", "voice.read"]
    assert shown["policy_uri"] == "https://app.example/privacy"


@pytest.mark.parametrize(
    ("metadata", "field", "error"),
    [
        ({"grant_types": ["implicit"]}, "grant_types", "invalid_client_metadata"),
        ({"response_types": ["token"]}, "response_types", "invalid_client_metadata"),
        ({"scope": "nothing.known"}, "scope", "invalid_client_metadata"),
        ({"scope": ["admin"]}, "scope", "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "token_endpoint_auth_method", "invalid_client_metadata"),
        ({"client_name": ""}, "client_name", "invalid_client_metadata"),
        ({"software_id": "x"}, "software_id", "invalid_client_metadata"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "redirect_uris", "invalid_redirect_uri"),
    ],
)
def test_bad_metadata_is_400_with_the_field_that_is_bad(ask, metadata, field, error):
    refused = ask("POST", "/oauth/register", body=metadata, key=None)
    assert (refused.status_code, refused.json()["error"]) == (400, error)
    assert list(refused.json()["invalid_fields"]) == [field]


def test_a_registration_must_be_json(ask):
    assert (
        ask("POST", "/oauth/register", form={"client_name": "x"}, key=None).json()["error"] == "invalid_client_metadata"
    )
