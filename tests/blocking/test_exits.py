"""Programs that end: calls work for as long as those of `http.client` would, and nothing is printed."""

from __future__ import annotations

import pytest

from telnyx_oauth.sandbox import Sandbox
from tests.blocking.programs import printed

HEAD = """
import atexit, os, socket, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

def named(host, *rest, _real=socket.getaddrinfo, **more):
    return _real("127.0.0.1" if host == "telnyx.test" else host, *rest, **more)

socket.getaddrinfo = named  # a name server of its own: `telnyx.test` is here

def work():
    time.sleep(0.3)
    print(len(client.oauth_clients.list().data), flush=True)

BEFORE
from telnyx_oauth import Telnyx
client = Telnyx(base_url=os.environ["TELNYX_BASE_URL"].replace("127.0.0.1", HOST), allow_insecure=True, **IDENTITY)
"""

AFTER = {
    "a thread after the main thread": "threading.Thread(target=work).start()",
    "a pool after the main thread": "ThreadPoolExecutor().submit(work)",
    "a used client, a thread after the main thread": "client.oauth_clients.list(); threading.Thread(target=work).start()",
    "atexit after the import": "atexit.register(work)",
    "sys.exit in a thread": "threading.Thread(target=lambda: (work(), sys.exit(3))).start()",
    "two threads": "threading.Thread(target=work).start(); threading.Thread(target=client.oauth.retrieve_jwks).start()",
}


@pytest.fixture(scope="module")
def telnyx():
    with Sandbox() as telnyx:
        yield telnyx


def program(after: str, *, before: str = "", host: str = "telnyx.test", key: str | None = None) -> str:
    identity = "{}" if key is None else f"{{'api_key': {key!r}}}"
    head = HEAD.replace("BEFORE", before).replace("HOST", repr(host)).replace("IDENTITY", identity)
    return head + after


@pytest.mark.parametrize("host", ["telnyx.test", "localhost", "127.0.0.1"])
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_a_call_after_the_main_thread_has_ended_works(telnyx, after, host):
    assert printed(program(after, host=host), telnyx) == "3\n"


def test_a_call_with_an_api_key_works_there_too(telnyx):
    assert printed(program(AFTER["a pool after the main thread"], key=telnyx.api_key), telnyx) == "3\n"


@pytest.mark.parametrize("used", [True, False])
def test_a_call_from_an_exit_handler_that_was_registered_before_the_import_works(telnyx, used):
    """It runs after our own handler, which has ended the event loop."""
    after = "client.oauth_clients.list()" if used else ""
    twice = "atexit.register(lambda: (work(), work()))"
    assert printed(program(after, before=twice), telnyx) == "3\n3\n"


FAILED = """
from telnyx_oauth import TelnyxError
for path in ("/nowhere", "/oauth/jwks"):
    for each in (client, client.with_options(), Telnyx(base_url="http://127.0.0.1:9/v2", api_key="k")):
        try:
            each.with_options(max_retries=0, timeout=0.2).get(path, cast_to=dict)
        except (TelnyxError, ValueError):
            pass
        del each
stream = client.oauth.with_streaming_response.retrieve_jwks().__enter__()
pages = client.oauth_clients.list(page_size=1).concurrently(2)
print(len(client.oauth_clients.list().data), next(pages) is not None)
"""


@pytest.mark.parametrize(
    "end", ["", "del client, stream, pages", "raise SystemExit(0)", "client.close()", "os._exit(0)"]
)
def test_nothing_is_printed_at_the_end_whatever_failed_before(telnyx, end):
    telnyx.faults.add("/oauth/jwks", kind="hang", times=2)
    try:
        flush = FAILED.replace("is not None)", "is not None, flush=True)")
        body = program(flush + end)
        assert printed(body, telnyx, "-W", "ignore::ResourceWarning") == "3 True\n"
    finally:
        telnyx.faults.clear()


def test_a_daemon_thread_that_calls_ends_with_the_program_in_silence(telnyx):
    body = """
def calls():
    while True:
        client.oauth_clients.list()
for _ in range(3):
    threading.Thread(target=calls, daemon=True).start()
time.sleep(0.5)
print(3)
"""
    assert printed(program(body), telnyx) == "3\n"
