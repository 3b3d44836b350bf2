"""Records: the one that a path names, and pages of them with the `page[...]` parameters and the `meta` beside the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from ..messages import Response
from .answers import answer, fault, not_found, refused
from .calls import Call

_T = TypeVar("_T")


def known(records: Mapping[str, _T], call: Call) -> _T:
    """The record that the call's path names."""
    if call.argument not in records:
        raise not_found()
    return records[call.argument]


def paged(call: Call, records: Sequence[object]) -> Response:
    """The page that the call asks for."""
    given = dict(call.parameters)
    size = _whole(given.get("page[size]", "20"), "page[size]", 100)
    number = _whole(given.get("page[number]", "1"), "page[number]", None)
    meta = {
        "page_number": number,
        "page_size": size,
        "total_pages": -(-len(records) // size),
        "total_results": len(records),
    }
    return answer({"data": records[(number - 1) * size : number * size], "meta": meta})


def bad_parameter(name: str, wrong: str) -> Exception:
    """The refusal of a query parameter."""
    return refused(400, fault("10015", f"{name} {wrong}", {"parameter": name}))


def moment(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _whole(value: str, name: str, most: int | None) -> int:
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    if number < 1 or (most is not None and number > most):
        raise bad_parameter(name, f"must be a whole number from 1{f' to {most}' if most else ''}")
    return number
