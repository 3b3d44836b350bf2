"""Calls that need a token while the token endpoint has an outage."""

from __future__ import annotations

import asyncio

import pytest

from telnyx_oauth import errors
from telnyx_oauth.protocol.credentials import Credentials
from tests.wire import Script, reply, resources


def calls(world, manager, *replies, **changes):
    return resources(Script(*replies or (reply(),)), Credentials(tokens=manager), clock=world.clock, **changes)


def call(client, **options):
    return client.get("/x", cast_to=object, options=options)


@pytest.mark.parametrize("fault", ["unsent", "lost", "timeout", "500"])
def test_a_token_request_that_fails_at_a_cold_start_does_not_reach_the_caller(world, fault):
    async def main():
        world.server.faults.extend([fault, fault])
        manager = world.manager()
        assert await call(calls(world, manager)) == {}
        await manager.aclose()

    world.run(main())
    assert len(world.server.seen) == 3


def test_max_retries_counts_for_the_token_as_well(world):
    async def main():
        for most in (0, 1):
            world.server.faults.extend(["lost", "lost"])
            manager = world.manager()
            with pytest.raises(errors.APIConnectionError):
                await call(calls(world, manager), max_retries=most)
            world.server.faults.clear()
            await manager.aclose()

    world.run(main())
    assert len(world.server.seen) == 1 + 2


def test_a_thousand_callers_ask_again_as_one(world):
    async def main():
        world.server.faults.extend(["500", "500"])
        manager = world.manager()
        client = calls(world, manager)
        assert await asyncio.gather(*(call(client) for _ in range(1000))) == [{}] * 1000
        await manager.aclose()

    world.run(main())
    assert len(world.server.seen) == 3


def test_an_outage_that_lasts_is_told_by_its_own_name(world):
    async def main():
        world.server.faults.extend(["500"] * 9)
        manager = world.manager()
        with pytest.raises(errors.InternalServerError):
            await call(calls(world, manager))
        await manager.aclose()

    world.run(main())
    assert len(world.server.seen) == 3


def test_a_back_off_that_outlasts_the_caller_is_told_as_what_began_it(world):
    async def main():
        world.server.latency = 26.0
        world.server.faults.append("503")  # with 7 seconds to wait
        manager = world.manager()
        client = calls(world, manager)
        with pytest.raises(errors.InternalServerError):
            await call(client)
        assert world.clock.boot() - began < 27
        await manager.aclose()

    began = world.clock.boot()
    world.run(main())
    assert len(world.server.seen) == 1


@pytest.mark.parametrize("fault", ["invalid_client", "invalid_scope"])
def test_what_will_not_change_is_not_asked_again(world, fault):
    async def main():
        world.server.faults.append(fault)
        manager = world.manager()
        with pytest.raises(errors.TokenEndpointError):
            await call(calls(world, manager))
        await manager.aclose()

    world.run(main())
    assert len(world.server.seen) == 1


def test_a_caller_waits_no_longer_for_its_token_than_for_one_attempt(world):
    async def main():
        world.server.latency = 20.0
        world.server.faults.extend(["500"] * 3)
        manager = world.manager()
        with pytest.raises(errors.TokenWaitTimeoutError):
            await call(calls(world, manager))
        assert world.clock.boot() - began < 32
        await manager.aclose(drain=60)

    began = world.clock.boot()
    world.run(main())


def test_an_outage_as_a_refused_token_is_replaced_does_not_reach_the_caller(world):
    async def main():
        manager = world.manager()
        await manager.get()
        world.server.faults.extend(["500", "lost"])
        client = calls(world, manager, reply(401), reply())
        assert await call(client) == {}
        assert (await manager.get()).access_token == "t2"
        await manager.aclose()

    world.run(main())
    assert len(world.server.seen) == 4
