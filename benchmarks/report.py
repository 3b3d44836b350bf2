"""Tables: in Markdown for people, in JSON for programs."""

from __future__ import annotations

import json

import attrs

from .measure import Ratio


@attrs.define
class Table:
    """What one question came to. Cells are texts, numbers, or values with a `str`."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]] = attrs.field(factory=list[tuple[object, ...]])
    notes: list[str] = attrs.field(factory=list[str])
    failed: bool = False
    """Whether what was measured must not be."""

    def add(self, *cells: object) -> None:
        """One more row."""
        assert len(cells) == len(self.columns), cells
        self.rows.append(cells)

    def markdown(self) -> str:
        """The table, its columns aligned so that it can be read as it stands."""
        texts = [self.columns, *(tuple(_text(cell) for cell in row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in texts]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([f"### {self.title}", "", *lines, *(f"\n{note}" for note in self.notes), ""])

    def json(self) -> str:
        """The table as one line of JSON."""
        rows = [dict(zip(self.columns, map(_plain, row), strict=True)) for row in self.rows]
        return json.dumps({"title": self.title, "rows": rows, "notes": self.notes}, ensure_ascii=False)


def _text(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def _plain(cell: object) -> object:
    return attrs.asdict(cell) if isinstance(cell, Ratio) else cell
