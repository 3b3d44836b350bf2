"""A pseudo-terminal to run the command on, with keys to press."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

# Makes the terminal the controlling one, as a login does, so that Ctrl-C is a signal.
LAUNCHER = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
PATIENCE = 30.0
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command on a terminal of `columns`. `seen` is all that it has shown, escape sequences included."""

    def __init__(self, command: tuple[str, ...], environment: dict[str, str], columns: int = 100) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, *command],
            env={"TERM": "xterm-256color", **environment},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def wait_for(self, words: str) -> None:
        """Read on until these words are there."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.seen:
            assert self._read(deadline), f"{words!r} did not come; seen: {self.seen!r}"

    def press(self, keys: str) -> None:
        """Type something."""
        left, deadline = keys.encode(), time.monotonic() + PATIENCE
        while left:  # it shows what is typed, and takes no more before that is read
            if select.select([self._master], [], [], 0)[0]:
                self._read(deadline)
            elif select.select([], [self._master], [], 0.05)[1]:
                left = left[os.write(self._master, left[:1024]) :]
            assert time.monotonic() < deadline, f"no more can be typed; seen: {self.seen[-200:]!r}"

    def end(self) -> int:
        """Read to the end. Gives the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        os.close(self._master)
        return self._process.wait(PATIENCE)

    def interrupt(self) -> int:
        """Press Ctrl-C and read to the end. Gives the exit code.

        Between the prompt and the read that waits for an answer, Python keeps a Ctrl-C until the next key: hence the loop.
        """
        while "Aborted!" not in self.seen:
            self.press("\x03")
            deadline = time.monotonic() + 1.0
            while "Aborted!" not in self.seen and self._ready(deadline):
                assert self._read(deadline), f"it ended without a word; seen: {self.seen!r}"
        return self.end()

    @property
    def text(self) -> str:
        """What a person has seen."""
        return ESCAPES.sub("", self.seen).replace("\r\n", "\n")

    def _read(self, deadline: float) -> bool:
        assert self._ready(deadline), f"nothing more came; seen: {self.seen!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says so when the last one on the other side has gone
            return False
        self.seen += data.decode()
        return bool(data)

    def _ready(self, deadline: float) -> bool:
        return bool(select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))[0])
