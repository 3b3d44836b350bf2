"""Managers used from several event loops and threads, from loops that end, and in forked children."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import os
import threading
import time

import pytest

from telnyx_oauth.errors import ClientClosedError, ForkedGrantError, TokenError, TokenWaitTimeoutError
from telnyx_oauth.protocol.freshness import Phase, RefreshPolicy
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens import refresh_loop as loop_module
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import RefreshToken
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.memory import MemoryStore
from telnyx_oauth.transport.clock import SystemClock
from tests.wire import until, waited_for

from .virtual import ENDPOINT, ModelServer


class Source:
    """Counts its calls; waits for `gate` when there is one."""

    def __init__(self, lifetime=100.0):
        self.calls = 0
        self.gate = None
        self.lifetime = lifetime
        self.entered = threading.Event()

    async def __call__(self, key):
        self.calls += 1
        self.entered.set()
        if self.gate is not None:
            await until(self.gate.is_set)
        return TokenGrant(f"t{self.calls}", expires_in=self.lifetime)


@contextlib.contextmanager
def running_loop():
    """A loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def submit(loop, coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop)


def test_three_loops_in_three_threads_share_one_refresh():
    source = Source()
    source.gate = threading.Event()
    manager = TokenManager(source)
    with running_loop() as one, running_loop() as two, running_loop() as three:
        waiting = [submit(loop, manager.get()) for loop in (one, two, three) for _ in range(20)]
        assert source.entered.wait(5)
        source.gate.set()
        tokens = {future.result(10) for future in waiting}
        assert len(tokens) == 1
        assert source.calls == 1
        assert manager.peek() in tokens
        submit(two, manager.aclose()).result(10)


def test_a_fresh_token_needs_no_hop_from_any_thread():
    source = Source()
    manager = TokenManager(source)
    with running_loop() as main_loop:
        token = submit(main_loop, manager.get(scopes="a")).result(10)
        assert manager.peek(scopes="a") is token

        async def elsewhere():
            coroutine = manager.get(scopes="a", min_ttl=10)
            with pytest.raises(StopIteration) as stopped:
                coroutine.send(None)
            return stopped.value.value

        assert asyncio.run(elsewhere()) is token
        submit(main_loop, manager.aclose()).result(10)


def test_a_caller_from_elsewhere_cancels_its_own_wait_alone():
    source = Source()
    source.gate = threading.Event()
    manager = TokenManager(source)
    with running_loop() as main_loop, running_loop() as other:
        first = submit(main_loop, manager.get())
        assert source.entered.wait(5)
        second = submit(other, manager.get())
        assert waited_for(lambda: manager.status().waiters == 2)
        second.cancel()
        assert waited_for(lambda: manager.status().waiters == 1)
        source.gate.set()
        assert first.result(10).generation == 1
        assert source.calls == 1
        submit(main_loop, manager.aclose()).result(10)


def test_a_caller_from_elsewhere_gets_its_own_timeout_and_errors():
    async def failing(key):
        raise KeyError

    slow = Source()
    slow.gate = threading.Event()
    with running_loop() as main_loop, running_loop() as other:
        manager = TokenManager(slow)
        submit(main_loop, manager.warm(timeout=None))
        assert slow.entered.wait(5)
        with pytest.raises(TokenWaitTimeoutError):
            submit(other, manager.get(timeout=0.05)).result(10)
        slow.gate.set()
        submit(other, manager.aclose()).result(10)
        broken = TokenManager(failing)
        submit(main_loop, broken.warm()).exception(10)
        with pytest.raises(TokenError):
            submit(other, broken.get()).result(10)
        submit(other, broken.aclose()).result(10)


