"""Faults on demand: which requests they hit, and how they alter the response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, TypeAlias, assert_never, cast

import attrs

from ..messages import Response, headers
from .requests import Call, json_response, path_matches

Kind: TypeAlias = Literal[
    "latency", "status", "reset", "hang", "truncate", "malformed", "html", "wrong_types", "oversized"
]
Ending: TypeAlias = Literal["whole", "truncated", "reset", "hung"]


@attrs.define(kw_only=True)
class Fault:
    """A fault. `hits` counts the requests that it hit."""

    kind: Kind
    path: str
    method: str | None
    times: int | None
    after: int
    status: int | None
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes | None = attrs.field(repr=False)
    seconds: float
    size: int
    processed: bool
    hits: int = 0

    def meets(self, call: Call) -> bool:
        """Tell if the fault hits this request, and count it if so."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.method not in (None, call.method) or not path_matches(self.path, call.path):
            return False
        # Only requests that match count for `after`.
        if self.after > 0:
            self.after -= 1
            return False
        self.hits += 1
        return True


@attrs.frozen
class Delivery:
    """A response and the way to deliver it: after `delay` seconds, with an `ending`."""

    response: Response
    delay: float = 0.0
    ending: Ending = "whole"


class Faults:
    """The active faults. The first one that matches a request hits it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(
        self,
        path: str = "*",
        *,
        kind: Kind,
        method: str | None = None,
        times: int | None = 1,
        after: int = 0,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        seconds: float = 0.0,
        size: int = 17 * 1024 * 1024,
        processed: bool = False,
    ) -> Fault:
        """Add a fault.

        Args:
            path: Shell pattern of the paths that it hits; `/v2` may be left out.
            kind: `latency` (only wait), `status` (another response), `reset` (cut the connection), `hang` (never respond),
                `truncate` (half the body, then cut), `malformed` (broken JSON), `html`, `wrong_types` (every value of the
                JSON response of another type), `oversized` (valid JSON of at least `size` bytes).
            method: Only requests of this method.
            times: How many requests it hits; None is all.
            after: How many requests pass before it hits the first.
            status: The status of the response; when None, 503 for `status` and unchanged for other kinds.
            headers: Headers to add (`Retry-After`) or to replace.
            body: The body to send instead.
            seconds: How long to wait before the response, for any kind.
            size: For `oversized`, in bytes.
            processed: True to process the request before the fault, so that the response is lost and not the request.
                Kinds that alter a response always process it.
        """
        fault = Fault(
            kind=kind, path=path, method=method, times=times, after=after, status=status, headers=dict(headers or {}),
            body=body, seconds=seconds, size=size, processed=processed or kind not in ("status", "reset", "hang"),
        )  # fmt: skip
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def match(self, call: Call) -> Fault | None:
        """The fault that hits this request, if any."""
        return next((fault for fault in self._faults if fault.meets(call)), None)


def apply_fault(fault: Fault, response: Response | None) -> Delivery:
    """Alter a response as the fault says. `response` is None for a request that is not processed."""
    if response is None or fault.kind == "status":
        error = {"code": "10007", "title": "Unexpected error", "detail": "A fault of the sandbox."}
        response = json_response({"errors": [error]}, fault.status or 503)
    return Delivery(_altered(fault, response), fault.seconds, _ending(fault.kind))


def _ending(kind: Kind) -> Ending:
    match kind:
        case "reset":
            return "reset"
        case "hang":
            return "hung"
        case "truncate":
            return "truncated"
        case "latency" | "status" | "malformed" | "html" | "wrong_types" | "oversized":
            return "whole"
        case _:  # pragma: no cover - the type checkers prove that there is no other kind
            assert_never(kind)


def _altered(fault: Fault, response: Response) -> Response:
    replaced = {name.lower() for name in fault.headers}
    pairs = [(name, value) for name, value in response.headers.items() if name.lower() not in replaced]
    content = response.content
    match fault.kind:
        case "malformed":
            content = content[: len(content) // 2] + b'"\\'
        case "html":
            content = b"<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>"
            pairs = [pair for pair in pairs if pair[0].lower() != "content-type"] + [("Content-Type", "text/html")]
        case "wrong_types":
            content = json.dumps(_retyped(json.loads(content or b"null"))).encode()
        case "oversized":
            content += b" " * (fault.size - len(content))
        case _:
            pass
    if fault.body is not None:
        content = fault.body
    # A 204 must have no body (RFC 9110), so one that gets a body becomes a 200.
    status = 200 if response.status_code == 204 and content else response.status_code
    return Response(fault.status or status, headers(*pairs, *fault.headers.items()), content)


def _retyped(value: object) -> object:
    """The same JSON members, with each value of another type."""
    match value:
        case dict():
            return {name: _retyped(member) for name, member in cast(dict[str, object], value).items()}
        case list():
            return {"0": [_retyped(member) for member in cast(list[object], value)]}
        case str() | None:
            return [7]
        case _:
            return {"value": str(value)}
