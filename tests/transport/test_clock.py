from __future__ import annotations

import asyncio
import time

import pytest

from telnyx_oauth.transport import clock
from telnyx_oauth.transport.clock import SystemClock


@pytest.mark.parametrize("has_boot_clock", [True, False])
async def test_the_systems_clock_goes_on_while_it_sleeps(monkeypatch, has_boot_clock):
    if not has_boot_clock:
        monkeypatch.setattr(clock, "_BOOT_CLOCK", None)
    system = SystemClock()
    before = system.boot()
    await system.sleep(0.001)
    assert before < system.boot() < before + 60
    assert abs(system.wall() - time.time()) < 60


async def test_sleeping_can_be_given_up():
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(SystemClock().sleep(60), 0.001)
