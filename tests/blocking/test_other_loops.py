"""The blocking client beside event loops that are not its own."""

from __future__ import annotations

import sys

import pytest

from telnyx_oauth.sandbox import Sandbox
from tests.blocking.programs import needing, printed

HEAD = """
import asyncio, sys, threading
from telnyx_oauth import Telnyx
client = Telnyx()
def use():
    return len(client.oauth_clients.list().data)
"""

PROGRAMS = {
    "in a coroutine": """
async def main():
    mine = asyncio.get_running_loop()
    print(use(), await asyncio.to_thread(use), use(), mine is asyncio.get_running_loop())
asyncio.run(main())
""",
    "the outer loop goes on in its tasks": """
async def main():
    ticks = []
    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.005)
    ticking = asyncio.create_task(tick())
    while len(ticks) < 3:
        await asyncio.sleep(0.001)
    print(use(), await asyncio.to_thread(use), use(), asyncio.current_task() is not ticking)
    ticking.cancel()
asyncio.run(main())
""",
    "nest_asyncio": """
import nest_asyncio
async def main():
    nest_asyncio.apply()
    print(use(), asyncio.get_running_loop().run_until_complete(asyncio.to_thread(use)), use(), True)
asyncio.run(main())
""",
    "uvloop as the policy": """
import uvloop, warnings
warnings.simplefilter("ignore", DeprecationWarning)
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
async def main():
    print(use(), await asyncio.to_thread(use), use(), type(asyncio.get_running_loop()).__module__ == "uvloop")
use()
asyncio.run(main())
""",
    "debug mode": """
async def main():
    print(use(), await asyncio.to_thread(use), use(), True)
use()
asyncio.run(main(), debug=True)
""",
    "closed in a coroutine": """
async def main():
    with Telnyx() as other:
        print(len(other.oauth_clients.list().data), use(), await asyncio.to_thread(use), True)
    other.close()
asyncio.run(main())
""",
    "never closed": """
async def main():
    global client
    print(use(), use(), use(), True)
asyncio.run(main())
""",
}
if sys.version_info >= (3, 12):
    PROGRAMS["eager tasks"] = """
async def main():
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    print(use(), await asyncio.to_thread(use), await asyncio.create_task(asyncio.to_thread(use)), True)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def telnyx():
    with Sandbox() as telnyx:
        yield telnyx


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(
            program,
            id=name,
            marks=[needing(package) for package in ("nest_asyncio", "uvloop") if f"import {package}" in program],
        )
        for name, program in PROGRAMS.items()
    ],
)
def test_it_works_beside_another_loop_and_leaves_that_one_alone(telnyx, program):
    end = "\nprint([each.name for each in threading.enumerate() if each.name == 'telnyx_oauth'])"
    # In development mode asyncio would report that calls which block were slow.
    assert printed(HEAD + program + end, telnyx, "-W", "error").splitlines() == ["3 3 3 True", "[]"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_where_another_loop_runs_ends_the_call_and_the_program_with_one_traceback(telnyx):
    body = """
import signal
def interrupt():
    signal.raise_signal(signal.SIGINT)
async def main():
    hanging = threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    hanging.start()
    try:
        client.oauth_grants.list()
    finally:
        print("ended", flush=True)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", use())
"""
    telnyx.faults.add("/oauth/grants", kind="latency", seconds=1.0, times=1)
    try:
        assert printed(HEAD + body, telnyx, "-W", "error").splitlines() == ["ended", "interrupted 3"]
    finally:
        telnyx.faults.clear()
