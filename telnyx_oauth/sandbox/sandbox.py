"""The handle of a sandbox, and the data that it begins with."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Generic, ParamSpec, Self, TypeVar, cast
from urllib.parse import parse_qsl, quote, urlsplit

import attrs

from ..client import AsyncTelnyx
from ..messages import Request, Response
from ..protocol.secret import Secret, Uncopied
from ..sync.client import Telnyx
from .authorize import default_scopes
from .faults import Faults, Served
from .records import GRANT_TYPES
from .requests import RequestLog
from .server import Server, deliver
from .service import Brain
from .state import (
    AccessToken,
    Authorization,
    Client,
    Clock,
    Grant,
    Rotation,  # noqa: F401  # pyright: ignore[reportUnusedImport]  # in annotations that are inherited
    Settings,
    State,
)

EXAMPLE_ID = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
_FOREVER = 10 * 365 * 86400.0


def plant(state: State, client_id: str, client_secret: str, *, examples: bool) -> None:
    """Register the sandbox's own client and, with `examples`, what the examples of Telnyx's documentation ask for."""
    now = state.clock.now()
    own = Client(
        client_id=client_id,
        name="Sandbox client",
        client_type="confidential",
        grant_types=GRANT_TYPES,
        scopes=state.settings.scopes,
        redirect_uris=("https://example.com/callback", "http://127.0.0.1/callback", "http://localhost/callback"),
        secret=client_secret,
        verified=True,
        created_at=now,
        updated_at=now,
    )
    state.clients[client_id] = own
    if examples:
        _plant_examples(state, own)


def _plant_examples(state: State, own: Client) -> None:
    now = state.clock.now()
    for example_id, name in (("client_id", "Example application"), (EXAMPLE_ID, "My OAuth client")):
        state.clients[example_id] = Client(
            client_id=example_id,
            name=name,
            grant_types=("authorization_code", "refresh_token"),
            scopes=state.settings.scopes,
            redirect_uris=("https://example.com",),
            created_at=now,
            updated_at=now,
        )
    scopes = default_scopes(own)
    state.grants[EXAMPLE_ID] = Grant(id=EXAMPLE_ID, client_id=own.client_id, scopes=scopes, created_at=now)
    state.consents["consent_token"] = Authorization(
        client_id="client_id", redirect_uri="https://example.com", scopes=scopes, expires_at=now + _FOREVER
    )
    plant_token(state, own.client_id)


def plant_token(state: State, client_id: str) -> None:
    """Make `token`, the token of Telnyx's introspection example, a live one. Again, once the address is known."""
    now = state.clock.now()
    claims = {
        "iss": state.root_url,
        "sub": state.user_id,
        "aud": state.root_url,
        "client_id": client_id,
        "iat": int(now),
        "exp": int(now + _FOREVER),
        "scope": " ".join(default_scopes(state.clients[client_id])),
    }
    state.access_tokens["token"] = AccessToken(claims=claims)


_P = ParamSpec("_P")
_T = TypeVar("_T")


_CREDENTIALS: Final = ("api_key", "client_id", "client_secret")


class _Ready(Generic[_P, _T]):
    """Makes clients of one sandbox. They take what their class takes; its address and credentials are filled in."""

    def __init__(self, kind: Callable[_P, _T]) -> None:
        self._kind = kind

    def __get__(self, sandbox: Sandbox, owner: type[Sandbox]) -> Callable[_P, _T]:
        return cast(Callable[_P, _T], partial(self._make, sandbox))

    def _make(self, sandbox: Sandbox, /, **options: object) -> _T:
        given = Secret(options)
        del options
        if sandbox._server is None:
            raise RuntimeError("This sandbox is not started: use it as `with Sandbox() as telnyx:`, or call `start()`.")
        own = _CREDENTIALS if given.plain.keys().isdisjoint(_CREDENTIALS) else ()
        filled = {"base_url": sandbox.base_url, "issuer": sandbox.root_url, "audience": sandbox.root_url}
        kind = cast(Callable[..., _T], self._kind)
        return kind(**(filled | {name: getattr(sandbox, name) for name in own} | given.plain))


