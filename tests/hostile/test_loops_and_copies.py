"""One client over many event loops, with eager tasks, with copies that outlive their original."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import warnings

import pytest

from telnyx_oauth.errors import TokenError
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.stores.memory import MemoryStore


@pytest.fixture
def telnyx():
    with Sandbox() as sandbox:
        yield sandbox


def test_one_asyncio_run_after_another_leaves_no_loop_behind(telnyx):
    client = telnyx.async_client()

    async def use():
        await client.oauth_clients.list()
        return asyncio.get_running_loop()

    used = [asyncio.run(use()) for _ in range(5)]
    assert set(client._connections.api._sessions) <= {used[-1]}
    asyncio.run(client.close())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks from 3.12 on")
@pytest.mark.parametrize("verify", [False, "auto"])
async def test_a_renewal_that_ends_at_once_reaches_its_caller_where_tasks_are_eager(telnyx, verify):
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    store = MemoryStore()
    async with (
        telnyx.async_client(token_store=store, verify_issued=verify) as first,
        telnyx.async_client(token_store=store, verify_issued=verify) as second,
        asyncio.timeout(5),
    ):
        token = await first.tokens.get()
        assert (await second.tokens.get(timeout=None)).access_token == token.access_token
    assert telnyx.requests.count("/oauth/token") == 1


def test_a_caller_elsewhere_who_leaves_as_the_renewal_fails_leaves_no_error_behind():
    gates: list[asyncio.Event] = []
    asked = threading.Event()

    async def source(key):
        gate = asyncio.Event()
        gates.append(gate)
        asked.set()
        await gate.wait()
        raise TokenError("refused")

    manager = TokenManager(source)
    told: list[object] = []

    async def elsewhere(home: asyncio.AbstractEventLoop) -> None:
        here = asyncio.get_running_loop()
        here.set_exception_handler(lambda _, context: told.append(context["message"]))
        caller = here.create_task(manager.get())
        await here.run_in_executor(None, asked.wait)

        async def fail() -> None:
            gates[0].set()
            for _ in range(5):  # until the failure is on its way to the other thread
                await asyncio.sleep(0)

        # This loop stands still meanwhile, so the failure is there and not yet seen when the caller leaves.
        asyncio.run_coroutine_threadsafe(fail(), home).result(5)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await asyncio.sleep(0)
        del caller
        gc.collect()
        await here.shutdown_default_executor()

    async def at_home() -> None:
        here = asyncio.get_running_loop()
        manager._refresh_loop.loop = here
        await asyncio.to_thread(asyncio.run, elsewhere(here))
        await manager.aclose()

    asyncio.run(at_home())
    assert told == []


def test_a_copy_works_when_its_original_was_used_and_is_gone(telnyx):
    def made():
        original = telnyx.client()
        original.oauth_clients.list()
        return original.with_options(timeout=9).with_options(max_retries=1)

    copy = made()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
        assert copy.oauth_clients.list().data
    copy.close()
    with pytest.warns(ResourceWarning, match="Unclosed"):  # noqa: PT031 - of the original, which nobody closed
        del copy
        gc.collect()
