"""What commands print, and the streams that they print to."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal, cast

import attrs

from ..protocol.secret import Secret
from ..types import BaseModel

# All modules of the command line import this one, and click from it, so that each names the extra where it is missing.
_MISSING: Final = [name for name in ("click", "platformdirs", "rich") if find_spec(name) is None]
if _MISSING:
    raise ImportError(
        f"The command line needs {' and '.join(_MISSING)}, which the extra `cli` brings: "
        "pip install 'telnyx-oauth[cli]' (in a Windows prompt: pip install \"telnyx-oauth[cli]\")",
        name=_MISSING[0],
    )

import click as click  # noqa: E402, PLC0414  # the alias tells type checkers that it is exported

if TYPE_CHECKING:
    from rich.console import Console


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


NARROW: Final = 72
"""Below this many columns a table becomes one block per row."""
SECRET: Final = frozenset(
    {"access_token", "client_secret", "id_token", "refresh_token", "registration_access_token"}
)  # fmt: skip
# What a terminal takes for an order (ECMA-48), what turns the direction of text, ends a line or is not seen at all: each could
# make one thing look another. The joiners U+200C and U+200D are part of words in some scripts, and stay.
_ORDERS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """Text that a terminal shows and does not obey."""
    return _ORDERS.sub("\N{REPLACEMENT CHARACTER}", text)


def text(value: object) -> str:
    """A value as a person reads it, on one line."""
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return _date(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        items = cast("Iterable[object]", value)
        return ", ".join(map(text, items))
    if isinstance(value, dict):
        return clean(json.dumps(value, default=str))
    return clean(str(value))


def _date(value: datetime) -> str:
    try:
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except OverflowError:  # before the year 1 or after 9999, as UTC
        return value.isoformat(" ", "minutes")


def plain(answer: BaseModel, *, secrets: bool = False, mode: Literal["json", "python"] = "json") -> dict[str, object]:
    """An answer's members, without those that hold secrets unless these are what was asked for."""
    members = answer.to_dict(mode=mode)
    return members if secrets else {name: value for name, value in members.items() if name not in SECRET}


@attrs.define(slots=False)
class Output:
    """Where a command's results go. With `as_json` all that reaches stdout is one JSON document."""

    as_json: bool = False

    @cached_property
    def console(self) -> Console:
        """Where results go."""
        return _console(stderr=False)

    @cached_property
    def errors(self) -> Console:
        """Where progress and remarks go."""
        return _console(stderr=True)

    def json(self, value: object) -> None:
        """Write the one document. ASCII, so that it is the same in every locale and gives no terminal an order."""
        document = Secret(json.dumps(value, indent=2, default=str))
        del value  # the pipe may be broken, and the document may be asked for its secrets
        click.echo(document.plain)

    def line(self, words: str = "", style: str = "") -> None:
        """Write a line, which the terminal may wrap and nobody cuts."""
        from rich.text import Text

        line = Secret(Text(words, style))
        del words
        self.console.print(line.plain, soft_wrap=True)

    def note(self, words: str) -> None:
        """Say something beside the result, on stderr."""
        from rich.text import Text

        self.errors.print(Text(clean(words), "dim"), soft_wrap=True)

    def answer(self, answer: BaseModel, *, secrets: bool = False) -> None:
        """Show one answer of the API."""
        if self.as_json:
            self.json(plain(answer, secrets=secrets))
        else:
            self.record(plain(answer, secrets=secrets, mode="python"))

    def record(self, members: Mapping[str, object], indent: int = 0) -> None:
        """Show names and values, a line each; members without a value are left out."""
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        given = Secret([(clean(name), text(value)) for name, value in members.items() if value is not None])
        del members
        width = max((len(name) for name, _ in given.plain), default=0)
        if not self.console.is_terminal:
            for pair in map(Secret, given.plain):
                click.echo(f"{'':{indent}}{pair.plain[0]:{width}}  {pair.plain[1]}")
            return
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="cyan", no_wrap=True)
        grid.add_column(overflow="fold")
        for pair in map(Secret, given.plain):
            grid.add_row(*map(Text, pair.plain))
        self.console.print(Padding(grid, (0, 0, 0, indent)))

    def table(self, columns: Sequence[str], rows: Sequence[Mapping[str, object]], nothing: str) -> None:
        """Show rows of which `columns` are of interest, or say `nothing`."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        cells = [[text(row.get(name)) for name in columns] for row in rows]
        if not rows:
            self.note(nothing)
        elif not self.console.is_terminal:
            widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
            for line in (columns, *cells):
                click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        elif self.console.width < NARROW:
            for number, line in enumerate(cells):
                self.line() if number else None
                self.record(dict(zip(columns, line, strict=True)))
        else:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            for name in columns:
                # The first is what is copied into the next command, so it stays in one piece.
                table.add_column(Text(name), overflow="fold", no_wrap=name == columns[0])
            for line in cells:
                table.add_row(*map(Text, line))
            self.console.print(table)

    def answers(self, answers: Sequence[BaseModel], columns: Sequence[str], nothing: str) -> None:
        """Show a list of answers: whole as JSON, else the members in `columns`."""
        if self.as_json:
            self.json([plain(each) for each in answers])
        else:
            self.table(columns, [plain(each, mode="python") for each in answers], nothing)

    @contextmanager
    def progress(self) -> Generator[Callable[[int, int | None], None]]:
        """While something long goes on: a function to tell how far it is. Shown where a person is looking at it."""
        if not self.errors.is_terminal or self.errors.no_color:
            yield _unwatched
            return
        from rich.progress import Progress

        with Progress(console=self.errors, transient=True) as bar:
            task = bar.add_task("Fetching", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _unwatched(done: int, total: int | None) -> None:
    pass


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    # rich's own NO_COLOR still makes things bold and dim; here nothing but text goes out.
    return Console(
        stderr=stderr,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )
