"""`Sandbox.state`: the service's records, for tests."""

from __future__ import annotations

import attrs
import pytest

from telnyx_oauth.sandbox import Sandbox

CALLBACK = "http://127.0.0.1:9/callback"


@pytest.fixture
def sign_in(ask, telnyx, own):
    """Sign in and give the token response."""

    def sign_in():
        query = {
            "client_id": telnyx.client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "voice.read",
        }
        page = ask("GET", "/oauth/authorize", key=None, query=query).headers["Location"]
        code = telnyx.approve(page).partition("code=")[2].partition("&")[0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, **own}
        return ask("POST", "/oauth/token", form=form, key=None).json()

    return sign_in


def refreshed(ask, own, token):
    return ask("POST", "/oauth/token", form={"grant_type": "refresh_token", "refresh_token": token, **own}, key=None)


def test_a_sign_in_leaves_a_grant_and_both_its_tokens(sign_in, telnyx):
    before = telnyx.state
    answer = sign_in()
    state = telnyx.state
    (grant_id,) = state.grants.keys() - before.grants.keys()
    assert (state.grants[grant_id].client_id, state.grants[grant_id].scopes) == (telnyx.client_id, ("voice.read",))
    access_token = state.access_tokens[answer["access_token"]]
    assert (access_token.grant_id, access_token.claims["sub"]) == (grant_id, state.user_id)
    assert state.refresh_tokens[answer["refresh_token"]].grant_id == grant_id
    assert len(before.refresh_tokens) == 0


def test_clients_are_those_that_are_registered(ask, telnyx):
    created = ask("POST", "/oauth/register", body={"client_name": "Terminal"}, key=None).json()
    client = telnyx.state.clients[created["client_id"]]
    assert (client.name, client.secret) == ("Terminal", created["client_secret"])
    ask("DELETE", f"/oauth/clients/{created['client_id']}")
    assert created["client_id"] not in telnyx.state.clients


@pytest.mark.parametrize("end", ["revoke", "expire", "delete the client"])
def test_only_access_tokens_that_the_service_accepts_are_there(ask, telnyx, end):
    token = telnyx.issue_token(lifetime=60)
    assert token in telnyx.state.access_tokens
    match end:
        case "revoke":
            telnyx.revoke(token)
        case "expire":
            telnyx.clock.advance(60)
        case _:
            ask("DELETE", f"/oauth/clients/{telnyx.client_id}")
    assert token not in telnyx.state.access_tokens
    assert list(telnyx.state.access_tokens) == ([] if end == "delete the client" else ["token"])


def test_a_refresh_token_is_there_until_its_grant_ends(ask, telnyx, own, sign_in):
    first = sign_in()["refresh_token"]
    second = refreshed(ask, own, first).json()["refresh_token"]
    kept = telnyx.state.refresh_tokens
    assert (kept[first].spent_at, kept[second].spent_at) == (pytest.approx(telnyx.clock.now(), abs=5), None)
    assert refreshed(ask, own, first).status_code == 400
    assert len(telnyx.state.refresh_tokens) == 0


def test_a_refresh_token_that_has_expired_is_not_there(telnyx, sign_in):
    token = sign_in()["refresh_token"]
    telnyx.clock.advance(telnyx.refresh_lifetime)
    assert token not in telnyx.state.refresh_tokens


def test_the_key_that_signs_is_named(ask, telnyx):
    assert telnyx.rotate_key() == telnyx.state.key_id
    assert ask("GET", "/oauth/jwks").json()["keys"][0]["kid"] == telnyx.state.key_id


def test_no_repr_of_the_state_shows_a_secret(ask, telnyx, sign_in):
    answer = sign_in()
    state = telnyx.state
    shown = [repr(state), str(state), repr(attrs.asdict(state, recurse=False))]
    shown += [repr(getattr(state, field.name)) for field in attrs.fields(type(state))]
    shown += [repr(list(values.values())) for values in (state.clients, state.access_tokens, state.refresh_tokens)]
    with pytest.raises(KeyError) as caught:
        state.access_tokens[answer["refresh_token"]]
    shown += [repr(caught.value)]
    secrets = (telnyx.api_key, telnyx.client_secret, answer["access_token"], answer["refresh_token"])
    assert not [secret for secret in secrets if any(secret in each for each in shown)]
    assert repr(state.refresh_tokens) == "<1 token>"
    assert repr(state.access_tokens) == "<2 tokens>"


def test_it_cannot_be_used_to_change_the_service(ask, telnyx):
    token = telnyx.issue_token()
    state = telnyx.state
    for name in ("clients", "grants", "access_tokens", "refresh_tokens"):
        with pytest.raises(TypeError, match="item assignment"):
            getattr(state, name)["x"] = None
    with pytest.raises(TypeError, match="item assignment"):
        state.access_tokens[token].claims["scope"] = "everything"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        state.user_id = "x"


def test_the_state_is_a_copy_of_one_moment(telnyx):
    state = telnyx.state
    token = telnyx.issue_token()
    telnyx.reset()
    assert token not in state.access_tokens
    assert len(state.clients) == 3


def test_one_sandbox_knows_nothing_of_another():
    one, other = Sandbox(), Sandbox()
    assert one.issue_token() not in other.state.access_tokens
