"""The process's own streams. Each may be missing: a shell closes them with `<&-` and `>&-`."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from ..protocol.secret import Secret


def is_typed() -> bool:
    """Tell if a person at a terminal can be asked."""
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # closed
        return False


def piped() -> str:
    """All that is on stdin; nothing where there is no stdin."""
    try:
        return "" if sys.stdin is None else sys.stdin.read()
    except (OSError, ValueError):  # it cannot be read, or is closed
        return ""


def keep_stdout() -> None:
    """Keep stdout to this process, for the rest of its life: what a child prints there goes to stderr."""
    try:
        if sys.stdout.fileno() != 1:
            return
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return
    sys.stdout.flush()
    ours = os.dup(1)
    elsewhere = 2
    try:
        os.fstat(2)
    except OSError:
        elsewhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(elsewhere, 1)
    sys.stdout = os.fdopen(ours, "w", encoding=sys.stdout.encoding, errors="replace", newline=None)


@contextmanager
def whole_lines(descriptor: int) -> Generator[None]:
    """While a line is awaited, let a terminal hand on what is typed at once: it keeps 4,096 bytes of a line, or fewer."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:  # no terminal
        yield
        return
    now = termios.tcgetattr(descriptor)
    now[3] &= ~(termios.ICANON | termios.ECHOCTL)
    now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSADRAIN, now)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class Lines:
    """The lines that are typed, each read to its end; the terminal need not edit them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._typed = Secret(bytearray())

    def read(self) -> Secret[bytearray]:
        """The next line, without its end. Empty at the end of input."""
        line = Secret(bytearray())
        while self._typed or self._more():
            key = Secret(self._typed.plain.pop(0))
            if key.plain in b"\r\n" or (key.plain == _END_OF_INPUT and not line):
                return line
            if key.plain in _ERASE:
                del line.plain[-1:]
            elif key.plain == _KILL:
                line.plain.clear()
            elif key.plain != _END_OF_INPUT:
                line.plain.append(key.plain)
        return line

    def _more(self) -> bool:
        self._typed.plain.extend(os.read(self._descriptor, 65536))
        return bool(self._typed)


_ERASE: Final = b"\x7f\x08"
_KILL: Final = 0x15
_END_OF_INPUT: Final = 0x04
