"""The one place where time comes from."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the floors from `transport` upward know of time. Inject another to move it."""

    def boot(self) -> float:
        """Seconds that only ever grow, time asleep included where the system can tell."""
        ...

    def wall(self) -> float:
        """Unix seconds; may jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


# Linux counts suspended time in CLOCK_BOOTTIME; macOS' monotonic clock does so by another name and Windows' always.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC_RAW", None)


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def boot(self) -> float:
        """Seconds since the machine started, time asleep included where the system can tell."""
        return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        await asyncio.sleep(seconds)
