"""`token`, `status`, `introspect` and `verify`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from click.types import FuncParamType

from telnyx_oauth.cli.app import cli
from telnyx_oauth.cli.output import Output
from telnyx_oauth.protocol.secret import Secret
from telnyx_oauth.types import OAuthRegisterResponse


def test_a_token_is_printed_alone_and_verifies(run, sandbox):
    token = run("token").stdout
    assert token.count("\n") == 1
    shown = run("verify", "--scope", "admin", stdin=token)
    assert shown.exit_code == 0
    assert "signed by" in shown.stdout
    assert token.strip() not in shown.output


def test_a_token_that_could_not_be_verified_is_printed_with_a_word_of_that(run, sandbox):
    sandbox.faults.add("/oauth/jwks", kind="status", status=503, times=None)
    shown = run("token")
    assert shown.exit_code == 0
    assert shown.stdout.count("\n") == 1
    assert "could not be verified: the keys could not be fetched" in shown.stderr
    assert shown.stderr.count("could not be verified") == 1


def test_a_token_as_json_says_how_long_it_lasts(run):
    document = json.loads(run("token", "--json", "--scope", "voice.read", "--min-ttl", "60").stdout)
    assert document.keys() == {"access_token", "token_type", "scope", "expires_at", "expires_in"}
    assert document["scope"] == "voice.read"
    assert 1700 < document["expires_in"] <= 1800


def test_the_status_sends_nothing_and_shows_no_secret(run, sandbox):
    shown = run("status", "--json")
    assert json.loads(shown.stdout)["client_id"] == sandbox.client_id
    assert sandbox.client_secret not in shown.output
    assert "client credentials" in run("status").stdout
    assert len(sandbox.requests) == 0


def test_without_credentials_authentication_is_needed(run, monkeypatch, sandbox):
    monkeypatch.delenv("TELNYX_CLIENT_SECRET")
    for command in (("status",), ("token",), ("clients", "list"), ("introspect", "x")):
        shown = run(*command)
        assert shown.exit_code == 4
        assert "TELNYX_CLIENT_SECRET" in shown.stderr
    assert len(sandbox.requests) == 0


def test_with_credentials_that_are_no_good_authentication_is_needed(run, monkeypatch):
    monkeypatch.setenv("TELNYX_CLIENT_SECRET", "wrong")
    shown = run("clients", "list", "--json")
    assert (shown.exit_code, shown.stdout) == (4, "")
    assert json.loads(shown.stderr)["error"]["code"] == "invalid_client"
    assert "wrong" not in shown.output


def test_an_api_key_is_an_identity_too(run, monkeypatch, sandbox):
    monkeypatch.delenv("TELNYX_CLIENT_ID")
    monkeypatch.delenv("TELNYX_CLIENT_SECRET")
    monkeypatch.setenv("TELNYX_API_KEY", sandbox.api_key)
    shown = run("status", "--json")
    assert json.loads(shown.stdout)["identity"] == "API key"
    assert sandbox.api_key not in shown.output
    assert run("clients", "list").exit_code == 0
    assert json.loads(run("token", "--json").stdout)["expires_in"] is None


def test_introspection_says_what_a_token_means(run, sandbox):
    token = sandbox.issue_token(scope="voice.read")
    document = json.loads(run("introspect", "--json", stdin=token).stdout)
    assert (document["active"], document["scope"]) == (True, "voice.read")
    assert json.loads(run("introspect", "-", "--json", stdin="garbage\n").stdout) == {"active": False}


def test_credentials_that_may_not_introspect_are_an_authentication_error(run, monkeypatch):
    monkeypatch.delenv("TELNYX_CLIENT_SECRET")
    monkeypatch.setenv("TELNYX_API_KEY", "KEYwrong")
    shown = run("introspect", "token")
    assert shown.exit_code == 4
    assert "KEYwrong" not in shown.output


@pytest.mark.parametrize("command", ["introspect", "verify"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_token_on_the_command_line_is_taken_with_one_line_of_warning_that_names_stdin(run, sandbox, command, more):
    token = sandbox.issue_token(scope="voice.read")
    shown = run(command, token, *more)
    assert shown.exit_code == 0
    (line,) = shown.stderr.splitlines()
    assert "Warning" in line
    assert "stdin" in line
    assert token not in shown.output
    for quiet in (run(command, *more, stdin=token), run(command, "-", *more, stdin=token)):
        assert (quiet.exit_code, quiet.stderr) == (0, "")
        assert quiet.stdout == shown.stdout
    if more:
        json.loads(shown.stdout)


def test_no_command_takes_a_secret_that_is_not_read_from_stdin_as_well():
    """Whatever is named for a secret has the type that hides it, and may be left out."""
    seen = 0
    for name, command in commands(cli):
        for parameter in command.params:
            words = set(re.split(r"[^a-z]+", f"{parameter.name} {' '.join(parameter.opts)}".lower().replace("_", " ")))
            if words & {"token", "secret", "password", "key", "code", "verifier", "callback"} - DESPITE.get(
                name, set()
            ):
                seen += 1
                assert isinstance(parameter.type, FuncParamType), f"{name} {parameter.name}"
                assert parameter.type.func is Secret
                assert not parameter.required
    assert seen == 2


DESPITE = {"sandbox": {"token"}, "register": {"token"}}
"""Words that are no secret in a command: how long a token lives, and how its endpoint is spoken to."""


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{above}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")


def test_no_frame_of_a_command_shows_its_token(monkeypatch, shell, secrets):
    """Where something unforeseen happens, such as here."""

    def fail(*_: object, **__: object) -> None:
        raise LookupError("unforeseen")

    for variable, value in shell.variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("telnyx_oauth.transport.http.HttpTransport.__call__", fail)
    monkeypatch.setattr("telnyx_oauth.validation.validator.TokenValidator.validate", fail)
    for command, argument in (("introspect", {}), ("verify", {}), ("introspect", "-"), ("verify", "-")):
        arguments, stdin = ([secrets.access_token], "") if not argument else (["-"], secrets.access_token)
        shown = CliRunner().invoke(cli, [command, *arguments], input=stdin)
        assert isinstance(shown.exception, LookupError)
        assert secrets.found_in(shown.exception) == []


def test_no_frame_of_output_to_a_broken_pipe_shows_a_secret(monkeypatch, secrets):
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("click.echo", broken)
    answer = OAuthRegisterResponse(client_id="c", client_id_issued_at=1, client_secret=secrets.client_secret)
    for as_json in (False, True):
        with pytest.raises(BrokenPipeError) as caught:
            Output(as_json).answer(answer, secrets=True)
        assert secrets.found_in(caught.value) == []


@pytest.mark.parametrize("command", ["introspect", "verify"])
def test_no_token_is_wrong_usage(run, command):
    assert run(command, stdin=" \n").exit_code == 2


@pytest.mark.parametrize(
    "made, options, reason, hint",
    [
        ({"forged": True}, [], "signature_invalid", ""),
        ({"lifetime": -100}, [], "expired", "doctor"),
        ({}, ["--audience", "someone"], "aud_mismatch", "--audience"),
        ({}, ["--issuer", "https://else.example"], "iss_mismatch", "--issuer"),
        ({"scope": "voice.read"}, ["--scope", "voice.write"], "scope_insufficient", ""),
    ],
)
def test_a_token_that_is_no_good_ends_with_1_and_the_reason(run, sandbox, made, options, reason, hint):
    shown = run("verify", *options, stdin=sandbox.issue_token(**made))
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert f"({reason})" in shown.stderr
    assert hint in shown.stderr


def test_a_verified_token_as_json_has_its_claims(run, sandbox):
    document = json.loads(run("verify", "--json", stdin=sandbox.issue_token(audience=["a", sandbox.root_url])).stdout)
    assert document["valid"] is True
    assert document["claims"]["aud"] == ["a", sandbox.root_url]
