"""Every Python block of the documentation and the README runs, in its page's order, and prints what the page says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from telnyx_oauth.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "~~~ the next block ~~~"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


def script(page: Path) -> tuple[str, list[str]]:
    """A page's blocks as one program, and what each of them should print; the empty text is anything."""
    code, expected = "", list[str]()
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            # Each block has the line numbers of nowhere, so the mark tells which one failed.
            code += f"{text}\nprint({MARK!r}, flush=True)\n"
            expected.append("")
        elif language == "text" and expected:
            expected[-1] = text
    return code, expected


def written(page: Path) -> bool:
    return "```python" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if written(page)]
)
def test_a_page_does_what_it_says(page: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.reset()
    code, expected = script(page)
    environment = {
        **os.environ,
        "TELNYX_BASE_URL": sandbox.base_url,
        "TELNYX_API_KEY": sandbox.api_key,
        "TELNYX_CLIENT_ID": sandbox.client_id,
        "TELNYX_CLIENT_SECRET": sandbox.client_secret,
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    printed = done.stdout.split(f"{MARK}\n")[:-1]
    for told, text in zip(expected, printed, strict=True):
        if told:
            pattern = re.escape(told.strip()).replace(r"\.\.\.", ".*")
            assert re.fullmatch(pattern, text.strip(), re.DOTALL), f"{page.name} says\n{told}\nand it printed\n{text}"
