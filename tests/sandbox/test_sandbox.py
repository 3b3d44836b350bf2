from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from telnyx_oauth.sandbox import Sandbox

AUTHORIZE = "/oauth/authorize?client_id=client_id&redirect_uri=https://example.com&response_type=code&state=s"


def query(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_approve_and_deny_take_either_url(ask, telnyx):
    assert query(telnyx.approve(telnyx.base_url + AUTHORIZE)).keys() == {"code", "state"}
    page = ask("GET", AUTHORIZE, key=None).headers["Location"]
    assert query(telnyx.deny(page)) == {
        "error": "access_denied",
        "error_description": "The person denied the request.",
        "state": "s",
    }
    assert telnyx.requests.count("/oauth/consent/*", status=200) == 2
    assert telnyx.requests.count("/oauth/grants", method="POST", status=200) == 2


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("{base}/oauth/authorize?client_id=nobody&redirect_uri=https://example.com", "status 404"),
        ("{base}" + AUTHORIZE + "&scope=nothing", "invalid_scope"),
        ("{root}/consent?consent_token=used", "status 422"),
        ("{root}/consent", "no consent_token"),
    ],
)
def test_a_url_without_a_request_to_approve_is_an_error(telnyx, url, why):
    with pytest.raises(ValueError, match=why):
        telnyx.approve(url.format(base=telnyx.base_url, root=telnyx.root_url))


def test_a_refresh_token_is_revoked_with_its_grant(ask, telnyx, own):
    asked = {"client_id": telnyx.client_id, "redirect_uri": "http://127.0.0.1:9/callback", "response_type": "code"}
    back = telnyx.approve(ask("GET", "/oauth/authorize", key=None, query=asked).headers["Location"])
    form = {"grant_type": "authorization_code", "code": query(back)["code"], "redirect_uri": asked["redirect_uri"]}
    token = ask("POST", "/oauth/token", form=form | own, key=None).json()
    telnyx.revoke(token["refresh_token"])
    assert ask("GET", "/oauth/clients", key=token["access_token"]).status_code == 401
    with pytest.raises(ValueError, match="not issued"):
        telnyx.revoke(token["refresh_token"])


def test_reset_restores_the_initial_state(ask, telnyx):
    before = ask("GET", "/oauth/jwks").content
    telnyx.token_lifetime, telnyx.rotation = 5, "none"
    telnyx.clock.advance(3600)
    telnyx.rotate_key(overlap=False)
    telnyx.faults.add(kind="status", times=None)
    token = telnyx.issue_token()
    ask("DELETE", "/oauth/clients/client_id")
    telnyx.reset()
    assert len(telnyx.requests) == 0
    assert (telnyx.token_lifetime, telnyx.rotation) == (1800, "strict")
    assert ask("GET", "/oauth/jwks").content == before
    assert ask("GET", "/oauth/clients/client_id").status_code == 200
    assert ask("GET", "/oauth/clients", key=token).status_code == 401


def test_without_seed_data_there_is_only_its_own_client(ask):
    bare = Sandbox(seed_data=False, client_id="mine", client_secret="s", api_key="k")
    assert list(bare.state.clients) == ["mine"]
    assert (bare.client_secret, bare.api_key) == ("s", "k")
    assert not bare.state.grants


def test_sandboxes_share_keys_within_a_process_and_nothing_else():
    one, other = Sandbox(), Sandbox()
    assert one.state.key_id == other.state.key_id
    assert one.api_key != other.api_key
    assert one.issue_token() not in other.state.access_tokens


def test_without_admin_a_token_has_all_scopes(telnyx):
    narrow = Sandbox(scopes=("voice.read", "fax.read"))
    token = narrow.issue_token()
    assert narrow.state.access_tokens[token].claims["scope"] == "voice.read fax.read"


def test_the_package_does_not_load_its_sandbox(run):
    ran = run("import sys, telnyx_oauth; print([name for name in sys.modules if 'telnyx_oauth.sandbox' in name])")
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
