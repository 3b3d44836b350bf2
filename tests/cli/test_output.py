"""Commands whose streams are missing, shared with children, or shorter than what people paste."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND
from tests.cli.test_login import configuration, person, visit

__all__ = ["configuration", "person"]
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="a shell there closes no streams"),
    pytest.mark.blocks_loop,
]


def closed(shell, redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = f'exec "$@" {redirections}'
    return subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, *arguments],
        env=shell.environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("clients", "delete", "x"), "There is no terminal to ask on"),
        (("introspect",), "There is no token on stdin"),
        (("verify",), "There is no token on stdin"),
        (("introspect", "-"), "There is no token on stdin"),
    ],
)
def test_without_stdin_a_question_is_wrong_usage(shell, sandbox, arguments, says):
    ended = closed(shell, "<&-", *arguments)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sandbox.requests.count(method="DELETE") == 0


@pytest.mark.parametrize("redirections", ["<&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-", ">&-", "2>&-"])
@pytest.mark.parametrize("arguments", [("clients", "list"), ("clients", "list", "--json"), ("token",), ("status",)])
def test_any_stream_may_be_missing(shell, redirections, arguments):
    ended = closed(shell, redirections, *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert bool(ended.stdout) == (">&-" not in redirections.replace("2>&-", ""))


def browser(shell, folder: Path) -> None:
    """A browser that prints."""
    script = folder / "browser"
    script.write_text("#!/bin/sh\necho Opening in existing browser session.\n", encoding="ascii")
    script.chmod(0o755)
    shell.variables["BROWSER"] = f"{script} %s"


@pytest.mark.parametrize("redirections", ["", "<&-"])
def test_a_browser_that_prints_stands_in_no_document(shell, person, sandbox, tmp_path, redirections):
    browser(shell, tmp_path)
    with subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *COMMAND, "login", "--json"],
        env=shell.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines = [process.stderr.readline(), process.stderr.readline()]
        printed = process.stderr.readline()  # the browser has been opened, and stands beside the notes
        visit(sandbox.approve(lines[1].strip()))
        out, errors = process.communicate(timeout=30)
    assert "Opening in existing browser session." in printed
    assert process.returncode == 0, errors
    assert json.loads(out)["profile"] == "default"


@pytest.mark.parametrize("length", [100, 5_000, 12_000])
def test_what_is_pasted_is_read_whole(shell, person, sandbox, length):
    from tests.cli.terminal import Terminal

    shown = Terminal((*COMMAND, "login", "--no-browser"), shell.environment, columns=60)
    shown.wait_for("Or paste the address that it ended at: ")
    url = next(line for line in shown.text.splitlines() if line.startswith("http"))
    ended = sandbox.approve(url)
    before, _, after = ended.partition("?")
    shown.press("x\x7f")  # typed, and taken back
    shown.press(f"{before}?session_state={'x' * length}&{after}\n")
    assert shown.end() == 0
    assert "Signed in: profile default" in shown.text


def test_a_terminal_is_left_as_it_was(shell, person):
    import pty
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with subprocess.Popen(
        [*COMMAND, "login", "--no-browser", "--timeout", "1"],
        env=shell.environment,
        stdin=slave,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        process.wait(30)
    assert process.returncode == 1
    assert termios.tcgetattr(slave)[:4] == before[:4]
    os.close(slave)
    os.close(master)


def test_a_store_that_cannot_be_read_is_no_reason_to_sign_in_again(shell, run, person, configuration):
    assert run("login").exit_code == 0
    (configuration / "tokens").chmod(0o755)
    for command in (("token",), ("clients", "list"), ("status",), ("grants", "list")):
        shown = shell(*command)
        assert shown.returncode == 1, shown
        assert "chmod 700" in shown.stderr
        assert "ign in again" not in shown.stderr
    (configuration / "tokens").chmod(0o700)
    assert shell("token").returncode == 0
