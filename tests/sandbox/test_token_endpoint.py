from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CALLBACK = "https://example.com/callback"


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.fixture
def exchange(ask, own):
    return lambda grant_type, **form: ask(
        "POST", "/oauth/token", key=None, form={"grant_type": grant_type, **own, **form}
    )


@pytest.fixture
def code(telnyx):
    """A new code of a request that was allowed."""

    def approved(**changes):
        asked = {
            "client_id": telnyx.client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "scope": "voice.read voice.write",
        } | changes
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        back = telnyx.approve(f"{telnyx.base_url}/oauth/authorize?{query}")
        return parse_qs(urlsplit(back).query)["code"][0]

    return approved


@pytest.fixture
def redeem(exchange):
    return lambda code, **form: exchange(
        "authorization_code", code=code, **({"redirect_uri": CALLBACK, "code_verifier": VERIFIER} | form)
    )


def refused(response, error, status=400):
    assert (response.status_code, response.json()["error"]) == (status, error), response.text()
    return True


def test_client_credentials_give_a_token_for_the_client_itself(exchange, telnyx):
    answered = exchange("client_credentials")
    assert answered.headers["Cache-Control"] == "no-store"
    token = answered.json()
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 1800, "admin")
    assert "refresh_token" not in token
    assert claims(token["access_token"])["sub"] == telnyx.client_id


def test_a_token_has_the_requested_scopes_if_the_client_may_have_them(ask, exchange, telnyx):
    assert exchange("client_credentials", scope="voice.read ai.read voice.read").json()["scope"] == "voice.read ai.read"
    assert refused(exchange("client_credentials", scope="voice.read nothing"), "invalid_scope")
    ask("PUT", f"/oauth/clients/{telnyx.client_id}", body={"allowed_scopes": ["voice.read", "fax.read"]})
    assert exchange("client_credentials").json()["scope"] == "voice.read fax.read"
    assert refused(exchange("client_credentials", scope="admin"), "invalid_scope")


def test_the_lifetime_can_be_set(exchange, telnyx):
    telnyx.token_lifetime = 5
    token = exchange("client_credentials").json()
    assert token["expires_in"] == 5
    assert claims(token["access_token"])["exp"] - claims(token["access_token"])["iat"] == 5


def test_a_token_is_for_the_requested_resource(ask, exchange, telnyx):
    telnyx.resources = ("https://mine.example/api",)
    for resource in (f"{telnyx.root_url}/v2/mcp", "https://mine.example/api"):
        token = exchange("client_credentials", resource=resource).json()["access_token"]
        assert claims(token)["aud"] == resource
        assert ask("GET", "/oauth/clients", key=token).status_code == 401
    assert refused(exchange("client_credentials", resource="https://other.example"), "invalid_target")


def test_a_public_client_has_no_credentials(ask, exchange):
    body = {"name": "p", "client_type": "public", "allowed_grant_types": ["client_credentials"], "allowed_scopes": []}
    client_id = ask("POST", "/oauth/clients", body=body).json()["data"]["client_id"]
    form = {"grant_type": "client_credentials", "client_id": client_id}
    assert refused(ask("POST", "/oauth/token", form=form), "unauthorized_client")


def test_a_client_may_only_use_the_grants_that_it_is_allowed(ask):
    form = {"grant_type": "client_credentials", "client_id": "client_id"}
    assert refused(ask("POST", "/oauth/token", form=form), "unauthorized_client")


@pytest.mark.parametrize(
    ("request_body", "error"),
    [
        ({"form": ""}, "invalid_request"),
        ({"form": "grant_type="}, "invalid_request"),
        ({"form": "grant_type=client_credentials&grant_type=client_credentials"}, "invalid_request"),
        ({"form": "grant_type=password"}, "unsupported_grant_type"),
        ({"body": {"grant_type": 7}}, "invalid_request"),
        ({"body": b"{"}, "invalid_request"),
        ({"body": {"grant_type": None}}, "invalid_request"),
        ({"headers": {"Content-Type": "text/plain"}}, "invalid_request"),
    ],
)
def test_a_malformed_request_is_refused(ask, request_body, error):
    assert refused(ask("POST", "/oauth/token", **request_body), error)


def test_a_code_gives_tokens_for_the_person(ask, code, redeem, telnyx):
    token = redeem(code()).json()
    assert token["scope"] == "voice.read voice.write"
    assert token["refresh_token"]
    assert claims(token["access_token"])["sub"] == telnyx.state.user_id
    grants = ask("GET", "/oauth/grants").json()["data"]
    assert grants[-1]["scopes"] == ["voice.read", "voice.write"]
    assert grants[-1]["last_used_at"] is not None


@pytest.mark.parametrize(
    "change",
    [
        {"code_verifier": "x" * 43},
        {"code_verifier": "short"},
        {"code_verifier": ""},
        {"redirect_uri": "https://example.com/other"},
        {"redirect_uri": ""},
        {"code": "unknown"},
    ],
)
def test_a_code_is_bound_to_its_authorization_request(code, redeem, change):
    fresh = code()
    assert refused(redeem(**({"code": fresh} | change)), "invalid_grant")
    assert redeem(fresh).status_code == 200


def test_a_verifier_without_a_challenge_is_refused(code, redeem):
    bare = {"code_challenge": None, "code_challenge_method": None}
    assert refused(redeem(code(**bare)), "invalid_grant")
    assert redeem(code(**bare), code_verifier="").status_code == 200


def test_a_plain_challenge_is_its_own_verifier(code, redeem, telnyx):
    telnyx.pkce_methods = ("plain",)
    plain = code(code_challenge=VERIFIER, code_challenge_method="plain")
    assert redeem(plain).status_code == 200


