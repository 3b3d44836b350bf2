"""Processes that share a store, as managers that share nothing else."""

from __future__ import annotations

import asyncio

from telnyx_oauth.errors import ReauthenticationRequiredError, TelnyxError
from telnyx_oauth.protocol.freshness import RefreshPolicy
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import RefreshToken

from ..tokens.virtual import ENDPOINT

PEOPLE = ("ann", "ben", "eve")
POLICY = RefreshPolicy(lock_timeout=2.0)


class Fleet:
    """Three processes for each of three people, each of which asks for its token again and again."""

    def __init__(self, model, store):
        self.model = model
        for person in PEOPLE:
            model.grant_refresh(f"r0-{person}", person)
        self.managers = [
            TokenManager(
                RefreshToken(model.send, ENDPOINT, "client", refresh_token=f"r0-{person}"), store=made, policy=POLICY
            )
            for made in [store() for _ in range(3)]
            for person in PEOPLE
        ]
        self.ended = asyncio.Event()
        self.users = [asyncio.ensure_future(self.use(manager)) for manager in self.managers]

    async def use(self, manager):
        while not self.ended.is_set():
            try:
                await manager.get(timeout=2)
            except ReauthenticationRequiredError:
                return
            except TelnyxError:
                pass
            await asyncio.sleep(0.02)

    async def end(self):
        """Let all have a token once more. How many grants were lost."""
        await asyncio.sleep(15)
        self.ended.set()
        await asyncio.gather(*self.users)
        for manager in self.managers:
            await manager.aclose()
        return len(self.model.dead_families)
