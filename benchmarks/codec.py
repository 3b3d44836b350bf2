"""What does it cost to make typed values of an answer's bytes?"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import orjson

from telnyx_oauth.messages import Response
from telnyx_oauth.protocol import converter
from telnyx_oauth.types import OAuthClientListResponse, OAuthClientRetrieveResponse

from . import peers
from .measure import in_turns, microseconds, ratio, repeated
from .report import Table
from .server import ONE, page

ROUNDS = 25
BARE, OURS, FAST = "`json.loads`, dictionaries only", "telnyx_oauth", "telnyx_oauth[speedups]"


def measured(what: str, content: bytes, kind: type[Any], per: int) -> Table:
    """The table for one body."""
    table = Table(f"Bytes to values: {what}", ("side", "CPU", "ratio to `json.loads`"))
    response = Response(200, content=content)
    sides: dict[str, Callable[[], object]] = {
        BARE: lambda: json.loads(content),
        "`orjson.loads`, dictionaries only": lambda: orjson.loads(content),
        OURS: _with_parser(converter.plain_loads, lambda: converter.decode(response, kind)),
        FAST: _with_parser(orjson.loads, lambda: converter.decode(response, kind)),
        **_cattrs(content, kind),
        **_telnyx(content),
    }
    results = in_turns({name: repeated(side, per) for name, side in sides.items()}, rounds=ROUNDS, per=per)
    for name, side in results.items():
        table.add(name, microseconds(side.cpu), ratio(side.cpu, results[BARE].cpu))
    return table


def _with_parser(loads: Callable[[bytes], object], call: Callable[[], object]) -> Callable[[], object]:
    def parsed() -> object:
        converter.loads = loads
        return call()

    return parsed


def _cattrs(content: bytes, kind: type[Any]) -> dict[str, Callable[[], object]]:
    """cattrs as it comes, on the same classes: it does not keep unknown members, and turns `"false"` into True."""
    from cattrs.preconf.json import make_converter

    converter = make_converter()
    converter.register_structure_hook_func(lambda each: each is object, lambda value, _: value)
    return {"cattrs as it comes": lambda: converter.loads(content, kind)}


def _telnyx(content: bytes) -> dict[str, Callable[[], object]]:
    """What its client does with an answer: it validates nothing."""
    if not peers.has("telnyx"):
        return {}
    construct = import_module("telnyx._models").construct_type
    record: Any = import_module("telnyx.types.oauth_client").OAuthClient
    kind: Any = list[record] if content.startswith(b'{"data":[') else record
    return {"telnyx": lambda: construct(type_=kind, value=json.loads(content)["data"])}


def run() -> list[Table]:
    """The tables."""
    one, twenty = (body.partition(b"\r\n\r\n")[2] for body in (ONE, page(1, 20)))
    tables = [
        measured("one object", one, OAuthClientRetrieveResponse, 500),
        measured("a list of 20", twenty, OAuthClientListResponse, 50),
    ]
    tables[-1].notes.extend(peers.missing())
    return tables
