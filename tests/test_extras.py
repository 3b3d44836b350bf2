"""Without an extra, what needs it says which one to install."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import PACKAGE, ROOT

BLOCKED = """
import sys
for name in {names!r}: sys.modules[name] = None
try:
    {code}
except Exception as error:
    print(type(error).__name__, error)
"""
COMMANDS = sorted(f"telnyx_oauth.cli.{path.stem}" for path in (PACKAGE / "cli").glob("[a-z]*.py"))


def without(names: tuple[str, ...], code: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED.format(names=names, code=code), *args]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


@pytest.mark.parametrize(
    ("names", "code", "extra"),
    [
        (("keyring",), "from telnyx_oauth import KeyringStore; KeyringStore()", "keyring"),
        (("redis", "redis.asyncio"), "from telnyx_oauth import RedisStore; RedisStore('redis://127.0.0.1')", "redis"),
        (("opentelemetry",), "import telnyx_oauth.tokens.telemetry", "otel"),
        (("opentelemetry",), "from telnyx_oauth.tokens.telemetry import TokenTelemetry", "otel"),
        (("click",), f"for name in {COMMANDS}: __import__(name)", "cli"),
    ],
)
def test_what_needs_an_extra_names_it(names, code, extra):
    done = without(names, code)
    assert f"pip install 'telnyx-oauth[{extra}]'" in done.stdout
    assert done.stderr == ""


def test_every_command_needs_the_extra_and_says_so():
    code = f"""
    for name in {COMMANDS}:
        try: __import__(name)
        except ImportError as error: print(name, "telnyx-oauth[cli]" in str(error))"""
    told = without(("click",), code.strip()).stdout
    assert told
    assert "False" not in told
    assert "telnyx_oauth.cli.app True" in told


def test_signing_in_to_a_keyring_without_its_extra_says_so_before_a_browser_opens(tmp_path):
    code = "from telnyx_oauth.cli import main; main()"
    env = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", BLOCKED.format(names=("keyring",), code=code)]
    command += ["login", "--client-id", "c", "--store", "keyring", "--base-url", "http://127.0.0.1:9"]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "pip install 'telnyx-oauth[keyring]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "open this address" not in done.stderr


def test_without_speedups_all_is_read_as_before():
    code = "from telnyx_oauth.protocol.converter import loads; print(loads(b'[1]'))"
    assert without(("orjson",), code).stdout == "[1]\n"
