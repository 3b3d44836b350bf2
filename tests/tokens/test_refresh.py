"""Refresh tokens on a virtual-time loop: rotation, intent, unknown outcomes, other processes, failing stores."""

from __future__ import annotations

import asyncio
import itertools
import re
from contextlib import asynccontextmanager

import attrs
import pytest

from telnyx_oauth.errors import (
    APIConnectionError,
    APIStatusError,
    InternalServerError,
    InvalidClientError,
    RateLimitError,
    ReauthenticationRequiredError,
    StoreConflictError,
    TelnyxError,
    TokenError,
    TokenPersistenceError,
    TokenVerificationError,
)
from telnyx_oauth.messages import Response
from telnyx_oauth.protocol.freshness import Phase, RefreshPolicy
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.events import (
    IssuedUnverified,
    OutcomeUnknown,
    PersistenceDegraded,
    ReauthenticationRequired,
    RecordSetAside,
    TokenAdopted,
    TokenRefreshed,
)
from telnyx_oauth.tokens.refresh import is_terminal, is_unknown
from telnyx_oauth.tokens.sources import AuthorizationCode, RefreshToken
from telnyx_oauth.tokens.stores.base import Intent, StoredGrant
from telnyx_oauth.tokens.stores.memory import MemoryStore

from .memory import put_records
from .virtual import ENDPOINT, EPOCH


class Faulty(MemoryStore):
    """Fails where it is told to: `broken` holds names of operations."""

    shared = True

    def __init__(self):
        super().__init__()
        self.broken = set()
        self.log = []

    async def load(self, key):
        self._step("load")
        return await super().load(key)

    async def compare_and_swap(self, key, expected, new):
        kind = "intent" if new.intent else "grant"
        self._step("swap", f"swap-{kind}")
        return await super().compare_and_swap(key, expected, new)

    async def delete(self, key):
        self._step("delete")
        await super().delete(key)

    def lock(self, key, *, timeout):
        self._step("lock")
        return super().lock(key, timeout=timeout)

    def _step(self, *names):
        self.log.append(names[-1])
        if self.broken & set(names):
            raise OSError("no space left on device")

    def only(self):
        (record,) = (self.records[name] for name in self.records if ".aside-" not in name)
        return record

    def put(self, record):
        (name,) = (name for name in self.records if ".aside-" not in name)
        put_records(self, {**self.records, name: record})


UNKNOWN = {"lost": "connection_error", "500": "server_error", "garbage": "invalid_response"}


def spent(world):
    return [seen.form.get("refresh_token") for seen in world.server.seen]


@pytest.mark.parametrize("rotation", ["none", "strict", "grace"])
def test_renewals_follow_the_rotation(world, rotation):
    async def main():
        world.server.rotation = rotation
        manager = world.manager(world.refresh())
        for generation in range(1, 5):
            assert (await manager.get()).generation == generation
            await asyncio.sleep(101)
        expected = ["r0"] * 4 if rotation == "none" else ["r0", "r1", "r2", "r3"]
        assert spent(world) == expected
        await manager.aclose()

    world.run(main())


def test_what_the_answer_leaves_out_is_kept(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        world.server.extra = {"scope": "a"}
        manager = world.manager(world.refresh(scopes="a b"), store=store)
        token = await manager.get()
        assert token.scopes == {"a"}
        assert store.only().refresh_token == "r1"
        world.server.rotation = "none"
        world.server.extra = {}
        await asyncio.sleep(101)
        token = await manager.get()
        assert token.scopes == {"a"}
        assert store.only().refresh_token == "r1"
        await manager.aclose()

    world.run(main())


def test_the_intent_is_written_before_sending_and_cleared_with_the_new_token(world):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.04)
        record = store.only()
        assert record.intent is not None
        assert re.fullmatch("[0-9a-f]{16}", record.intent.attempt)
        assert record.refresh_token == "r0"
        assert record.access_token is None
        await waiting
        record = store.only()
        assert record.intent is None
        assert record.access_token == "t1"
        assert record.expires_at == record.issued_at + 100
        assert store.log == ["load", "lock", "load", "swap-intent", "swap-grant"]
        assert not world.told(PersistenceDegraded)
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize(
    ("fault", "error"), [("unsent", APIConnectionError), ("429", RateLimitError), ("503", InternalServerError)]
)
def test_a_definite_failure_takes_the_intent_back(world, fault, error):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        world.server.faults.append(fault)
        with pytest.raises(error):
            await manager.get()
        assert len(world.server.seen) == 1
        assert store.only().intent is None
        assert store.only().refresh_token == "r0"
        assert (await manager.get()).generation == 1
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("rotation", ["none", "grace"])
@pytest.mark.parametrize("fault", ["lost", "lost_after", "500", "500_after", "garbage", "garbage_after"])
def test_an_unknown_outcome_is_resolved_by_sending_the_same_again(world, fault, rotation):
    async def main():
        world.server.rotation = rotation
        manager = world.manager(world.refresh())
        world.server.faults.append(fault)
        token = await manager.get()
        assert token.generation == 1
        assert spent(world) == ["r0", "r0"]
        (unknown,) = world.told(OutcomeUnknown)
        assert unknown.flight == world.events[0].flight
        assert unknown.error == UNKNOWN[fault.partition("_")[0]]
        await asyncio.sleep(101)
        await manager.get()
        await manager.aclose()

    world.run(main())


def test_replays_keep_their_distances_and_their_end(world):
    async def main():
        store = Faulty()
        world.server.latency = 0
        manager = world.manager(world.refresh(), store=store)
        world.server.faults.extend(["500"] * 7)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(1)
        assert manager.status().phase is Phase.RESOLVING
        with pytest.raises(InternalServerError):
            await waiting
        times = [seen.at for seen in world.server.seen]
        assert [round(after - before, 2) for before, after in itertools.pairwise(times)] == [
            0,
            0.25,
            0.5,
            1,
            2,
            4,
        ]
        assert store.only().intent is not None  # still unknown
        assert (await manager.get()).generation == 1  # the next flight resolves it
        assert set(spent(world)) == {"r0"}
        assert store.only().intent is None
        await manager.aclose()

    world.run(main())


def test_slow_failures_are_not_replayed_past_the_window(world):
    async def main():
        world.server.latency = 6
        manager = world.manager(world.refresh())
        world.server.faults.extend(["500"] * 9)
        with pytest.raises(InternalServerError):
            await manager.get()
        assert len(world.server.seen) == 2
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("fault", ["429", "503", "unsent", "500", "temporarily_unavailable"])
def test_an_unknown_outcome_is_resolved_through_a_busy_or_unreachable_server(world, fault):
    async def main():
        store = Faulty()
        world.server.rotation = "grace"
        manager = world.manager(world.refresh(), store=store)
        world.server.faults.extend(["lost_after", fault, fault])
        assert (await manager.get()).access_token == "t2"
        assert set(spent(world)) == {"r0"}
        assert world.server.seen[-1].at - world.server.seen[0].at < 10  # within the server's grace
        assert store.only().intent is None
        await manager.aclose()

    world.run(main())


