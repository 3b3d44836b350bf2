"""Measuring: both sides in turns, CPU time of this process, medians of the ratios of neighbours."""

from __future__ import annotations

import gc
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from resource import RUSAGE_SELF, getrusage
from statistics import median, quantiles
from typing import Self

import attrs

Batch = Callable[[], object]
"""Does a side's work, `per` times."""
AsyncBatch = Callable[[], Awaitable[object]]


def cpu() -> float:
    """Seconds of CPU that this process has used, all its threads and the kernel's work for it included."""
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@attrs.frozen
class Side:
    """What was measured of one side: seconds of CPU and of wall time per piece of work, one number per round."""

    cpu: list[float]
    wall: list[float]


@attrs.frozen
class Ratio:
    """One side against another: the median of the rounds' ratios, and where the middle half of them lies."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"


def ratio(ours: list[float], theirs: list[float]) -> Ratio:
    """The ratio of neighbours in time, so that what else the machine does meets both."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    if len(each) < 2:
        return Ratio(each[0], each[0], each[0])
    low, _, high = quantiles(each, n=4, method="inclusive")
    return Ratio(median(each), low, high)


def in_turns(sides: Mapping[str, Batch], *, rounds: int, per: int = 1) -> dict[str, Side]:
    """Run every side's batch, round after round, the order turned each time; the first round warms up and is dropped."""
    results = {name: Side([], []) for name in sides}
    for turn in range(rounds + 1):
        names = list(sides) if turn % 2 else list(sides)[::-1]
        for name in names:
            with _measured(results[name], per, keep=turn > 0):
                sides[name]()
    return results


async def in_turns_async(sides: Mapping[str, AsyncBatch], *, rounds: int, per: int = 1) -> dict[str, Side]:
    """As `in_turns`, on the running loop."""
    results = {name: Side([], []) for name in sides}
    for turn in range(rounds + 1):
        names = list(sides) if turn % 2 else list(sides)[::-1]
        for name in names:
            with _measured(results[name], per, keep=turn > 0):
                await sides[name]()
    return results


def repeated(call: Batch, per: int) -> Batch:
    """One call after the other."""

    def batch() -> None:
        for _ in range(per):
            call()

    return batch


def awaited(call: AsyncBatch, per: int) -> AsyncBatch:
    """One awaited call after the other."""

    async def batch() -> None:
        for _ in range(per):
            await call()

    return batch


@contextmanager
def _measured(side: Side, per: int, *, keep: bool) -> Iterator[None]:
    # Each side pays for its own garbage, and none for that of the side before it.
    gc.collect()
    began, used = time.perf_counter(), cpu()
    yield
    used, took = cpu() - used, time.perf_counter() - began
    if keep:
        side.cpu.append(used / per)
        side.wall.append(took / per)


class Server:
    """The canned server in a process of its own, and what is known of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.root = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.root}/v2"

    def control(self, **settings: object) -> dict[str, int]:
        """Change the server's settings, and get what it counted since the last time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", "/control", json.dumps(settings))
        told: dict[str, int] = json.loads(connection.getresponse().read())
        connection.close()
        return told

    def ceiling(self, calls: int = 4000) -> float:
        """Calls per second that it answers to someone who sends sixteen at a time and reads nothing but their length."""
        import socket

        request = b"GET /v2/oauth/clients/1 HTTP/1.1\r\nHost: x\r\n\r\n" * 16
        with socket.create_connection(("127.0.0.1", self.port)) as wire:
            wire.sendall(request[: len(request) // 16])
            size = len(wire.recv(65536))
            began = time.perf_counter()
            for _ in range(calls // 16):
                wire.sendall(request)
                left = size * 16
                while left:
                    left -= len(wire.recv(65536))
            return calls / (time.perf_counter() - began)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def microseconds(seconds: list[float]) -> str:
    """The median, for a table."""
    return f"{median(seconds) * 1e6:.1f} µs"


def milliseconds(seconds: list[float]) -> str:
    """The median, for a table."""
    return f"{median(seconds) * 1e3:.1f} ms"
