"""Whatever is cancelled, and whenever: what was granted is stored, and nothing older comes back."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import attrs
import pytest

from telnyx_oauth.errors import TelnyxError
from telnyx_oauth.messages import Response
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.authorization_code import AuthorizationFlow
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import AuthorizationCode, RefreshToken
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.memory import MemoryStore

from .virtual import ENDPOINT


class Slow(MemoryStore):
    """A store that takes a while for each step, and fails where it is told to."""

    shared = True

    def __init__(self, seconds=0.5):
        super().__init__()
        self.seconds = seconds
        self.broken = False

    async def load(self, key):
        await asyncio.sleep(self.seconds)
        return await super().load(key)

    async def compare_and_swap(self, key, expected, new):
        await asyncio.sleep(self.seconds)
        if self.broken and new.intent is None:
            raise OSError("no space left on device")
        return await super().compare_and_swap(key, expected, new)

    def only(self):
        (record,) = self.records.values()
        return record


@pytest.mark.parametrize("moment", [0.1, 0.6, 1.2, 1.7, 2.2, 2.6])
def test_a_close_that_is_cancelled_waits_for_what_is_on_the_wire(world, moment):
    async def main():
        store = Slow()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(moment)
        sent = bool(world.server.seen)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await manager.aclose()
        assert not world.server.in_flight["r0"]
        if sent:
            assert (store.only().refresh_token, store.only().intent) == ("r1", None)
        await manager.aclose()
        await asyncio.gather(waiting, return_exceptions=True)

    world.run(main())


@pytest.mark.parametrize("moment", [0.1, 0.6, 0.9])
def test_a_sign_in_that_is_cancelled_while_it_is_stored_is_stored(world, moment):
    async def main():
        store = Slow()
        manager = world.manager(world.refresh(None, account="ann"), store=store)
        accepting = asyncio.ensure_future(
            manager.accept(TokenGrant("a0", expires_in=100, refresh_token=world.server.grant_refresh("r0")))
        )
        await asyncio.sleep(moment)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        assert store.only().refresh_token == "r0"
        other = world.manager(world.refresh(None, account="ann"), store=store)
        assert (await other.get()).access_token == "a0"
        await manager.aclose()
        await other.aclose()

    world.run(main())


def test_a_sign_in_that_is_cancelled_and_cannot_be_stored_is_stored_later(world):
    async def main():
        store = Slow()
        store.broken = True
        manager = world.manager(world.refresh(None, account="ann"), store=store)
        accepting = asyncio.ensure_future(
            manager.accept(TokenGrant("a0", expires_in=100, refresh_token=world.server.grant_refresh("r0")))
        )
        await asyncio.sleep(0.1)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        assert not manager.status().durable
        store.broken = False
        await asyncio.sleep(5)
        assert manager.status().durable
        assert store.only().refresh_token == "r0"
        await manager.aclose()

    world.run(main())


def test_a_handler_that_is_cancelled_loses_no_code(world):
    async def main():
        store = MemoryStore()
        flow = AuthorizationFlow(
            client_id="client", base_url="https://auth.test/v2", send=metadata, store=store, clock=world.clock
        )
        pending = await flow.begin_authorization(redirect_uri="https://app.test/back")
        completing = asyncio.ensure_future(
            flow.complete_authorization(f"https://app.test/back?code=c&state={pending.state}", account="ann")
        )
        await asyncio.sleep(0.02)
        assert world.server.in_flight
        completing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await completing
        assert (await flow.tokens(account="ann").get()).access_token == "t1"
        await flow.aclose()

    async def metadata(request):
        if request.method == "GET":
            return Response(404, request=request.info)
        return await world.server.send(request)

    world.run(main())


def test_a_program_that_ends_before_a_grant_could_be_stored_tries_once_more(world):
    async def main():
        store = Slow(0.0)
        store.broken = True
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        await manager.get()
        assert store.only().refresh_token == "r0"
        store.broken = False
        tasks = list(manager._cache._tasks)
        for task in tasks:  # as a loop's end does
            task.cancel()
        await asyncio.wait(tasks)
        assert store.only().refresh_token == "r1"

    world.run(main())


def test_a_late_answer_to_an_older_save_does_not_hide_what_came_after(world):
    """The store keeps the older of two grants, its answer is late, and the newer one cannot be stored yet."""

    class Flapping(MemoryStore):
        shared = True
        mode = "works"

        async def compare_and_swap(self, key, expected, new):
            if new.intent is None and self.mode == "fails":
                raise OSError
            version = await super().compare_and_swap(key, expected, new)
            if new.intent is None and self.mode == "late":
                self.mode = "fails"
                await asyncio.sleep(1.5)
            return version

    async def main():
        store = Flapping()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        store.mode = "fails"
        await manager.get(scopes="a")
        store.mode = "late"
        await asyncio.sleep(0.6)  # the save is under way
        await manager.get(scopes="b")
        store.mode = "fails"
        await asyncio.sleep(2)
        assert not manager.status(scopes="b").durable
        store.mode = "works"
        await asyncio.sleep(3)
        await manager.get(scopes="c")
        spent = [seen.form["refresh_token"] for seen in world.server.seen]
        assert spent == list(dict.fromkeys(spent))
        assert world.server.dead_families == set()
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("moment", [0.1, 0.6, 1.1, 1.6, 2.0, 2.4])
def test_what_is_forgotten_at_any_moment_of_its_renewal_stays_forgotten(world, moment):
    async def main():
        store = Slow()
        manager = world.manager(world.refresh(None, account="ann"), store=store)
        await manager.accept(TokenGrant("a0", expires_in=100, refresh_token=world.server.grant_refresh("r0")))
        await asyncio.sleep(101)
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(moment)
        await manager.forget()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(30)
        assert not [name for name in store.records if not name.endswith(".forgotten")]
        with pytest.raises(TelnyxError, match="no_refresh_token"):
            await manager.get()
        await manager.aclose()

    world.run(main())


def test_what_is_forgotten_while_it_is_being_saved_stays_forgotten(world):
    async def main():
        store = Slow()
        store.broken = True
        manager = world.manager(world.refresh(None, account="ann"), store=store)
        await manager.accept(TokenGrant("a0", expires_in=100, refresh_token=world.server.grant_refresh("r0")))
        store.broken = False
        await asyncio.sleep(0.6)
        await manager.forget()
        await asyncio.sleep(30)
        assert not [name for name in store.records if not name.endswith(".forgotten")]
        await manager.aclose()

    world.run(main())


def test_a_source_alone_keeps_the_successor_when_its_caller_is_cancelled(world):
    async def main():
        world.server.rotation = "strict"
        source = world.refresh()
        spending = asyncio.ensure_future(source(source.key))
        await asyncio.sleep(0.02)
        spending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await spending
        assert (await source(source.key)).access_token == "t2"
        assert [seen.form["refresh_token"] for seen in world.server.seen] == ["r0", "r1"]

    world.run(main())


def test_a_code_is_kept_when_the_clients_secret_cannot_be_had(world):
    async def main():
        async def secret():
            if not secrets:
                raise OSError
            return secrets[0]

        secrets = []
        source = AuthorizationCode(world.server.send, ENDPOINT, "client", secret, code="c", clock=world.clock)
        with pytest.raises(TelnyxError, match="secret failed"):
            await source(source.key)
        secrets.append("s3cret")
        assert (await source(source.key)).access_token == "t1"

    world.run(main())


def test_the_lease_is_looked_at_after_the_clients_secret_was_waited_for(world):
    class Leased(MemoryStore):
        shared = True
        seconds = 3.0
        held = True
        locks = 0

        @asynccontextmanager
        async def lock(self, key, *, timeout):
            async with super().lock(key, timeout=timeout):
                self.locks += 1
                self.held = True
                yield self

        def is_held(self):
            return self.held

        def may_have_been_anothers(self):
            return False

    async def main():
        store = Leased()

        async def secret():
            if store.locks == 1:
                store.held = False  # suspended while the secret was waited for
            return "s3cret"

        world.server.grant_refresh("r0")
        source = RefreshToken(world.server.send, ENDPOINT, "client", secret, refresh_token="r0", clock=world.clock)
        manager = TokenManager(source, store=store, clock=world.clock)
        assert (await manager.get()).access_token == "t1"
        assert store.locks == 2
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


def test_a_lock_that_ended_with_its_loop_is_not_taken_for_held(tmp_path):
    class Full(FileStore):
        full = False

        async def compare_and_swap(self, key, expected, new):
            if self.full and new.intent is None:
                raise OSError("no space left on device")
            return await super().compare_and_swap(key, expected, new)

    sent = []
    free = []

    async def send(request):
        sent.append(request)
        try:
            async with FileStore(tmp_path / "t").lock(source.key.family_key, timeout=0):
                free.append(len(sent))
        except TimeoutError:
            pass
        body = b'{"access_token":"t%d","token_type":"Bearer","expires_in":1,"refresh_token":"r%d"}'
        return Response(200, content=body % (len(sent), len(sent)), request=request.info)

    source = RefreshToken(send, ENDPOINT, "client", refresh_token="r0")
    store = Full(tmp_path / "t")
    manager = TokenManager(source, store=store, jitter=lambda: 0.0)

    async def one(full):
        store.full = full
        token = await manager.get()
        return await manager.replace(token) if full is None else token

    store.full = True
    asyncio.run(one(True))
    asyncio.run(one(None))
    assert not free, "sent without the lock"
    assert len(sent) == 2


async def test_forget_deletes_a_draft_that_a_killed_writer_left(tmp_path):
    store = FileStore(tmp_path / "t")
    source = RefreshToken(None, ENDPOINT, "client", refresh_token="r0")
    manager = TokenManager(source, store=store)
    await manager.accept(TokenGrant("a0", expires_in=100, refresh_token="r1"))
    (record,) = (tmp_path / "t").glob("*.json")
    record.with_name(f".{record.stem}.tmp").write_bytes(b"r2")
    await manager.forget()
    assert not [path.name for path in (tmp_path / "t").iterdir() if not path.name.endswith((".lock", ".forgotten"))]
    await manager.aclose()
    assert attrs.asdict(manager.status())["generation"] is None
