"""Grants in keyrings that are too small, locked, absent or hang: none is lost, and what is wrong is told in words."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import attrs
import keyring
import pytest
from keyring.errors import KeyringLocked, NoKeyringError, PasswordSetError

from telnyx_oauth.errors import StoreConflictError, TokenPersistenceError
from telnyx_oauth.protocol.freshness import RefreshPolicy
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import RefreshToken
from telnyx_oauth.tokens.stores.base import Intent, StoredGrant
from telnyx_oauth.tokens.stores.keyring import KeyringStore
from telnyx_oauth.transport.clock import SystemClock

from .keyrings import (
    ERRORS,
    CuttingKeyring,
    DeafKeyring,
    FailingKeyring,
    HangingKeyring,
    MemoryKeyring,
    SmallKeyring,
)
from .virtual import ENDPOINT, ModelServer

POLICY = RefreshPolicy(store_timeout=0.3, lock_timeout=0.3)
GRANT = StoredGrant("https://auth.test/token", "client", "request-1", "a" * 3000, {"a"}, 1.0, 4e9, 3, "r" * 700)


@pytest.fixture
def store(tmp_path):
    return KeyringStore(folder=tmp_path / "locks")


@pytest.fixture
def model():
    return ModelServer(SystemClock(), rotation="strict")


def manager(model, store, token="r0"):
    source = RefreshToken(model.send, ENDPOINT, "client", refresh_token=token)
    return TokenManager(source, store=store, policy=POLICY, jitter=lambda: 0.0)


def notes(folder):
    """The files that are no locks."""
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]


@pytest.mark.parametrize("kind", [SmallKeyring, CuttingKeyring])
@pytest.mark.parametrize("length", [10, 900, 1100, 2400, 30_000])
async def test_a_record_of_any_length_is_kept_and_replaced_and_removed(use, store, kind, length):
    small = use(kind())
    version = await store.compare_and_swap("key", None, GRANT)
    for number in range(3):
        new = attrs.evolve(GRANT, access_token="x" * length * (number + 1), generation=number)
        with pytest.raises(StoreConflictError):
            await store.compare_and_swap("key", "another", new)
        version = await store.compare_and_swap("key", version, new)
        loaded = await store.load("key")
        assert (loaded, loaded.version) == (new, version)
        assert all(len(text) <= 1280 for text in small.kept.values())
    await store.delete("key")
    assert small.kept == {}


@pytest.mark.parametrize("error", [PasswordSetError, OSError, RuntimeError])
async def test_each_kind_of_refusal_makes_parts(use, store, error):
    use(SmallKeyring(error=error))
    await store.compare_and_swap("key", None, GRANT)
    assert await store.load("key") == GRANT


async def test_what_was_kept_whole_is_found_and_a_large_keyring_keeps_it_so(use, store):
    large = use(MemoryKeyring())
    await store.compare_and_swap("key", None, GRANT)
    assert list(large.kept) == [("telnyx-oauth", "key")]
    assert StoredGrant.decode(large.kept["telnyx-oauth", "key"].encode()) == GRANT


@pytest.mark.parametrize("steps", range(12))
async def test_a_process_that_is_killed_amid_writing_leaves_the_old_record_or_the_new_one(use, store, steps):
    class Dying(SmallKeyring):
        left = None

        def _count(self):
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    raise KeyringLocked

        def set_password(self, service, username, password):
            self._count()
            super().set_password(service, username, password)

        def delete_password(self, service, username):
            self._count()
            super().delete_password(service, username)

    dying = use(Dying())
    version = await store.compare_and_swap("key", None, GRANT)
    version = await store.compare_and_swap("key", version, attrs.evolve(GRANT, access_token="b" * 2000))
    old = await store.load("key")
    new = attrs.evolve(GRANT, access_token="n" * 3100)
    dying.left = steps
    with suppress(TokenPersistenceError):
        await store.compare_and_swap("key", version, new)
    dying.left = None
    found = await store.load("key")
    assert found in (old, new)
    await store.compare_and_swap("key", found.version, GRANT)
    assert await store.load("key") == GRANT
    await store.delete("key")
    assert dying.kept == {}


async def test_a_reader_finds_a_whole_record_while_another_process_writes(use, store, caplog):
    use(SmallKeyring())
    version = await store.compare_and_swap("key", None, GRANT)
    over = threading.Event()

    async def write(version):
        for number in range(60):
            new = attrs.evolve(GRANT, access_token=chr(97 + number % 26) * (2000 + 400 * (number % 3)))
            version = await store.compare_and_swap("key", version, new)
        over.set()

    async def read():
        while not over.is_set():
            assert (await store.load("key")).refresh_token == GRANT.refresh_token

    await asyncio.gather(write(version), *(read() for _ in range(3)))
    assert "cannot be used" not in caplog.text


async def test_parts_that_are_not_whole_are_quarantined(use, store, caplog, tmp_path):
    small = use(SmallKeyring())
    await store.compare_and_swap("key", None, attrs.evolve(GRANT, access_token="planted-secret" * 200))
    del small.kept["telnyx-oauth", "key.part-a-1"]
    assert await store.load("key") is None
    assert "cannot be used" in caplog.text
    assert "planted-secret" not in caplog.text
    assert {name.partition("aside-latest")[0] for _, name in small.kept} == {"key."}
    await store.compare_and_swap("key", None, GRANT)
    assert await store.load("key") == GRANT


async def test_keys_that_are_written_at_once_do_not_move_each_other_out(use, store):
    """As the Windows backend does it: the newest entry has the service's own place, and moves the one that had it."""

    class Moving(MemoryKeyring):
        def set_password(self, service, username, password):
            newest = self.kept.get(service)
            threading.Event().wait(0.001)
            if newest:
                self.kept[service, newest[0]] = newest[1]
            self.kept[service] = (username, password)

        def get_password(self, service, username):
            newest = self.kept.get(service)
            return newest[1] if newest and newest[0] == username else self.kept.get((service, username))

    use(Moving())
    names = [f"key-{number}" for number in range(8)]
    await asyncio.gather(*(store.compare_and_swap(name, None, GRANT) for name in names))
    assert [await store.load(name) for name in names] == [GRANT] * 8


