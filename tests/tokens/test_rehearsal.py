"""A sign-in uses up its code only when the store takes what comes of it, and a refresh token is sent only then."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import suppress

import keyring
import pytest

from telnyx_oauth.errors import StateMismatchError, StoreConflictError, TokenPersistenceError
from telnyx_oauth.messages import Response
from telnyx_oauth.tokens.authorization_code import AuthorizationFlow
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import RefreshToken
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.keyring import KeyringStore
from telnyx_oauth.tokens.stores.memory import MemoryStore
from telnyx_oauth.transport.clock import SystemClock

from .keyrings import SmallKeyring
from .test_failing_stores import POLICY, small_disk  # noqa: F401 - a fixture
from .virtual import ENDPOINT, ModelServer


@pytest.fixture
def model():
    return ModelServer(SystemClock(), rotation="strict")


async def sign_in_fails_and_works_later(model, store, says, break_it, mend_it):
    """What must hold for every store: nothing is sent, it says why, and the same answer is good once the store is."""

    async def send(request):
        return Response(404, request=request.info) if request.method == "GET" else await model.send(request)

    flow = AuthorizationFlow(client_id="client", base_url="https://auth.test/v2", send=send, store=store, policy=POLICY)
    break_it()
    pending = await flow.begin_authorization(redirect_uri="https://app.test/back")
    back = f"https://app.test/back?code=c&state={pending.state}"
    for _ in range(2):
        with pytest.raises(TokenPersistenceError, match=says):
            await flow.complete_authorization(back, pending=pending, account="ann")
    assert model.seen == []
    model.grant_refresh("r0")
    mine = manager(model, store)
    with pytest.raises(TokenPersistenceError, match=says):
        await mine.get()
    assert model.seen == []
    mend_it()
    await flow.complete_authorization(back, pending=pending, account="ann")
    with pytest.raises(StateMismatchError, match="answered already"):
        await flow.complete_authorization(back, pending=pending, account="ann")
    assert len(model.seen) == 1
    await flow.aclose()
    again = AuthorizationFlow(client_id="client", base_url="https://auth.test/v2", send=send, store=store)
    assert (await again.tokens(account="ann").get()).access_token == "t1"
    await again.aclose()
    await mine.aclose()


def manager(model, store):
    source = RefreshToken(model.send, ENDPOINT, "client", refresh_token="r0")
    return TokenManager(source, store=store, policy=POLICY, jitter=lambda: 0.0)


async def test_a_full_disk(model, small_disk):  # noqa: F811
    ballast = small_disk / "ballast"

    def fill():
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 512)

    await sign_in_fails_and_works_later(
        model, FileStore(small_disk / "tokens"), "No space left on device", fill, ballast.unlink
    )


async def test_a_disk_with_room_for_the_intent_and_not_for_the_answer(model, small_disk):  # noqa: F811
    """Where a record is one block, and the answer another."""
    (small_disk / "tokens").mkdir(mode=0o700)
    with (small_disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 512)
    os.truncate(small_disk / "ballast", (small_disk / "ballast").stat().st_size - 4096)
    model.grant_refresh("r0")
    mine = manager(model, FileStore(small_disk / "tokens"))
    with suppress(TokenPersistenceError):
        await mine.get()
    assert mine.status().durable or model.seen == []
    (small_disk / "ballast").unlink()
    await mine.aclose()


async def test_a_disk_that_is_read_only(model, small_disk):  # noqa: F811
    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    await sign_in_fails_and_works_later(
        model,
        FileStore(small_disk / "tokens"),
        "Read-only file system",
        lambda: remount("ro"),
        lambda: remount("rw"),
    )


async def test_a_name_that_is_too_long(model, tmp_path):
    class Movable(FileStore):
        pass

    store = Movable(tmp_path / ("x" * 300))

    def shorten():
        store._folder = tmp_path / "short"

    await sign_in_fails_and_works_later(model, store, "File name too long", lambda: None, shorten)


async def test_a_small_keyring(model, tmp_path):
    before = keyring.get_keyring()
    small = SmallKeyring(900)
    keyring.set_keyring(small)

    def enlarge():
        small.most = 2560

    await sign_in_fails_and_works_later(
        model, KeyringStore(folder=tmp_path / "locks"), "does not take an entry", lambda: None, enlarge
    )
    keyring.set_keyring(before)


async def test_a_column_that_is_too_short(model):
    class Column(MemoryStore):
        shared = True
        most = 2000

        async def compare_and_swap(self, key, expected, new):
            if len(new.encode()) > self.most:
                raise OSError(errno.EFBIG, "File too large")
            return await super().compare_and_swap(key, expected, new)

    store = Column()

    def widen():
        store.most = 10_000

    model.extra = {"access_token": "t1", "scope": "a " * 1200}
    await sign_in_fails_and_works_later(model, store, "File too large", lambda: None, widen)
    assert not [name for name in store.records if "rehearsal" in name]


async def test_a_record_that_a_killed_rehearsal_left_does_not_stop_the_next(model):
    class Killed(MemoryStore):
        shared = True
        killed = True

        async def delete(self, key):
            if not self.killed:
                await super().delete(key)

    store = Killed()
    for _ in range(2):
        await sign_in_works(model, store)
    (left,) = [record for name, record in store.records.items() if "rehearsal" in name]
    assert (left.refresh_token, left.access_token) == (None, None)
    store.killed = False
    await sign_in_works(model, store)
    assert len(store.records) == 1

    class Busy(MemoryStore):
        shared = True

        async def compare_and_swap(self, key, expected, new):
            if key.endswith(".rehearsal"):
                raise StoreConflictError
            return await super().compare_and_swap(key, expected, new)

    await sign_in_works(model, Busy())


async def sign_in_works(model, store):
    async def send(request):
        return Response(404, request=request.info) if request.method == "GET" else await model.send(request)

    flow = AuthorizationFlow(client_id="client", base_url="https://auth.test/v2", send=send, store=store)
    pending = await flow.begin_authorization(redirect_uri="https://app.test/back")
    signed_in = await flow.complete_authorization(f"https://app.test/back?code=c&state={pending.state}")
    assert signed_in.status().durable
    await flow.aclose()
