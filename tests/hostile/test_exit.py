"""Programs that end while daemon threads of theirs are in the middle of blocking calls."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from telnyx_oauth.sandbox import Sandbox

PROGRAM = """
import threading
from telnyx_oauth import Telnyx

client = Telnyx()
client.oauth_clients.list()
began = threading.Event()

def waiting():
    began.set()
    client.oauth.retrieve_jwks()

def busy():
    while True:
        client.oauth_clients.list()
        began.set()

def starting():
    while True:
        with Telnyx() as another:
            another.oauth_clients.list()
        began.set()

def stubborn():
    while True:
        try:
            began.set()
            client.oauth_clients.list()
        except Exception as error:
            print("heard of", error)

threading.Thread(target=WHAT, daemon=True).start()
began.wait()
"""


@pytest.mark.parametrize("what", ["waiting", "busy", "starting", "stubborn"])
def test_a_daemon_thread_in_a_call_ends_with_the_program_and_says_nothing(what):
    with Sandbox() as telnyx:
        if what == "waiting":
            telnyx.faults.add("/oauth/jwks", kind="hang", times=None, after=1)  # the first proves the token
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM.replace("WHAT", what)],
            env={
                **os.environ,
                "TELNYX_BASE_URL": telnyx.base_url,
                "TELNYX_CLIENT_ID": telnyx.client_id,
                "TELNYX_CLIENT_SECRET": telnyx.client_secret,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
