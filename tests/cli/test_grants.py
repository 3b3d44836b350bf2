"""`grants`: list, show, revoke."""

from __future__ import annotations

import json

GRANT = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"


def test_grants_are_listed_and_shown(run):
    header, row = run("grants", "list").stdout.splitlines()
    assert header.split() == ["id", "client_id", "scopes", "created_at"]
    assert row.startswith(GRANT)
    assert json.loads(run("grants", "show", GRANT, "--json").stdout)["id"] == GRANT


def test_a_revoked_grant_is_gone(run):
    assert run("grants", "revoke", GRANT, "--yes").stdout == f"Revoked {GRANT}.\n"
    assert run("grants", "show", GRANT).exit_code == 1
    assert run("grants", "list", "--json").stdout == "[]\n"


def test_revoking_as_json_gives_the_grant(run):
    assert json.loads(run("grants", "revoke", GRANT, "--yes", "--json").stdout)["id"] == GRANT


def test_without_a_terminal_nothing_is_revoked(run, sandbox):
    assert run("grants", "revoke", GRANT).exit_code == 2
    assert sandbox.requests.count(method="DELETE") == 0
