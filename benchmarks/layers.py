"""Where does the time of a call go, layer by layer, and that of a cold start, module by module?"""

from __future__ import annotations

import asyncio
import compileall
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
from yarl import URL

from telnyx_oauth import AsyncTelnyx, HttpTransport
from telnyx_oauth.messages import Request, RequestInfo, Response
from telnyx_oauth.protocol.converter import decode
from telnyx_oauth.types import OAuthClientRetrieveResponse

from .measure import Server, awaited, in_turns_async, microseconds, ratio
from .report import Table
from .start import PACKAGE

ROUNDS, PER = 31, 200
BARE = "bare aiohttp + json"
SHOWN = 8
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


async def call() -> Table:
    """One object, one call after the other, through more and more of the package."""
    table = Table("The layers of a call", ("layer", "CPU per call", "ratio to bare aiohttp"))
    with Server() as server:
        path, headers = "/oauth/clients/1", {"Authorization": "Bearer key", "Accept": "application/json"}
        url = server.base_url + path
        prepared, request = URL(url, encoded=True), Request("GET", url, RequestInfo("GET", url), headers)
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as lean,
            AsyncTelnyx(api_key="key", base_url=server.base_url) as client,
        ):
            transport = HttpTransport()

            async def bare() -> object:
                async with session.get(url) as response:
                    return await response.json()

            async def shortest() -> bytes:
                async with lean.get(prepared, headers=headers) as response:
                    return await response.read()

            layers: dict[str, Callable[[], Awaitable[object]]] = {
                BARE: bare,
                "aiohttp, prepared URL, no cookies, the bytes alone": shortest,
                "`HttpTransport`: the same as plain values": lambda: transport(request),
                "`client.get(..., cast_to=Response)`: identity, retries": lambda: client.get(path, cast_to=Response),
                "`oauth_clients.retrieve`: typed": lambda: client.oauth_clients.retrieve("1"),
            }
            results = await in_turns_async(
                {name: awaited(layer, PER) for name, layer in layers.items()}, rounds=ROUNDS, per=PER
            )
            answer = await transport(request)
            await transport.aclose()
    for name, side in results.items():
        table.add(name, microseconds(side.cpu), ratio(side.cpu, results[BARE].cpu))

    async def decoded() -> object:
        return decode(answer, OAuthClientRetrieveResponse)

    (alone,) = (await in_turns_async({"": awaited(decoded, PER)}, rounds=ROUNDS, per=PER)).values()
    table.add("of which `decode` alone", microseconds(alone.cpu), ratio(alone.cpu, results[BARE].cpu))
    return table


def start() -> Table:
    """What importing the client takes beyond aiohttp, as the interpreter tells it (`-X importtime`, which adds its own)."""
    compileall.compile_dir(PACKAGE, quiet=1)
    table = Table("The imports of a cold start, beyond aiohttp", ("modules", "their own time", "share"))
    code = "import sys, aiohttp; sys.stderr.write('ours:'); from telnyx_oauth import AsyncTelnyx"
    least: dict[str, int] = {}
    for _ in range(ROUNDS):
        command = [sys.executable, "-W", "ignore", "-X", "importtime", "-c", code]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        for took, name in LINE.findall(said.partition("ours:")[2]):
            least[name] = min(int(took), least.get(name, int(took)))
    ours = sorted((name for name in least if name.startswith("telnyx_oauth")), key=lambda name: -least[name])
    parts: Counter[str] = Counter()
    for name, took in least.items():
        root = name.partition(".")[0]
        if root == "telnyx_oauth":
            parts[name if name in ours[:SHOWN] else "the package's others"] += took
        else:
            parts[root if root in {"cattrs", "anyio"} else "what these import"] += took
    for name, took in [*parts.most_common(), ("all of it", parts.total())]:
        table.add(name, f"{took / 1e3:.1f} ms", f"{took / parts.total():.0%}")
    return table


def run() -> list[Table]:
    """The tables."""
    return [asyncio.run(call()), start()]
