"""The values that the API answers with, and the base that they share."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self, TypeAlias, cast

import attrs

from .hints import nearest, refused


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class BaseModel:  # noqa: PLW1641 - what the service adds may be of any type, so no answer has a hash
    """What all answers have in common."""

    model_extra: dict[str, object] = attrs.field(factory=dict[str, object], repr=False)
    """Members of the answer that this package has no field for. They may hold secrets, so the repr leaves them out."""
    _absent: tuple[str, ...] = attrs.field(default=(), repr=False, eq=False, alias="_absent")

    # Here and not by attrs, which would write both anew for each answer: that is half of what loading them all costs.
    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            getattr(self, field.name) == getattr(other, field.name) for field in attrs.fields(type(self)) if field.eq
        )

    def __repr__(self) -> str:
        shown = (field.name for field in attrs.fields(type(self)) if field.repr)
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def model_fields_set(self) -> set[str]:
        """The names that the answer really had, unknown ones included."""
        known = {field.name for field in attrs.fields(type(self))} - {"model_extra", "_absent"}
        return (known - self._unset()) | self.model_extra.keys()

    def _unset(self) -> set[str]:
        # A copy made with `attrs.evolve` may have a value where the answer had none.
        return {name for name in self._absent if getattr(self, name) is None}

    def to_dict(
        self, *, mode: Literal["python", "json"] = "python", exclude_unset: bool = True, exclude_none: bool = False
    ) -> dict[str, object]:
        """The answer as a dictionary with the API's own names, secrets included.

        `mode="json"` writes times as text. `exclude_unset=False` adds the fields that the answer did not have, as `None`.
        """
        left_out = {"model_extra", "_absent", *(self._unset() if exclude_unset else ())}
        names = [field.name for field in attrs.fields(type(self)) if field.name not in left_out]
        pairs = {name: getattr(self, name) for name in names} | self.model_extra
        return {
            name: _plain(value, mode=mode, exclude_unset=exclude_unset, exclude_none=exclude_none)
            for name, value in pairs.items()
            if not (exclude_none and value is None)
        }

    def to_json(self, *, indent: int | None = 2, exclude_unset: bool = True, exclude_none: bool = False) -> str:
        """The answer as JSON text, secrets included."""
        return json.dumps(
            self.to_dict(mode="json", exclude_unset=exclude_unset, exclude_none=exclude_none),
            indent=indent,
            ensure_ascii=False,
        )

    if not TYPE_CHECKING:  # pragma: no branch - type checkers alone take the other one

        def __getattr__(self, name: str) -> object:
            # Only reached for names that are no field. `__dict__` first: pickle and copy ask before there is any.
            # No protocol of Python's may be a stranger's word either, such as `__deepcopy__`.
            if not name.startswith("__") and name in (extra := self.__dict__.get("model_extra", ())):
                return extra[name]
            whole = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name.startswith("_"):
                raise AttributeError(whole)
            if isinstance(inner := self.__dict__.get("data"), BaseModel) and hasattr(inner, name):
                raise AttributeError(f"{whole}. It is in `.data`: `.data.{name}`.", name=name)
            known = [field.name for field in attrs.fields(type(self)) if field.name not in ("model_extra", "_absent")]
            raise AttributeError(f"{whole}. {nearest(name, known)}", name=name)

        __getitem__ = refused("is no dict: its members are attributes, and `to_dict()` gives one.")


def _plain(value: object, *, mode: Literal["python", "json"], exclude_unset: bool, exclude_none: bool) -> object:
    if isinstance(value, BaseModel):
        return value.to_dict(mode=mode, exclude_unset=exclude_unset, exclude_none=exclude_none)
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [_plain(each, mode=mode, exclude_unset=exclude_unset, exclude_none=exclude_none) for each in items]
    if isinstance(value, datetime) and mode == "json":
        text = value.isoformat()
        return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
    return value


GrantType: TypeAlias = Literal["client_credentials", "authorization_code", "refresh_token"]
ClientType: TypeAlias = Literal["public", "confidential"]
TokenEndpointAuthMethod: TypeAlias = Literal["none", "client_secret_basic", "client_secret_post"]
CodeChallengeMethod: TypeAlias = Literal["S256", "plain"]


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class WellKnownRetrieveAuthorizationServerMetadataResponse(BaseModel):
    """What the authorization server offers, and where (RFC 8414 section 2)."""

    issuer: str | None = None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    introspection_endpoint: str | None = None
    registration_endpoint: str | None = None
    jwks_uri: str | None = None
    scopes_supported: list[str] | None = None
    response_types_supported: list[str] | None = None
    grant_types_supported: list[str] | None = None
    code_challenge_methods_supported: list[str] | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    protected_resources: list[str] | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class WellKnownRetrieveProtectedResourceMetadataResponse(BaseModel):
    """What the API says of itself as a protected resource (RFC 9728 section 2)."""

    resource: str | None = None
    authorization_servers: list[str] | None = None
    resource_name: str | None = None
    scopes_supported: list[str] | None = None
    bearer_methods_supported: list[str] | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthTokenResponse(BaseModel):
    """An issued token (RFC 6749 section 5.1). `expires_in` is in seconds; `scope` is separated by spaces."""

    access_token: str = attrs.field(repr=False)
    token_type: str
    expires_in: int
    refresh_token: str | None = attrs.field(default=None, repr=False)
    scope: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthIntrospectResponse(BaseModel):
    """What the server says of a token (RFC 7662 section 2.2). All but `active` are absent for an inactive one."""

    active: bool
    client_id: str | None = None
    scope: str | None = None
    aud: str | list[str] | None = None
    iss: str | None = None
    exp: int | None = None
    iat: int | None = None
    nbf: int | None = None
    sub: str | None = None
    jti: str | None = None
    username: str | None = None
    token_type: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Key(BaseModel):
    """One public key (RFC 7517 section 4). `n` and `e` are an RSA key's, `crv`, `x` and `y` an elliptic curve's."""

    kty: str | None = None
    kid: str | None = None
    alg: str | None = None
    use: str | None = None
    n: str | None = None
    e: str | None = None
    crv: str | None = None
    x: str | None = None
    y: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthRetrieveJwksResponse(BaseModel):
    """The keys that access tokens are signed with (RFC 7517 section 5)."""

    keys: list[Key] | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthRegisterResponse(BaseModel):
    """A newly registered client (RFC 7591 section 3.2.1). The secret is in this answer and nowhere else."""

    client_id: str
    client_id_issued_at: int
    client_secret: str | None = attrs.field(default=None, repr=False)
    client_secret_expires_at: int | None = None
    client_name: str | None = None
    grant_types: list[str] | None = None
    redirect_uris: list[str] | None = None
    response_types: list[str] | None = None
    scope: str | None = None
    token_endpoint_auth_method: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthGrantsResponse(BaseModel):
    """Where to send the person after consent or denial. The address holds the authorization code, or the error."""

    redirect_uri: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DataRequestedScope(BaseModel):
    """One scope that an application asks for, in words."""

    id: str | None = None
    name: str | None = None
    description: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Data(BaseModel):
    """What a person is asked to consent to."""

    client_id: str | None = None
    name: str | None = None
    verified: bool | None = None
    redirect_uri: str | None = None
    requested_scopes: list[DataRequestedScope] | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthRetrieveResponse(BaseModel):
    """A consent token's details."""

    data: Data | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthClient(BaseModel):
    """An OAuth client. `client_secret` is there only in the answer that made it, and for confidential clients."""

    client_id: str
    name: str
    client_type: str
    record_type: str
    org_id: str
    user_id: str
    require_pkce: bool
    created_at: datetime
    updated_at: datetime
    allowed_grant_types: list[str] | None = None
    allowed_scopes: list[str] | None = None
    redirect_uris: list[str] | None = None
    client_secret: str | None = attrs.field(default=None, repr=False)
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthClientCreateResponse(BaseModel):
    """The client that was created, with its secret."""

    data: OAuthClient | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthClientRetrieveResponse(BaseModel):
    """One client."""

    data: OAuthClient | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthClientUpdateResponse(BaseModel):
    """The client as it is after the change."""

    data: OAuthClient | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthGrant(BaseModel):
    """What a person allowed a client to do."""

    id: str
    client_id: str
    record_type: str
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthGrantRetrieveResponse(BaseModel):
    """One grant."""

    data: OAuthGrant | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthGrantDeleteResponse(BaseModel):
    """The grant that was revoked."""

    data: OAuthGrant | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthOAuthPaginationMeta(BaseModel):
    """Where a page stands among all pages. Pages count from 1."""

    page_number: int | None = None
    page_size: int | None = None
    total_pages: int | None = None
    total_results: int | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthClientListResponse(BaseModel):
    """One page of clients, as the API sends it."""

    data: list[OAuthClient]
    meta: OAuthOAuthPaginationMeta | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class OAuthGrantListResponse(BaseModel):
    """One page of grants, as the API sends it."""

    data: list[OAuthGrant]
    meta: OAuthOAuthPaginationMeta | None = None


class OAuthRetrieveAuthorizeResponse(str):
    """The consent page's HTML, or the address that the server redirects to; nothing was followed.

    `url` is where to send the person's browser: the redirect's address, else the authorization request itself. `html` is the
    page, where the server answered with one.
    """

    __slots__ = ("html", "url")
    html: str | None
    url: str

    def __new__(cls, *, url: str, html: str | None = None) -> Self:
        """The page where there is one, else the address."""
        self = super().__new__(cls, url if html is None else html)
        self.url = url
        self.html = html
        return self

    def __repr__(self) -> str:
        # The query holds the consent token, or the code itself.
        return f"<{type(self).__name__} {self.url.partition('?')[0]}>"

    def __reduce__(self) -> tuple[object, ...]:
        return _authorize_response, (self.url, self.html)


def _authorize_response(url: str, html: str | None) -> OAuthRetrieveAuthorizeResponse:
    return OAuthRetrieveAuthorizeResponse(url=url, html=html)
