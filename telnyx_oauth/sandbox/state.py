"""The sandbox's state and its keys."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeVar

import attrs
from joserfc import jws
from joserfc.jwk import RSAKey

_pool: list[RSAKey] = []
"""Keys of this process. Making one costs 60 ms, so every sandbox begins with the same first key: a process of a
thousand sandboxes makes one. What sets their tokens apart is the issuer."""


def pooled_key(index: int) -> RSAKey:
    """The process's `index`-th key, made when first asked for."""
    while len(_pool) <= index:
        key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"})
        key.ensure_kid()
        _pool.append(key)
    return _pool[index]


class KeyRing:
    """One service's keys: the newest signs, the published ones prove."""

    def __init__(self) -> None:
        self._newest = 1
        self._published = [1]

    @property
    def kid(self) -> str:
        """The name of the key that signs."""
        return str(pooled_key(self._newest).kid)

    def rotate(self, *, overlap: bool) -> None:
        """Sign with a new key. With `overlap` the older ones stay published."""
        self._newest += 1
        self._published = [*self._published, self._newest] if overlap else [self._newest]

    def retire(self) -> None:
        """Publish only the key that signs."""
        self._published = [self._newest]

    def key_set(self) -> dict[str, object]:
        """The JWK Set (RFC 7517) of the published keys, newest first."""
        return {"keys": [dict(pooled_key(index).as_dict(private=False)) for index in reversed(self._published)]}

    def sign(
        self, claims: Mapping[str, object], *, header: Mapping[str, object] | None = None, forged: bool = False
    ) -> str:
        """A JWS of the claims, `typ` `at+jwt` (RFC 9068). `header` overrides members, None leaves one out.

        `forged` signs with a key that is never published, under the name of the one that is.
        """
        key = pooled_key(0 if forged else self._newest)
        full = {"alg": "RS256", "typ": "at+jwt", "kid": self.kid, **(header or {})}
        protected = {name: value for name, value in full.items() if value is not None}
        return jws.serialize_compact(protected, json.dumps(claims, separators=(",", ":")), key, algorithms=["RS256"])


LIVE_SCOPES = tuple(
    f"{area}.{right}"
    for area, rights in (
        ("account_management", "read write"), ("ai", "read write"), ("authentication_and_access", "read"),
        ("billing", "read"), ("edge_compute", "read write"), ("enterprise_integrations", "read write"),
        ("fax", "read write"), ("messaging", "read write"), ("networking", "read write"), ("numbers", "read write"),
        ("reporting", "read write"), ("speech", "read write"), ("storage", "read write"), ("verify", "read write"),
        ("video", "read write"), ("voice", "read write"), ("wireless", "read write"),
    )
    for right in rights.split()
)  # fmt: skip
"""The 32 scopes that the service listed in October 2026, when it had begun to refuse `admin` for new clients."""

Rotation = Literal["none", "strict", "grace"]


@attrs.define(kw_only=True, eq=False, slots=False)
class Settings:
    """How this Telnyx behaves where the real one's rules are unknown or may change. Times are seconds."""

    token_lifetime: float = 1800
    refresh_lifetime: float = 30 * 86400
    code_lifetime: float = 600
    consent_lifetime: float = 600
    rotation: Rotation = "strict"
    """`none` keeps a refresh token for life; `strict` replaces it at each use and takes a second use for theft;
    `grace` forgives a second use within `grace_period`."""
    grace_period: float = 30
    scopes: tuple[str, ...] = ("admin", *LIVE_SCOPES)
    pkce_methods: tuple[str, ...] = ("S256",)
    resources: tuple[str, ...] = ()
    """Resource servers (RFC 8707) for which tokens are issued, besides the API itself and its `/v2/mcp`."""
    introspection_limit: int | None = None
    """Introspections a client may make in 60 seconds; the real service allows 5."""
    issuer_in_redirect: bool = False
    """Send `iss` with the authorization answer and advertise it (RFC 9207)."""
    jwks_max_age: int | None = None
    """The `Cache-Control` of the key set; none when None."""
    slash_paths: bool = True
    """Serve `/oauth/clients` and `/oauth/grants`; otherwise 404."""
    underscore_paths: bool = True
    """Serve `/oauth_clients` and `/oauth_grants`; otherwise 404."""
    request_log_limit: int | None = 10_000
    """How many requests `Sandbox.requests` keeps: the latest ones. None keeps all: 1 to 2 MB per 1,000 requests."""


class Clock:
    """The service's time: the machine's, moved."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._offset = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return self._wall() + self._offset

    def advance(self, seconds: float) -> None:
        """Move on, or back with a negative number."""
        self._offset += seconds

    def reset(self) -> None:
        """Go back to the machine's time."""
        self._offset = 0.0


@attrs.frozen(kw_only=True)
class Client:
    """A registered OAuth client."""

    client_id: str
    name: str = ""
    client_type: str = "public"
    grant_types: tuple[str, ...] = attrs.field(converter=tuple[str, ...])
    scopes: tuple[str, ...] = attrs.field(converter=tuple[str, ...])
    redirect_uris: tuple[str, ...] = attrs.field(default=(), converter=tuple[str, ...])
    require_pkce: bool = False
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    secret: str | None = attrs.field(default=None, repr=False)
    verified: bool = False
    created_at: float
    updated_at: float


@attrs.frozen(kw_only=True)
class Grant:
    """What a person allowed a client to do."""

    id: str
    client_id: str
    scopes: tuple[str, ...]
    created_at: float
    last_used_at: float | None = None


