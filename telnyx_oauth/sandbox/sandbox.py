"""The sandbox as its users hold it: a local Telnyx to start, to look into and to disturb."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, assert_never
from urllib.parse import parse_qsl, quote, urlsplit

import attrs

from ..errors import APIConnectionError, APITimeoutError
from ..messages import Request, RequestInfo, Response
from .brain import Brain
from .faults import Faults, Served
from .log import RequestLog
from .seed_data import plant, plant_token
from .server import Server
from .state import AccessToken, Clock, Rotation, Settings, State

if TYPE_CHECKING:
    from ..client import AsyncTelnyx
    from ..sync import Telnyx


class Sandbox:
    """A local Telnyx: `with Sandbox() as telnyx:` or `async with`, then `telnyx.client()` or `telnyx.base_url`.

    It listens on 127.0.0.1 in a thread of its own and is gone, threads and sockets too, when the block ends. Without
    a block nothing listens, and `send` answers all the same. What it leaves open of the real service's rules is in
    `settings`, whose fields are these parameters and may be changed at any time.

    Args:
        api_key: The key that bearer operations take; made up when None. So with `client_id` and `client_secret`.
        client_id: The OAuth client that is there from the start, confidential and allowed everything.
        client_secret: Its secret.
        port: Where to listen; 0 is any free port, kept for later starts of the same sandbox.
        seed_data: Hold what the examples of Telnyx's documentation ask for.
        token_lifetime: Of access tokens, seconds. The lifetimes of refresh tokens, codes and consent tokens likewise.
        rotation: What becomes of a used refresh token: see `Settings`.
        grace_period: Seconds for which `rotation="grace"` forgives a second use.
        scopes: The scopes that exist; None is `admin` and the 32 newer ones. `LIVE_SCOPES` is the 32 alone.
        pkce_methods: Code challenge methods that are taken.
        resources: Further resource servers that tokens may be for.
        introspection_limit: Introspections per client in 60 seconds; None is any number, the real service's is 5.
        issuer_in_redirect: Send `iss` with authorization answers (RFC 9207).
        jwks_max_age: The key set's `Cache-Control: max-age`.
        slash_paths: Serve `/oauth/clients` and `/oauth/grants`.
        underscore_paths: Serve `/oauth_clients` and `/oauth_grants`.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        port: int = 0,
        seed_data: bool = True,
        token_lifetime: float = 1800,
        refresh_lifetime: float = 30 * 86400,
        code_lifetime: float = 600,
        consent_lifetime: float = 600,
        rotation: Rotation = "strict",
        grace_period: float = 30,
        scopes: Sequence[str] | None = None,
        pkce_methods: Sequence[str] = ("S256",),
        resources: Sequence[str] = (),
        introspection_limit: int | None = None,
        issuer_in_redirect: bool = False,
        jwks_max_age: int | None = None,
        slash_paths: bool = True,
        underscore_paths: bool = True,
    ) -> None:
        self.settings = Settings(
            token_lifetime=token_lifetime,
            refresh_lifetime=refresh_lifetime,
            code_lifetime=code_lifetime,
            consent_lifetime=consent_lifetime,
            rotation=rotation,
            grace_period=grace_period,
            pkce_methods=tuple(pkce_methods),
            resources=tuple(resources),
            introspection_limit=introspection_limit,
            issuer_in_redirect=issuer_in_redirect,
            jwks_max_age=jwks_max_age,
            slash_paths=slash_paths,
            underscore_paths=underscore_paths,
        )
        if scopes is not None:
            self.settings.scopes = tuple(scopes)
        self.api_key = api_key or f"KEY{secrets.token_hex(16)}"
        self.client_id = client_id or secrets.token_urlsafe(16)
        self.client_secret = client_secret or secrets.token_urlsafe(32)
        self.clock = Clock(time.time)
        self._seed_data = seed_data
        self._initial = attrs.evolve(self.settings)
        self._port = port
        self._server: Server | None = None
        # Guards the brain: the server's thread and the threads of a sandbox's users ask it things.
        self._lock = threading.Lock()
        self._brain = Brain(self._fresh_state("http://127.0.0.1"))

    # Life

    def start(self) -> Self:
        """Listen. Only for use without `with`; end it with `stop()`."""
        if self._server is not None:
            raise RuntimeError("This sandbox is already started.")
        listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        with self._lock:
            self._brain.state.root_url = f"http://127.0.0.1:{self._port}"
            if self._seed_data:
                plant_token(self._brain.state, self.client_id)
        self._server = Server(self._serve, listener)
        return self

    def stop(self) -> None:
        """Stop listening; what is known stays, and a later `start()` listens on the same port."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            server.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            await asyncio.wrap_future(server.ended)
            server.join()

    # Addresses and clients

    @property
    def root_url(self) -> str:
        """The address that the well-known documents are under; also the issuer of its tokens."""
        return self._brain.state.root_url

    @property
    def base_url(self) -> str:
        """What to give a client as `base_url`, or as `TELNYX_BASE_URL`."""
        return f"{self.root_url}/v2"

    # Looking and disturbing

    @property
    def requests(self) -> RequestLog:
        """Every request so far, oldest first."""
        return self._brain.requests

    @property
    def faults(self) -> Faults:
        """Where to put faults in."""
        return self._brain.faults

    def reset(self) -> None:
        """Become as it was when made: data, settings, keys and clock; no requests, no faults."""
        with self._lock:
            for field in attrs.fields(Settings):
                setattr(self.settings, field.name, getattr(self._initial, field.name))
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
            lifetime: Seconds from now to `exp`; negative has expired.
            opaque: A random string instead of a JWT; introspection knows what it means.
            forged: Signed by a key that is not the service's; the service itself does not know the token.
            claims: Claims to set over these; None leaves one out.
            header: Members of the JWT's header, likewise.
        """
        with self._lock:
            state = self._brain.state
            now = int(state.clock.now())
            known = state.settings.scopes
            full: dict[str, object] = {
                "iss": issuer or state.root_url,
                "sub": subject or client_id or self.client_id,
                "aud": audience if isinstance(audience, str) else list(audience or ()) or state.root_url,
                "client_id": client_id or self.client_id,
                "iat": now,
                "exp": now + int(state.settings.token_lifetime if lifetime is None else lifetime),
                "jti": str(uuid.uuid4()),
                "scope": scope if scope is not None else "admin" if "admin" in known else " ".join(known),
                **(claims or {}),
            }
            meant = {name: value for name, value in full.items() if value is not None}
            token = secrets.token_urlsafe(32) if opaque else state.keys.sign(meant, header=header, forged=forged)
            if not forged:
                state.access_tokens[token] = AccessToken(claims=meant)
            return token

    def revoke(self, token: str) -> None:
        """Make an access token worthless, or a refresh token with its whole grant. Raises `ValueError` when unknown."""
        with self._lock:
            state = self._brain.state
            refresh_token = state.refresh_tokens.pop(token, None)
            if refresh_token is not None:
                state.grants.pop(refresh_token.grant_id, None)
            elif state.access_tokens.pop(token, None) is None:
                raise ValueError("This token was not issued by this sandbox, or is revoked already.")

    def approve(self, url: str) -> str:
        """Play the person who allows what an authorization URL or a consent page's URL asks for.

        Gives the address that the browser would be sent to, with its `code`. Raises `ValueError` when there is
        nothing to approve.
        """
        return self._decide(url, allowed=True)

    def deny(self, url: str) -> str:
        """As `approve`, for the person who says no: the address carries `error=access_denied`."""
        return self._decide(url, allowed=False)

    async def send(self, request: Request) -> Response:
        """Answer a request without a socket: a transport. Faults become the errors that a real connection would give."""
        served = self._serve(request)
        if served.delay:
            await asyncio.sleep(served.delay)
        match served.ending:
            case "whole":
                return served.response
            case "truncated" | "reset":
                raise APIConnectionError("The connection was reset.", request=request.info)
            case "hung":
                await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=request.timeout.total)
                raise APITimeoutError(request=request.info)
            case _:
                assert_never(served.ending)

    # Within

    def _serve(self, request: Request) -> Served:
        with self._lock:
            return self._brain.serve(request)

    def _fresh_state(self, root_url: str) -> State:
        state = State(
            settings=self.settings,
            clock=self.clock,
            root_url=root_url,
            api_key=self.api_key,
            org_id=str(uuid.uuid4()),
            user_id=str(uuid.uuid4()),
            csrf_key=secrets.token_bytes(32),
        )
        plant(state, self.client_id, self.client_secret, examples=self._seed_data)
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
        given = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        info = RequestInfo(method, url.partition("?")[0])
        response = self._serve(Request(method, url, info, given, json.dumps(body).encode() if body else b"")).response
        if response.status_code >= 400:
            raise ValueError(f"The service refuses the request with status {response.status_code}.")
        return response
