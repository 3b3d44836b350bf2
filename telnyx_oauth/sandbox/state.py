"""The state of the service: settings, clock, keys, records."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeVar

import attrs
from joserfc import jws
from joserfc.jwk import RSAKey

_pool: list[RSAKey] = []
"""The keys of this process. Making one takes 60 ms, so all sandboxes share them: a process with a thousand sandboxes makes
one. Their tokens differ in the issuer."""


def pooled_key(index: int) -> RSAKey:
    """The key of the process with this index, made at its first use."""
    while len(_pool) <= index:
        key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"})
        key.ensure_kid()
        _pool.append(key)
    return _pool[index]


class KeyRing:
    """The keys of one service: the newest signs, the published ones are in the key set."""

    def __init__(self) -> None:
        # Key 0 is never published: it signs forged tokens.
        self._newest = 1
        self._published = [1]

    @property
    def kid(self) -> str:
        """The id of the key that signs."""
        return str(pooled_key(self._newest).kid)

    def rotate(self, *, overlap: bool) -> None:
        """Sign with a new key. With `overlap` the older ones stay in the key set."""
        self._newest += 1
        self._published = [*self._published, self._newest] if overlap else [self._newest]

    def retire(self) -> None:
        """Remove every key but the one that signs from the key set."""
        self._published = [self._newest]

    def key_set(self) -> dict[str, object]:
        """The JWK Set (RFC 7517) of the published keys, newest first."""
        return {"keys": [dict(pooled_key(index).as_dict(private=False)) for index in reversed(self._published)]}

    def sign(
        self, claims: Mapping[str, object], *, header: Mapping[str, object] | None = None, forged: bool = False
    ) -> str:
        """Sign claims as a JWS of type `at+jwt` (RFC 9068). `header` replaces members of the header; None removes one.

        `forged` signs with a key that is never in the key set, under the id of the key that is.
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
    """Behaviour of the sandbox where the rules of the real Telnyx are unknown or may change. Times are seconds."""

    token_lifetime: float = 1800
    refresh_lifetime: float = 30 * 86400
    code_lifetime: float = 600
    consent_lifetime: float = 600
    rotation: Rotation = "strict"
    """`none` never replaces a refresh token; `strict` replaces it at each use and revokes the grant at a second use;
    `grace` allows a second use within `grace_period`."""
    grace_period: float = 30
    scopes: tuple[str, ...] = ("admin", *LIVE_SCOPES)
    pkce_methods: tuple[str, ...] = ("S256",)
    resources: tuple[str, ...] = ()
    """Resource servers (RFC 8707) for which tokens are issued, besides the API itself and its `/v2/mcp`."""
    introspection_limit: int | None = None
    """Introspections that a client may make in 60 seconds; None is no limit, the real service allows 5."""
    issuer_in_redirect: bool = False
    """Send `iss` in the authorization response and announce it in the metadata (RFC 9207)."""
    jwks_max_age: int | None = None
    """The `max-age` in the `Cache-Control` of the key set; None sends no such header."""
    slash_paths: bool = True
    """Serve `/oauth/clients` and `/oauth/grants`; otherwise 404."""
    underscore_paths: bool = True
    """Serve `/oauth_clients` and `/oauth_grants`; otherwise 404."""
    request_log_limit: int | None = 10_000
    """The number of requests that `Sandbox.requests` keeps, the latest ones. None keeps all: 1 to 2 MB per 1,000 requests."""


class Clock:
    """The time of the service: the machine's time plus an offset."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._offset = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return self._wall() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the time forward, or back with a negative number."""
        self._offset += seconds

    def reset(self) -> None:
        """Return to the machine's time."""
        self._offset = 0.0


# Converters with annotations, as attrs copies those into the signatures of the constructors.
def _strings(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _read_only(values: Mapping[str, object]) -> Mapping[str, object]:
    return MappingProxyType(dict(values))


@attrs.frozen(kw_only=True)
class Client:
    """A registered OAuth client."""

    client_id: str
    name: str = ""
    client_type: str = "public"
    grant_types: tuple[str, ...] = attrs.field(converter=_strings)
    scopes: tuple[str, ...] = attrs.field(converter=_strings)
    redirect_uris: tuple[str, ...] = attrs.field(default=(), converter=_strings)
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
    """A person's consent to a client."""

    id: str
    client_id: str
    scopes: tuple[str, ...]
    created_at: float
    last_used_at: float | None = None


@attrs.frozen(kw_only=True)
class Authorization:
    """An authorization request that waits for consent (RFC 6749 section 4.1.1)."""

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
    """An authorization code. A spent one is kept, to detect a second use."""

    authorization: Authorization
    grant_id: str
    expires_at: float
    spent: bool = False


@attrs.frozen(kw_only=True)
class RefreshToken:
    """A refresh token. A spent one is kept, to detect a second use."""

    grant_id: str
    client_id: str
    scopes: tuple[str, ...]
    resource: str | None
    expires_at: float
    spent_at: float | None = None


@attrs.frozen(kw_only=True)
class AccessToken:
    """An access token that was issued. `grant_id` is None after client credentials."""

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
class ServiceState:
    """The service's clients, grants and tokens at one moment, read-only. No `repr` of it shows a secret."""

    user_id: str
    """The id of the person who signs in: the `sub` claim of access tokens that have a grant."""
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
    """The state of one service. `root_url` is its address without `/v2`, and the start of every URL in its responses."""

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
        """The resource servers for which it issues tokens; the first is the API."""
        return (self.root_url, f"{self.root_url}/v2/mcp", *self.settings.resources)

    def view(self) -> ServiceState:
        """A read-only copy for tests."""
        now = self.clock.now()
        refresh_tokens = {
            token: record
            for token, record in self.refresh_tokens.items()
            if record.grant_id in self.grants and record.expires_at > now
        }
        return ServiceState(
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
        """The record of an access token that was issued here, has not expired, and whose client and grant still exist."""
        record = self.access_tokens.get(token)
        # A token from before the start has another issuer than the service has since.
        if record is None or record.claims.get("iss") != self.root_url:
            return None
        expires_at = record.claims.get("exp")
        if not isinstance(expires_at, int | float) or not expires_at > self.clock.now():
            return None
        if record.claims.get("client_id") not in self.clients:
            return None
        return record if record.grant_id is None or record.grant_id in self.grants else None

    def valid_consent(self, consent_token: str) -> Authorization | None:
        """The authorization request of a consent token, unless it has expired or its client was deleted."""
        authorization = self.consents.get(consent_token)
        if (
            authorization is None
            or authorization.expires_at <= self.clock.now()
            or authorization.client_id not in self.clients
        ):
            return None
        return authorization

    def delete_client(self, client_id: str) -> None:
        """Delete a client and its grants. Codes and tokens are no longer accepted, as their client is gone."""
        del self.clients[client_id]
        for grant in [grant for grant in self.grants.values() if grant.client_id == client_id]:
            del self.grants[grant.id]
