"""From nothing to a token, as the documentation tells it: a sandbox in one terminal, `login` in another, a browser."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager

import pytest


@pytest.fixture
def command(tmp_path):
    """Runs the command, for the length of a block, with a home of its own."""
    home = {name: str(tmp_path) for name in ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}

    @asynccontextmanager
    async def running(*arguments: str, **variables: str):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "telnyx_oauth.cli", *arguments,
            env=os.environ | home | variables, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            await process.communicate()

    return running


async def told(stream: asyncio.StreamReader, pattern: str) -> str:
    """What the first line that fits says."""
    while line := (await stream.readline()).decode():
        if found := re.search(pattern, line):
            return found[0]
    raise AssertionError(f"nothing like {pattern} was said")


@pytest.mark.skipif(os.name == "nt", reason="a program there cannot be told to end as Ctrl-C does")
async def test_signing_in_once_is_enough_for_processes_that_start_at_once(command, page):
    async with command("sandbox", "--json", "--token-lifetime", "2") as sandbox:
        where = {"TELNYX_BASE_URL": await told(sandbox.stdout, r"http://127\.0\.0\.1:\d+/v2")}
        async with command("login", "--no-browser", **where) as login:
            await page.goto(await told(login.stderr, r"http://127\.0\.0\.1:\d+/v2/oauth/authorize\S+"))
            await page.get_by_role("button", name="Allow", exact=True).click()
            assert await page.get_by_role("heading", level=1).inner_text() == "You are signed in"
            assert await login.wait() == 0

        async def token() -> tuple[int, str]:
            async with command("token", **where) as process:
                text = (await process.stdout.read()).decode().strip()
                return await process.wait(), text

        outcomes = await asyncio.gather(*(token() for _ in range(4)))
        assert [(status, text.count(".")) for status, text in outcomes] == [(0, 2)] * 4
