"""Clocks. All time is read through them, so that tests can inject another."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final, Protocol

CLOCK: Final = "a clock, with the methods boot, wall and sleep"
CLOCK_METHODS: Final = ("boot", "wall", "sleep")


class Clock(Protocol):
    """The interface of clocks."""

    def boot(self) -> float:
        """Seconds that never decrease, and include suspended time if the system can tell."""
        ...

    def wall(self) -> float:
        """Unix seconds; may jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


# Linux counts suspended time in CLOCK_BOOTTIME, macOS in CLOCK_MONOTONIC_RAW, and Windows in its monotonic clock.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC_RAW", None)


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    # Builtins rather than methods: reading the clock is most of the cost of a cached token.
    boot = staticmethod(partial(time.monotonic) if _BOOT_CLOCK is None else partial(time.clock_gettime, _BOOT_CLOCK))
    """Seconds since the machine started, suspended time included if the system can tell."""
    wall = staticmethod(time.time)
    """Unix seconds."""

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        await asyncio.sleep(seconds)
