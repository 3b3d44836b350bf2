"""`demo` shows the main job from beginning to end, here and against a service elsewhere."""

from __future__ import annotations

import json

import pytest

from telnyx_oauth import TelnyxError
from telnyx_oauth.cli import demo
from telnyx_oauth.cli.output import Output
from telnyx_oauth.sandbox import Sandbox


def test_it_shows_each_step_on_a_machine_with_nothing_set_up(bare):
    shown = bare("demo")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\x1b" not in shown.stdout
    for step in ("1. Discover", "2. Get a token", "3. Call", "4. Create", "5. Introspect", "6. Verify", "7. ", "8. "):
        assert step in shown.stdout
    assert "skipped" not in shown.stdout
    assert "old token still good  yes" in shown.stdout
    assert "tokens           3" in shown.stdout


def test_against_a_service_it_uses_the_environments_credentials_and_changes_nothing(run, sandbox):
    shown = run("demo", "--base-url", sandbox.base_url, "--json")
    assert (shown.exit_code, shown.stderr) == (0, "")
    steps = json.loads(shown.stdout)["steps"]
    assert [step["step"].split()[0] for step in steps if "skipped" in step] == ["Create", "Replace", "Watch"]
    assert steps[5]["found"]["accepted"] is True
    assert {entry.method for entry in sandbox.requests} == {"GET", "POST"}
    assert {entry.path for entry in sandbox.requests.find(method="POST")} == {"/v2/oauth/token", "/v2/oauth/introspect"}


def test_with_an_api_key_it_skips_what_only_tokens_can_show(run, monkeypatch, sandbox):
    monkeypatch.delenv("TELNYX_CLIENT_ID")
    monkeypatch.setenv("TELNYX_API_KEY", sandbox.api_key)
    shown = run("demo", "--base-url", sandbox.base_url)
    assert shown.exit_code == 0
    assert "skipped: only an API key is configured" in shown.stdout
    assert "skipped: it is no JWT" in shown.stdout
    assert sandbox.api_key not in shown.output


def test_without_credentials_it_shows_what_is_public_and_says_what_it_needs(run, monkeypatch, sandbox):
    monkeypatch.delenv("TELNYX_CLIENT_SECRET")
    shown = run("demo", "--base-url", sandbox.base_url)
    assert shown.exit_code == 4
    assert "1. Discover" in shown.stdout
    assert "TELNYX_CLIENT_SECRET" in shown.stderr


def test_a_token_that_no_api_should_take_is_shown_as_what_it_is(run, sandbox):
    body = {
        "access_token": sandbox.issue_token(claims={"nonce": "x"}, header={"typ": "JWT"}),
        "token_type": "Bearer",
        "expires_in": 1800,
    }
    sandbox.faults.add("/oauth/token", kind="latency", body=json.dumps(body).encode(), times=None)
    shown = run("demo", "--base-url", sandbox.base_url)
    assert shown.exit_code == 0
    assert "reason    not_an_access_token" in shown.stdout


def test_no_secret_is_shown(run, sandbox):
    shown = run("demo", "--base-url", sandbox.base_url)
    assert shown.exit_code == 0
    assert sandbox.client_secret not in shown.stdout
    assert "eyJ" not in shown.stdout


def test_a_refresh_that_does_not_come_ends_it(monkeypatch):
    monkeypatch.setattr(demo, "PATIENCE", 0)
    with Sandbox() as local, local.client(trust_env=False) as client, pytest.raises(TelnyxError, match="not refreshed"):
        demo._refresh(demo.Steps(Output()), client, local)
