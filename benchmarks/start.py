"""What does it cost to import the package, and to get from nothing to a first result?

Every run is a process of its own; its CPU is the kernel's account of it (`wait4`).
"""

from __future__ import annotations

import compileall
import os
import sys
from pathlib import Path
from statistics import median

from . import peers
from .measure import Server, milliseconds, ratio
from .report import Table

ROUNDS = 12
PACKAGE = Path(__file__).parent.parent / "telnyx_oauth"
BARE_PYTHON = "bare Python"
IMPORTS = {
    BARE_PYTHON: ("", "pass"),
    "telnyx_oauth": ("", "import telnyx_oauth"),
    "telnyx_oauth, AsyncTelnyx used": ("", "from telnyx_oauth import AsyncTelnyx"),
    "aiohttp": ("aiohttp", "import aiohttp"),
    "httpx": ("httpx", "import httpx"),
    "requests": ("requests", "import requests"),
    "authlib": ("authlib", "from authlib.integrations.httpx_client import AsyncOAuth2Client"),
    "azure-core": ("azure-core", "from azure.core.pipeline.policies import BearerTokenCredentialPolicy"),
    "google-auth": ("google-auth", "from google.oauth2 import credentials"),
    "telnyx": ("telnyx", "from telnyx import AsyncTelnyx"),
}
BARE = """
import asyncio, aiohttp
async def main():
    async with aiohttp.ClientSession() as session:
        {body}
        async with session.get("{base}/oauth/clients/1", headers={{"Authorization": "Bearer " + token}}) as response:
            print((await response.json())["data"]["name"])
asyncio.run(main())
"""
ASK = """
        basic = {{"Authorization": "Basic eDp5"}}
        form = {{"grant_type": "client_credentials"}}
        async with session.post("{base}/oauth/token", data=form, headers=basic) as response:
            token = (await response.json())["access_token"]"""
KEYS = """
        async with session.get("{base}/oauth/jwks") as response:
            await response.json()"""
OURS = """
import asyncio
from telnyx_oauth import AsyncTelnyx
async def main():
    async with AsyncTelnyx({how}, base_url="{base}") as client:
        print((await client.oauth_clients.retrieve("1")).data.name)
asyncio.run(main())
"""
THEIRS = """
import asyncio
from telnyx import AsyncTelnyx
async def main():
    async with AsyncTelnyx({how}, base_url="{base}") as client:
        print((await client.oauth_clients.retrieve("1")).data.name)
asyncio.run(main())
"""
CREDENTIALS = 'client_id="x", client_secret="y"'
SITUATIONS = (
    ("API key", 'token = "key"', 'api_key="key"', "<= 1.10"),
    ("client credentials", ASK, f"{CREDENTIALS}, verify_issued=False", "<= 1.25"),
    ("client credentials, the token verified", ASK + KEYS, f"{CREDENTIALS}, verify_issued=True", "<= 1.70"),
)


def spent(code: str) -> float:
    """Seconds of CPU that a fresh interpreter needs for `code`."""
    arguments = [sys.executable, "-W", "ignore", "-c", code]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=quiet)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"This failed:\n{code}")
    return used.ru_utime + used.ru_stime


def alternating(codes: dict[str, str], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Each code's CPU, round after round; the first round fills the file system's cache and is dropped."""
    results: dict[str, list[float]] = {name: [] for name in codes}
    for turn in range(rounds + 1):
        for name, code in codes.items():
            seconds = spent(code)
            if turn:
                results[name].append(seconds)
    return results


def imports() -> Table:
    """What each import adds."""
    table = Table("Importing", ("import", "CPU above bare Python", "modules", "of them third-party", "goal"))
    present = {name: code for name, (needed, code) in IMPORTS.items() if not needed or peers.has(needed)}
    results = alternating(present)
    for name, seconds in results.items():
        if name == BARE_PYTHON:
            continue
        above = [each - bare for each, bare in zip(seconds, results[BARE_PYTHON], strict=True)]
        count, foreign = _modules(present[name])
        table.add(name, milliseconds(above), count, foreign, "<= 5 ms" if name == "telnyx_oauth" else "")
    table.notes.append(f"Bare Python itself: {median(results[BARE_PYTHON]) * 1e3:.1f} ms.")
    table.notes.extend(peers.missing())
    return table


def _modules(code: str) -> tuple[int, int]:
    """How many modules an import adds, and how many of these are neither ours nor Python's."""
    import subprocess

    script = (
        f"import sys; before = set(sys.modules)\n{code}\nadded = set(sys.modules) - before\n"
        "roots = {name.partition('.')[0] for name in added}\n"
        "foreign = roots - set(sys.stdlib_module_names) - {'telnyx_oauth'}\n"
        "print(len(added), sum(name.partition('.')[0] in foreign for name in added))"
    )
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    count, foreign = said.stdout.split()
    return int(count), int(foreign)


def first_results() -> Table:
    """From the start of the process to the first printed result."""
    table = Table("Cold start to a first result", ("situation", "side", "CPU", "ratio to bare aiohttp", "goal"))
    with Server() as server:
        server.control(signs=True)
        for situation, body, how, goal in SITUATIONS:
            base = server.base_url
            codes = {
                "bare aiohttp, the same calls": BARE.format(body=body.format(base=base), base=base),
                "telnyx_oauth": OURS.format(how=how, base=base),
            }
            if peers.has("telnyx") and how.startswith("api_key"):
                codes["telnyx"] = THEIRS.format(how=how, base=base)
            results = alternating(codes)
            (bare, *_) = results.values()
            for name, seconds in results.items():
                table.add(
                    situation, name, milliseconds(seconds), ratio(seconds, bare), goal if name == "telnyx_oauth" else ""
                )
    table.notes.append(
        "telnyx asks api.telnyx.com for tokens whatever its base URL is, so it has no row with client credentials."
    )
    return table


def run() -> list[Table]:
    """The tables."""
    compileall.compile_dir(PACKAGE, quiet=1)  # as an installer does; a checkout may have been told to write nothing
    return [imports(), first_results()]
