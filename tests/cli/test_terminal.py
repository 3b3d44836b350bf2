"""On a terminal: tables, prompts, Ctrl-C, progress; and what a pipe that closes early makes of it."""

from __future__ import annotations

import sys

import pytest

from tests.wire import waited_for

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

from tests.cli.conftest import COMMAND
from tests.cli.terminal import Terminal


@pytest.fixture
def terminal(shell):
    def start(*arguments, columns=100, **variables):
        return Terminal((*COMMAND, *arguments), shell.environment | variables, columns)

    return start


@pytest.mark.parametrize("columns", [80, 140])
def test_a_table_fits_the_terminal_and_leaves_ids_in_one_piece(terminal, sandbox, columns):
    shown = terminal("clients", "list", columns=columns)
    assert shown.end() == 0
    assert "\x1b[" in shown.seen
    assert all(name in shown.text for name in (sandbox.client_id, "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"))
    assert max(map(len, shown.text.splitlines()[1:])) <= columns


def test_on_a_narrow_terminal_each_row_is_a_block(terminal, sandbox):
    shown = terminal("clients", "list", columns=44)
    assert shown.end() == 0
    lines = shown.text.splitlines()
    assert sum(line.startswith("client_id ") for line in lines) == 3
    assert max(map(len, lines)) <= 44
    assert "".join(line.split()[-1] for line in lines if line.startswith("client_id ")).startswith(sandbox.client_id)


def test_no_color_leaves_text_alone(terminal):
    shown = terminal("clients", "list", NO_COLOR="1")
    assert shown.end() == 0
    assert "\x1b" not in shown.seen
    assert "Sandbox client" in shown.seen


@pytest.mark.parametrize("answer, exit_code, deleted", [("y\n", 0, 1), ("\n", 1, 0), ("\x04", 1, 0)])
def test_a_deletion_asks_first(terminal, sandbox, answer, exit_code, deleted):
    shown = terminal("clients", "delete", "client_id")
    shown.wait_for("Delete the OAuth client client_id? [y/N]: ")
    shown.press(answer)
    assert shown.end() == exit_code
    assert "Traceback" not in shown.seen
    assert sandbox.requests.count(method="DELETE") == deleted


def test_ctrl_c_at_the_question_deletes_nothing(terminal, sandbox):
    shown = terminal("clients", "delete", "client_id")
    shown.wait_for("[y/N]: ")
    assert shown.interrupt() == 1
    assert "Traceback" not in shown.seen
    assert sandbox.requests.count(method="DELETE") == 0


def test_a_token_that_is_typed_in_is_not_shown(terminal, sandbox):
    shown = terminal("introspect")
    shown.wait_for("Token: ")
    shown.press("token\n")
    assert shown.end() == 0
    assert "active" in shown.text
    assert "token\n" not in shown.text.partition("active")[0].replace("Token: \n", "")


def test_ctrl_c_at_a_hidden_prompt_ends_it(terminal, sandbox):
    shown = terminal("verify")
    shown.wait_for("Token: ")
    assert shown.interrupt() == 1
    assert "Aborted!" in shown.text
    assert "Traceback" not in shown.seen


def test_ctrl_c_while_the_service_is_silent_ends_it(terminal, sandbox):
    sandbox.faults.add("/oauth/clients", kind="hang", times=None)
    shown = terminal("clients", "list")
    assert waited_for(lambda: sandbox.requests.count("/oauth/token"))
    assert shown.interrupt() == 1
    assert "Aborted!" in shown.text
    assert "Traceback" not in shown.seen


def test_a_long_list_shows_how_far_it_is(terminal, sandbox):
    sandbox.faults.add("/oauth/grants", kind="latency", seconds=0.3, times=None)
    shown = terminal("grants", "list")
    assert shown.end() == 0
    assert "Fetching" in shown.seen


def test_a_pipe_that_is_closed_early_is_no_error_worth_a_word(shell, sandbox):
    with shell.start("metadata", "--json") as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == ""
    assert process.returncode == 1


def test_so_is_one_that_was_closed_on_a_table(shell):
    with shell.start("metadata") as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == ""


def test_an_output_that_knows_few_characters_gets_what_it_knows(shell, sandbox):
    with sandbox.client(trust_env=False) as client:
        client.oauth_clients.update("client_id", name="Call ☎")
    shown = shell("clients", "show", "client_id", PYTHONIOENCODING="latin-1")
    assert shown.returncode == 0
    assert "Call ?" in shown.stdout