@attrs.define(kw_only=True, eq=False, repr=False, slots=False)
class Sandbox(Settings, Uncopied):
    """A local Telnyx: `with Sandbox() as telnyx:` or `async with`, then `telnyx.client()` or `telnyx.base_url`.

    It listens on 127.0.0.1 in a thread of its own and is gone, threads and sockets too, when the block ends. Without
    a block nothing listens, and `send` answers all the same. What the real service's rules leave open is a parameter
    (see `Settings` for the further ones), and an attribute that may be changed at any time.
    """

    api_key: str = attrs.field(factory=lambda: f"KEY{secrets.token_hex(11)}", repr=False)
    """What bearer operations take, besides access tokens."""
    client_id: str = attrs.field(factory=lambda: secrets.token_hex(11))
    """The confidential OAuth client that is there from the start and may do everything."""
    client_secret: str = attrs.field(factory=lambda: secrets.token_urlsafe(32), repr=False)
    port: int = 0
    """Where it listens. 0 is any free port, which later starts of the same sandbox keep."""
    seed_data: bool = True
    """Hold what the examples of Telnyx's documentation ask for."""
    clock: Clock = attrs.field(init=False, factory=lambda: Clock(time.time))
    """The service's time: `clock.advance(seconds)` makes its tokens older."""
    _initial: dict[str, object] = attrs.field(init=False, factory=dict[str, object])
    _brain: Brain = attrs.field(init=False)
    _server: Server | None = attrs.field(init=False, default=None)
    # Guards the brain: the server's thread and the threads of a sandbox's users ask it things.
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._initial = {field.name: getattr(self, field.name) for field in attrs.fields(Settings)}
        self._brain = Brain(self._fresh_state("http://127.0.0.1"))

    def __repr__(self) -> str:
        return f"<Sandbox {self.base_url}{'' if self._server else ', not started'}>"

    client = _Ready(Telnyx)
    """A blocking client of this sandbox. Takes what `Telnyx` takes.

    Without a credential among them it has the sandbox's own, API key and OAuth client both; with one, only that. Its
    validator takes the sandbox's tokens.
    """
    async_client = _Ready(AsyncTelnyx)
    """An async client of this sandbox, likewise."""

    def start(self) -> Self:
        """Listen. For use without `with`; end it with `stop()`. Raises `OSError` when the port is taken."""
        if self._server is not None:
            raise RuntimeError("This sandbox is already started.")
        listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        listener.setblocking(False)
        self.port = int(listener.getsockname()[1])
        with self._lock:
            self._brain.state.root_url = f"http://127.0.0.1:{self.port}"
            if self.seed_data:
                plant_token(self._brain.state, self.client_id)
        self._server = Server(self._serve, listener)
        return self

    def stop(self) -> None:
        """Stop listening. What is known stays, and a later `start()` listens on the same port."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            server.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            await server.wait_ended()

    async def send(self, request: Request) -> Response:
        """Answer a request without a socket: a transport. Faults become the errors that a connection would give."""
        return await deliver(request, self._serve(request))

    @property
    def root_url(self) -> str:
        """The address that the well-known documents are under; also the issuer and the audience of its tokens."""
        return self._brain.state.root_url

    @property
    def base_url(self) -> str:
        """What to give a client as `base_url`, or as `TELNYX_BASE_URL`."""
        return f"{self.root_url}/v2"

    @property
    def requests(self) -> RequestLog:
        """Every request so far, oldest first."""
        return self._brain.requests

    @property
    def faults(self) -> Faults:
        """Where to put faults in."""
        return self._brain.faults

    def reset(self) -> None:
        """Become as it was when made: settings, data, keys and clock; no requests, no faults."""
        with self._lock:
            for name, value in self._initial.items():
                setattr(self, name, value)
            self.clock.reset()
            self.requests.clear()
            self.faults.clear()
            self._brain.state = self._fresh_state(self.root_url)

    def rotate_key(self, *, overlap: bool = True) -> str:
        """Sign with a new key from here on; gives its `kid`. With `overlap` the older keys stay in the key set."""
        with self._lock:
            self._brain.state.keys.rotate(overlap=overlap)
            return self._brain.state.keys.kid

    def retire_keys(self) -> None:
        """Take every key but the one that signs out of the key set: the end of an overlap."""
        with self._lock:
            self._brain.state.keys.retire()

    def issue_token(
        self,
        *,
        scope: str | None = None,
        client_id: str | None = None,
        subject: str | None = None,
        audience: str | Sequence[str] | None = None,
        issuer: str | None = None,
        lifetime: float | None = None,
        opaque: bool = False,
        forged: bool = False,
        claims: Mapping[str, object] | None = None,
        header: Mapping[str, object] | None = None,
    ) -> str:
        """An access token, as good or as bad as asked.

        Args:
            scope: Space-separated; full access when None.
            client_id: The sandbox's own client when None.
            subject: `sub`; the client when None.
            audience: `aud`; `root_url` when None.
            issuer: `iss`; `root_url` when None.
            lifetime: Seconds from now to `exp`; `token_lifetime` when None, and with a negative one it has expired.
            opaque: A random string instead of a JWT; introspection knows what it means.
            forged: Signed by a key that is not the service's; the service does not know the token either.
            claims: Claims to set over these; None leaves one out.
            header: Members of the JWT's header, likewise.
        """
        with self._lock:
            state = self._brain.state
            now = int(state.clock.now())
            full: dict[str, object] = {
                "iss": issuer or state.root_url,
                "sub": subject or client_id or self.client_id,
                "aud": (audience if isinstance(audience, str) else list(audience or ())) or state.root_url,
                "client_id": client_id or self.client_id,
                "iat": now,
                "exp": now + int(self.token_lifetime if lifetime is None else lifetime),
                "jti": str(uuid.uuid4()),
                "scope": scope if scope is not None else "admin" if "admin" in self.scopes else " ".join(self.scopes),
                **(claims or {}),
            }
            meant = {name: value for name, value in full.items() if value is not None}
            token = secrets.token_urlsafe(32) if opaque else state.keys.sign(meant, header=header, forged=forged)
            if not forged:
                state.access_tokens[token] = AccessToken(claims=meant)
            return token

    def revoke(self, token: str) -> None:
        """Make an access token worthless, or a refresh token with its whole grant. Raises `ValueError` when unknown."""
        presented = Secret(token)
        del token
        with self._lock:
            state = self._brain.state
            refresh_token = state.refresh_tokens.pop(presented.plain, None)
            if refresh_token is not None:
                state.grants.pop(refresh_token.grant_id, None)
            elif state.access_tokens.pop(presented.plain, None) is None:
                raise ValueError("This token was not issued by this sandbox, or is revoked already.")

    def approve(self, url: str) -> str:
        """Play the person who allows what an authorization URL or the consent page's URL asks for.

        Gives the address that the browser would be sent to, with its `code`. Raises `ValueError` when there is nothing
        to allow.
        """
        return self._decide(url, allowed=True)

    def deny(self, url: str) -> str:
        """As `approve`, for the person who says no: the address carries `error=access_denied`."""
        return self._decide(url, allowed=False)

    def _serve(self, request: Request) -> Served:
        with self._lock:
            return self._brain.serve(request)

    def _fresh_state(self, root_url: str) -> State:
        state = State(settings=self, clock=self.clock, root_url=root_url, api_key=self.api_key)
        plant(state, self.client_id, self.client_secret, examples=self.seed_data)
        return state

    def _decide(self, url: str, *, allowed: bool) -> str:
        if urlsplit(url).path.endswith("/oauth/authorize"):
            url = self._ask("GET", url).headers["Location"]
        asked = dict(parse_qsl(urlsplit(url).query))
        if "consent_token" not in asked:
            raise ValueError(f"There is no consent to give: {asked.get('error', 'the URL holds no consent_token')}.")
        consent_token = asked["consent_token"]
        self._ask("GET", f"{self.base_url}/oauth/consent/{quote(consent_token, safe='')}")
        granted = self._ask("POST", f"{self.base_url}/oauth/grants", consent_token=consent_token, allowed=allowed)
        return str(json.loads(granted.content)["redirect_uri"])

    def _ask(self, method: str, url: str, **body: object) -> Response:
        given = Secret({"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"})
        content = json.dumps(body).encode() if body else b""
        response = self._serve(Request(method, url, headers=given.plain, content=content)).response
        if response.status_code >= 400:
            raise ValueError(f"The service refuses this with status {response.status_code}.")
        return response