@pytest.mark.blocks_loop
def test_a_refresh_loop_too_busy_to_notice_does_not_hold_a_caller_beyond_its_timeout(monkeypatch):
    monkeypatch.setattr(loop_module, "_POLL", 0.05)
    source = Source()
    manager = TokenManager(source)
    release = threading.Event()
    with running_loop() as main_loop, running_loop() as other, contextlib.ExitStack() as leaving:
        leaving.callback(release.set)  # whatever becomes of this test
        token = submit(main_loop, manager.get()).result(10)
        blocked = threading.Event()

        def block():
            blocked.set()
            release.wait(20)

        main_loop.call_soon_threadsafe(block)
        assert blocked.wait(5)
        started = time.monotonic()
        with pytest.raises(TokenWaitTimeoutError) as caught:
            submit(other, manager.get(min_ttl=99.9, scopes="x", timeout=0.1)).result(10)
        assert 0.1 <= time.monotonic() - started < 5
        assert caught.value.timeout == 0.1
        for ask in (manager.get(scopes="x", timeout=0), manager.replace(token, timeout=0)):
            with pytest.raises(TokenWaitTimeoutError) as caught:
                submit(other, ask).result(10)
            assert caught.value.timeout == 0
        release.set()
        submit(other, manager.aclose()).result(10)


def test_one_asyncio_run_after_another_keeps_what_was_learnt():
    source = Source()
    manager = TokenManager(source)
    first = asyncio.run(manager.get())
    assert asyncio.run(manager.get()) is first
    second = asyncio.run(manager.replace(first))
    assert second.generation == 2
    assert asyncio.run(manager.get(scopes="x")).generation == 3
    asyncio.run(manager.aclose())
    with pytest.raises(ClientClosedError):
        asyncio.run(manager.get())


def test_a_refresh_that_ended_with_its_loop_is_started_again():
    source = Source()
    source.gate = threading.Event()
    manager = TokenManager(source)

    async def give_up():
        with pytest.raises(TokenWaitTimeoutError):
            await manager.get(timeout=0.02)

    asyncio.run(give_up())
    assert manager.status().phase is Phase.EMPTY
    source.gate.set()
    assert asyncio.run(manager.get()).access_token == "t2"
    asyncio.run(manager.aclose())


def test_waiters_on_other_loops_move_on_when_the_refresh_loop_ends():
    source = Source()
    source.gate = threading.Event()
    manager = TokenManager(source)
    entered = threading.Event()

    async def short_lived():
        with pytest.raises(TokenWaitTimeoutError):
            await manager.get(timeout=0.2)

    main_loop = threading.Thread(target=lambda: asyncio.run(short_lived()))
    with running_loop() as other:
        main_loop.start()
        assert source.entered.wait(5)
        waiting = submit(other, manager.get())
        main_loop.join()
        source.gate.set()
        assert waiting.result(10).access_token == "t2"
        submit(other, manager.aclose()).result(10)
    assert not entered.is_set()


def test_a_refresh_loop_that_stands_still_is_left():
    source = Source()
    source.gate = threading.Event()
    manager = TokenManager(source)
    loop = asyncio.new_event_loop()

    async def begin():
        task = asyncio.ensure_future(manager.get(timeout=None))
        await until(source.entered.is_set)
        return task

    stuck = loop.run_until_complete(begin())
    source.gate.set()
    assert asyncio.run(manager.get()).access_token == "t2"
    token = loop.run_until_complete(stuck)  # it runs again: its waiters are answered, and nothing else is changed
    assert token.access_token == "t2"
    assert manager.status().generation == 2 or manager.peek().access_token == "t2"
    loop.close()
    asyncio.run(manager.aclose())


def test_many_threads_with_their_own_loops_agree():
    source = Source(lifetime=0.4)
    manager = TokenManager(source, policy=RefreshPolicy(backoff_first=0.01))
    errors = []
    stop = time.monotonic() + 1.5

    async def work():
        last = 0
        while time.monotonic() < stop:
            token = await manager.get()
            if token.generation < last:
                errors.append((token.generation, last))
            last = token.generation
            await asyncio.sleep(0.001)

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert 4 <= source.calls <= 20
    asyncio.run(manager.aclose())


class SetClock(SystemClock):
    """Stands still but for what it is told."""

    def __init__(self):
        self.now = 1000.0

    def boot(self):
        return self.now

    wall = boot