def test_a_server_that_asks_for_much_time_is_asked_again_within_its_grace(world):
    async def main():
        manager = world.manager(world.refresh())
        world.server.faults.extend(["lost_after", *["503"] * 20])  # each asks for 7 s
        with pytest.raises(InternalServerError):
            await manager.get()
        times = [seen.at - world.server.seen[0].at for seen in world.server.seen]
        assert len(times) >= 4
        assert times[2] > 4.5
        assert 8 < times[-1] < 10
        assert manager.status().phase is not Phase.REAUTH_REQUIRED
        await manager.aclose()

    world.run(main())


def test_a_refusal_while_resolving_ends_it_and_leaves_the_intent(world):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        world.server.faults.extend(["lost", "invalid_client"])
        with pytest.raises(InvalidClientError):
            await manager.get()
        assert len(world.server.seen) == 2
        assert store.only().intent is not None
        await manager.aclose()

    world.run(main())


def test_a_later_renewal_of_an_unknown_outcome_sends_it_once(world):
    async def main():
        manager = world.manager(world.refresh())
        world.server.faults.extend(["500"] * 7)
        with pytest.raises(InternalServerError):
            await manager.get()
        await asyncio.sleep(20)
        world.server.faults.append("500")
        with pytest.raises(InternalServerError):
            await manager.get()
        assert len(world.server.seen) == 8
        await manager.aclose()

    world.run(main())


