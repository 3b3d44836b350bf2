"""The snippets that this package was made for: each runs with only the import changed, in a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from telnyx_oauth.sandbox import Sandbox

SEED = Path(__file__).parent / "seed" / "snippets.md"
SNIPPETS = re.findall(r"^## ([^\n]+)\n\n`(\w+) .*?`\n\n```python\n(.*?)```", SEED.read_text(), re.MULTILINE | re.DOTALL)
CLIENT = r"OAuthClient\(client_id='.+'.*\)"
GRANT = r"OAuthGrant\(id='182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e'.*\)"
PRINTS = {
    "Authorization server metadata": r"http://127\.0\.0\.1:\d+/v2/oauth/authorize",
    "Protected resource metadata": r"\['http://127\.0\.0\.1:\d+'\]",
    "OAuth authorization endpoint": "",
    "List OAuth clients": r"\S{20,}",
    "Create OAuth client": CLIENT,
    "Get OAuth client": CLIENT,
    "Update OAuth client": CLIENT,
    "Delete OAuth client": "",
    "Get OAuth consent token": r"Data\(client_id='.+'.*\)",
    "List OAuth grants": r"[0-9a-f-]{36}",
    "Get OAuth grant": GRANT,
    "Revoke OAuth grant": GRANT,
    "Token introspection": r"\S{20,}",
    "JSON Web Key Set": r"\[Key\(kty='RSA'.*\)\]",
    "Dynamic client registration": r"\S{10,}",
    "OAuth token endpoint": r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


def test_every_snippet_is_here() -> None:
    assert [title for title, _, _ in SNIPPETS] == list(PRINTS)


@pytest.mark.parametrize("title, code", [pytest.param(title, code, id=title) for title, _, code in SNIPPETS])
def test_a_snippet_runs_with_only_the_import_changed(title: str, code: str, sandbox: Sandbox) -> None:
    sandbox.reset()
    environment = {
        **os.environ,
        "TELNYX_BASE_URL": sandbox.base_url,
        "TELNYX_API_KEY": sandbox.api_key,
        # Neither the token endpoint nor introspection knows an API key.
        **(
            {"TELNYX_CLIENT_ID": sandbox.client_id, "TELNYX_CLIENT_SECRET": sandbox.client_secret}
            if "oken" in title
            else {}
        ),
    }
    ours = code.replace("from telnyx import Telnyx", "from telnyx_oauth import Telnyx")
    assert ours != code
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", ours],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert re.fullmatch(PRINTS[title], done.stdout.strip(), re.DOTALL)
