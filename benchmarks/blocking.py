"""What does one blocking call cost: from one thread, from eight, and beside a thread that burns CPU?"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
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
PER, ROUNDS, THREADS, BUSY = 80, 25, 8, 60


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
        goal = {OURS: "<= 1.70 of http.client"}.get(name, "")
        table.add(name, microseconds(side.cpu), ratio(side.cpu, plain), ratio(ours, side.cpu), goal)
    hop = median(a - b for a, b in zip(ours, results["telnyx_oauth, awaited"].cpu, strict=True))
    table.notes.append(f"Blocking costs {hop * 1e6:.0f} µs of CPU above awaiting.")
    table.notes.append(f"A call waits {switched / PER:.1f} times.")
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
        goal = "<= 0.28" if name == "requests" else ""
        table.add(name, microseconds(side.cpu), microseconds(side.wall), ratio(ours, side.cpu), goal)
    return table


def beside_a_busy_thread(server: Server) -> Table:
    """One call after the other while another thread holds the interpreter, 5 ms a turn."""
    table = Table(
        "A blocking call beside a thread that burns CPU", ("side", "wall per call", "ratio to http.client", "goal")
    )
    stop = threading.Event()

    def burn() -> None:
        number = 0
        while not stop.is_set():
            for _ in range(100_000):
                number += 1

    with ExitStack() as stack:
        calls = sides(stack, server)
        for call in calls.values():
            call()
        burning = threading.Thread(target=burn)
        burning.start()
        wall: dict[str, list[float]] = {name: [] for name in calls}
        try:
            for _ in range(ROUNDS // 3):
                for name, call in calls.items():
                    began = time.perf_counter()
                    for _ in range(BUSY):
                        call()
                    wall[name].append((time.perf_counter() - began) / BUSY)
        finally:
            stop.set()
            burning.join()
    for name, each in wall.items():
        goal = "<= 1.40" if name == OURS else ""
        table.add(name, microseconds(each), ratio(each, wall["http.client"]), goal)
    return table


def run() -> list[Table]:
    """The tables."""
    with Server() as server:
        return [one_thread(server), eight_threads(server), beside_a_busy_thread(server)]