def test_a_caller_from_elsewhere_gets_the_time_that_it_wants():
    source, clock = Source(), SetClock()
    manager = TokenManager(source, clock=clock)
    with running_loop() as main_loop:
        token = submit(main_loop, manager.get()).result(10)
        clock.now += 50
        assert asyncio.run(manager.get(min_ttl=40)) is token
        assert asyncio.run(manager.get(min_ttl=60)).access_token == "t2"
        submit(main_loop, manager.aclose()).result(10)


def test_a_refresh_that_was_left_on_a_loop_that_stands_still_is_due_again():
    source, clock = Source(), SetClock()
    manager = TokenManager(source, clock=clock)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(manager.get())
    clock.now += 90
    source.gate = threading.Event()
    loop.run_until_complete(manager.get())
    assert manager.peek() is not None  # the refresh is under way
    source.gate.set()
    assert asyncio.run(manager.get(scopes="x")).access_token == "t2"
    assert manager.peek() is None
    loop.run_until_complete(until(lambda: len(asyncio.all_tasks()) == 1))
    loop.close()
    asyncio.run(manager.aclose())


def test_what_was_being_saved_on_a_loop_left_behind_is_saved_on_the_next():
    class Full(MemoryStore):
        full = True

        async def compare_and_swap(self, key, expected, new):
            if self.full:
                raise OSError("no space left on device")
            return await super().compare_and_swap(key, expected, new)

    store = Full()
    manager = TokenManager(Source(), store=store, policy=RefreshPolicy(backoff_first=0.01))
    loop = asyncio.new_event_loop()
    old = loop.run_until_complete(manager.get())

    async def go_on():
        await manager.replace(old)
        assert manager.status().durable is False
        store.full = False
        await until(lambda: manager.status().durable)
        await manager.aclose()

    asyncio.run(go_on())
    (saving,) = asyncio.all_tasks(loop)
    saving.cancel()
    loop.run_until_complete(asyncio.wait({saving}))
    loop.close()


def test_a_refresh_that_fails_on_a_loop_left_behind_tells_only_those_who_wait_there():
    gate = threading.Event()

    async def source(key):
        if not gate.is_set():
            await until(gate.is_set)
            raise KeyError
        return TokenGrant("t", expires_in=100.0)

    manager = TokenManager(source)
    loop = asyncio.new_event_loop()

    async def begin():
        task = asyncio.ensure_future(manager.get(timeout=None))
        await asyncio.sleep(0.01)
        return task

    stuck = loop.run_until_complete(begin())
    gate.set()
    token = asyncio.run(manager.get())
    with pytest.raises(TokenError, match="KeyError"):
        loop.run_until_complete(stuck)
    assert manager.peek() is token
    loop.close()
    asyncio.run(manager.aclose())


def test_a_refresh_loop_that_closes_at_this_moment_is_left(monkeypatch, caplog):
    source = Source()
    hop, refusals = asyncio.run_coroutine_threadsafe, [RuntimeError("Event loop is closed")]

    def refusing(work, loop):
        if refusals:
            raise refusals.pop()
        return hop(work, loop)

    manager = TokenManager(source)
    with running_loop() as main_loop:
        hop(manager.get(), main_loop).result(10)
        monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", refusing)
        assert asyncio.run(manager.get(scopes="x")).access_token == "t2"
        hop(manager.aclose(), main_loop).result(10)
    assert not refusals
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_refresh_loop_that_is_about_to_end_is_left(caplog):
    source = Source()
    source.gate = threading.Event()
    manager = TokenManager(source)
    with running_loop() as main_loop, running_loop() as other:
        first = submit(main_loop, manager.warm(timeout=None))
        assert source.entered.wait(5)
        waiting = submit(other, manager.get())
        assert waited_for(lambda: manager.status().waiters == 2)
        source.gate = None
        main_loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(main_loop)])
        assert waiting.result(10).access_token == "t2"
        assert manager._refresh_loop.loop is other
        with pytest.raises((ClientClosedError, concurrent.futures.CancelledError)):
            first.result(10)
        submit(other, manager.aclose()).result(10)


