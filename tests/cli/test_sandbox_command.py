"""`sandbox` runs until Ctrl-C and says how to use it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches a child otherwise there")


@needs_signals
def test_its_lines_are_all_that_another_shell_needs_and_ctrl_c_ends_it(bare):
    with bare.start("sandbox") as process:
        lines = [process.stdout.readline() for _ in range(5)]
        exported = dict(shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export "))
        shown = bare("clients", "list", **exported)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert shown.returncode == 0
    assert (process.returncode, rest, errors) == (0, "", "Stopped.\n")


@needs_signals
def test_as_json_it_is_one_document(bare):
    with bare.start("sandbox", "--json", stdin=subprocess.DEVNULL) as process:
        lines = [process.stdout.readline() for _ in range(6)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert sorted(json.loads("".join(lines))) == [
        "TELNYX_API_KEY",
        "TELNYX_BASE_URL",
        "TELNYX_CLIENT_ID",
        "TELNYX_CLIENT_SECRET",
    ]


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_ends_it_in_order_though_its_starter_ignored_both(bare, number):
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what it puts into the background
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as the kernel does for the first process of a container

    with bare.start("sandbox", preexec_fn=ignore) as process:
        _ = [process.stdout.readline() for _ in range(5)]
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "", "Stopped.\n")


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_the_first_process_it_ends_at_a_signal(bare, number):
    jail = ["unshare", "--user", "--map-root-user", "--fork", "--pid", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*jail, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no process namespace can be made here")
    with subprocess.Popen(
        [*jail, *COMMAND, "sandbox"], env=bare.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as outer:
        _ = [outer.stdout.readline() for _ in range(5)]
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text(encoding="ascii").split()
        os.kill(int(children[0]), number)
        assert outer.communicate(timeout=10) == ("", "Stopped.\n")


def test_a_taken_port_is_a_clear_sentence(bare):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        shown = bare("sandbox", "--port", str(taken.getsockname()[1]))
    assert shown.returncode == 1
    assert "Cannot listen on 127.0.0.1:" in shown.stderr
    assert "--port" in shown.stderr