@attrs.frozen(kw_only=True)
class Authorization:
    """An authorization request: what the client asks a person for (RFC 6749 section 4.1.1)."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None = attrs.field(default=None, repr=False)
    code_challenge: str | None = attrs.field(default=None, repr=False)
    code_challenge_method: str = "plain"
    resource: str | None = None
    expires_at: float


@attrs.frozen(kw_only=True)
class Code:
    """An authorization code. A spent one is remembered, so that a second use is known for what it is."""

    authorization: Authorization
    grant_id: str
    expires_at: float
    spent: bool = False


@attrs.frozen(kw_only=True)
class RefreshToken:
    """A refresh token. A spent one is remembered, so that a second use is known for what it is."""

    grant_id: str
    client_id: str
    scopes: tuple[str, ...]
    resource: str | None
    expires_at: float
    spent_at: float | None = None


def _read_only(claims: Mapping[str, object]) -> Mapping[str, object]:
    return MappingProxyType(dict(claims))


@attrs.frozen(kw_only=True)
class AccessToken:
    """What is known of an issued access token. `grant_id` is None where a client acts for itself."""

    claims: Mapping[str, object] = attrs.field(converter=_read_only)
    grant_id: str | None = None


_T = TypeVar("_T")


class _ByToken(Mapping[str, _T]):
    """Values by token. Neither its `repr` nor its `KeyError` shows a token."""

    def __init__(self, values: Mapping[str, _T]) -> None:
        self._values = dict(values)

    def __getitem__(self, token: str) -> _T:
        if token not in self._values:
            raise KeyError("no such token")
        return self._values[token]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{len(self)} token{'' if len(self) == 1 else 's'}>"


@attrs.frozen(kw_only=True, eq=False)
class SandboxState:
    """The service's clients, grants and tokens at one moment, read-only. No `repr` of it shows a secret."""

    user_id: str
    """The person who signs in: `sub` of an access token that has a grant."""
    key_id: str
    """The `kid` of the key that signs."""
    clients: Mapping[str, Client]
    """The registered clients, by client id."""
    grants: Mapping[str, Grant]
    """The grants that were not revoked, by id."""
    access_tokens: Mapping[str, AccessToken]
    """The access tokens that the service accepts, by token. One that has expired or was revoked is not among them."""
    refresh_tokens: Mapping[str, RefreshToken]
    """The refresh tokens of these grants that have not expired, by token. `spent_at` is None for one that is unused."""


@attrs.define(kw_only=True)
class State:
    """All of it. `root_url` is the service's own address without `/v2`: every address it gives out starts there."""

    settings: Settings
    clock: Clock
    root_url: str
    api_key: str = attrs.field(repr=False)
    org_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    user_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    csrf_key: bytes = attrs.field(repr=False, factory=lambda: secrets.token_bytes(32))
    keys: KeyRing = attrs.field(factory=KeyRing)
    clients: dict[str, Client] = attrs.field(factory=dict[str, Client])
    grants: dict[str, Grant] = attrs.field(factory=dict[str, Grant])
    consents: dict[str, Authorization] = attrs.field(factory=dict[str, Authorization], repr=False)
    codes: dict[str, Code] = attrs.field(factory=dict[str, Code], repr=False)
    refresh_tokens: dict[str, RefreshToken] = attrs.field(factory=dict[str, RefreshToken], repr=False)
    access_tokens: dict[str, AccessToken] = attrs.field(factory=dict[str, AccessToken], repr=False)
    introspections: dict[str, list[float]] = attrs.field(factory=dict[str, list[float]])

    @property
    def resources(self) -> tuple[str, ...]:
        """Resource servers for which tokens are issued; the first is the API."""
        return (self.root_url, f"{self.root_url}/v2/mcp", *self.settings.resources)

    def view(self) -> SandboxState:
        """A read-only copy for tests."""
        now = self.clock.now()
        refresh_tokens = {
            token: record
            for token, record in self.refresh_tokens.items()
            if record.grant_id in self.grants and record.expires_at > now
        }
        return SandboxState(
            user_id=self.user_id,
            key_id=self.keys.kid,
            clients=MappingProxyType(dict(self.clients)),
            grants=MappingProxyType(dict(self.grants)),
            access_tokens=_ByToken(
                {token: record for token, record in self.access_tokens.items() if self.valid_token(token)}
            ),
            refresh_tokens=_ByToken(refresh_tokens),
        )

    def valid_token(self, token: str) -> AccessToken | None:
        """The access token, if it was issued here, has not expired, and its client and grant are still there."""
        known = self.access_tokens.get(token)
        if known is None or known.claims.get("iss") != self.root_url:
            return None
        expires_at = known.claims.get("exp")
        if not isinstance(expires_at, int | float) or not expires_at > self.clock.now():
            return None
        if known.claims.get("client_id") not in self.clients:
            return None
        return known if known.grant_id is None or known.grant_id in self.grants else None

    def valid_consent(self, consent_token: str) -> Authorization | None:
        """The authorization request that waits for a person's word, unless it has expired or its client is gone."""
        waiting = self.consents.get(consent_token)
        if waiting is None or waiting.expires_at <= self.clock.now() or waiting.client_id not in self.clients:
            return None
        return waiting

    def delete_client(self, client_id: str) -> None:
        """Delete a client; its grants, codes and tokens die with it."""
        del self.clients[client_id]
        for grant in [grant for grant in self.grants.values() if grant.client_id == client_id]:
            del self.grants[grant.id]