def test_a_code_of_another_client_is_refused(ask, code):
    form = {"grant_type": "authorization_code", "client_id": "client_id", "code": code()}
    assert refused(ask("POST", "/oauth/token", form=form), "invalid_grant")


def test_a_code_expires(code, redeem, telnyx):
    fresh = code()
    telnyx.clock.advance(600)
    assert refused(redeem(fresh), "invalid_grant")


def test_a_code_ends_with_its_grant(ask, code, redeem):
    fresh = code()
    ask("DELETE", f"/oauth/grants/{ask('GET', '/oauth/grants').json()['data'][-1]['id']}")
    assert refused(redeem(fresh), "invalid_grant")


def test_a_second_use_of_a_code_revokes_the_tokens_of_the_first(ask, code, redeem, exchange, own):
    fresh = code()
    token = redeem(fresh).json()
    assert refused(redeem(fresh), "invalid_grant")
    assert refused(exchange("refresh_token", refresh_token=token["refresh_token"]), "invalid_grant")
    told = ask("POST", "/oauth/introspect", form={"token": token["access_token"], **own}, key=None)
    assert told.json() == {"active": False}


def test_a_code_keeps_the_resource_that_was_authorized(code, redeem, telnyx):
    mcp = f"{telnyx.root_url}/v2/mcp"
    fresh = code(resource=mcp)
    assert refused(redeem(fresh, resource=telnyx.root_url), "invalid_target")
    assert claims(redeem(fresh, resource=mcp).json()["access_token"])["aud"] == mcp
    assert claims(redeem(code(resource=mcp)).json()["access_token"])["aud"] == mcp


@pytest.mark.parametrize("grant_type", ["authorization_code", "refresh_token"])
def test_the_code_or_the_refresh_token_is_required(exchange, grant_type):
    assert refused(exchange(grant_type), "invalid_request")


def test_no_refresh_token_for_a_client_that_may_not_use_one(ask, code, redeem, telnyx):
    body = {"allowed_grant_types": ["authorization_code"]}
    ask("PUT", f"/oauth/clients/{telnyx.client_id}", body=body)
    assert "refresh_token" not in redeem(code()).json()


def test_a_refresh_token_is_replaced_at_each_use(code, redeem, exchange):
    first = redeem(code()).json()
    second = exchange("refresh_token", refresh_token=first["refresh_token"]).json()
    third = exchange("refresh_token", refresh_token=second["refresh_token"]).json()
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert third["scope"] == "voice.read voice.write"


def test_a_second_use_of_a_refresh_token_ends_the_grant_for_both(code, redeem, exchange):
    first = redeem(code()).json()
    second = exchange("refresh_token", refresh_token=first["refresh_token"]).json()
    assert refused(exchange("refresh_token", refresh_token=first["refresh_token"]), "invalid_grant")
    assert refused(exchange("refresh_token", refresh_token=second["refresh_token"]), "invalid_grant")


def test_grace_forgives_a_second_use_for_a_while(code, redeem, exchange, telnyx):
    telnyx.rotation = "grace"
    first = redeem(code()).json()["refresh_token"]
    assert exchange("refresh_token", refresh_token=first).status_code == 200
    telnyx.clock.advance(29)
    again = exchange("refresh_token", refresh_token=first)
    assert again.status_code == 200
    telnyx.clock.advance(1)
    assert refused(exchange("refresh_token", refresh_token=first), "invalid_grant")
    assert refused(exchange("refresh_token", refresh_token=again.json()["refresh_token"]), "invalid_grant")


def test_without_rotation_a_refresh_token_stays_and_is_not_repeated(code, redeem, exchange, telnyx):
    telnyx.rotation = "none"
    first = redeem(code()).json()["refresh_token"]
    for _ in range(2):
        assert "refresh_token" not in exchange("refresh_token", refresh_token=first).json()


def test_a_refresh_may_ask_for_less_and_never_for_more(code, redeem, exchange):
    first = redeem(code()).json()["refresh_token"]
    assert refused(exchange("refresh_token", refresh_token=first, scope="admin"), "invalid_scope")
    less = exchange("refresh_token", refresh_token=first, scope="voice.read").json()
    assert less["scope"] == "voice.read"
    all_again = exchange("refresh_token", refresh_token=less["refresh_token"]).json()
    assert all_again["scope"] == "voice.read voice.write"


def test_a_refresh_token_expires_and_is_its_clients_own(ask, code, redeem, exchange, telnyx):
    first = redeem(code()).json()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": first, "client_id": "client_id"}
    assert refused(ask("POST", "/oauth/token", form=form), "invalid_grant")
    assert refused(exchange("refresh_token", refresh_token="unknown"), "invalid_grant")
    telnyx.clock.advance(30 * 86400)
    assert refused(exchange("refresh_token", refresh_token=first), "invalid_grant")


def test_a_refresh_keeps_its_resource(code, redeem, exchange, telnyx):
    mcp = f"{telnyx.root_url}/v2/mcp"
    first = redeem(code(resource=mcp)).json()["refresh_token"]
    assert refused(exchange("refresh_token", refresh_token=first, resource=telnyx.root_url), "invalid_target")
    assert claims(exchange("refresh_token", refresh_token=first).json()["access_token"])["aud"] == mcp


def test_a_token_dies_with_its_grant(ask, code, redeem):
    token = redeem(code(scope="admin")).json()["access_token"]
    assert ask("GET", "/oauth/grants", key=token).status_code == 200
    ask("DELETE", f"/oauth/grants/{ask('GET', '/oauth/grants').json()['data'][-1]['id']}")
    assert ask("GET", "/oauth/grants", key=token).status_code == 401
