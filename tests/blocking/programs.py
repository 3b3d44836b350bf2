"""Programs in processes of their own, with a sandbox to call."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from telnyx_oauth.sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent.parent


def needing(package: str) -> pytest.MarkDecorator:
    """Skip on Windows where the package is not installed: not all of them run there. Elsewhere it has to be there."""
    missing = sys.platform == "win32" and find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"needs {package}, which is not installed on this Windows")


def environment(telnyx: Sandbox, **more: str) -> dict[str, str]:
    """What makes `Telnyx()` a client of the sandbox."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TELNYX_BASE_URL": telnyx.base_url,
        "TELNYX_CLIENT_ID": telnyx.client_id,
        "TELNYX_CLIENT_SECRET": telnyx.client_secret,
        **more,
    }


@contextmanager
def started(body: str, telnyx: Sandbox, *options: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A running program; killed at the end of the block if it still runs."""
    with subprocess.Popen(
        [sys.executable, *options, "-c", body],
        env=environment(telnyx, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def printed(body: str, telnyx: Sandbox, *options: str, code: int = 0, **more: str) -> str:
    """What a program prints to stdout. It must print nothing else, and end with this code."""
    options = options or ("-W", "error", "-X", "dev")
    with started(body, telnyx, *options, **more) as process:
        out, said = process.communicate(timeout=60)
    assert (said, process.returncode) == ("", code), f"{out}{said}"
    return out
