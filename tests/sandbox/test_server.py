from __future__ import annotations

import asyncio
import errno
import gc
import socket
import threading
import time
from types import SimpleNamespace

import aiohttp
import pytest

from telnyx_oauth.sandbox import Sandbox, server
from tests.wire import until


@pytest.fixture
async def served():
    async with Sandbox() as telnyx:
        yield telnyx


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


def sandbox_threads():
    return [thread for thread in threading.enumerate() if thread.name == "telnyx-sandbox"]


async def test_it_listens_on_loopback_and_answers(served, session):
    assert served.base_url == f"{served.root_url}/v2"
    assert served.root_url.startswith("http://127.0.0.1:")
    answer = await session.get(
        f"{served.base_url}/oauth/clients", headers={"Authorization": f"Bearer {served.api_key}"}
    )
    assert answer.status == 200
    assert (await answer.json())["meta"]["total_results"] == 3
    assert answer.headers.getall("X-Request-Id")
    assert len(answer.headers.getall("Date")) == 1
    gone = await session.delete(
        f"{served.base_url}/oauth/clients/client_id", headers={"Authorization": f"Bearer {served.api_key}"}
    )
    assert (gone.status, await gone.read()) == (204, b"")


async def test_the_body_arrives_as_it_was_sent(served, session):
    odd = 'grant_type=client_credentials&odd=%C3%A9+%zz&"'
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    await session.post(f"{served.base_url}/oauth/token?x=%20y", data=odd.encode(), headers=headers)
    entry = served.requests[0]
    assert (entry.content, entry.query, entry.status) == (odd.encode(), "x=%20y", 401)


async def test_an_absolute_request_target_is_understood(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"GET {served.base_url}/oauth/jwks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert served.requests[0].path == "/v2/oauth/jwks"


def test_the_blocking_form_leaves_nothing_behind():
    before = set(threading.enumerate())
    with Sandbox() as telnyx:
        assert "not started" not in repr(telnyx)
        with socket.create_connection(("127.0.0.1", telnyx.port)) as connection:
            connection.sendall(b"GET /v2/oauth/jwks HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
    assert "not started" in repr(telnyx)
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", telnyx.port))
    gc.collect()


def test_a_restart_keeps_the_port_and_the_state():
    telnyx = Sandbox()
    telnyx.start()
    port, token = telnyx.port, telnyx.issue_token()
    with pytest.raises(RuntimeError, match="already"):
        telnyx.start()
    telnyx.stop()
    telnyx.stop()
    telnyx.seed_data = False
    with telnyx:
        assert telnyx.port == port
        assert token in telnyx.state.access_tokens


def test_a_port_in_use_is_an_error_and_leaves_nothing_behind():
    with Sandbox() as telnyx, pytest.raises(OSError, match="in use"), Sandbox(port=telnyx.port):
        pass
    assert not sandbox_threads()


async def test_a_reset_cuts_the_connection(served, session):
    served.faults.add("/oauth/register", kind="reset")
    # Not a GET: aiohttp sends those again by itself.
    with pytest.raises(aiohttp.ClientOSError) as caught:
        await session.post(f"{served.base_url}/oauth/register", json={})
    assert caught.value.errno == errno.ECONNRESET
    assert [entry.status for entry in served.requests] == [None]


async def test_a_truncated_body_ends_early(served, session):
    served.faults.add(kind="truncate")
    answer = await session.get(f"{served.base_url}/oauth/jwks")
    assert answer.status == 200
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer.read()


async def test_latency_is_real(served, session):
    served.faults.add(kind="latency", seconds=0.05)
    begun = time.monotonic()
    answer = await session.get(f"{served.base_url}/oauth/jwks")
    assert answer.status == 200
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize("fault", [{"kind": "hang"}, {"kind": "latency", "seconds": 60}])
async def test_a_stop_is_quick_though_requests_hang(session, fault):
    async with Sandbox() as telnyx:
        telnyx.faults.add(**fault)
        hanging = asyncio.create_task(session.get(f"{telnyx.base_url}/oauth/jwks"))
        await until(lambda: telnyx.requests)
        assert not hanging.done()
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    with pytest.raises(aiohttp.ClientError):
        await hanging
    assert not sandbox_threads()


async def test_a_hanging_request_ends_when_its_caller_gives_up(served, session):
    served.faults.add(kind="hang")
    with pytest.raises(TimeoutError):
        await session.get(f"{served.base_url}/oauth/jwks", timeout=aiohttp.ClientTimeout(total=0.05))
    assert (await session.get(f"{served.base_url}/oauth/jwks")).status == 200


async def test_an_error_in_the_block_stops_it_too(session):
    async def fail():
        async with Sandbox() as telnyx:
            await session.get(f"{telnyx.base_url}/oauth/jwks")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert not sandbox_threads()


async def test_many_requests_are_served_at_once(served, session):
    headers = {"Authorization": f"Bearer {served.api_key}"}

    async def one():
        async with session.get(f"{served.base_url}/oauth/clients", headers=headers) as answer:
            return answer.status

    assert await asyncio.gather(*(one() for _ in range(100))) == [200] * 100


async def test_a_connection_that_is_closed_already_can_be_cut():
    gone = SimpleNamespace(transport=None)
    assert server._cut(gone).status == 200


@pytest.mark.parametrize("ending", ["", "telnyx.stop()"])
def test_a_program_that_ends_says_nothing_whether_it_stopped_its_sandbox_or_not(run, ending):
    ran = run(f"from telnyx_oauth.sandbox import Sandbox; telnyx = Sandbox().start(); print(telnyx.base_url); {ending}")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("/v2\n")


async def test_it_may_be_stopped_before_its_block_ends():
    async with Sandbox() as telnyx:
        telnyx._server.stop()
        await until(lambda: not sandbox_threads())
        await telnyx.__aexit__(None, None, None)
    assert not sandbox_threads()
