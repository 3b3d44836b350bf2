"""Pages of records: the `page[...]` parameters and the `meta` beside the data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ..messages import Response
from .answers import answer, fault, refused
from .calls import Call


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