@pytest.mark.parametrize("size", [100, 1000, 1900])
@pytest.mark.parametrize("kind", [SmallKeyring, CuttingKeyring])
async def test_a_keyring_that_is_too_small_is_known_before_the_refresh_token_is_sent(use, store, model, kind, size):
    use(kind(size))
    model.grant_refresh("r0")
    model.extra = {"access_token": "t" * 3000}
    mine = manager(model, store)
    with pytest.raises(TokenPersistenceError, match="does not take an entry of"):
        await mine.get()
    assert model.seen == []
    await mine.aclose()


async def test_what_a_small_keyring_refuses_costs_nothing_of_what_it_has(use, store):
    cutting = use(CuttingKeyring())
    version = await store.compare_and_swap("key", None, attrs.evolve(GRANT, access_token="b" * 200, refresh_token="r"))
    cutting.most = 600
    before = dict(cutting.kept)
    with pytest.raises(TokenPersistenceError):
        await store.compare_and_swap("key", version, GRANT)
    cutting.most = 2560
    assert cutting.kept.keys() == before.keys()


async def test_long_tokens_are_renewed_through_a_small_keyring(use, store, model):
    use(SmallKeyring())
    model.grant_refresh("r0")
    for number in range(1, 4):
        model.extra = {"access_token": f"{number}" * 3000}
        mine = manager(model, store)
        assert (await mine.get()).access_token == f"{number}" * 3000
        assert mine.status().durable
        name = mine.status().key.family_key
        kept = await store.load(name)
        old = attrs.evolve(kept, issued_at=kept.issued_at - 9999, expires_at=kept.expires_at - 9999)
        await store.compare_and_swap(name, kept.version, old)
        await mine.aclose()
    assert [seen.form["refresh_token"] for seen in model.seen] == ["r0", "r1", "r2"]


