"""`clients`: list, show, create, update, delete."""

from __future__ import annotations

import json

import pytest


def names(result) -> list[str]:
    return [each["name"] for each in json.loads(result.stdout)]


@pytest.fixture
def many(sandbox) -> int:
    """More clients than a page holds. Gives how many there are."""
    with sandbox.client(trust_env=False) as client:
        for number in range(101):
            client.oauth_clients.create(
                name=f"Client {number}", client_type="public", allowed_grant_types=["authorization_code"],
                allowed_scopes=["admin"], redirect_uris=["https://example.com"],
            )  # fmt: skip
        return len(list(client.oauth_clients.list(page_size=100)))


def test_the_list_is_a_plain_table_off_a_terminal(run):
    shown = run("clients", "list")
    header, *rows = shown.stdout.splitlines()
    assert shown.exit_code == 0
    assert header.split() == ["client_id", "name", "client_type", "created_at"]
    assert len(rows) == 3
    assert all(line == line.rstrip() for line in rows)
    assert "\x1b" not in shown.output


def test_the_list_goes_over_all_pages(run, many):
    assert len(json.loads(run("clients", "list", "--json").stdout)) == many > 100


def test_a_limit_ends_the_list_early(run, many, sandbox):
    sandbox.requests.clear()
    assert len(names(run("clients", "list", "--json", "--limit", "100"))) == 100
    assert sandbox.requests.count("/oauth/clients") == 1


@pytest.mark.parametrize(
    "filters, expected",
    [
        (["--name", "Sandbox client"], ["Sandbox client"]),
        (["--name-contains", "client"], ["Sandbox client", "My OAuth client"]),
        (["--type", "confidential"], ["Sandbox client"]),
        (["--grant-type", "client_credentials"], ["Sandbox client"]),
    ],
)
def test_the_list_can_be_filtered(run, filters, expected):
    assert names(run("clients", "list", "--json", *filters)) == expected


def test_no_match_is_an_empty_list_and_no_error(run):
    shown = run("clients", "list", "--name", "nobody")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert shown.stderr == "There are no such clients.\n"
    assert run("clients", "list", "--name", "nobody", "--json").stdout == "[]\n"


CREATE = ("clients", "create", "--name", "New", "--grant-type", "client_credentials", "--scope", "admin voice.read")


def test_a_secret_is_shown_when_it_is_made_and_never_again(run):
    created = run(*CREATE, "--type", "confidential", "--json")
    answer = json.loads(created.stdout)
    assert answer["client_secret"]
    assert answer["allowed_scopes"] == ["admin", "voice.read"]
    assert "told this once" in created.stderr
    for later in (("show", answer["client_id"]), ("list",), ("update", answer["client_id"], "--name", "Newer")):
        for form in ((), ("--json",)):
            shown = run("clients", *later, *form)
            assert shown.exit_code == 0
            assert answer["client_secret"] not in shown.output
            assert "client_secret" not in shown.output


def test_a_service_that_tells_the_secret_again_is_not_repeated(run, sandbox):
    body = json.loads(run("clients", "show", "client_id", "--json").stdout) | {"client_secret": "told again"}
    sandbox.faults.add("/oauth/clients/*", kind="latency", body=json.dumps({"data": body}).encode(), times=None)
    for form in ((), ("--json",)):
        shown = run("clients", "show", "client_id", *form)
        assert shown.exit_code == 0
        assert "told again" not in shown.output


def test_a_public_client_has_no_secret_to_keep(run):
    arguments = ("--name", "App", "--type", "public", "--grant-type", "authorization_code", "--scope", "admin")
    shown = run("clients", "create", *arguments, "--redirect-uri", "https://a.example", "--require-pkce")
    assert shown.exit_code == 0
    assert "require_pkce         yes" in shown.stdout
    assert "told this once" not in shown.stderr


def test_options_replace_the_values_of_a_client(run):
    shown = run("clients", "update", "client_id", "--scope", "admin", "--no-require-pkce", "--json")
    answer = json.loads(shown.stdout)
    assert (answer["allowed_scopes"], answer["name"]) == (["admin"], "Example application")


def test_an_update_of_nothing_is_wrong_usage_and_sends_nothing(run, sandbox):
    shown = run("clients", "update", "client_id")
    assert shown.exit_code == 2
    assert "nothing to change" in shown.stderr
    assert sandbox.requests.count(method="PUT") == 0


def test_with_yes_a_client_is_deleted(run):
    assert run("clients", "delete", "client_id", "--yes").stdout == "Deleted client_id.\n"
    gone = run("clients", "show", "client_id", "--json")
    assert gone.exit_code == 1
    assert json.loads(gone.stderr)["error"]["request_id"]


def test_deleting_as_json_says_what_was_deleted(run):
    assert json.loads(run("clients", "delete", "client_id", "--yes", "--json").stdout) == {
        "client_id": "client_id",
        "deleted": True,
    }


def test_without_a_terminal_nothing_is_deleted(run, sandbox):
    shown = run("clients", "delete", "client_id")
    assert shown.exit_code == 2
    assert "--yes" in shown.stderr
    assert sandbox.requests.count(method="DELETE") == 0


def test_an_id_that_is_no_id_is_wrong_usage(run):
    assert run("clients", "show", "..").exit_code == 2


def test_a_name_gives_a_terminal_no_orders(run, sandbox):
    orders = "\x1b\x07\x9b\u202e\u2066\u200e\u200f\u061c\u200b\u2028\u2060\ufeff\xad\U000e0041"
    name = f"\x1b]0;owned\x0731m{orders}evil, \N{ARABIC LETTER MEEM}\u200c\N{ARABIC LETTER YEH}"
    listed = {"data": [json.loads(run("clients", "show", "client_id", "--json").stdout) | {"name": name}]}
    sandbox.faults.add("/oauth/clients", kind="latency", body=json.dumps(listed).encode(), times=None)
    shown = run("clients", "list")
    assert shown.exit_code == 0
    assert "evil, \N{ARABIC LETTER MEEM}\u200c\N{ARABIC LETTER YEH}" in shown.stdout
    assert not set(orders) & set(shown.output)
    assert names(run("clients", "list", "--json")) == [name]


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-02:00"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_date_at_the_end_of_the_calendar_is_shown_somehow(run, sandbox, date, form):
    body = {"client_id": "c", "name": "n", "client_type": "public", "record_type": "oauth_client", "org_id": "o"}
    body |= {"user_id": "u", "require_pkce": False, "created_at": date, "updated_at": date}
    sandbox.faults.add("/oauth/clients/*", kind="latency", body=json.dumps({"data": body}).encode(), times=None)
    listed = {"data": [body], "meta": {"page_number": 1, "page_size": 20, "total_pages": 1, "total_results": 1}}
    sandbox.faults.add("/oauth/clients", kind="latency", body=json.dumps(listed).encode(), times=None)
    for command in (("show", "client_id"), ("list",)):
        shown = run("clients", *command, *form)
        assert shown.exit_code == 0, shown.stderr
        assert date[:10] in shown.stdout
