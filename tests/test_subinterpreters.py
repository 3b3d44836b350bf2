"""In a subinterpreter the async client works, and what cannot says so. In a process of its own: some modules end it badly."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from telnyx_oauth.sandbox import Sandbox
from tests.conftest import ROOT

MODULE = next((name for name in ("_interpreters", "_xxsubinterpreters") if importlib.util.find_spec(name)), None)
pytestmark = pytest.mark.skipif(MODULE is None, reason="this Python has no module for subinterpreters")
OUTER = """
import sys, {module} as interpreters
import cryptography.hazmat.primitives.asymmetric.rsa  # which may be loaded once in a process
inner = interpreters.create()
run = getattr(interpreters, "exec", None) or interpreters.run_string
run(inner, "import sys; sys.path[:] = {{!r}}".format(sys.path) + chr(10) + {code!r} + chr(10) + "sys.stdout.flush()")
print("over", flush=True)
"""
CALLS = """
import asyncio, warnings
import telnyx_oauth

async def call(**options):
    async with telnyx_oauth.AsyncTelnyx(base_url={url!r}, **options) as client:
        try:
            print(len((await client.oauth_clients.list()).data), "clients")
        except telnyx_oauth.TelnyxError as error:
            print(type(error).__name__, error)

async def main():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await call(client_id={id!r}, client_secret={secret!r})
    for each in caught:
        print(each.category.__name__, each.message)
    await call(client_id={id!r}, client_secret={secret!r}, verify_issued=True)
    await call(api_key={key!r})

asyncio.run(main())
"""


def inside(code: str) -> list[str]:
    command = [sys.executable, "-c", OUTER.format(module=MODULE, code=code)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)
    *lines, last = done.stdout.splitlines() or [""]
    assert last == "over", done.stderr
    return lines


def test_async_calls_work_and_what_cannot_be_verified_is_told_with_the_reason():
    with Sandbox() as telnyx:
        given = {"url": telnyx.base_url, "id": telnyx.client_id, "secret": telnyx.client_secret, "key": telnyx.api_key}
        first, *told, demanded, keyed = inside(CALLS.format(**given))
    assert (first, keyed) == ("3 clients", "3 clients")
    if demanded == "3 clients":  # cryptography supports subinterpreters by now
        assert told == []
        return
    (warning,) = told
    for said in (warning, demanded):
        assert "cannot be loaded in this interpreter (" in said
        assert "subinterpreters" in said
    assert warning.startswith("RuntimeWarning An access token is used although it could not be verified")
    assert demanded.startswith("TokenVerificationError")


BLOCKING = """
import asyncio, telnyx_oauth, warnings
warnings.simplefilter("ignore")

def call():
    with telnyx_oauth.Telnyx(base_url={url!r}, client_id={id!r}, client_secret={secret!r}) as client:
        print(len(client.oauth_clients.list().data), "clients")

async def inside():
    try:
        call()
    except telnyx_oauth.BlockingCallError as error:
        print("refused:", error)

call()
call()
asyncio.run(inside())
"""


def test_blocking_calls_work_and_are_refused_in_words_where_they_would_need_a_thread():
    with Sandbox() as telnyx:
        lines = inside(BLOCKING.format(url=telnyx.base_url, id=telnyx.client_id, secret=telnyx.client_secret))
    assert lines[:2] == ["3 clients", "3 clients"]
    assert lines[2:] == ["3 clients"] or "is a subinterpreter" in lines[2]
