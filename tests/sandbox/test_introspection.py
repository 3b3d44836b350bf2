from __future__ import annotations

import pytest


@pytest.fixture
def introspect(ask, own):
    return lambda token: ask("POST", "/oauth/introspect", form={"token": token, **own}, key=None)


def test_an_active_token_is_described(introspect, telnyx):
    told = introspect(telnyx.issue_token(scope="voice.read", subject="someone")).json()
    assert told["active"] is True
    assert (told["client_id"], told["sub"], told["scope"]) == (telnyx.client_id, "someone", "voice.read")
    assert (told["iss"], told["aud"], told["exp"] - told["iat"]) == (telnyx.root_url, telnyx.root_url, 1800)


def test_an_opaque_token_is_described_too(introspect, telnyx):
    token = telnyx.issue_token(opaque=True)
    assert "." not in token
    assert introspect(token).json()["active"] is True


def test_the_token_of_telnyxs_example_is_active(introspect, telnyx):
    assert introspect("token").json()["client_id"] == telnyx.client_id


def test_garbage_api_keys_and_bad_tokens_are_not_active(introspect, telnyx):
    revoked = telnyx.issue_token()
    telnyx.revoke(revoked)
    bad = ["garbage", telnyx.api_key, revoked, telnyx.issue_token(lifetime=-1), telnyx.issue_token(forged=True)]
    assert [introspect(token).json() for token in bad] == [{"active": False}] * 5


def test_a_token_expires_by_the_sandboxs_clock(introspect, telnyx):
    token = telnyx.issue_token()
    telnyx.clock.advance(1799)
    assert introspect(token).json()["active"] is True
    telnyx.clock.advance(1)
    assert introspect(token).json()["active"] is False


def test_the_token_is_required(ask, own):
    assert ask("POST", "/oauth/introspect", form=own, key=None).json()["error"] == "invalid_request"


def test_a_bearer_is_no_client_authentication(ask, telnyx):
    assert ask("POST", "/oauth/introspect", form={"token": "token"}).json()["error"] == "invalid_client"


def test_a_public_client_cannot_introspect(ask):
    refused = ask("POST", "/oauth/introspect", form={"token": "token", "client_id": "client_id"}, key=None)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


def test_introspection_can_have_a_rate_limit_like_the_live_service(introspect, telnyx):
    telnyx.introspection_limit = 5
    assert [introspect("token").status_code for _ in range(6)] == [200] * 5 + [429]
    limited = introspect("token")
    assert limited.json()["errors"][0]["code"] == "10011"
    assert limited.headers["ratelimit-limit"] == "5, 5;w=60"
    telnyx.clock.advance(60)
    assert introspect("token").status_code == 200
