"""What `status` says of a key, of its next attempt, and of a grant that is gone."""

from __future__ import annotations

import asyncio

import pytest

from telnyx_oauth import HttpTransport, ReauthenticationRequiredError, RefreshToken, TokenManager
from telnyx_oauth.errors import InternalServerError
from telnyx_oauth.protocol.freshness import Phase
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.tokens.events import BackoffStarted
from telnyx_oauth.tokens.manager import TokenStatus

from .virtual import EPOCH


async def test_a_grant_that_is_gone_says_that_a_person_must_sign_in():
    async with Sandbox() as telnyx:
        http = HttpTransport()
        source = RefreshToken(
            http, f"{telnyx.base_url}/oauth/token", telnyx.client_id, telnyx.client_secret, refresh_token="revoked"
        )
        tokens = TokenManager(source)
        assert tokens.status().phase is Phase.EMPTY
        with pytest.raises(ReauthenticationRequiredError):
            await tokens.get()
        status = tokens.status()
        assert (status.phase, status.last_error) == (Phase.REAUTH_REQUIRED, "reauthentication_required")
        await tokens.aclose()
        await http.aclose()


def test_a_status_says_all_that_is_known(world):
    async def main():
        source = world.credentials(scopes="a b")
        manager = world.manager(source)
        key = source.key
        nothing = TokenStatus(key, Phase.EMPTY, None, key.scopes, None, 0.0, False, 0, 0, 0.0, None, True)
        assert manager.status() == nothing
        assert manager.status(scopes="c").key == key.narrowed("c", None)
        assert manager.status(resource="https://r").key == key.narrowed(None, "https://r")
        world.server.extra = {"scope": "a"}
        token = await manager.get(scopes="c", resource="https://r")
        status = manager.status(scopes="c", resource="https://r")
        assert (status.key, status.generation, status.scopes) == (token.key, 1, {"a"})
        assert manager.status() == nothing
        await manager.aclose()

    world.run(main())


def test_a_status_says_when_the_next_attempt_may_be_made(world):
    async def main():
        manager = world.manager()
        world.server.faults.extend(["500"] * 5)
        for _ in range(5):
            with pytest.raises(InternalServerError):
                await manager.get(timeout=None)
        assert manager.status().retry_in == 10.0  # 16 s while a token is at hand
        token = await manager.get(timeout=None)
        world.server.faults.extend(["500"] * 5)
        for _ in range(5):
            await asyncio.sleep(1)
            await manager.get(min_ttl=99.9, timeout=None)
            await asyncio.sleep(manager.status().retry_in)
        assert manager.peek() is token
        assert [event.seconds for event in world.told(BackoffStarted)][5:] == [1.0, 2.0, 4.0, 8.0, 16.0]
        world.server.faults.extend(["500"] * 2)
        await manager.get(min_ttl=99.9)
        assert manager.status().retry_in == 32.0
        await asyncio.sleep(manager.status().retry_in)
        world.loop.now = token.expires_at - EPOCH - 0.5
        await manager.get()
        assert manager.status().retry_in == 60.0
        world.loop.now = token.expires_at - EPOCH
        assert manager.status().retry_in == pytest.approx(9.55)
        await manager.aclose()

    world.run(main())