def test_a_lost_rotation_ends_in_reauthentication_that_says_so(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        world.server.faults.append("lost_after")
        with pytest.raises(ReauthenticationRequiredError) as caught:
            await manager.get()
        assert caught.value.reason == "refresh_token_lost"
        record = store.only()
        assert record.tombstone == "refresh_token_lost"
        assert record.refresh_token == "r0"  # kept, marked
        await manager.aclose()

    world.run(main())


def test_invalid_grant_ends_in_reauthentication_and_nothing_more_is_sent(world):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        world.server.alive.clear()
        with pytest.raises(ReauthenticationRequiredError) as caught:
            await manager.get()
        assert caught.value.reason == "invalid_grant"
        assert world.told(ReauthenticationRequired)[0].reason == "invalid_grant"
        assert manager.status().last_error == "reauthentication_required"
        assert manager.status().phase is Phase.REAUTH_REQUIRED
        for _ in range(20):
            await asyncio.sleep(3)
            with pytest.raises(ReauthenticationRequiredError):
                await manager.get()
        assert len(world.server.seen) == 1
        another = world.manager(world.refresh(), store=store)
        with pytest.raises(ReauthenticationRequiredError) as caught:
            await another.get()
        assert caught.value.reason == "invalid_grant"
        assert len(world.server.seen) == 1
        await another.aclose()
        await manager.aclose()

    world.run(main())


def test_a_new_sign_in_ends_reauthentication(world):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        world.server.alive.clear()
        with pytest.raises(ReauthenticationRequiredError):
            await manager.get()
        world.server.grant_refresh("r9")
        token = await manager.accept(TokenGrant("mine", expires_in=50.0, refresh_token="r9"))
        assert await manager.get() is token
        await asyncio.sleep(60)
        assert (await manager.get()).access_token == "t1"
        assert spent(world) == ["r0", "r9"]
        await manager.aclose()

    world.run(main())


def test_a_new_sign_in_is_no_replacement_of_a_rejected_token(world):
    async def main():
        manager = world.manager(world.refresh())
        token = await manager.get()
        world.server.faults.append("429")
        with pytest.raises(RateLimitError):
            await manager.replace(token)
        accepted = await manager.accept(TokenGrant("mine", expires_in=50.0, refresh_token="r0"))
        assert manager.peek() is accepted
        assert (await manager.replace(accepted)).access_token == "t2"
        await manager.aclose()

    world.run(main())


def test_a_valid_access_token_outlives_its_refresh_token(world):
    async def main():
        manager = world.manager(world.refresh())
        token = await manager.get()
        world.server.alive.clear()
        await asyncio.sleep(96)
        assert await manager.get() is token
        assert manager.status().phase is Phase.MANDATORY
        await asyncio.sleep(10)
        with pytest.raises(ReauthenticationRequiredError):
            await manager.get()
        assert manager.status().phase is Phase.REAUTH_REQUIRED
        await manager.aclose()

    world.run(main())


def test_somebody_elses_good_token_is_adopted_without_a_request(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        one = world.manager(world.refresh(), store=store)
        two = world.manager(world.refresh(), store=store)
        first = await one.get()
        assert (await two.get()).access_token == first.access_token
        assert len(world.server.seen) == 1
        await asyncio.sleep(97)
        renewed, adopted = await asyncio.gather(one.get(), two.get())
        assert renewed.access_token == adopted.access_token == "t2"
        assert len(world.server.seen) == 2
        (_, event) = world.told(TokenAdopted)
        assert (event.generation, event.expires_in) == (adopted.generation, 100.0)
        assert event.flight == max(event.flight for event in world.events)
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_n_expiries_and_many_managers_make_n_requests(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        managers = [world.manager(world.refresh(), store=store, jitter=lambda: 0.3) for _ in range(8)]
        for _ in range(10):
            tokens = await asyncio.gather(*(manager.get() for manager in managers))
            assert len({token.access_token for token in tokens}) == 1
            await asyncio.sleep(100)
        assert len(world.server.seen) == 10
        assert max(world.server.peak.values()) == 1
        for manager in managers:
            await manager.aclose()

    world.run(main())


def test_somebody_elses_newer_refresh_token_is_used(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        one = world.manager(world.refresh(), store=store)
        await one.get()
        await asyncio.sleep(200)
        two = world.manager(world.refresh(), store=store)
        await two.get()
        assert spent(world) == ["r0", "r1"]
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_invalid_grant_with_a_changed_store_goes_on_with_what_is_there(world):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.02)  # its request is on the way
        world.server.alive = {"r7": "f"}
        store.put(attrs.evolve(store.only(), refresh_token="r7", intent=None))
        assert (await waiting).access_token == "t1"
        assert spent(world) == ["r0", "r7"]
        await manager.aclose()

    world.run(main())


def test_two_scopes_of_one_grant_never_spend_it_at_the_same_time(world):
    async def main():
        world.server.rotation = "strict"
        manager = world.manager(world.refresh())
        tokens = await asyncio.gather(*(manager.get(scopes=f"s{n}") for n in range(5)))
        assert len({token.access_token for token in tokens}) == 5
        assert spent(world) == ["r0", "r1", "r2", "r3", "r4"]
        assert {seen.form["scope"] for seen in world.server.seen} == {f"s{n}" for n in range(5)}
        await manager.aclose()

    world.run(main())


def test_scopes_of_one_grant_are_renewed_one_after_the_other(world):
    async def main():
        manager = world.manager(world.refresh(), store=Faulty())
        await asyncio.gather(*(manager.get(scopes=f"s{n}") for n in range(3)))
        assert world.server.peak["r0"] == 1
        await manager.aclose()

    world.run(main())


def test_a_wall_clock_set_back_revives_no_stored_token(world):
    async def main():
        store = Faulty()
        manager, other = world.manager(world.refresh(), store=store), world.manager(world.refresh(), store=store)
        await manager.get()
        await asyncio.sleep(150)
        world.clock.jump(-140)
        assert (await manager.get()).access_token == "t2"
        world.clock.jump(-140)
        await asyncio.sleep(150)
        assert (await other.get()).access_token == "t3"
        await manager.aclose()
        await other.aclose()

    world.run(main())


def test_two_people_never_meet_in_one_store(world):
    async def main():
        store = Faulty()
        mine, theirs = world.refresh("r-mine"), world.refresh("r-theirs")
        one, two = world.manager(mine, store=store), world.manager(theirs, store=store)
        first, second = await one.get(), await two.get()
        assert first.access_token != second.access_token
        assert spent(world) == ["r-mine", "r-theirs"]
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_a_named_account_is_found_in_the_store_without_its_refresh_token(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        one = world.manager(world.refresh(account="ann"), store=store)
        await one.get()
        await one.aclose()
        two = world.manager(world.refresh(None, account="ann"), store=store)
        assert (await two.get()).access_token == "t1"
        await asyncio.sleep(101)
        await two.get()
        assert spent(world) == ["r0", "r1"]
        await two.aclose()

    world.run(main())


def test_without_any_refresh_token_the_person_must_sign_in(world):
    async def main():
        manager = world.manager(world.refresh(None))
        with pytest.raises(ReauthenticationRequiredError) as caught:
            await manager.get()
        assert caught.value.reason == "no_refresh_token"
        assert not world.server.seen
        await manager.aclose()

    world.run(main())


def test_an_authorization_code_is_sent_once_and_its_refresh_token_from_then_on(world):
    async def main():
        world.server.rotation = "strict"
        code = AuthorizationCode(
            world.server.send,
            ENDPOINT,
            "client",
            code="c0de",
            redirect_uri="http://localhost/cb",
            code_verifier="v" * 43,
            clock=world.clock,
        )
        manager = world.manager(world.refresh(None, first=code))
        await manager.get()
        await asyncio.sleep(101)
        await manager.get()
        assert [seen.form["grant_type"] for seen in world.server.seen] == ["authorization_code", "refresh_token"]
        assert world.server.seen[0].form["code_verifier"] == "v" * 43
        with pytest.raises(ReauthenticationRequiredError):
            await code(code.key)
        await manager.aclose()

    world.run(main())


def test_a_code_whose_answer_was_lost_is_not_sent_again(world):
    async def main():
        code = AuthorizationCode(world.server.send, ENDPOINT, "client", code="c0de", clock=world.clock)
        manager = world.manager(world.refresh(None, first=code))
        world.server.faults.append("lost")
        with pytest.raises(APIConnectionError):
            await manager.get()
        with pytest.raises(ReauthenticationRequiredError):
            await manager.get()
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


def test_a_refresh_source_works_alone_and_one_call_at_a_time(world):
    async def main():
        world.server.rotation = "strict"
        source = world.refresh()
        grants = await asyncio.gather(*(source(source.key) for _ in range(3)))
        assert [grant.access_token for grant in grants] == ["t1", "t2", "t3"]
        assert spent(world) == ["r0", "r1", "r2"]

    world.run(main())


def test_a_wrapped_refresh_source_still_rotates(world):
    async def main():
        world.server.rotation = "strict"
        inner = world.refresh()

        async def wrapped(key):
            return await inner(key)

        manager = world.manager(wrapped)
        for _ in range(3):
            await manager.get()
            await asyncio.sleep(101)
        assert spent(world) == ["r0", "r1", "r2"]
        await manager.aclose()

    world.run(main())


# --- failing stores


BREAKAGES = [{"lock", "load", "swap"}, {"lock"}, {"load"}, {"swap"}, {"swap-intent"}]


@pytest.mark.parametrize("broken", BREAKAGES)
@pytest.mark.parametrize("known", [False, True])
def test_a_refresh_token_is_never_sent_when_the_store_fails(world, caplog, broken, known):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        if known:
            await manager.get()
            await asyncio.sleep(101)
        sent = len(world.server.seen)
        store.broken = broken
        for _ in range(3):
            with pytest.raises(TokenPersistenceError, match=r"store fails.*kept.*OSError at `(lock|load|intent)`"):
                await manager.get()
        assert len(world.server.seen) == sent
        assert manager.status().phase is Phase.BACKOFF
        store.broken = set()
        assert await manager.get()
        assert spent(world) == ["r0", "r1"][: sent + 1]
        assert store.only().refresh_token == f"r{sent + 1}"
        await manager.aclose()

    world.run(main())
    assert "persistence-degraded" in caplog.text
    assert any(record.levelname == "ERROR" for record in caplog.records)


@pytest.mark.parametrize("broken", BREAKAGES)
def test_the_old_token_is_served_while_it_lives_though_the_store_fails(world, broken):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        await manager.get()
        store.broken = broken
        while world.clock.boot() - world.server.seen[0].at < 98:
            assert (await manager.get()).access_token == "t1"
            await asyncio.sleep(1)
        await asyncio.sleep(3)
        with pytest.raises(TokenPersistenceError):
            await manager.get()
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("shared", [True, False])
def test_a_store_that_cannot_be_read_is_not_told_as_signed_out(world, shared):
    async def main():
        store = Faulty()
        store.shared = shared
        signed_in = world.manager(world.refresh(account="ann"), store=store)
        await signed_in.get()
        await signed_in.aclose()
        store.broken = {"load"}
        later = world.manager(world.refresh(None, account="ann"), store=store)
        for timeout in (30, 0.01):
            with pytest.raises(TelnyxError) as caught:
                await later.get(timeout=timeout)
            assert not isinstance(caught.value, ReauthenticationRequiredError)
        store.broken = set()
        assert (await later.get()).access_token == "t1"
        await later.aclose()

    world.run(main())


def test_what_a_store_advises_reaches_the_caller(world):
    class Closed(Faulty):
        async def load(self, key):
            raise TokenPersistenceError("The folder must be yours alone (chmod 700).")

    class Driver(Faulty):
        async def load(self, key):
            raise ValueError("redis://user:planted-secret@host")

    async def main():
        for store, said in ((Closed(), "chmod 700"), (Driver(), "ValueError at `load`")):
            manager = world.manager(world.refresh(), store=store)
            with pytest.raises(TokenPersistenceError, match=re.escape(said)) as caught:
                await manager.get()
            assert "planted" not in f"{caught.value!r}{caught.value.__cause__!r}"
            await manager.aclose()

    world.run(main())


def test_client_credentials_degrade_to_memory_and_say_so(world, caplog):
    async def main():
        store = Faulty()
        store.broken = {"lock", "load", "swap"}
        manager = world.manager(store=store)
        token = await manager.get()
        assert token.access_token == "t1"
        assert manager.status().durable is False
        assert [(event.operation, event.error) for event in world.told(PersistenceDegraded)] == [
            ("lock", "OSError"),
            ("load", "OSError"),
            ("persist", "OSError"),
        ]
        assert {event.flight for event in world.told(PersistenceDegraded)} == {world.events[0].flight}
        await asyncio.sleep(101)
        assert (await manager.get()).access_token == "t2"
        store.broken = set()
        await asyncio.sleep(61)
        assert manager.status().durable is True
        assert store.only().access_token == "t2"
        await manager.aclose()

    world.run(main())
    assert "persistence-degraded" in caplog.text
    assert any(record.levelname == "ERROR" for record in caplog.records)


def test_a_full_disk_while_persisting_keeps_the_token_usable(world):
    async def main():
        store = Faulty()
        store.broken = {"swap-grant"}
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        token = await manager.get()
        assert manager.peek() is token
        assert manager.status().durable is False
        assert world.told(TokenRefreshed)[0].durable is False
        assert store.only().intent is not None  # a crash now would be known to have an unknown outcome
        await asyncio.sleep(20)
        store.broken = set()
        await asyncio.sleep(30)
        assert manager.status().durable is True
        assert store.only().refresh_token == "r1"
        assert manager.peek() is token
        await manager.aclose()

    world.run(main())


class Hanging(Faulty):
    """Does not answer where it is told not to."""

    async def load(self, key):
        await self._answer("load")
        return await super().load(key)

    async def compare_and_swap(self, key, expected, new):
        await self._answer("swap-intent" if new.intent else "swap-grant")
        return await super().compare_and_swap(key, expected, new)

    @asynccontextmanager
    async def lock(self, key, *, timeout):
        await self._answer("lock")
        async with super().lock(key, timeout=timeout):
            yield
            await self._answer("unlock")

    async def _answer(self, name):
        if name in self.broken:
            await asyncio.get_running_loop().create_future()

    def _step(self, *names):
        pass


HANGS = [{"lock", "load", "swap-intent", "swap-grant", "unlock"}, {"lock"}, {"load"}, {"swap-grant"}, {"unlock"}]


@pytest.mark.parametrize("broken", HANGS)
@pytest.mark.parametrize("grant", ["client", "refresh"])
def test_a_store_that_hangs_delays_a_get_by_five_seconds_at_most(world, broken, grant):
    async def main():
        store = Hanging()
        store.broken = set(broken)
        world.server.rotation = "strict"
        manager = world.manager(world.refresh() if grant == "refresh" else None, store=store)
        for _ in range(4):
            began = world.clock.boot()
            try:
                await manager.get()
            except TokenPersistenceError:
                assert grant == "refresh"
            assert world.clock.boot() - began < 5
            await asyncio.sleep(101)
        assert world.told(PersistenceDegraded)
        store.broken = set()
        await asyncio.sleep(170)
        await manager.get()
        assert manager.status().durable is True
        await manager.aclose()
        if grant == "refresh":
            assert spent(world) == [f"r{n}" for n in range(len(spent(world)))]
            assert store.only().refresh_token == f"r{len(spent(world))}"

    world.run(main())


@pytest.mark.parametrize("grant", ["client", "refresh"])
def test_a_token_that_expires_while_a_slow_store_keeps_it_waiting_is_given_to_no_caller(world, grant):
    async def main():
        store = Hanging()
        store.broken = {"swap-grant"}
        world.server.lifetime = 1
        world.server.rotation = "strict"
        manager = world.manager(world.refresh() if grant == "refresh" else None, store=store)
        with pytest.raises(TokenError, match=r"expired (while it was being stored|before its answer)"):
            await manager.get()
        store.broken = set()
        world.server.lifetime = 100
        await asyncio.sleep(15)
        assert (await manager.get()).access_token == "t2"
        assert world.server.dead_families == set()
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("where", ["store", "proof"])
def test_a_renewal_cut_short_after_its_answer_does_not_lose_the_new_refresh_token(world, where):
    async def main():
        store, verifier = Hanging(), Verifier()
        world.server.rotation = "strict"
        policy = RefreshPolicy(flight_timeout=5.0, store_timeout=20.0)
        manager = world.manager(world.refresh(), store=store, verifier=verifier, policy=policy)
        if where == "store":
            store.broken = {"swap-grant"}
        else:
            verifier.stuck = True
        with pytest.raises(TokenError, match="too long"):
            await manager.get()
        assert where == "store" or store.only().refresh_token == "r1"
        store.broken = set()
        verifier.stuck = False
        await asyncio.sleep(11)
        assert await manager.get()
        assert world.server.dead_families == set()
        await manager.aclose()
        assert store.only().refresh_token == f"r{len(spent(world))}"

    world.run(main())


def test_a_grant_that_was_not_stored_as_the_manager_closed_is_stored_by_the_closing(world):
    async def main():
        store = Hanging()
        store.broken = {"swap-grant"}
        manager = world.manager(world.refresh(), store=store)
        world.server.rotation = "strict"
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_later(0.5, store.broken.clear)
        await manager.aclose(drain=3)
        assert (await waiting).access_token == "t1"
        assert store.only().refresh_token == "r1"

    world.run(main())


def test_a_verifier_that_fails_by_itself_costs_no_refresh_token(world):
    async def main():
        verifier = Verifier(KeyError("planted"))
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), verifier=verifier)
        with pytest.raises(TokenError, match="KeyError") as caught:
            await manager.get()
        assert "planted" not in str(caught.value)
        verifier.verdict = None
        assert (await manager.get()).access_token == "t2"
        assert spent(world) == ["r0", "r1"]
        await manager.aclose()

    world.run(main())


def test_aclose_tries_once_more_to_save(world):
    async def main():
        store = Faulty()
        store.broken = {"swap-grant"}
        manager = world.manager(world.refresh(), store=store)
        await manager.get()
        store.broken = set()
        await manager.aclose(drain=0)
        assert store.only().access_token == "t1"

    world.run(main())


def test_client_credentials_share_a_token_through_a_store(world):
    async def main():
        store = Faulty()
        managers = [world.manager(store=store) for _ in range(20)]
        tokens = await asyncio.gather(*(manager.get() for manager in managers))
        assert {token.access_token for token in tokens} == {"t1"}
        assert len(world.server.seen) == 1
        for manager in managers:
            await manager.aclose()

    world.run(main())


def test_a_stored_token_is_adopted_without_the_lock(world):
    async def main():
        store = Faulty()
        one, two = world.manager(store=store), world.manager(store=store)
        await one.get()
        async with store.lock(world.credentials().key.store_key, timeout=1):
            store.log.clear()
            assert (await two.get()).access_token == "t1"
            assert world.loop.now == pytest.approx(1000.05)
        assert store.log == ["load"]
        await one.aclose()
        await two.aclose()

    world.run(main())


@pytest.mark.parametrize(
    ("stored", "had"), [(0.3, 0.5), (0.7, 1.5), (1.6, 3.5), (3.6, 7.5), (8.0, 10.0), (11.0, 10.05)]
)
def test_who_waits_for_the_lock_looks_at_the_record_ever_again(world, stored, had):
    async def main():
        store = Faulty()
        key = world.credentials().key.store_key
        manager = world.manager(store=store)
        async with store.lock(key, timeout=1):
            waiting = asyncio.ensure_future(manager.get())
            await asyncio.sleep(stored)
            now = world.clock.wall()
            record = StoredGrant(ENDPOINT, "client", key, "theirs", frozenset(), now, now + 100)
            if not waiting.done():
                await store.compare_and_swap(key, None, record)
            assert (await waiting).access_token == ("theirs" if stored < 10 else "t1")
            assert world.told(TokenRefreshed if stored > 10 else TokenAdopted)[0].at - EPOCH - 1000 == pytest.approx(
                had, abs=0.05
            )
        await manager.aclose()

    world.run(main())


def test_a_record_out_of_order_is_left_alone_by_those_who_hold_no_lock(world):
    async def main():
        store = Faulty()
        key = world.credentials().key.store_key
        foreign = StoredGrant("https://evil.test/token", "client", key, "stolen", issued_at=world.clock.wall())
        await store.compare_and_swap(key, None, foreign)
        manager = world.manager(store=store)
        async with store.lock(key, timeout=1):
            waiting = asyncio.ensure_future(manager.get())
            await asyncio.sleep(9.9)
            assert store.only().access_token == "stolen"
            assert not world.told(RecordSetAside)
        assert (await waiting).access_token == "t1"
        assert world.told(RecordSetAside)
        await manager.aclose()

    world.run(main())


def test_a_rejected_token_is_not_adopted_again_from_the_store(world):
    async def main():
        store = Faulty()
        manager = world.manager(store=store)
        first = await manager.get()
        assert (await manager.replace(first)).access_token == "t2"
        stale = world.manager(store=store)
        token = await stale.get()
        assert token.access_token == "t2"
        await asyncio.sleep(10)
        store.put(attrs.evolve(store.only(), access_token="t1"))
        assert (await manager.replace(manager.peek())).access_token == "t3"
        await manager.aclose()
        await stale.aclose()

    world.run(main())


def test_a_stored_token_near_its_end_serves_only_when_renewing_fails(world):
    async def main():
        store = Faulty()
        one = world.manager(store=store)
        await one.get()
        await asyncio.sleep(96)
        world.server.faults.append("500")
        two = world.manager(store=store)
        assert (await two.get()).access_token == "t1"
        assert len(world.server.seen) == 2
        await asyncio.sleep(20)
        assert (await two.get()).access_token == "t2"
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_a_stored_token_below_min_ttl_is_not_enough(world):
    async def main():
        store = Faulty()
        one, two = world.manager(store=store), world.manager(store=store)
        await one.get()
        await asyncio.sleep(50)
        assert (await two.get(min_ttl=80)).access_token == "t2"
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_a_foreign_record_is_set_aside_and_not_used(world, caplog):
    async def main():
        store = Faulty()
        key = world.credentials().key.store_key
        await store.compare_and_swap(
            key, None, StoredGrant("https://evil.test/token", "client", key, "stolen", issued_at=world.clock.wall())
        )
        manager = world.manager(store=store)
        assert (await manager.get()).access_token == "t1"
        assert world.told(RecordSetAside)[0].reason == "it belongs to another issuer or client"
        assert "delete" in store.log
        assert not world.told(PersistenceDegraded)
        assert world.told(RecordSetAside)[0].flight == world.events[0].flight
        aside = [name for name in store.records if ".aside-" in name]
        assert [store.records[name].access_token for name in aside] == ["stolen"]
        await manager.aclose()

    world.run(main())
    assert "record-set-aside" in caplog.text


def test_a_record_dated_in_the_future_loses_its_token_and_keeps_its_grant(world):
    async def main():
        store = Faulty()
        source = world.refresh()
        world.server.grant_refresh("r5")
        record = StoredGrant(
            ENDPOINT,
            "client",
            source.key.store_key,
            "future",
            issued_at=world.clock.wall() + 1e6,
            expires_at=world.clock.wall() + 2e6,
            refresh_token="r5",
        )
        await store.compare_and_swap(source.key.family_key, None, record)
        manager = world.manager(source, store=store)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.02)
        assert (store.only().issued_at, store.only().access_token) == (EPOCH + 1000, None)
        assert (await waiting).access_token == "t1"
        assert spent(world) == ["r5"]
        assert [event.reason for event in world.told(RecordSetAside)] == ["it is dated in the future"]
        assert not world.told(PersistenceDegraded)
        assert store.log[1:] == [
            "load",
            "lock",
            "load",
            "load",
            "swap-grant",
            "swap-grant",
            "swap-intent",
            "swap-grant",
        ]
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("intent", [True, False])
def test_the_holder_of_the_lock_is_never_overtaken(world, intent):
    async def main():
        store = Faulty()
        source = world.refresh()
        record = StoredGrant(
            ENDPOINT, "client", refresh_token="r0", intent=Intent(world.clock.wall(), "another's") if intent else None
        )
        await store.compare_and_swap(source.key.family_key, None, record)
        manager = world.manager(source, store=store)
        async with store.lock(source.key.family_key, timeout=1):
            for _ in range(3):  # it may have been stopped with the refresh token in hand, and go on at any time
                with pytest.raises(TelnyxError, match="Another process"):
                    await manager.get(timeout=None)
                await asyncio.sleep(60)
            assert not world.server.seen
        assert (await manager.get()).access_token == "t1"
        await manager.aclose()

    world.run(main())


def test_an_intent_left_by_a_crash_is_resolved_by_the_next_process(world):
    async def main():
        store = Faulty()
        source = world.refresh()
        record = StoredGrant(ENDPOINT, "client", refresh_token="r0", intent=Intent(world.clock.wall(), "dead"))
        await store.compare_and_swap(source.key.family_key, None, record)
        world.server.alive.clear()
        manager = world.manager(source, store=store)
        with pytest.raises(ReauthenticationRequiredError) as caught:
            await manager.get()
        assert caught.value.reason == "refresh_token_lost"
        assert store.log == ["swap-intent", "load", "lock", "load", "load", "swap-intent"]  # the last marks it as dead
        await manager.aclose()

    world.run(main())


def test_a_conflict_while_writing_the_intent_starts_over_from_what_is_there(world):
    async def main():
        store = Faulty()
        source = world.refresh()
        original = store.compare_and_swap
        world.server.grant_refresh("r8")

        async def interfered(key, expected, new):
            store.compare_and_swap = original
            await original(key, None, StoredGrant(ENDPOINT, "client", refresh_token="r8"))
            raise StoreConflictError

        store.compare_and_swap = interfered
        manager = world.manager(source, store=store)
        assert (await manager.get()).access_token == "t1"
        assert spent(world) == ["r8"]
        await manager.aclose()

    world.run(main())


def test_a_new_sign_in_outlasts_a_renewal_of_the_grant_before_it(world):
    async def main():
        store = Faulty()
        theirs = world.manager(world.refresh(), store=store)
        mine = world.manager(world.refresh(), store=store)
        await theirs.get()
        world.clock.suspend(200)
        renewing = asyncio.ensure_future(theirs.get())
        await asyncio.sleep(0.01)
        world.server.grant_refresh("r9", family="second")
        accepted = await mine.accept(TokenGrant("signed-in", expires_in=50.0, refresh_token="r9"), age=1.0)
        await renewing
        assert mine.peek() is accepted
        record = store.only()
        assert (record.access_token, record.refresh_token) == ("signed-in", "r9")
        await mine.aclose()
        await theirs.aclose()

    world.server.rotation = "strict"
    world.run(main())


def test_a_new_sign_in_waits_for_no_renewal_that_hangs(world):
    async def main():
        manager = world.manager(world.refresh(), policy=RefreshPolicy(lock_timeout=3.0))
        await manager.get()
        world.clock.suspend(200)
        world.server.latency = 1e6
        renewing = asyncio.ensure_future(manager.get(timeout=None))
        await asyncio.sleep(0.01)
        began = world.clock.boot()
        accepted = await manager.accept(TokenGrant("signed-in", expires_in=500.0, refresh_token="r9"))
        assert world.clock.boot() - began < 4
        assert manager.peek() is accepted
        assert await renewing is accepted
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("end", ["accept", "forget"])
def test_no_scope_keeps_a_token_of_the_grant_before(world, end):
    async def main():
        manager = world.manager(world.refresh())
        await manager.get()
        old = await manager.get(scopes="narrow")
        if end == "accept":
            world.server.grant_refresh("r9", family="second")
            await manager.accept(TokenGrant("signed-in", expires_in=50.0, refresh_token="r9"))
        else:
            await manager.forget()
        assert manager.peek(scopes="narrow") is None
        if end == "accept":
            assert (await manager.get(scopes="narrow")).access_token != old.access_token
            assert spent(world)[-1] == "r9"
        await manager.aclose()

    world.run(main())


def test_a_clients_own_tokens_of_other_scopes_are_kept(world):
    async def main():
        manager = world.manager()
        narrow = await manager.get(scopes="narrow")
        await manager.get()
        await manager.forget()
        assert manager.peek() is None
        assert manager.peek(scopes="narrow") is narrow
        await manager.aclose()

    world.run(main())


def test_a_code_is_not_sent_again_even_with_a_secret_that_was_replaced(world):
    async def main():
        async def secret():
            given.append(f"s{len(given)}")
            return given[-1]

        world.server.faults.append("invalid_client")
        source = AuthorizationCode(world.server.send, ENDPOINT, "client", secret, code="c", clock=world.clock)
        with pytest.raises(InvalidClientError):
            await source(source.key)

    given = []
    world.run(main())
    assert (len(world.server.seen), given) == (1, ["s0"])


def test_forget_deletes_the_record(world):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        await manager.get()
        await manager.forget()
        assert not [name for name in store.records if not name.endswith(".forgotten")]
        await manager.aclose()

    world.run(main())


# --- proof of what is issued


class Verifier:
    def __init__(self, verdict=None):
        self.verdict = verdict
        self.prepared = 0
        self.seen = []
        self.stuck = False

    async def prepare(self):
        self.prepared += 1
        await asyncio.sleep(0.03)

    async def __call__(self, access_token):
        self.seen.append(access_token)
        if self.stuck:
            await asyncio.get_running_loop().create_future()
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


def test_a_proven_token_is_used_and_its_keys_come_at_the_same_time(world):
    async def main():
        verifier = Verifier()
        manager = world.manager(verifier=verifier)
        await manager.get()
        assert verifier.seen == ["t1"]
        assert verifier.prepared == 1
        assert world.loop.now == pytest.approx(1000.05)  # not 0.08
        await manager.aclose()

    world.run(main())


def test_a_token_proven_wrong_is_never_used_and_its_refresh_token_is_kept(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        verifier = Verifier(TokenVerificationError("The signature is wrong."))
        manager = world.manager(world.refresh(), store=store, verifier=verifier)
        with pytest.raises(TokenVerificationError):
            await manager.get()
        assert manager.peek() is None
        assert store.only().access_token is None
        assert store.only().refresh_token == "r1"
        verifier.verdict = None
        await asyncio.sleep(6)
        assert (await manager.get()).access_token == "t2"
        await manager.aclose()

    world.run(main())


def test_what_cannot_be_verified_is_used_and_told_unless_proof_is_demanded(world):
    async def main():
        manager = world.manager(verifier=Verifier("opaque"))
        await manager.get()
        assert world.told(IssuedUnverified)[0].reason == "opaque"
        await manager.aclose()
        strict = world.manager(verifier=Verifier("opaque"), demand_proof=True)
        with pytest.raises(TokenVerificationError, match="opaque"):
            await strict.get()
        assert strict.peek() is None
        await strict.aclose()

    world.run(main())


def test_a_stored_token_is_proven_as_well(world):
    async def main():
        store = Faulty()
        one = world.manager(store=store)
        await one.get()
        verifier = Verifier(TokenVerificationError("wrong"))
        two = world.manager(store=store, verifier=verifier)
        with pytest.raises(TokenVerificationError):
            await two.get()
        assert verifier.seen == ["t1", "t1", "t2"]  # without the lock, with it, and the new one
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_refresh_source_has_a_repr_without_its_token(world):
    source = RefreshToken(world.server.send, ENDPOINT, "client", refresh_token="very-secret")
    assert "very-secret" not in repr(source) + repr(source.key)


def test_a_lock_that_cannot_be_let_go_is_told_of_and_the_token_is_used(world):
    class Sticky(Faulty):
        @asynccontextmanager
        async def lock(self, key, *, timeout):
            yield
            raise OSError

    async def main():
        manager = world.manager(world.refresh(), store=Sticky())
        assert (await manager.get()).access_token == "t1"
        assert [(event.operation, event.error) for event in world.told(PersistenceDegraded)] == [("unlock", "OSError")]
        await manager.aclose()

    world.run(main())


def test_a_store_that_lost_the_record_does_not_lose_the_grant(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        await manager.get()
        put_records(store, {})
        await asyncio.sleep(101)
        assert (await manager.get()).access_token == "t2"
        assert spent(world) == ["r0", "r1"]
        assert store.only().refresh_token == "r2"
        await manager.aclose()

    world.run(main())


def test_what_could_not_be_saved_is_used_before_an_older_record(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        store.broken = {"swap-grant"}
        assert (await manager.get()).access_token == "t1"
        world.jitter = 1.0
        await asyncio.sleep(97)
        assert (await manager.get()).access_token == "t2"
        assert spent(world) == ["r0", "r1"]
        store.broken = set()
        await manager.aclose()
        assert store.only().refresh_token == "r2"

    world.run(main())


@pytest.mark.parametrize(("newer", "kept"), [(True, "theirs"), (False, "r1")])
def test_a_record_changed_meanwhile_gives_way_to_what_is_newer(world, newer, kept):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.02)
        issued_at = world.clock.wall() + 10 if newer else 0.0
        generation = 7 if newer else 0
        store.put(attrs.evolve(store.only(), refresh_token="theirs", issued_at=issued_at, generation=generation))
        assert (await waiting).access_token == "t1"
        assert store.only().refresh_token == kept
        assert manager.status().durable
        assert world.told(TokenRefreshed)[0].durable
        await manager.aclose()

    world.run(main())


def test_a_store_that_never_stops_changing_is_given_up_for_now(world):
    async def main():
        store = Faulty()
        original = store.compare_and_swap

        async def swap(key, expected, new):
            if not new.intent:
                raise StoreConflictError
            return await original(key, expected, new)

        store.compare_and_swap = swap
        manager = world.manager(world.refresh(), store=store)
        assert (await manager.get()).access_token == "t1"
        assert manager.status().durable is False
        store.compare_and_swap = original
        await manager.aclose()

    world.run(main())


def test_a_grant_forgotten_amid_its_renewal_is_not_written_again(world):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.02)
        world.server.faults.append("429")
        await manager.forget()
        assert (await waiting).access_token == "t1"
        assert not [name for name in store.records if not name.endswith(".forgotten")]
        again = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.02)
        await manager.forget()
        with pytest.raises(RateLimitError):
            await again
        assert not [name for name in store.records if not name.endswith(".forgotten")]
        assert await manager.get()
        assert set(spent(world)) == {"r0"}  # where it began, not what the forgotten renewal was given
        await manager.aclose()

    world.server.rotation = "grace"
    world.run(main())


def test_a_refresh_source_alone_begins_with_what_makes_its_first_grant(world):
    async def main():
        world.server.rotation = "strict"
        code = AuthorizationCode(world.server.send, ENDPOINT, "client", code="c0de", clock=world.clock)
        source = world.refresh(None, first=code)
        assert (await source(source.key)).access_token == "t1"
        assert (await source(source.key)).access_token == "t2"
        assert spent(world) == [None, "r1"]
        nothing = world.refresh(None)
        with pytest.raises(ReauthenticationRequiredError, match="no_refresh_token"):
            await nothing(nothing.key)

    world.run(main())


def test_saving_is_tried_again_at_growing_distances_and_told_of_once(world):
    times = []

    class Full(Faulty):
        async def compare_and_swap(self, key, expected, new):
            times.append(world.loop.now)
            return await super().compare_and_swap(key, expected, new)

    async def main():
        store = Full()
        store.broken = {"swap-grant"}
        world.jitter = 0.5
        manager = world.manager(store=store, policy=RefreshPolicy(backoff_cap=20.0))
        await manager.get()
        await asyncio.sleep(1077.6 - world.loop.now)
        distances = [round(after - before, 3) for before, after in itertools.pairwise(times)]
        assert distances == [0, 0.5, 1, 2, 4, 8, 10, 10, 10, 10, 10, 10]
        await manager.get()
        await asyncio.sleep(8)
        assert len(times) == 15  # the renewal's own, and one more: two do not try at the same time
        assert [event.operation for event in world.told(PersistenceDegraded)] == ["persist"] * 2
        store.broken = set()
        await asyncio.sleep(10)
        assert manager.status().durable is True
        await asyncio.sleep(100)
        store.broken = {"swap-grant"}
        await manager.get()
        assert manager.status().durable is False
        store.broken = set()
        await asyncio.sleep(1)
        assert manager.status().durable is True
        await manager.aclose()

    world.run(main())


def test_what_was_forgotten_before_it_could_be_saved_is_never_saved(world):
    async def main():
        store = Faulty()
        store.broken = {"swap-grant"}
        manager = world.manager(store=store)
        await manager.get()
        store.broken = set()
        await manager.forget()
        await asyncio.sleep(60)
        assert not store.records
        await manager.aclose()

    world.run(main())


def test_a_store_that_hangs_is_waited_for_once(world):
    class Hanging(Faulty):
        async def load(self, key):
            await asyncio.sleep(1e6)

    async def main():
        manager = world.manager(store=Hanging(), policy=RefreshPolicy(store_timeout=1.5))
        await manager.get()
        assert world.loop.now == pytest.approx(1001.55)
        assert [(event.operation, event.error) for event in world.told(PersistenceDegraded)] == [
            ("lock", "TimeoutError"),
            ("load", "TimeoutError"),
            ("persist", "TimeoutError"),
        ]
        await manager.aclose()

    world.run(main())


def test_what_could_not_be_saved_goes_on_from_whatever_version_is_there(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        await manager.get()
        store.broken = {"swap-grant"}
        await asyncio.sleep(101)
        await manager.get()
        store.put(store.only())  # the same again, under another version
        await asyncio.sleep(97)
        assert (await manager.get()).access_token == "t3"
        store.broken = set()
        await manager.aclose()

    world.run(main())


def test_a_grant_that_was_only_adopted_is_known_when_the_store_loses_it(world):
    async def main():
        store = Faulty()
        world.server.rotation = "strict"
        one, two = world.manager(world.refresh(), store=store), world.manager(world.refresh(), store=store)
        await one.get()
        await two.get()
        put_records(store, {})
        await asyncio.sleep(101)
        assert (await two.get()).access_token == "t2"
        assert spent(world) == ["r0", "r1"]
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_a_record_that_was_deleted_meanwhile_is_written_anew(world):
    async def main():
        store = Faulty()
        manager = world.manager(world.refresh(), store=store)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.02)
        put_records(store, {})
        await waiting
        assert store.only().access_token == "t1"
        assert not world.told(PersistenceDegraded)
        await manager.aclose()

    world.run(main())


def test_what_was_adopted_is_the_same_token_with_the_same_end_and_generation(world):
    async def main():
        store = Faulty()
        one = world.manager(store=store)
        for _ in range(3):
            token = await one.get()
            await asyncio.sleep(101)
        token = await one.get()
        two = world.manager(store=store)
        adopted = await two.get()
        assert (adopted.expires_at, adopted.generation) == (token.expires_at, token.generation) == (EPOCH + 1403.15, 4)
        await asyncio.sleep(101)
        three = world.manager(store=store)
        assert (await three.get()).generation == 5  # after a record that has ended
        await one.aclose()
        await two.aclose()
        await three.aclose()

    world.run(main())


def test_generations_rise_from_what_the_store_holds(world):
    async def main():
        store = Faulty()
        one = world.manager(world.refresh(), store=store)
        for _ in range(3):
            await one.get()
            await asyncio.sleep(101)
        two, three = world.manager(world.refresh(), store=store), world.manager(world.refresh(), store=store)
        assert (await two.get()).generation == 4
        assert (await three.accept(TokenGrant("mine", refresh_token="r0"))).generation == 5
        for manager in (one, two, three):
            await manager.aclose()

    world.run(main())


def test_a_stored_token_without_an_end_is_adopted_as_such(world):
    async def main():
        store = Faulty()
        world.server.lifetime = ...
        one, two = world.manager(store=store), world.manager(store=store)
        await one.get()
        adopted = await two.get()
        assert (adopted.access_token, adopted.expires_at) == ("t1", None)
        await one.aclose()
        await two.aclose()

    world.run(main())


@pytest.mark.parametrize(
    ("now", "min_ttl", "expected"),
    [(1050, 50, "t1"), (1050, 50.1, "t2"), (1050, 100, "t1"), (1094.9, 0, "t1"), (1095, 0, "t2")],
)
def test_a_stored_token_is_adopted_before_its_mandatory_margin_and_with_the_time_that_is_wanted(
    world, now, min_ttl, expected
):
    async def main():
        store = Faulty()
        one, two = world.manager(store=store), world.manager(store=store)
        await one.get()
        world.loop.now = now
        assert (await two.get(min_ttl=min_ttl)).access_token == expected
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_the_policys_margin_counts_for_stored_tokens_too(world):
    async def main():
        store = Faulty()
        one = world.manager(store=store)
        two = world.manager(store=store, policy=RefreshPolicy(mandatory_fraction=0.25))
        await one.get()
        world.loop.now = 1080.0
        assert (await two.get()).access_token == "t2"
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_a_stored_token_that_would_do_is_served_while_a_better_one_is_fetched(world):
    async def main():
        store = Faulty()
        one, two = world.manager(store=store), world.manager(store=store)
        await one.get()
        world.loop.now = 1080.0
        waiting = asyncio.ensure_future(two.get(min_ttl=30))
        await asyncio.sleep(0.01)
        assert two.peek().access_token == "t1"
        assert (await waiting).access_token == "t2"
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_a_stored_token_that_has_ended_is_not_even_offered(world):
    async def main():
        store = Faulty()
        one, two = world.manager(store=store), world.manager(store=store)
        await one.get()
        world.loop.now = 1100.0
        waiting = asyncio.ensure_future(two.get())
        await asyncio.sleep(0.01)
        assert two.status().generation is None
        await waiting
        await one.aclose()
        await two.aclose()

    world.run(main())


def test_a_stored_token_that_ends_earlier_than_the_one_at_hand_is_not_adopted(world):
    async def main():
        store = Faulty()
        manager = world.manager(store=store)
        await manager.get()
        world.loop.now = 1050.0
        now = world.clock.wall()
        store.put(attrs.evolve(store.only(), access_token="brief", issued_at=now, expires_at=now + 20))
        assert (await manager.get(min_ttl=80)).access_token == "t2"
        await manager.aclose()

    world.run(main())


def test_an_answer_without_scopes_means_those_that_were_asked_for(world):
    async def main():
        store = Faulty()
        person = world.manager(world.refresh(scopes="a b"))
        assert (await person.get()).scopes == {"a", "b"}
        await person.aclose()
        world.server.extra = {"scope": "a"}
        manager = world.manager(world.credentials(scopes="a b"), store=store)
        assert (await manager.get()).scopes == {"a"}
        world.server.extra = {}
        await asyncio.sleep(101)
        assert (await manager.get()).scopes == {"a", "b"}
        await manager.aclose()

    world.run(main())


def test_what_makes_the_first_grant_is_told_what_for(world):
    async def main():
        seen = []

        async def first(key):
            seen.append(key)
            return TokenGrant("mine", expires_in=50.0, refresh_token="r0")

        source = world.refresh(None, first=first)
        manager = world.manager(source)
        await manager.get(scopes="a")
        assert seen == [source.key.narrowed("a", None)]
        await manager.aclose()

    world.run(main())


def test_a_conflict_is_resolved_by_adopting_what_the_other_has(world):
    async def main():
        store = Faulty()
        source = world.refresh()
        original = store.compare_and_swap

        async def interfered(key, expected, new):
            store.compare_and_swap = original
            theirs = StoredGrant(ENDPOINT, "client", source.key.store_key, "theirs", issued_at=world.clock.wall())
            await original(key, None, theirs)
            raise StoreConflictError

        store.compare_and_swap = interfered
        manager = world.manager(source, store=store)
        assert (await manager.get()).access_token == "theirs"
        assert not world.server.seen
        await manager.aclose()

    world.run(main())


def test_a_grant_that_never_stops_changing_is_given_up_with_the_reason(world):
    class Contested(Faulty):
        async def compare_and_swap(self, key, expected, new):
            self._step("swap")
            raise StoreConflictError

    async def main():
        store = Contested()
        manager = world.manager(world.refresh(), store=store)
        with pytest.raises(TokenError, match=r"^The stored grant kept changing while it was being refreshed\.$"):
            await manager.get()
        assert store.log.count("swap") == 4
        assert not world.server.seen
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("age", [0, 59, 60, 1e6, -1])
def test_an_intent_of_a_holder_that_is_gone_is_resolved_at_once(world, age):
    async def main():
        store = Faulty()
        source = world.refresh()
        intent = Intent(world.clock.wall() - age, "another's")
        record = StoredGrant(ENDPOINT, "client", refresh_token="r0", intent=intent)
        await store.compare_and_swap(source.key.family_key, None, record)
        manager = world.manager(source, store=store)
        began = world.clock.boot()
        assert (await manager.get()).access_token == "t1"
        assert world.clock.boot() - began < 0.1
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("fault", ["429", "invalid_grant"])
def test_a_failure_is_told_as_it_is_though_the_record_was_changed_meanwhile(world, fault):
    async def main():
        store = Faulty()
        world.server.faults.append(fault)
        manager = world.manager(world.refresh(), store=store)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.02)
        original = store.load

        async def load(key):
            found = await original(key)
            store.put(store.only())
            return found

        store.load = load
        if fault == "429":
            store.put(store.only())
        with pytest.raises(RateLimitError if fault == "429" else ReauthenticationRequiredError):
            await waiting
        store.load = original
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize(("fault", "operation"), [("429", "intent"), ("invalid_grant", "load")])
def test_a_store_that_fails_while_a_failure_is_written_down_says_at_what(world, fault, operation):
    async def main():
        store = Faulty()
        world.server.faults.append(fault)
        manager = world.manager(world.refresh(), store=store)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.02)
        store.broken = {"load", "swap"}
        # Another process may have renewed the grant meanwhile, so one that cannot be read is not over.
        with pytest.raises(RateLimitError if fault == "429" else TokenPersistenceError):
            await waiting
        assert [event.operation for event in world.told(PersistenceDegraded)] == [operation]
        assert not world.told(ReauthenticationRequired)
        await manager.aclose()

    world.run(main())


def test_a_stored_token_that_cannot_be_verified_is_used_and_told(world):
    async def main():
        store = Faulty()
        one = world.manager(store=store)
        await one.get()
        two = world.manager(store=store, verifier=Verifier("opaque"))
        assert (await two.get()).access_token == "t1"
        (event,) = world.told(IssuedUnverified)
        assert (event.key, event.flight) == (two.status().key, max(event.flight for event in world.events))
        await one.aclose()
        await two.aclose()

    world.run(main())


@pytest.mark.parametrize(
    ("status", "after", "unknown", "terminal"),
    [
        (300, None, False, True),
        (400, None, False, True),
        (401, None, False, True),
        (408, None, True, False),
        (409, None, False, False),
        (410, None, False, True),
        (425, None, False, False),
        (426, None, False, True),
        (429, 1.0, False, False),
        (499, None, False, True),
        (500, None, True, False),
        (500, 1.0, True, False),
        (503, None, True, False),
        (503, 1.0, False, False),
    ],
)
def test_which_answers_leave_the_outcome_open_and_which_would_be_the_same_again(status, after, unknown, terminal):
    error = APIStatusError("x", response=Response(status))
    error.retry_after = after
    assert (is_unknown(error), is_terminal(error)) == (unknown, terminal)
