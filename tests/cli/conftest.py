"""The command as a user runs it: a process of its own, in the environment that a test chooses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result

import telnyx_oauth
from telnyx_oauth.cli.app import cli
from telnyx_oauth.sandbox import Sandbox

COMMAND = (sys.executable, "-W", "error", "-m", "telnyx_oauth.cli")
WHERE = str(Path(telnyx_oauth.__file__).parent.parent)
PATIENCE = 30.0


@pytest.fixture(scope="module")
def _started() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_started: Sandbox) -> Sandbox:
    """A local Telnyx as it is when new."""
    _started.reset()
    return _started


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home folder of this test's user."""
    return tmp_path


@attrs.frozen
class Shell:
    """A shell: commands see its exported variables and no others of this process."""

    variables: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TELNYX_")}
        return kept | {"PYTHONPATH": WHERE} | self.variables

    def __call__(self, *arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, on pipes."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment | variables,
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        """Begin a command, on pipes."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen([*COMMAND, *arguments], env=self.environment, **pipes)


@pytest.fixture
def bare(home: Path) -> Shell:
    """A shell in which nothing is exported."""
    places = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA", "STATE")}
    return Shell({"HOME": str(home), "USERPROFILE": str(home), **places})


@pytest.fixture
def shell(bare: Shell, sandbox: Sandbox) -> Shell:
    """A shell in which the sandbox's address and client are exported."""
    return Shell(
        bare.variables
        | {
            "TELNYX_BASE_URL": sandbox.base_url,
            "TELNYX_CLIENT_ID": sandbox.client_id,
            "TELNYX_CLIENT_SECRET": sandbox.client_secret,
        }
    )


@pytest.fixture
def run(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in this process, with the shell's variables: quicker, and the same but for the process."""
    for name, value in shell.variables.items():
        monkeypatch.setenv(name, value)

    def invoke(*arguments: str, stdin: str = "") -> Result:
        result = CliRunner().invoke(cli, arguments, input=stdin, prog_name="telnyx-oauth")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke
