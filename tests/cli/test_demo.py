"""`demo` shows the main job from beginning to end, here and against a service elsewhere."""

from __future__ import annotations

import json


def test_it_shows_each_step_on_a_machine_with_nothing_set_up(bare):
    shown = bare("demo")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\x1b" not in shown.stdout
    for step in ("1. Discover", "2. Get a token", "3. Call", "4. Create", "5. Introspect", "6. Verify", "7. ", "8. "):
        assert step in shown.stdout
    assert "skipped" not in shown.stdout
    assert "old token still good  yes" in shown.stdout
    assert "tokens           3" in shown.stdout


def test_against_a_service_it_uses_the_environments_credentials_and_changes_nothing(shell, sandbox):
    shown = shell("demo", "--base-url", sandbox.base_url, "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    steps = json.loads(shown.stdout)["steps"]
    assert [step["step"].split()[0] for step in steps if "skipped" in step] == ["Create", "Have", "See"]
    assert steps[5]["found"]["accepted"] is True
    assert {entry.method for entry in sandbox.requests} == {"GET", "POST"}
    assert {entry.path for entry in sandbox.requests.find(method="POST")} == {"/v2/oauth/token", "/v2/oauth/introspect"}


def test_with_an_api_key_it_skips_what_only_tokens_can_show(bare, sandbox):
    shown = bare("demo", "--base-url", sandbox.base_url, TELNYX_API_KEY=sandbox.api_key)
    assert shown.returncode == 0
    assert "skipped: only an API key is configured" in shown.stdout
    assert "skipped: it is no JWT" in shown.stdout
    assert sandbox.api_key not in shown.stdout


def test_without_credentials_it_shows_what_is_public_and_says_what_it_needs(bare, sandbox):
    shown = bare("demo", "--base-url", sandbox.base_url)
    assert shown.returncode == 4
    assert "1. Discover" in shown.stdout
    assert "TELNYX_CLIENT_SECRET" in shown.stderr


def test_no_secret_is_shown(shell, sandbox):
    shown = shell("demo", "--base-url", sandbox.base_url)
    assert shown.returncode == 0
    assert sandbox.client_secret not in shown.stdout
    assert "eyJ" not in shown.stdout
