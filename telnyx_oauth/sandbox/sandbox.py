"""`Sandbox`, and the records that it starts with."""

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
from .faults import Delivery, Faults
from .records import GRANT_TYPES
from .requests import RequestLog
from .server import Server, deliver
from .service import Service
from .state import (
    AccessToken,
    Authorization,
    Client,
    Clock,
    Grant,
    Rotation,  # noqa: F401  # pyright: ignore[reportUnusedImport]  # in annotations that are inherited
    ServiceState,
    Settings,
    State,
)

EXAMPLE_ID = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
_TEN_YEARS = 10 * 365 * 86400.0


def seed(state: State, client_id: str, client_secret: str, *, examples: bool) -> None:
    """Register the sandbox's own client and, with `examples`, the records that the examples of Telnyx's documentation use."""
    now = state.clock.now()
    state.clients[client_id] = Client(
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
    if not examples:
        return
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
    scopes = default_scopes(state.clients[client_id])
    state.grants[EXAMPLE_ID] = Grant(id=EXAMPLE_ID, client_id=client_id, scopes=scopes, created_at=now)
    state.consents["consent_token"] = Authorization(
        client_id="client_id", redirect_uri="https://example.com", scopes=scopes, expires_at=now + _TEN_YEARS
    )
    seed_token(state, client_id)


def seed_token(state: State, client_id: str) -> None:
    """Register `token`, the token of Telnyx's introspection example. Once more at the start, as its issuer is the address."""
    now = state.clock.now()
    claims = {
        "iss": state.root_url,
        "sub": state.user_id,
        "aud": state.root_url,
        "client_id": client_id,
        "iat": int(now),
        "exp": int(now + _TEN_YEARS),
        "scope": " ".join(default_scopes(state.clients[client_id])),
    }
    state.access_tokens["token"] = AccessToken(claims=claims)


_P = ParamSpec("_P")
_T = TypeVar("_T")
_CREDENTIALS: Final = ("api_key", "client_id", "client_secret")


class _ClientFactory(Generic[_P, _T]):
    """A method of `Sandbox` that makes clients: the parameters of their class, with the sandbox's address and credentials."""

    def __init__(self, kind: Callable[_P, _T]) -> None:
        self._kind = kind

    def __get__(self, sandbox: Sandbox, owner: type[Sandbox]) -> Callable[_P, _T]:
        return cast(Callable[_P, _T], partial(self._make, sandbox))

    def _make(self, sandbox: Sandbox, /, **arguments: object) -> _T:
        options = Secret(arguments)
        del arguments
        if sandbox._server is None:
            raise RuntimeError("This sandbox is not started: use it as `with Sandbox() as telnyx:`, or call `start()`.")
        # With any credential in the options, the sandbox adds none: the client is then what the options say.
        credentials = _CREDENTIALS if options.plain.keys().isdisjoint(_CREDENTIALS) else ()
        defaults = {"base_url": sandbox.base_url, "issuer": sandbox.root_url, "audience": sandbox.root_url}
        kind = cast(Callable[..., _T], self._kind)
        return kind(**(defaults | {name: getattr(sandbox, name) for name in credentials} | options.plain))


@attrs.define(kw_only=True, eq=False, repr=False, slots=False)
class Sandbox(Settings, Uncopied):
    """A local Telnyx: `with Sandbox() as telnyx:` or `async with`, then `telnyx.client()` or `telnyx.base_url`.

    It listens on 127.0.0.1 in its own thread until the block ends. Without a block nothing listens, and `send` still
    works. Parameters set what the rules of the real service leave open (`Settings` lists the others); each is an
    attribute, too, that may be changed at any time.
    """

    api_key: str = attrs.field(factory=lambda: f"KEY{secrets.token_hex(11)}", repr=False)
    """The API key: accepted as a bearer token, like an access token."""
    client_id: str = attrs.field(factory=lambda: secrets.token_hex(11))
    """The confidential OAuth client that exists from the start, with all grant types and scopes."""
    client_secret: str = attrs.field(factory=lambda: secrets.token_urlsafe(32), repr=False)
    port: int = 0
    """The port on 127.0.0.1. 0 is any free port; later starts of the same sandbox use the same one."""
    seed_data: bool = True
    """Create the records that the examples of Telnyx's documentation use."""
    clock: Clock = attrs.field(init=False, factory=lambda: Clock(time.time))
    """The time of the service: `clock.advance(seconds)` makes its tokens older."""
    _initial_settings: dict[str, object] = attrs.field(init=False, factory=dict[str, object])
    _service: Service = attrs.field(init=False)
    _server: Server | None = attrs.field(init=False, default=None)
    # Guards the service: the server's thread and any thread of the program call it.
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._initial_settings = {field.name: getattr(self, field.name) for field in attrs.fields(Settings)}
        self._service = Service(self._new_state("http://127.0.0.1"))

    def __repr__(self) -> str:
        return f"<Sandbox {self.base_url}{'' if self._server else ', not started'}>"

    client = _ClientFactory(Telnyx)
    """Make a blocking client of this sandbox. Takes the parameters of `Telnyx`.

    Without credentials it has the sandbox's API key and OAuth client; with any, only those. Its validator accepts the
    tokens of this sandbox.
    """
    async_client = _ClientFactory(AsyncTelnyx)
    """Make an async client of this sandbox. Takes the parameters of `AsyncTelnyx`; otherwise like `client`."""

    def start(self) -> Self:
        """Start to listen, for use without `with`. End it with `stop()`. Raises `OSError` when the port is in use."""
        if self._server is not None:
            raise RuntimeError("This sandbox is already started.")
        # The socket listens from here on, so a port in use is an error of this call and no client comes too early.
        listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        listener.setblocking(False)
        self.port = int(listener.getsockname()[1])
        with self._lock:
            # The address is the issuer and in every URL, and is known only now.
            self._service.state.root_url = f"http://127.0.0.1:{self.port}"
            if self.seed_data:
                seed_token(self._service.state, self.client_id)
        self._server = Server(self._serve, listener)
        return self

    def stop(self) -> None:
        """Stop listening. The state stays, and a later `start()` uses the same port."""
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
        """Respond to a request without a socket: a transport. Faults raise the errors that they would cause on a connection."""
        return await deliver(request, self._serve(request))

    @property
    def root_url(self) -> str:
        """The address of the well-known documents; also the issuer and the audience of its tokens."""
        return self._service.state.root_url

    @property
    def base_url(self) -> str:
        """The `base_url` for a client, or the value for `TELNYX_BASE_URL`."""
        return f"{self.root_url}/v2"

    @property
    def requests(self) -> RequestLog:
        """The latest requests, oldest first: at most `request_log_limit` (10,000), then the oldest are dropped."""
        return self._service.requests

    @property
    def faults(self) -> Faults:
        """The active faults: `faults.add(path, kind=...)`."""
        return self._service.faults

    @property
    def state(self) -> ServiceState:
        """The service's clients, grants and tokens at this moment, read-only."""
        with self._lock:
            return self._service.state.view()

    def reset(self) -> None:
        """Restore the initial settings, records, keys and clock, and remove all requests and faults."""
        with self._lock:
            for name, value in self._initial_settings.items():
                setattr(self, name, value)
            self.clock.reset()
            self.requests.clear()
            self.faults.clear()
            self._service.state = self._new_state(self.root_url)

    def rotate_key(self, *, overlap: bool = True) -> str:
        """Sign with a new key from now on. Returns its `kid`. With `overlap` the older keys stay in the key set."""
        with self._lock:
            self._service.state.keys.rotate(overlap=overlap)
            return self._service.state.keys.kid

    def retire_keys(self) -> None:
        """Remove every key but the one that signs from the key set: the end of an overlap."""
        with self._lock:
            self._service.state.keys.retire()

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
        """Issue an access token, valid or with any fault.

        Args:
            scope: Space-separated; full access when None.
            client_id: The sandbox's own client when None.
            subject: `sub`; the client when None.
            audience: `aud`; `root_url` when None.
            issuer: `iss`; `root_url` when None.
            lifetime: Seconds from now to `exp`; `token_lifetime` when None, and with a negative one it has expired.
            opaque: A random string instead of a JWT; only introspection can tell its claims.
            forged: Sign with a key that is not the service's; the service does not accept the token either.
            claims: Claims that replace these; None removes one.
            header: Members that replace those of the JWT's header; None removes one.
        """
        with self._lock:
            state = self._service.state
            now = int(state.clock.now())
            members: dict[str, object] = {
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
            token_claims = {name: value for name, value in members.items() if value is not None}
            token = secrets.token_urlsafe(32) if opaque else state.keys.sign(token_claims, header=header, forged=forged)
            if not forged:
                state.access_tokens[token] = AccessToken(claims=token_claims)
            return token

    def revoke(self, token: str) -> None:
        """Revoke an access token, or a refresh token with its whole grant. Raises `ValueError` for an unknown token."""
        secret = Secret(token)
        del token
        with self._lock:
            state = self._service.state
            refresh_token = state.refresh_tokens.pop(secret.plain, None)
            if refresh_token is not None:
                state.grants.pop(refresh_token.grant_id, None)
            elif state.access_tokens.pop(secret.plain, None) is None:
                raise ValueError("This token was not issued by this sandbox, or is revoked already.")

    def approve(self, url: str) -> str:
        """Allow the request of an authorization URL, or of the consent page's URL, as the person who signs in.

        Returns the URL to which the browser would be redirected, with its `code`. Raises `ValueError` when the URL has no
        request to allow.
        """
        return self._decide(url, allowed=True)

    def deny(self, url: str) -> str:
        """Deny the request of a URL like that of `approve`. The URL that it returns carries `error=access_denied`."""
        return self._decide(url, allowed=False)

    def _serve(self, request: Request) -> Delivery:
        with self._lock:
            return self._service.serve(request)

    def _new_state(self, root_url: str) -> State:
        state = State(settings=self, clock=self.clock, root_url=root_url, api_key=self.api_key)
        seed(state, self.client_id, self.client_secret, examples=self.seed_data)
        return state

    def _decide(self, url: str, *, allowed: bool) -> str:
        if urlsplit(url).path.endswith("/oauth/authorize"):
            url = self._request("GET", url).headers["Location"]
        query = dict(parse_qsl(urlsplit(url).query))
        if "consent_token" not in query:
            raise ValueError(f"There is no consent to give: {query.get('error', 'the URL holds no consent_token')}.")
        consent_token = query["consent_token"]
        self._request("GET", f"{self.base_url}/oauth/consent/{quote(consent_token, safe='')}")
        response = self._request("POST", f"{self.base_url}/oauth/grants", consent_token=consent_token, allowed=allowed)
        return str(json.loads(response.content)["redirect_uri"])

    def _request(self, method: str, url: str, **body: object) -> Response:
        fields = Secret({"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"})
        content = json.dumps(body).encode() if body else b""
        response = self._serve(Request(method, url, headers=fields.plain, content=content)).response
        if response.status_code >= 400:
            raise ValueError(f"The service refuses this with status {response.status_code}.")
        return response
