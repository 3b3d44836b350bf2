"""`metadata`, `jwks` and `register`: what needs no credentials."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(autouse=True)
def _nobody(run, monkeypatch):
    for name in ("TELNYX_CLIENT_ID", "TELNYX_CLIENT_SECRET"):
        monkeypatch.delenv(name)


def test_both_documents_are_shown(run, sandbox):
    document = json.loads(run("metadata", "--json").stdout)
    assert document["authorization_server"]["issuer"] == sandbox.root_url
    assert document["protected_resource"]["resource"] == sandbox.root_url
    assert "Protected resource\n" in run("metadata").stdout


def test_the_keys_are_shown(run):
    (key,) = json.loads(run("jwks", "--json").stdout)["keys"]
    assert key.keys() >= {"kid", "kty", "n", "e"}
    header, row = run("jwks").stdout.splitlines()
    assert header.split() == ["kid", "kty", "alg", "use"]
    assert row.startswith(key["kid"])


def test_a_registration_shows_its_secret_once(run):
    shown = run("register", "--name", "Mine", "--redirect-uri", "http://127.0.0.1/cb", "--scope", "admin", "--json")
    document = json.loads(shown.stdout)
    assert document["client_secret"]
    assert (document["client_name"], document["scope"]) == ("Mine", "admin")
    assert "told this once" in shown.stderr


def test_a_public_registration_has_none(run):
    shown = run("register", "--redirect-uri", "http://127.0.0.1/cb", "--auth-method", "none")
    assert shown.exit_code == 0
    assert "client_secret" not in shown.output


def test_a_refused_registration_says_why(run):
    shown = run("register", "--redirect-uri", "javascript:alert(1)")
    assert shown.exit_code == 1
    assert "redirect_uri" in shown.stderr
