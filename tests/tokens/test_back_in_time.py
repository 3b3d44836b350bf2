"""Stores that go back in time: a promoted replica, a restored backup, a restart that lost everything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import attrs
import pytest

from telnyx_oauth.errors import ReauthenticationRequiredError
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.stores.memory import MemoryStore

from .memory import put_records


class TimeMachine(MemoryStore):
    """A store whose past can be brought back, by a server's lease or with the operating system's lock."""

    shared = True
    seconds = 3.0

    def __init__(self, *, leased=False):
        super().__init__()
        self.leased = leased
        self.restarted = False

    def remember(self):
        return self.records

    def restore(self, past):
        put_records(self, past)

    @asynccontextmanager
    async def lock(self, key, *, timeout):
        async with super().lock(key, timeout=timeout):
            yield self if self.leased else None

    def is_held(self):
        return True

    def may_have_been_anothers(self):
        return self.restarted

    def only(self):
        (record,) = self.records.values()
        return record


@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("gone_back", [0, 1, 2, 3])
def test_newer_knowledge_wins_over_a_store_that_went_back(world, leased, gone_back):
    async def main():
        store = TimeMachine(leased=leased)
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        past = [{}]
        for _ in range(3):
            await manager.get()
            past.append(store.remember())
            await asyncio.sleep(101)
        store.restore(past[gone_back])
        assert (await manager.get()).access_token == "t4"
        assert [seen.form["refresh_token"] for seen in world.server.seen] == ["r0", "r1", "r2", "r3"]
        assert store.only().refresh_token == "r4"
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("gone_back", [0, 1])
def test_another_process_goes_on_with_what_was_written_back(world, gone_back):
    async def main():
        store = TimeMachine()
        world.server.rotation = "strict"
        first, second = world.manager(world.refresh(), store=store), world.manager(world.refresh(), store=store)
        past = [{}]
        for _ in range(2):
            await first.get()
            past.append(store.remember())
            await asyncio.sleep(101)
        store.restore(past[gone_back])
        await first.get()
        assert (await second.get()).access_token == "t3"
        await asyncio.sleep(101)
        assert (await second.get()).access_token == "t4"
        assert world.server.dead_families == set()
        await first.aclose()
        await second.aclose()

    world.run(main())


@pytest.mark.parametrize("flush", [True, False])
def test_what_is_on_the_wire_as_a_server_loses_its_records_and_locks_is_waited_for(world, flush):
    """Of two processes one is sending the refresh token; the other knows it from before and finds it unspent."""

    async def main():
        store = TimeMachine(leased=True)
        world.server.rotation = "strict"
        first, second = world.manager(world.refresh(), store=store), world.manager(world.refresh(), store=store)
        await first.get()
        await second.get()
        past = store.remember()
        await asyncio.sleep(101)
        world.server.latency = 2.0
        waiting = asyncio.ensure_future(first.get())
        await asyncio.sleep(0.5)
        assert world.server.in_flight["r1"] == 1
        store.restore({} if flush else past)
        store._holders.clear()
        store.restarted = True
        token = await second.get()
        assert (await waiting).access_token == token.access_token == "t2"
        assert world.server.peak["r1"] == 1
        assert world.server.dead_families == set()
        await first.aclose()
        await second.aclose()

    world.run(main())


def test_a_new_sign_in_outranks_an_old_grant_however_often_that_was_renewed(world):
    async def main():
        store = TimeMachine()
        world.server.rotation = "strict"
        old = world.manager(world.refresh(None, account="ann"), store=store)
        new = world.manager(world.refresh(None, account="ann"), store=store)
        await old.accept(TokenGrant("a0", expires_in=100, refresh_token=world.server.grant_refresh("r0")))
        for _ in range(5):
            await asyncio.sleep(101)
            await old.get()
        world.server.grant_refresh("other", "g")
        store.restore({})
        await new.accept(TokenGrant("b0", expires_in=100, refresh_token="other"))
        await asyncio.sleep(101)
        assert (await old.get()).access_token == "t6"
        assert world.server.seen[-1].form["refresh_token"] == "other"
        await old.aclose()
        await new.aclose()

    world.run(main())


def test_a_sign_in_by_a_clock_that_is_behind_replaces_the_one_before(world):
    async def main():
        store = TimeMachine()
        manager = world.manager(world.refresh(None, account="ann"), store=store)
        await manager.accept(TokenGrant("a0", expires_in=100, refresh_token=world.server.grant_refresh("r0")))
        world.clock.jump(-250)
        await manager.accept(TokenGrant("b0", expires_in=100, refresh_token=world.server.grant_refresh("r9", "g")))
        other = world.manager(world.refresh(None, account="ann"), store=store)
        await asyncio.sleep(101)
        await other.get()
        assert world.server.seen[-1].form["refresh_token"] == "r9"
        await manager.aclose()
        await other.aclose()

    world.run(main())


def test_a_tombstone_of_an_older_renewal_does_not_end_a_newer_one(world):
    async def main():
        store = TimeMachine()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        await manager.get()
        past = store.remember()
        await asyncio.sleep(101)
        await manager.get()
        await asyncio.sleep(101)
        store.restore(past)
        (name,) = store.records
        put_records(store, {name: attrs.evolve(store.only(), tombstone="refresh_token_lost")})
        assert (await manager.get()).access_token == "t3"
        await manager.aclose()

    world.run(main())


def test_a_tombstone_of_the_same_grant_is_believed(world):
    async def main():
        store = TimeMachine()
        manager = world.manager(world.refresh(), store=store)
        await manager.get()
        (name,) = store.records
        put_records(store, {name: attrs.evolve(store.only(), tombstone="why")})
        await asyncio.sleep(101)
        with pytest.raises(ReauthenticationRequiredError, match="why"):
            await manager.get()
        await manager.aclose()

    world.run(main())


class Suspended(TimeMachine):
    """The machine is suspended after each intent that is written, so many times: its lease is over when it wakes up."""

    def __init__(self, times):
        super().__init__(leased=True)
        self.times = times
        self.held = True

    @asynccontextmanager
    async def lock(self, key, *, timeout):
        self.held = True
        async with super().lock(key, timeout=timeout) as lease:
            yield lease

    def is_held(self):
        return self.held

    async def compare_and_swap(self, key, expected, new):
        version = await super().compare_and_swap(key, expected, new)
        if new.intent is not None and self.times:
            self.times -= 1
            self.held = False
        return version


@pytest.mark.parametrize("times", [1, 2])
def test_a_refresh_token_is_not_sent_under_a_lease_that_was_lost(world, times):
    async def main():
        store = Suspended(times)
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        assert (await manager.get()).access_token == "t1"
        assert [seen.form["refresh_token"] for seen in world.server.seen] == ["r0"]
        assert store.times == times - 1  # the lock was taken again, and the intent that was left is its own
        assert store.only().intent is None
        await manager.aclose()

    world.run(main())


def test_a_lease_that_is_lost_between_two_sendings_ends_the_replays_until_it_is_had_again(world):
    async def main():
        store = Suspended(0)
        world.server.rotation = "grace"
        world.server.faults.append("lost_after")
        manager = world.manager(world.refresh(), store=store)
        waiting = asyncio.ensure_future(manager.get())
        while not world.server.seen:
            await asyncio.sleep(0.001)
        store.held = False
        assert (await waiting).access_token == "t2"
        assert world.server.dead_families == set()
        await manager.aclose()

    world.run(main())


def test_another_process_that_left_an_intent_under_a_lease_is_given_time_to_store_what_it_got(world):
    async def main():
        store = TimeMachine(leased=True)
        world.server.rotation = "strict"
        first, second = world.manager(world.refresh(), store=store), world.manager(world.refresh(), store=store)
        world.server.latency = 1.0
        waiting = asyncio.ensure_future(first.get())
        await asyncio.sleep(0.5)
        store._holders.clear()  # the server could not be reached for longer than the lease
        assert (await second.get()).access_token == (await waiting).access_token == "t1"
        assert len(world.server.seen) == 1
        await first.aclose()
        await second.aclose()

    world.run(main())
