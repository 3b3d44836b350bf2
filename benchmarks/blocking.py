"""What does one blocking call cost, from one thread and from eight?"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from resource import RUSAGE_SELF, getrusage
from statistics import median

from telnyx_oauth import AsyncTelnyx, Telnyx

from . import peers
from .measure import Server, in_turns, microseconds, ratio, repeated
from .report import Table

Call = Callable[[], object]
OURS = "telnyx_oauth"
PER, ROUNDS, THREADS = 80, 25, 8


def sides(stack: ExitStack, server: Server) -> dict[str, Call]:
    """Each side's way to get one object."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    stack.callback(connection.close)

    def plain() -> object:
        connection.request("GET", "/v2/oauth/clients/1", headers={"Authorization": "Bearer key"})
        return json.loads(connection.getresponse().read())

    ours = stack.enter_context(Telnyx(api_key="key", base_url=server.base_url))
    return {
        "http.client": plain,
        OURS: lambda: ours.oauth_clients.retrieve("1"),
        **peers.blocking_calls(stack, server.base_url),
    }


def one_thread(server: Server) -> Table:
    """One call after the other, beside the asynchronous client driven in the same thread."""
    table = Table("A blocking call, one thread", ("side", "CPU per call", "ratio to http.client", "ours to it", "goal"))
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        core = AsyncTelnyx(api_key="key", base_url=server.base_url)
        stack.callback(lambda: runner.run(core.close()))

        async def awaited() -> None:
            for _ in range(PER):
                await core.oauth_clients.retrieve("1")

        batches: dict[str, Call] = {name: repeated(call, PER) for name, call in sides(stack, server).items()}
        batches["telnyx_oauth, awaited"] = lambda: runner.run(awaited())
        results = in_turns(batches, rounds=ROUNDS, per=PER)
        switched = getrusage(RUSAGE_SELF).ru_nvcsw
        batches[OURS]()
        switched = getrusage(RUSAGE_SELF).ru_nvcsw - switched
    ours, plain = results[OURS].cpu, results["http.client"].cpu
    for name, side in results.items():
        goal = {"telnyx (httpx)": "<= 0.40", "httpx": "<= 0.55"}.get(name, "")
        table.add(name, microseconds(side.cpu), ratio(side.cpu, plain), ratio(ours, side.cpu), goal)
    hop = median(a - b for a, b in zip(ours, results["telnyx_oauth, awaited"].cpu, strict=True))
    table.notes.append(f"Blocking costs {hop * 1e6:.0f} µs of CPU above awaiting (goal: within 60 µs).")
    table.notes.append(
        f"A call waits {switched / PER:.1f} times: for the other thread, there and back, and for the server."
    )
    table.notes.extend(peers.missing())
    return table


def eight_threads(server: Server) -> Table:
    """Eight threads that share one client."""
    table = Table(
        f"Blocking calls, {THREADS} threads on one client",
        ("side", "CPU per call", "wall per call", "ours to it", "goal"),
    )
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        shared = {name: call for name, call in sides(stack, server).items() if name != "http.client"}

        def spread(call: Call) -> Call:
            def batch() -> None:
                for done in [pool.submit(repeated(call, PER // THREADS)) for _ in range(THREADS)]:
                    done.result()

            return batch

        results = in_turns({name: spread(call) for name, call in shared.items()}, rounds=ROUNDS, per=PER)
    ours = results[OURS].cpu
    for name, side in results.items():
        goal = "<= 0.25" if name == "telnyx (httpx)" else ""
        table.add(name, microseconds(side.cpu), microseconds(side.wall), ratio(ours, side.cpu), goal)
    return table


def run() -> list[Table]:
    """The tables."""
    with Server() as server:
        return [one_thread(server), eight_threads(server)]
