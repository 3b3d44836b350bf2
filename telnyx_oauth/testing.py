"""The pytest plugin: a local Telnyx for each test, clients of it, valid and invalid tokens, and a clock to advance.

It imports only pytest until a test uses one of the fixtures. It has no `assert` to rewrite, so that it may be imported
before pytest (PYTEST_DONT_REWRITE).
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
            if name != "Sandbox":  # pytest looks for marks on every name of a plugin
                raise AttributeError(name)
            return getattr(import_module(".sandbox", __package__), name)

    _sandbox = _Sandbox()  # loaded when an annotation is evaluated

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
    """Makes access tokens for `telnyx_audience`. All but `forged` and `opaque` are signed by the sandbox's key.

    Each scope is an argument; a token without any has full access.
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
        """A valid token of `lifetime` seconds. `claims` replace its claims; `None` removes one."""
        return self._sandbox.issue_token(
            scope=" ".join(scopes) or None,
            subject=subject,
            audience=(audience if isinstance(audience, str | None) else list(audience)) or self._audience,
            lifetime=lifetime,
            claims=claims,
        )

    def without_scopes(self) -> str:
        """A valid token without any scope."""
        return self._sandbox.issue_token(scope="", audience=self._audience)

    def expired(self, *scopes: str) -> str:
        """A token that expired an hour ago, beyond any leeway."""
        return self.valid(*scopes, lifetime=-3600)

    def wrong_audience(self, *scopes: str) -> str:
        """A token for another audience, otherwise valid."""
        return self.valid(*scopes, audience="https://somebody-else.example")

    def wrong_issuer(self, *scopes: str) -> str:
        """A token of another issuer, signed by the right key."""
        return self.valid(*scopes, claims={"iss": "https://another-issuer.example"})

    def forged(self, *scopes: str) -> str:
        """A token with valid claims, signed by a key that is not in the key set."""
        return self._sandbox.issue_token(scope=" ".join(scopes) or None, audience=self._audience, forged=True)

    def revoked(self, *scopes: str) -> str:
        """A token with a valid signature that the service no longer accepts, and that introspection calls inactive."""
        token = self.valid(*scopes)
        self._sandbox.revoke(token)
        return token

    def opaque(self, *scopes: str) -> str:
        """A valid token that is no JWT: only introspection can tell its claims."""
        return self._sandbox.issue_token(scope=" ".join(scopes) or None, audience=self._audience, opaque=True)

    def header(self, token: str | None = None) -> dict[str, str]:
        """The `Authorization` header with a token, by default a new valid one."""
        return {"Authorization": f"Bearer {token or self.valid()}"}


class TelnyxClock:
    """The time of the sandbox and of the clients that are made in the test.

    In a test that uses it, retries and back-offs do not wait: each wait advances the clock and ends at once.
    """

    def __init__(self, sandbox: _sandbox.Sandbox) -> None:
        self._sandbox = sandbox
        self.slept: list[float] = []
        """The waits so far, in seconds."""

    def advance(self, seconds: float) -> None:
        """Advance the time."""
        _time.move(seconds)
        self._sandbox.clock.advance(seconds)

    def now(self) -> float:
        """Unix seconds."""
        return self._sandbox.clock.now()

    async def sleep(self, seconds: float) -> None:
        """Record a wait and advance the clock. Replaces the sleep of the package."""
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


class _Time:
    """The offset of this process's clocks, and the `TelnyxClock` of the test that runs, if any."""

    def __init__(self) -> None:
        # Guards the sum: the waits of blocking clients advance it from other threads.
        self._lock = threading.Lock()
        self._offset = 0.0
        self.holder: TelnyxClock | None = None

    def move(self, seconds: float) -> None:
        """Advance the time."""
        with self._lock:
            self._offset += seconds

    def put_back(self) -> None:
        """Return to the machine's time and to real waits."""
        self._offset, self.holder = 0.0, None

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Patch the clock of the package. A client keeps the clock of the moment when it is made."""
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
    """The sandbox of the session, for fixtures that live longer than a test. Each test that uses `telnyx_sandbox` resets it."""
    from .sandbox import Sandbox

    with pytest.MonkeyPatch.context() as patch, Sandbox() as sandbox:
        _time.install(patch)
        yield sandbox


@pytest.fixture
def telnyx_sandbox(telnyx_server: Sandbox) -> Sandbox:
    """A local Telnyx in its initial state. One server serves all tests and is reset before each."""
    telnyx_server.reset()
    return telnyx_server


@pytest.fixture
def telnyx_audience(telnyx_sandbox: Sandbox) -> str:
    """The audience of tokens. Override it with the audience of your service (`audience=`)."""
    return telnyx_sandbox.root_url


@pytest.fixture
def telnyx(telnyx_sandbox: Sandbox, telnyx_audience: str) -> Iterator[Telnyx]:
    """A blocking client of the sandbox."""
    with telnyx_sandbox.client(audience=telnyx_audience, trust_env=False) as client:
        yield client


@pytest.fixture
def async_telnyx(telnyx_sandbox: Sandbox, telnyx_audience: str) -> Iterator[AsyncTelnyx]:
    """An async client of the sandbox. It works with pytest-asyncio, anyio's plugin and `asyncio.run`."""
    client = telnyx_sandbox.async_client(audience=telnyx_audience, trust_env=False)
    yield client
    from .blocking.driver import Lease

    # In a separate loop: the loop of the test may be closed already. If it still runs, it closes its own connections.
    lease = Lease()
    lease.run(client.close)
    lease.close()


@pytest.fixture
def telnyx_tokens(telnyx_sandbox: Sandbox, telnyx_audience: str) -> TelnyxTokens:
    """Makes valid and invalid access tokens."""
    return TelnyxTokens(telnyx_sandbox, telnyx_audience)


@pytest.fixture
def telnyx_clock(telnyx_sandbox: Sandbox) -> Iterator[TelnyxClock]:
    """Advances the time of the sandbox and of the clients; retries do not wait. Clients that were made before the first
    use of the sandbox keep the machine's time.
    """
    _time.holder = TelnyxClock(telnyx_sandbox)
    yield _time.holder
    _time.put_back()


@pytest.fixture
def telnyx_environment(telnyx_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, with its address and credentials in the environment: `Telnyx()` in the code under test is a client of it."""
    for name in ("api_key", "client_id", "client_secret", "base_url"):
        monkeypatch.setenv(f"TELNYX_{name.upper()}", str(getattr(telnyx_sandbox, name)))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1"))))
    return telnyx_sandbox