async def test_an_error_that_nobody_waits_for_any_more_is_not_called_lost(caplog):
    left, cancelled = (asyncio.get_running_loop().create_future() for _ in range(2))
    for answer in (left, cancelled):
        answer.add_done_callback(loop_module._retrieve)
    left.set_exception(KeyError())
    cancelled.cancel()
    await asyncio.sleep(0)
    del left, cancelled, answer
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


# --- fork


def in_child(work):
    """What the forked child's `work` returns, as text."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            try:
                text = str(work())
            except BaseException as exc:
                text = f"{type(exc).__name__}: {exc}"
            os.write(write, text.encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def forks(test):
    test = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")(test)  # Python 3.12 warns where threads run
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")(test)


@forks
def test_a_forked_child_keeps_the_access_token_and_renews_by_itself():
    source = Source()
    manager = TokenManager(source)
    token = asyncio.run(manager.get())
    assert in_child(lambda: manager.peek().access_token) == token.access_token
    assert in_child(lambda: asyncio.run(manager.replace(token)).access_token) == "t2"
    assert manager.peek() is token
    asyncio.run(manager.aclose())


@forks
def test_a_fork_amid_a_refresh_drops_it_in_the_child_alone():
    source = Source()
    source.gate = threading.Event()
    manager = TokenManager(source)
    with running_loop() as main_loop:
        waiting = submit(main_loop, manager.get())
        assert source.entered.wait(5)

        def child():
            assert manager.status().renewing is False
            source.gate = None
            return asyncio.run(manager.get()).access_token

        assert in_child(child) == "t2"
        source.gate.set()
        assert waiting.result(10).access_token == "t1"
        submit(main_loop, manager.aclose()).result(10)


def refreshing(store=None):
    server = ModelServer(SystemClock(), rotation="strict", latency=0.0)
    server.grant_refresh("r0")
    source = RefreshToken(server.send, ENDPOINT, "client", refresh_token="r0")
    return server, TokenManager(source, store=store)


@forks
def test_a_refresh_token_is_not_spent_in_a_child_without_a_shared_store():
    server, manager = refreshing()
    token = asyncio.run(manager.get())

    def child():
        assert manager.peek().access_token == token.access_token
        with pytest.raises(ForkedGrantError):
            asyncio.run(manager.replace(token))
        assert len(server.seen) == 1
        server.grant_refresh("r-new")
        asyncio.run(manager.accept(TokenGrant("new", expires_in=100.0, refresh_token="r-new")))
        return asyncio.run(manager.replace(manager.peek())).access_token

    assert in_child(child) == "t2"
    assert asyncio.run(manager.replace(token)).access_token == "t2"
    asyncio.run(manager.aclose())


@forks
def test_a_refresh_token_in_a_shared_store_is_spent_by_one_of_them(tmp_path):
    _, manager = refreshing(FileStore(tmp_path / "tokens"))
    token = asyncio.run(manager.get())
    assert in_child(lambda: asyncio.run(manager.replace(token)).access_token) == "t2"
    assert asyncio.run(manager.replace(token)).access_token == "t2"  # the child's, from the store
    asyncio.run(manager.aclose())


def test_what_a_child_does_first_leaves_locks_loops_and_private_grants_behind(tmp_path):
    _, manager = refreshing()
    shared_server, shared = refreshing(FileStore(tmp_path / "tokens"))

    async def main():
        token, mine = await manager.get(), await shared.get()
        with manager._refresh_loop._choice:
            manager._refresh_loop.reset_after_fork()
            assert manager._refresh_loop.loop is None
            assert manager.peek() is token
            with pytest.raises(ForkedGrantError):
                await manager.replace(token)
        assert (await shared.replace(mine)).access_token == "t2"
        assert len(shared_server.seen) == 2
        await manager.aclose()
        await shared.aclose()

    asyncio.run(main())
