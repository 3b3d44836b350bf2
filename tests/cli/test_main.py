"""How the command begins and ends: what it loads, what it misses, how it fails."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from telnyx_oauth.cli.app import cli
from telnyx_oauth.transport.clock import SystemClock


def every_command(group, path=()):
    for name, each in sorted(group.commands.items()):
        yield (*path, name)
        if hasattr(each, "commands"):
            yield from every_command(each, (*path, name))


def python(shell, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=shell.environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_help_loads_neither_aiohttp_nor_rich_whatever_the_command(bare):
    """One process for all commands: what one of them loads, the check after it sees."""
    code = """
import json, sys
from telnyx_oauth.cli.app import cli
for path in json.loads(sys.argv[1]):
    try:
        cli([*path, "--help"], prog_name="telnyx-oauth")
    except SystemExit as end:
        assert end.code == 0, path
    loaded = {"aiohttp", "anyio", "joserfc", "rich", "keyring", "redis"} & sys.modules.keys()
    assert not loaded, (path, loaded)
"""
    paths = [(), *every_command(cli)]
    shown = python(bare, code, json.dumps(paths))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.count("Usage: telnyx-oauth") == len(paths)


@pytest.mark.parametrize("path", list(every_command(cli)), ids=" ".join)
def test_each_command_has_json_and_a_help_text(path):
    command = cli
    for name in path:
        command = command.commands[name]
    assert command.help
    if not hasattr(command, "commands"):
        assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_without_the_extra_it_says_how_to_install_it(bare):
    code = "import sys; sys.modules['rich'] = None\nimport importlib.util as u\nreal = u.find_spec\n"
    code += "u.find_spec = lambda name: None if name == 'rich' else real(name)\n"
    code += "from telnyx_oauth.cli import main; main()"
    shown = python(bare, code)
    assert shown.returncode == 1
    assert shown.stdout == ""
    assert "pip install 'telnyx-oauth[cli]'" in shown.stderr
    assert 'pip install "telnyx-oauth[cli]"' in shown.stderr
    assert "Traceback" not in shown.stderr


def test_the_version_is_the_packages(bare):
    shown = bare("--version")
    assert shown.returncode == 0
    assert shown.stdout.startswith("telnyx-oauth, version ")


def test_a_shell_can_complete_what_is_typed(bare):
    typed = {"_TELNYX_OAUTH_COMPLETE": "bash_complete", "COMP_WORDS": "telnyx-oauth clients cr", "COMP_CWORD": "2"}
    assert bare(**typed).stdout == "plain,create\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["demo", "--nonsense"], ["sandbox", "--port", "70000"]])
def test_wrong_usage_ends_with_2(run, arguments):
    shown = run(*arguments)
    assert shown.exit_code == 2
    assert "Usage:" in shown.stderr


def test_a_base_url_that_is_none_is_wrong_usage(run):
    shown = run("metadata", "--base-url", "ftp://example.com")
    assert shown.exit_code == 2
    assert "base_url must begin with http:// or https://" in shown.stderr


@pytest.mark.parametrize("where", ["http://telnyx.invalid/v2", "http://10.0.0.1:8080", "HTTP://localhost.example/v2"])
def test_plain_http_to_another_machine_is_wrong_usage_unless_allowed(run, monkeypatch, where):
    shown = run("metadata", "--base-url", where)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "base_url is plain http to another machine" in shown.stderr
    assert "--allow-insecure" in shown.stderr
    monkeypatch.setenv("TELNYX_BASE_URL", where)
    shown = run("clients", "list")
    assert shown.exit_code == 2
    assert "TELNYX_BASE_URL is plain http to another machine" in shown.stderr
    assert "TELNYX_ALLOW_INSECURE=1" in shown.stderr


@pytest.mark.parametrize("where", ["https://api..telnyx.com/v2", "https://256.1.1.1/v2", "https://a b/v2", "ftp://a"])
def test_the_error_for_a_malformed_address_names_its_source(run, monkeypatch, where):
    assert "base_url must" in run("metadata", "--base-url", where).stderr
    monkeypatch.setenv("TELNYX_BASE_URL", where)
    for command in (["metadata"], ["clients", "list"], ["doctor"], ["login", "--no-browser"]):
        shown = run(*command)
        assert shown.exit_code == 2
        assert "TELNYX_BASE_URL must" in shown.stderr


def test_plain_http_to_another_machine_may_be_allowed(run, monkeypatch):
    async def at_once(self, seconds):
        await asyncio.sleep(0)

    monkeypatch.setattr(SystemClock, "sleep", at_once)  # the pauses between attempts are not the point
    where = "http://telnyx.invalid/v2"
    for command in (["metadata"], ["clients", "list"]):
        shown = run(*command, "--base-url", where, "--allow-insecure")
        assert (shown.exit_code, "No connection" in shown.stderr) == (1, True)
    monkeypatch.setenv("TELNYX_ALLOW_INSECURE", "1")
    assert "No connection" in run("metadata", "--base-url", where).stderr
    monkeypatch.setenv("TELNYX_BASE_URL", where)
    assert "No connection" in run("metadata").stderr


def test_a_service_that_is_not_there_is_an_error_without_a_traceback(bare):
    shown = bare("metadata", "--base-url", "http://127.0.0.1:1/v2")
    assert shown.returncode == 1
    assert "Error: " in shown.stderr
    assert "Traceback" not in shown.stderr


def test_an_empty_answer_is_an_error(run, sandbox):
    sandbox.faults.add("/oauth/clients/*", kind="latency", body=b"{}", times=None)
    shown = run("clients", "show", "client_id", "--json")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert json.loads(shown.stderr)["error"]["code"] == "invalid_response"
