"""The blocking client where threads, sockets and waits are patched to be greenlets."""

from __future__ import annotations

import pytest

from telnyx_oauth.sandbox import Sandbox
from tests.blocking.programs import needing, printed

HEAD = {
    "gevent": """
from gevent import monkey
monkey.patch_all()
import gevent
def all_of(works):
    gevent.joinall([gevent.spawn(work) for work in works], raise_error=True)
""",
    "eventlet": """
import eventlet
eventlet.monkey_patch()
def all_of(works):
    for each in [eventlet.spawn(work) for work in works]:
        each.wait()
""",
}
KINDS = [pytest.param(kind, marks=needing(kind)) for kind in HEAD]
BODY = """
import time
from telnyx_oauth import APIConnectionError, Telnyx

client = Telnyx(max_retries=0)
print(len(client.oauth_clients.list().data))
"""


@pytest.fixture(scope="module")
def telnyx():
    with Sandbox() as telnyx:
        yield telnyx


def output(kind: str, body: str, telnyx: Sandbox) -> list[str]:
    # eventlet warns of itself at its import, and both leave sockets of their hubs to the garbage collector.
    return printed(HEAD[kind] + BODY + body, telnyx, "-W", "ignore").splitlines()


@pytest.mark.parametrize("kind", KINDS)
def test_greenlets_on_one_client_call_concurrently_while_others_go_on(telnyx, kind):
    body = """
ticks, results = [], []
def tick():
    for _ in range(20):
        time.sleep(0.002)
        ticks.append(time.perf_counter())
def call():
    results.append(len(client.oauth_clients.list().data))
took = []
for _ in range(5):  # a busy machine may spoil one
    results.clear()
    began = time.perf_counter()
    all_of([call] * 50 + [tick])
    took.append(time.perf_counter() - began)
    if results != [3] * 50 or took[-1] < 0.3:
        break
print(results == [3] * 50, 0.05 < min(took) < 0.3, max(b - a for a, b in zip(ticks, ticks[1:])) < 0.5)
client.close()
"""
    telnyx.faults.add("/oauth/clients", kind="latency", seconds=0.05, times=None)
    try:
        assert output(kind, body, telnyx) == ["3", "True True True"]
    finally:
        telnyx.faults.clear()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["client.close()", ""])
def test_errors_are_the_same_and_the_end_is_silent(telnyx, kind, end):
    body = """
def refused():
    try:
        Telnyx(api_key="key", base_url="http://127.0.0.1:9/v2", max_retries=0).oauth_clients.list()
    except APIConnectionError as error:
        print(type(error).__name__, "refused" in str(error))
def late():
    try:
        client.with_options(timeout=0.1).oauth_grants.list()
    except APIConnectionError as error:
        print(type(error).__name__)
all_of([refused])
all_of([late])
print(len(client.oauth_clients.list().data))
"""
    telnyx.faults.add("/oauth/grants", kind="hang", times=1)
    try:
        assert output(kind, body + end, telnyx) == ["3", "APIConnectionError True", "APITimeoutError", "3"]
    finally:
        telnyx.faults.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_in_a_hook_is_refused_as_in_threads(telnyx, kind):
    body = """
from telnyx_oauth import BlockingCallError
async def inside():
    try:
        client.oauth_clients.list()
    except BlockingCallError:
        print("refused")
client._lease.run(inside)
"""
    assert output(kind, body, telnyx) == ["3", "refused"]


@needing("gevent")
def test_a_greenlet_that_is_killed_ends_its_call_alone(telnyx):
    body = """
import gevent
results = []
def call():
    results.append(len(client.oauth_clients.list().data))
hanging = gevent.spawn(client.oauth_grants.list)
gevent.sleep(0.2)
others = [gevent.spawn(call) for _ in range(5)]
gevent.sleep(0)
hanging.kill()
gevent.joinall(others, timeout=5, raise_error=True)
print(results)
with gevent.Timeout(0.2, False):
    client.oauth_grants.list()
print(len(client.oauth_clients.list().data))
client.close()
"""
    telnyx.faults.add("/oauth/grants", kind="hang", times=2)
    telnyx.faults.add("/oauth/clients", kind="latency", seconds=0.05, times=None)
    try:
        assert output("gevent", body, telnyx) == ["3", "[3, 3, 3, 3, 3]", "3"]
    finally:
        telnyx.faults.clear()
