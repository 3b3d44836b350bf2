"""Ports for servers that have to be told theirs before they start."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress


def free_port() -> int:
    """A free port, drawn by lot, so that the workers of one run and the runs on one machine do not draw the same.

    It is below those that the system gives to connections, and so is the one 10,000 above it, which a Valkey cluster takes.
    """
    while True:
        port = 10_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
