"""Has a hot path become longer? Counted in bytecode instructions and calls of our own code, so that no clock is asked.

The counts are compared with `baseline.json`, which has them for each minor version of Python, since each compiles
differently. `python -m benchmarks guard --record` takes those of now; more than `SLACK` above the baseline fails.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self

import telnyx_oauth
from telnyx_oauth import AsyncTelnyx, Telnyx
from telnyx_oauth.messages import Response
from telnyx_oauth.protocol.converter import decode
from telnyx_oauth.protocol.token import TokenKey
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.types import OAuthClientListResponse, OAuthClientRetrieveResponse

from .measure import Server
from .report import Table
from .server import ONE, page

BASELINE = Path(__file__).with_name("baseline.json")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
OURS = str(Path(telnyx_oauth.__file__).parent)
TIMES, SLACK = 20, 0.02


class Counter:
    """Counts what our own code does in this thread and in those started meanwhile."""

    def __init__(self) -> None:
        self.instructions = 0
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        """A trace function (`sys.settrace`)."""
        name = frame.f_code.co_filename
        # Functions that attrs writes for our classes are ours as well.
        if not name.startswith(OURS) and "telnyx_oauth" not in name:
            return None
        if event == "call":
            self.calls += 1
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            self.instructions += 1
        return self

    def __enter__(self) -> Self:
        threading.settrace(self)
        sys.settrace(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type] - typeshed has None for `sys.settrace` alone


def counted(call: Callable[[], object]) -> dict[str, int]:
    """What one call takes, after one that warms up."""
    with Counter():  # traced, too: Python 3.12 tells of no instruction in the first trace of a process
        call()
    with Counter() as counter:
        for _ in range(TIMES):
            call()
    return {"instructions": counter.instructions // TIMES, "calls": counter.calls // TIMES}


async def awaited(call: Callable[[], Awaitable[object]]) -> dict[str, int]:
    """What one awaited call takes, after one that warms up."""
    await call()
    with Counter() as counter:
        for _ in range(TIMES):
            await call()
    return {"instructions": counter.instructions // TIMES, "calls": counter.calls // TIMES}


def imported() -> dict[str, int]:
    """How many modules the package brings along."""
    script = "import sys; before = set(sys.modules); import telnyx_oauth; print(len(set(sys.modules) - before))"
    return {"modules": int(subprocess.check_output([sys.executable, "-c", script]))}


async def asynchronous(server: Server) -> dict[str, dict[str, int]]:
    """The paths of the asynchronous client."""
    async with AsyncTelnyx(api_key="key", base_url=server.base_url) as client:

        async def listed() -> object:
            return await client.oauth_clients.list()

        return {
            "async call, one object": await awaited(lambda: client.oauth_clients.retrieve("1")),
            "async call, list of 20": await awaited(listed),
            "tokens.peek()": counted(client.tokens.peek),
            "await tokens.get()": await awaited(client.tokens.get),
        }


async def scoped() -> dict[str, dict[str, int]]:
    """Reading a fresh token of other scopes."""
    manager = TokenManager(issued)
    ask = partial(manager.get, scopes=["a", "b"], resource="https://api.example.com")
    return {"await tokens.get(scopes=..., resource=...)": await awaited(ask)}


def blocking_tokens() -> dict[str, dict[str, int]]:
    """Reading a fresh token, as a caller who blocks."""
    with Telnyx(tokens=TokenManager(issued)) as client:
        return {
            "blocking tokens.get()": counted(client.tokens.get),
            "blocking tokens.get(scopes=..., resource=...)": counted(
                partial(client.tokens.get, scopes=["a", "b"], resource="https://api.example.com")
            ),
        }


async def issued(_: TokenKey) -> TokenGrant:
    """A token that lives for an hour."""
    return TokenGrant("token", expires_in=3600.0)


def blocking(server: Server) -> dict[str, int]:
    """A blocking call, on both of its threads: the private loop's begins while the trace is on."""
    with Counter() as counter, Telnyx(api_key="key", base_url=server.base_url) as client:
        client.oauth_clients.retrieve("1")
        before = counter.instructions, counter.calls
        for _ in range(TIMES):
            client.oauth_clients.retrieve("1")
        instructions, calls = counter.instructions - before[0], counter.calls - before[1]
    return {"instructions": instructions // TIMES, "calls": calls // TIMES}


def counts() -> dict[str, dict[str, int]]:
    """Every path's counts."""
    one, twenty = (Response(200, content=body.partition(b"\r\n\r\n")[2]) for body in (ONE, page(1, 20)))
    with Server() as server:
        return {
            "import telnyx_oauth": imported(),
            "decode, one object": counted(lambda: decode(one, OAuthClientRetrieveResponse)),
            "decode, list of 20": counted(lambda: decode(twenty, OAuthClientListResponse)),
            **asyncio.run(asynchronous(server)),
            **asyncio.run(scoped()),
            **blocking_tokens(),
            "blocking call, one object": blocking(server),
        }


def run(*, record: bool = False) -> list[Table]:
    """The table; with `record` the baseline of this Python is what was counted."""
    baselines: dict[str, dict[str, dict[str, int]]] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    found = counts()
    if record:
        baselines[PYTHON] = found
        BASELINE.write_text(json.dumps(dict(sorted(baselines.items())), indent=2) + "\n")
    table = Table(f"The hot paths, Python {PYTHON}", ("path", "what", "now", "baseline", ""))
    baseline = baselines.get(PYTHON)
    if baseline is None:
        table.notes.append(f"**There is no baseline for Python {PYTHON}**: make one with `--record`.")
    for path, numbers in found.items():
        for what, now in numbers.items():
            was = (baseline or {}).get(path, {}).get(what)
            longer = was is not None and now > was * (1 + SLACK)
            table.failed = table.failed or longer
            table.add(path, what, now, "" if was is None else was, "**longer**" if longer else "")
    return [table]