SAID = {
    KeyringLocked: "The keyring is locked. Unlock it",
    NoKeyringError: "no keyring on this machine",
}


@pytest.mark.parametrize("error", ERRORS)
async def test_each_failure_is_told_in_words_and_quotes_nothing(use, store, model, error, secrets):
    broken = use(FailingKeyring(error, broken=False))
    new = attrs.evolve(GRANT, refresh_token=secrets.refresh_token)
    version = await store.compare_and_swap("key", None, new)
    broken.broken = True
    for call in (store.load("key"), store.compare_and_swap("key", version, new), store.delete("key")):
        with pytest.raises(TokenPersistenceError, match=SAID.get(error, "keyring cannot be used now")) as caught:
            await call
        assert not secrets.found_in(caught.value)
    model.grant_refresh("r0")
    mine = manager(model, store)
    with pytest.raises(TokenPersistenceError, match=SAID.get(error, "keyring")):
        await mine.get()
    assert model.seen == []
    broken.broken = False
    assert await store.load("key") == new
    await mine.aclose()


async def test_a_keyring_that_only_writes_badly_is_known_before_the_refresh_token_is_sent(use, store, model):
    model.grant_refresh("r0")
    for backend in (DeafKeyring(), SmallKeyring(0), SmallKeyring(0, KeyringLocked)):
        use(backend)
        mine = manager(model, store)
        with pytest.raises(TokenPersistenceError, match="keyring"):
            await mine.get()
        assert model.seen == []
        await mine.aclose()


async def test_a_backend_that_cannot_even_be_made_is_told_in_words(store, monkeypatch):
    class Odd(MemoryKeyring):
        @property
        def priority(self):
            raise RuntimeError("Requires Windows and pywin32")

    monkeypatch.setattr(keyring, "get_keyring", Odd)
    with pytest.raises(TokenPersistenceError, match="keyring cannot be used now"):
        await store.load("key")


async def test_a_keyring_that_hangs_is_given_up_and_nothing_is_sent(use, store, model):
    hanging = use(HangingKeyring())
    model.grant_refresh("r0")
    mine = manager(model, store)
    with pytest.raises(TokenPersistenceError, match="no answer"):
        await asyncio.wait_for(mine.get(), 5)
    with pytest.raises(TokenPersistenceError, match="no answer"):
        await asyncio.wait_for(mine.forget(), 5)
    assert model.seen == []
    hanging.broken = False
    hanging.let_go.set()
    await mine.aclose()


async def test_forgetting_leaves_nothing_in_the_keyring_and_no_note_beside_it(use, store, tmp_path):
    chain = use(SmallKeyring())
    mine = manager(ModelServer(SystemClock()), store, None)
    for _ in range(2):
        await mine.accept(TokenGrant("t" * 3000, expires_in=100, refresh_token="r"))
        (name,) = [name for _, name in chain.kept if "." not in name]
        chain.kept["telnyx-oauth", name] = "not a record"
        assert await store.load(name) is None
        assert notes(tmp_path / "locks")
        await mine.accept(TokenGrant("t" * 3000, expires_in=100, refresh_token="r"))
        await mine.forget()
        assert notes(tmp_path / "locks") == []
        assert not any("refresh" in text for text in chain.kept.values() if '"refresh_token": null' not in text)
    await mine.aclose()


def test_a_record_that_waits_for_its_first_access_token_has_the_room_of_one():
    waiting = StoredGrant("e", "c", refresh_token="r", intent=Intent(1.0, "x"))
    assert len(waiting.encode()) >= 4096
    assert StoredGrant.decode(waiting.encode()) == waiting
    assert len(attrs.evolve(waiting, intent=None).encode()) < 400
