"""A client that is dropped without `close()`: its connections end once it is collected, and only it complains."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
import textwrap
import warnings
from types import SimpleNamespace

import pytest

from telnyx_oauth import AsyncTelnyx
from telnyx_oauth.errors import APITimeoutError
from tests.wire import RawServer, hang, http, until

GRANT = json.dumps({"access_token": "at", "token_type": "Bearer", "expires_in": 3600}).encode()
LIST = b'{"data": []}'


async def _answer(reader, writer):
    writer.write(http(body=b'{"keys": []}'))
    await writer.drain()


async def used_once(server):
    client = AsyncTelnyx(api_key="KEY", base_url=server.base_url)
    await client.oauth.retrieve_jwks()


async def used_by_many_tasks(server):
    client = AsyncTelnyx(api_key="KEY", base_url=server.base_url)
    await asyncio.gather(*(client.oauth.retrieve_jwks() for _ in range(8)))


async def in_a_cycle(server):
    client = AsyncTelnyx(api_key="KEY", base_url=server.base_url)
    await client.oauth.retrieve_jwks()
    one = SimpleNamespace(client=client)
    one.itself = one


async def copied(server):
    copy = AsyncTelnyx(api_key="KEY", base_url=server.base_url).with_options(timeout=3)
    await copy.oauth.retrieve_jwks()


async def while_a_task_runs(server):
    client = AsyncTelnyx(api_key="KEY", base_url=server.base_url)
    await client.oauth.retrieve_jwks()
    task = asyncio.create_task(client.with_options(max_retries=0).oauth.retrieve_jwks(timeout=0.1))
    server.behaviours = [hang]
    del client
    with pytest.raises(APITimeoutError):
        await task


async def cancelled(server):
    client = AsyncTelnyx(api_key="KEY", base_url=server.base_url)
    await client.oauth.retrieve_jwks()
    server.behaviours = [hang]
    task = asyncio.create_task(client.oauth.retrieve_jwks())
    await until(lambda: len(server.requests) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def with_a_token(server):
    server.behaviours = [http(body=GRANT), http(body=LIST)]
    client = AsyncTelnyx(client_id="id", client_secret="s", base_url=server.base_url, verify_issued=False)
    await client.oauth_clients.list()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another thread"])
@pytest.mark.parametrize(
    "use", [used_once, used_by_many_tasks, in_a_cycle, copied, while_a_task_runs, cancelled, with_a_token]
)
async def test_the_connections_of_a_dropped_client_end_and_only_it_complains(use, elsewhere, caplog):
    caplog.set_level(logging.WARNING)
    gc.collect()
    async with RawServer.of(_answer) as server:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            await use(server)
            assert server.connections
            await asyncio.sleep(0)
            if elsewhere:
                await asyncio.to_thread(gc.collect)
            async with asyncio.timeout(1):
                while server.open:
                    await asyncio.sleep(0.02)
                    gc.collect()
        if use is not copied:  # a copy is dropped in silence, and its original was never used
            (warning,) = {str(each.message) for each in told}
            assert warning.startswith("Unclosed <AsyncTelnyx for ")
        assert [each.getMessage() for each in caplog.records] == []


def test_nothing_is_printed_at_the_end_of_a_program_that_dropped_its_client():
    program = """
        import asyncio, gc, logging
        from types import SimpleNamespace
        from telnyx_oauth import AsyncTelnyx
        from telnyx_oauth.sandbox import Sandbox

        logging.basicConfig(level=logging.WARNING)

        async def main():
            async with Sandbox() as telnyx:
                for _ in range(3):
                    client = telnyx.async_client()
                    await client.oauth_clients.list()
                    cycle = SimpleNamespace(client=client)
                    cycle.itself = cycle
                    del client, cycle
                    gc.collect()

        asyncio.run(main())
        print("done")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == ("done\n", "")
