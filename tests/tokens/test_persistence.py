"""Forgetting holds for all processes. A record that a store has lost comes back from a process that knows it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import attrs
import keyring
import pytest
from cryptography.fernet import Fernet

from telnyx_oauth.errors import ReauthenticationRequiredError, StoreConflictError, TokenPersistenceError
from telnyx_oauth.protocol.freshness import RefreshPolicy
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import RefreshToken
from telnyx_oauth.tokens.stores.encrypted import EncryptedStore
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.keyring import KeyringStore
from telnyx_oauth.tokens.stores.memory import MemoryStore
from telnyx_oauth.tokens.stores.redis import RedisStore
from telnyx_oauth.transport.clock import SystemClock

from .keyrings import SmallKeyring
from .test_processes import service, start  # noqa: F401 - fixtures
from .virtual import ENDPOINT, EPOCH, ModelServer

DAY = 86400


class Own:
    """A user's store: the four methods, and no more."""

    __slots__ = ("records",)
    shared = True

    def __init__(self):
        self.records = {}

    async def load(self, key):
        return self.records.get(key)

    async def compare_and_swap(self, key, expected, new):
        now = self.records.get(key)
        if (now and now.version) != expected:
            raise StoreConflictError
        self.records[key] = attrs.evolve(new, version=str(int(expected or "0") + 1))
        return self.records[key].version

    async def delete(self, key):
        self.records.pop(key, None)

    @asynccontextmanager
    async def lock(self, key, *, timeout):
        yield


@pytest.fixture(params=["memory", "file", "redis", "keyring", "encrypted", "own"])
def store(request, tmp_path):
    before = keyring.get_keyring()
    match request.param:
        case "memory":
            yield MemoryStore()
        case "file":
            yield FileStore(tmp_path / "tokens")
        case "redis":
            yield RedisStore(request.getfixturevalue("valkey"), prefix=f"{tmp_path}:", lock_ttl=0.2)
        case "keyring":
            keyring.set_keyring(SmallKeyring())
            yield KeyringStore(folder=tmp_path / "locks")
        case "encrypted":
            yield EncryptedStore(FileStore(tmp_path / "tokens"), [Fernet.generate_key()])
        case _:
            yield Own()
    keyring.set_keyring(before)


def person(model, store, seed=None):
    """One process's manager of Ann's grant."""
    source = RefreshToken(model.send, ENDPOINT, "client", refresh_token=seed, account="ann")
    return TokenManager(source, store=store, jitter=lambda: 0.0, policy=RefreshPolicy(backoff_first=0.01))


async def sign_in(model, manager, refresh):
    model.grant_refresh(refresh, refresh)
    await manager.accept(TokenGrant(f"access-{refresh}", expires_in=3600, refresh_token=refresh))


def spent(model):
    return [seen.form["refresh_token"] for seen in model.seen]


async def test_another_process_does_not_bring_back_a_forgotten_grant_and_a_new_sign_in_works_at_once(store):
    model = ModelServer(SystemClock(), rotation="strict")
    one, two, three = (person(model, store) for _ in range(3))
    name = one.status().key.family_key
    await sign_in(model, one, "r")
    token, another = await two.get(), await three.get()
    await one.forget()
    with pytest.raises(ReauthenticationRequiredError):
        await two.replace(token)
    with pytest.raises(ReauthenticationRequiredError):
        await two.get(scopes="other")
    assert await store.load(name) is None
    assert spent(model) == []
    await sign_in(model, one, "s")
    assert (await three.replace(another)).access_token == "access-s"  # it slept through all that
    assert (await two.get(scopes="third")).access_token == "t1"
    assert spent(model) == ["s"]
    for each in (one, two, three):
        await each.aclose()
    assert (await store.load(name)).refresh_token not in ("r", "s")


async def test_a_configured_refresh_token_is_not_sent_again_by_a_process_that_knew_the_grant(store):
    model = ModelServer(SystemClock(), rotation="strict")
    model.grant_refresh("r0")
    one, two = person(model, store, "r0"), person(model, store, "r0")
    await one.get()
    token = await two.get()
    await one.forget()
    for _ in range(2):
        with pytest.raises(ReauthenticationRequiredError):
            await (two.replace(token) if two.peek() is not None else two.get())
    assert spent(model) == ["r0"]
    assert await store.load(one.status().key.family_key) is None
    await one.aclose()
    await two.aclose()


async def test_what_another_renews_meanwhile_is_forgotten_too(store):
    model = ModelServer(SystemClock(), rotation="strict", latency=0.2)
    one, two = person(model, store), person(model, store)
    await sign_in(model, one, "r")
    token = await two.get()
    renewing = asyncio.ensure_future(two.replace(token))
    while not model.in_flight["r"]:
        await asyncio.sleep(0.01)
    await one.forget()
    assert (await renewing).access_token == "t1"
    assert await store.load(one.status().key.family_key) is None
    with pytest.raises(ReauthenticationRequiredError):
        await two.get(scopes="other")
    await two.aclose()
    await one.aclose()
    assert await store.load(one.status().key.family_key) is None


async def test_a_store_that_lost_everything_gets_it_back_from_who_knows_it(store):
    model = ModelServer(SystemClock(), rotation="strict")
    one, two = person(model, store), person(model, store)
    await sign_in(model, one, "old")
    await one.forget()
    await sign_in(model, one, "r")
    token = await two.get()
    name = one.status().key.family_key
    await store.delete(name)  # and no mark of a forgetting is there
    assert (await two.replace(token)).access_token == "t1"
    assert (await store.load(name)).refresh_token is not None
    await one.aclose()
    await two.aclose()


