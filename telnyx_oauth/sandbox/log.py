"""The request log: what the service was asked and what it answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import overload
from urllib.parse import parse_qsl

import attrs

from ..messages import Headers


def matches(pattern: str, path: str) -> bool:
    """Whether a path, with or without its `/v2`, is like a shell pattern."""
    return fnmatchcase(path, pattern) or fnmatchcase(path.removeprefix("/v2"), pattern)


@attrs.frozen(kw_only=True)
class LoggedRequest:
    """One request as it was received. `status` is the answer's; None when there was none or the connection was cut."""

    method: str
    path: str
    query: str = attrs.field(repr=False)
    headers: Headers = attrs.field(repr=False)
    content: bytes = attrs.field(repr=False)
    at: float
    """The service's time, Unix seconds."""
    status: int | None

    @property
    def parameters(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The form-encoded body's parameters."""
        return dict(parse_qsl(self.content.decode(), keep_blank_values=True))

    def json(self) -> object:
        """The JSON body. Raises `ValueError` when it is not."""
        value: object = json.loads(self.content)
        return value


class RequestLog(Sequence[LoggedRequest]):
    """All requests, oldest first."""

    def __init__(self) -> None:
        self._entries: list[LoggedRequest] = []

    def add(self, entry: LoggedRequest) -> None:
        """Write one down."""
        self._entries.append(entry)

    def find(self, path: str = "*", *, method: str | None = None, status: int | None = None) -> list[LoggedRequest]:
        """Those whose path is like a shell pattern (`/oauth/token`, `/oauth*clients/*`; `/v2` may be left out)."""
        return [
            entry
            for entry in self._entries
            if matches(path, entry.path) and method in (None, entry.method) and status in (None, entry.status)
        ]

    def count(self, path: str = "*", *, method: str | None = None, status: int | None = None) -> int:
        """How many `find` finds."""
        return len(self.find(path, method=method, status=status))

    def clear(self) -> None:
        """Forget them."""
        self._entries.clear()

    @overload
    def __getitem__(self, index: int) -> LoggedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> list[LoggedRequest]: ...
    def __getitem__(self, index: int | slice) -> LoggedRequest | list[LoggedRequest]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(tuple(self._entries))
