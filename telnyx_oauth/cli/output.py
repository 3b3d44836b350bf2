"""The output of commands, and the streams that they read and write."""

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
    """Tell if stdin is a terminal, so that the user can be asked."""
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # closed
        return False


def piped() -> str:
    """All of stdin; empty where there is no stdin."""
    try:
        return "" if sys.stdin is None else sys.stdin.read()
    except (OSError, ValueError):  # it cannot be read, or is closed
        return ""


def keep_stdout() -> None:
    """Keep stdout for this process alone: from now on, the output of its children goes to stderr."""
    try:
        if sys.stdout.fileno() != 1:
            return
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return
    sys.stdout.flush()
    own = os.dup(1)
    elsewhere = 2
    try:
        os.fstat(2)
    except OSError:
        elsewhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(elsewhere, 1)
    sys.stdout = os.fdopen(own, "w", encoding=sys.stdout.encoding, errors="replace", newline=None)


@contextmanager
def whole_lines(descriptor: int) -> Generator[None]:
    """Let the terminal pass on each key at once. A terminal that edits lines keeps 4,096 bytes of a line, or fewer."""
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
    """A reader of lines from a terminal that passes on each key. It handles erase, kill and end of input itself."""

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
# Control characters (ECMA-48), characters that change the direction of text, end a line or are invisible: each could make
# one text look like another. The joiners U+200C and U+200D are part of words in some scripts, and stay.
_ORDERS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """The text without the characters that control a terminal."""
    return _ORDERS.sub("\N{REPLACEMENT CHARACTER}", text)


def text(value: object) -> str:
    """A value in one line, for people."""
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
    """An answer's members; those that hold secrets only with `secrets`."""
    members = answer.to_dict(mode=mode)
    return members if secrets else {name: value for name, value in members.items() if name not in SECRET}


@attrs.define(slots=False)
class Output:
    """The output of a command. With `as_json`, stdout gets one JSON document and nothing else."""

    as_json: bool = False

    @cached_property
    def console(self) -> Console:
        """The console for results: stdout."""
        return _console(stderr=False)

    @cached_property
    def errors(self) -> Console:
        """The console for progress and notes: stderr."""
        return _console(stderr=True)

    def json(self, value: object) -> None:
        """Write the JSON document. It is ASCII: the same in every locale, without control characters."""
        document = Secret(json.dumps(value, indent=2, default=str))
        del value  # the pipe may be broken, and the document may be asked for its secrets
        click.echo(document.plain)

    def line(self, words: str = "", style: str = "") -> None:
        """Write a line. Only the terminal wraps it."""
        from rich.text import Text

        line = Secret(Text(words, style))
        del words
        self.console.print(line.plain, soft_wrap=True)

    def note(self, words: str) -> None:
        """Write a note to stderr, beside the result."""
        from rich.text import Text

        self.errors.print(Text(clean(words), "dim"), soft_wrap=True)

    def answer(self, answer: BaseModel, *, secrets: bool = False) -> None:
        """Show one answer of the API."""
        if self.as_json:
            self.json(plain(answer, secrets=secrets))
        else:
            self.record(plain(answer, secrets=secrets, mode="python"))

    def record(self, members: Mapping[str, object], indent: int = 0) -> None:
        """Show names and values, one pair per line. Members without a value are left out."""
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        pairs = Secret([(clean(name), text(value)) for name, value in members.items() if value is not None])
        del members
        width = max((len(name) for name, _ in pairs.plain), default=0)
        if not self.console.is_terminal:
            for pair in map(Secret, pairs.plain):
                click.echo(f"{'':{indent}}{pair.plain[0]:{width}}  {pair.plain[1]}")
            return
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="cyan", no_wrap=True)
        grid.add_column(overflow="fold")
        for pair in map(Secret, pairs.plain):
            grid.add_row(*map(Text, pair.plain))
        self.console.print(Padding(grid, (0, 0, 0, indent)))

    def table(self, columns: Sequence[str], rows: Sequence[Mapping[str, object]], nothing: str) -> None:
        """Show the `columns` of rows as a table; without rows the text `nothing`."""
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
                # The first column is an id, to be copied into the next command: it must not be wrapped.
                table.add_column(Text(name), overflow="fold", no_wrap=name == columns[0])
            for line in cells:
                table.add_row(*map(Text, line))
            self.console.print(table)

    def answers(self, answers: Sequence[BaseModel], columns: Sequence[str], nothing: str) -> None:
        """Show a list of answers: as JSON with all members, else the `columns` of each."""
        if self.as_json:
            self.json([plain(each) for each in answers])
        else:
            self.table(columns, [plain(each, mode="python") for each in answers], nothing)

    @contextmanager
    def progress(self) -> Generator[Callable[[int, int | None], None]]:
        """A progress bar for a long job: yields the function that moves it. It is shown on a terminal only."""
        if not self.errors.is_terminal or self.errors.no_color:
            yield lambda _done, _total: None
            return
        from rich.progress import Progress

        with Progress(console=self.errors, transient=True) as bar:
            task = bar.add_task("Fetching", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    # With NO_COLOR rich itself still writes bold and dim. Here it means plain text.
    return Console(
        stderr=stderr,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )
