"""The pytest plugin: a local Telnyx for each test, clients of it, tokens good and bad, and a clock to move.

Nothing but pytest is imported until a test asks for one of the fixtures. There is no `assert` here to rewrite, so that the
plugin may be imported before pytest (PYTEST_DONT_REWRITE).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from . import sandbox as _sandbox
    from .client import AsyncTelnyx
    from .sandbox import Sandbox
    from .sync.client import Telnyx
else:

    class _Sandbox:
        def __getattr__(self, name: str) -> object:
            if name != "Sandbox":  # pytest asks each name of a plugin for marks of its own
                raise AttributeError(name)
            return getattr(import_module(".sandbox", __package__), name)

    _sandbox = _Sandbox()  # loaded when an annotation is looked at

__all__ = [
    "TelnyxClock",
    "TelnyxTokens",
    "async_telnyx",
    "telnyx",
    "telnyx_audience",
    "telnyx_clock",
    "telnyx_environment",
    "telnyx_sandbox",
    "telnyx_server",
    "telnyx_tokens",
]


class TelnyxTokens:
    """Makes access tokens, signed by the sandbox's real key unless said otherwise. They are for `telnyx_audience`.

    Scopes are words; without any, a token has full access.
    """

    def __init__(self, sandbox: _sandbox.Sandbox, audience: str) -> None:
        self._sandbox = sandbox
        self._audience = audience

    def valid(
        self,
        *scopes: str,
        subject: str | None = None,
        audience: str | Collection[str] | None = None,
        lifetime: float | None = None,
        claims: Mapping[str, object] | None = None,
    ) -> str:
        """A good token, of `lifetime` seconds. `claims` are set over its own; `None` leaves one out."""
        named = audience if isinstance(audience, str | None) else list(audience)
        return self._sandbox.issue_token(
            scope=" ".join(scopes) or None,
            subject=subject,
            audience=named or self._audience,
            lifetime=lifetime,
            claims=claims,
        )

    def without_scopes(self) -> str:
        """A good token that allows nothing in particular."""
        return self._sandbox.issue_token(scope="", audience=self._audience)

    def expired(self, *scopes: str) -> str:
        """A token that was good an hour ago, which no leeway forgives."""
        return self.valid(*scopes, lifetime=-3600)

    def wrong_audience(self, *scopes: str) -> str:
        """A good token, for somebody else."""
        return self.valid(*scopes, audience="https://somebody-else.example")

    def wrong_issuer(self, *scopes: str) -> str:
        """A token by the right key that names another issuer."""
        return self.valid(*scopes, claims={"iss": "https://another-issuer.example"})

    def forged(self, *scopes: str) -> str:
        """A token that says all the right things, signed by a key that was never published."""
        return self._sandbox.issue_token(scope=" ".join(scopes) or None, audience=self._audience, forged=True)

    def revoked(self, *scopes: str) -> str:
        """A token whose signature is still good, and which the service and its introspection no longer take."""
        token = self.valid(*scopes)
        self._sandbox.revoke(token)
        return token

    def opaque(self, *scopes: str) -> str:
        """A good token that is no JWT: only introspection can say what it means."""
        return self._sandbox.issue_token(scope=" ".join(scopes) or None, audience=self._audience, opaque=True)

    def header(self, token: str | None = None) -> dict[str, str]:
        """The header that carries a token; a new valid one unless given."""
        return {"Authorization": f"Bearer {token or self.valid()}"}


class TelnyxClock:
    """The time of the sandbox and of every client made in the test.

    While a test has it, the package does not wait out retries and back-offs: each wait moves the clock and is over.
    """

    def __init__(self, sandbox: _sandbox.Sandbox) -> None:
        self._sandbox = sandbox
        self.slept: list[float] = []
        """The waits so far, in seconds."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        _time.move(seconds)
        self._sandbox.clock.advance(seconds)

    def now(self) -> float:
        """Unix seconds."""
        return self._sandbox.clock.now()

    async def sleep(self, seconds: float) -> None:
        """What the package's waits are while a test has the clock."""
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


class _Time:
    """How far this process's clocks have been moved, and who has them."""

    def __init__(self) -> None:
        # Guards the sum: a blocking client's waits move it from a thread of their own.
        self._lock = threading.Lock()
        self._offset = 0.0
        self.holder: TelnyxClock | None = None

    def move(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._offset += seconds

    def put_back(self) -> None:
        """Go back to the machine's time, and wait in earnest again."""
        self._offset, self.holder = 0.0, None

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Have the package read its time here. A client keeps the clock that it finds when it is made."""
        from .transport.clock import SystemClock

        machine = SystemClock()
        machine_boot, machine_wall, machine_sleep = machine.boot, machine.wall, machine.sleep

        def boot() -> float:
            return machine_boot() + self._offset

        def wall() -> float:
            return machine_wall() + self._offset

        async def sleep(seconds: float) -> None:
            await (machine_sleep(seconds) if self.holder is None else self.holder.sleep(seconds))

        patch.setattr(SystemClock, "boot", staticmethod(boot))
        patch.setattr(SystemClock, "wall", staticmethod(wall))
        patch.setattr(SystemClock, "sleep", staticmethod(sleep))


_time: Final = _Time()


@pytest.fixture(scope="session")
def telnyx_server() -> Iterator[Sandbox]:
    """The sandbox behind `telnyx_sandbox`, for fixtures that live longer than a test. Every test that uses that resets it."""
    from .sandbox import Sandbox

    with pytest.MonkeyPatch.context() as patch, Sandbox() as sandbox:
        _time.install(patch)
        yield sandbox


@pytest.fixture
def telnyx_sandbox(telnyx_server: Sandbox) -> Sandbox:
    """A local Telnyx, as new: one server serves all tests and forgets everything in between."""
    telnyx_server.reset()
    return telnyx_server


@pytest.fixture
def telnyx_audience(telnyx_sandbox: Sandbox) -> str:
    """Whom tokens are for. Override it with what your service calls itself (`audience=`)."""
    return telnyx_sandbox.root_url


@pytest.fixture
def telnyx(telnyx_sandbox: Sandbox, telnyx_audience: str) -> Iterator[Telnyx]:
    """A blocking client of the sandbox."""
    with telnyx_sandbox.client(audience=telnyx_audience, trust_env=False) as client:
        yield client


@pytest.fixture
def async_telnyx(telnyx_sandbox: Sandbox, telnyx_audience: str) -> Iterator[AsyncTelnyx]:
    """An async client of the sandbox, for whichever plugin runs the test's event loop, or for `asyncio.run`."""
    client = telnyx_sandbox.async_client(audience=telnyx_audience, trust_env=False)
    yield client
    _close(client)


@pytest.fixture
def telnyx_tokens(telnyx_sandbox: Sandbox, telnyx_audience: str) -> TelnyxTokens:
    """Makes access tokens, good and bad."""
    return TelnyxTokens(telnyx_sandbox, telnyx_audience)


@pytest.fixture
def telnyx_clock(telnyx_sandbox: Sandbox) -> Iterator[TelnyxClock]:
    """Moves the time of the sandbox and of the clients; retries do not wait. Clients that are older than the first use of
    the sandbox keep the machine's time.
    """
    _time.holder = TelnyxClock(telnyx_sandbox)
    yield _time.holder
    _time.put_back()


@pytest.fixture
def telnyx_environment(telnyx_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, with the environment pointing to it: `Telnyx()` in the code under test is a client of it."""
    for name in ("api_key", "client_id", "client_secret", "base_url"):
        monkeypatch.setenv(f"TELNYX_{name.upper()}", str(getattr(telnyx_sandbox, name)))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1"))))
    return telnyx_sandbox


def _close(client: AsyncTelnyx) -> None:
    """Close it from a loop of our own: the test's may be over, and ends the client's connections if it is not."""
    from .blocking.driver import Lease

    lease = Lease()
    lease.run(client.close)
    lease.close()