async def test_what_could_not_be_stored_is_not_stored_once_it_was_forgotten():
    class Full(MemoryStore):
        shared = True
        full = False

        async def compare_and_swap(self, key, expected, new):
            if self.full:
                raise OSError(28, "No space left on device")
            return await super().compare_and_swap(key, expected, new)

    model, store = ModelServer(SystemClock(), rotation="strict"), Full()
    one, two = person(model, store), person(model, store)
    store.full = True
    with pytest.warns(RuntimeWarning, match="No space left"):
        await sign_in(model, two, "r")
    store.full = False
    await one.forget()
    while not two.status().durable:
        await asyncio.sleep(0.01)
    await two.aclose()
    assert not [record for record in store.records.values() if record.refresh_token or record.access_token]
    await one.aclose()


def test_a_sign_in_on_a_machine_whose_clock_is_behind_counts_and_a_mark_ends(world):
    async def main():
        store = Own()
        one, two = (world.manager(world.refresh(None, account="ann"), store=store) for _ in range(2))
        world.server.grant_refresh("r")
        await one.accept(TokenGrant("a", expires_in=100, refresh_token="r"))
        await two.get()
        await one.forget()
        (mark,) = store.records.values()
        assert (mark.refresh_token, mark.access_token, mark.expires_at) == (None, None, EPOCH + 1000 + 30 * DAY)
        world.clock.jump(-500)
        world.server.grant_refresh("s", family="second")
        await one.accept(TokenGrant("b", expires_in=100, refresh_token="s"))
        assert one.status().durable
        await asyncio.sleep(101)
        assert (await two.get()).access_token == "t1"
        assert [seen.form["refresh_token"] for seen in world.server.seen] == ["s"]
        assert len(store.records) == 1  # the mark has done its work
        await one.forget()
        await asyncio.sleep(31 * DAY)
        assert (await two.get()).access_token == "t2"  # it had not looked for a month
        await one.aclose()
        await two.aclose()

    world.run(main())


async def test_a_mark_that_cannot_be_written_is_told_and_the_record_is_gone_all_the_same():
    class NoMarks(Own):
        async def compare_and_swap(self, key, expected, new):
            if new.refresh_token is None:
                raise OSError(28, "No space left on device")
            return await super().compare_and_swap(key, expected, new)

    store = NoMarks()
    manager = person(ModelServer(SystemClock()), store)
    await sign_in(ModelServer(SystemClock()), manager, "r")
    with pytest.raises(TokenPersistenceError, match="No space left on device"):
        await manager.forget()
    assert store.records == {}
    await manager.aclose()


async def test_a_store_that_fails_at_forgetting_says_so():
    class Broken(Own):
        async def delete(self, key):
            raise ConnectionError("planted-password")

    manager = person(ModelServer(SystemClock()), Broken())
    with pytest.raises(TokenPersistenceError, match="Forget it once more") as caught:
        await manager.forget()
    assert "planted" not in str(caught.value)
    await manager.aclose()


async def test_marks_in_a_folder_hold_no_token_and_go_in_time(tmp_path):
    store = FileStore(tmp_path / "t")
    old = tmp_path / "t" / "gone.forgotten"
    model = ModelServer(SystemClock())
    manager = person(model, store)
    await sign_in(model, manager, "refresh-secret")
    old.touch()
    os.utime(old, (1, 1))
    await manager.forget()
    (mark,) = [path for path in (tmp_path / "t").iterdir() if path.suffix != ".lock"]
    assert mark.name == manager.status().key.family_key + ".forgotten"
    assert "secret" not in mark.read_text()
    await sign_in(model, manager, "another")
    assert not mark.exists()
    await manager.aclose()


async def test_a_mark_in_a_valkey_ends_by_itself(valkey, tmp_path):
    import redis.asyncio

    manager = person(ModelServer(SystemClock()), RedisStore(valkey, prefix=f"{tmp_path}:"))
    await manager.forget()
    async with redis.asyncio.Redis.from_url(valkey) as client:
        (name,) = [name async for name in client.scan_iter(f"{tmp_path}:*")]
        assert 30 * DAY <= await client.ttl(name) <= 31 * DAY
    await manager.aclose()


@pytest.mark.parametrize("kind", ["file", "valkey"])
async def test_processes_forget_for_each_other(request, service, start, kind):  # noqa: F811
    told = {"redis": request.getfixturevalue("valkey"), "lock_ttl": 0.2} if kind == "valkey" else {}
    one, two = [await start(obey=True, **told) for _ in range(2)]

    async def ask(worker, words):
        worker.lines.clear()
        worker.process.stdin.write(f"{words}\n".encode())
        await worker.until("said")
        return worker.said("said")[0]

    over = "ReauthenticationRequiredError no_refresh_token"
    service.model.grant_refresh("r", "first")
    assert await ask(one, "accept a r") == "accepted"
    assert await ask(two, "get") == "a"
    assert await ask(one, "forget") == "forgotten"
    assert await ask(two, "replace") == over
    assert await ask(two, "get other") == over
    assert await ask(one, "get") == over
    service.model.grant_refresh("s", "second")
    assert await ask(one, "accept b s") == "accepted"
    assert await ask(two, "get third") == "t1"
    assert [seen.form["refresh_token"] for seen in service.model.seen] == ["s"]
    for worker in (one, two):
        worker.process.stdin.close()
        await worker.end()
