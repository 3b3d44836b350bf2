"""Token answers that are lost: how many grants a server's grace of ten seconds can keep, and how many are kept."""

from __future__ import annotations

import asyncio
import random

from telnyx_oauth.errors import ReauthenticationRequiredError, TokenError
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import RefreshToken

from ..tokens.virtual import ENDPOINT, ModelServer, VirtualClock, VirtualLoop
from ..tokens.virtual import run as run_virtual

FAMILIES = 1505
REFRESHES = 10
LOST = 0.3
UNSENT = 0.1


class LossyServer(ModelServer):
    """Three answers in ten are lost after they were made; beside that, a request in ten is turned away."""

    def __init__(self, clock, dice, *, turned_away):
        super().__init__(clock, lifetime=100, rotation="grace")
        self.grace = 10.0
        self.dice = dice
        self.turned_away = turned_away

    async def send(self, request):
        if self.dice.random() < LOST:
            self.faults.append("lost_after")
        elif self.dice.random() < self.turned_away:
            self.faults.append(self.dice.choice(["429", "503", "unsent"]))
        return await super().send(request)


def families_lost(seed, turned_away):
    """How many of the families end in "sign in again" within ten refreshes each."""
    lost = 0
    for n in range(FAMILIES):
        loop = VirtualLoop()
        clock = VirtualClock(loop)
        dice = random.Random(seed * 10_000 + n)
        server = LossyServer(clock, dice, turned_away=turned_away)
        server.grant_refresh("r0")
        source = RefreshToken(server.send, ENDPOINT, "client", refresh_token="r0", clock=clock)
        manager = TokenManager(source, clock=clock, jitter=dice.random)

        async def use(manager=manager, server=server):
            while server.count < REFRESHES:
                try:
                    await manager.get()
                except ReauthenticationRequiredError:
                    return 1
                except TokenError:
                    continue
                except Exception:
                    continue
                await asyncio.sleep(101)
            await manager.aclose()
            return 0

        lost += run_virtual(use(), loop)
    return lost


async def run():
    plain = await asyncio.to_thread(families_lost, 1, 0.0)
    busy = await asyncio.to_thread(families_lost, 2, UNSENT)
    return [
        (f"grants lost of {FAMILIES}, {LOST:.0%} of answers lost, grace 10 s", plain, 33),
        (f"... and {UNSENT:.0%} of requests turned away (429, 503, refused)", busy, 33),
    ]
