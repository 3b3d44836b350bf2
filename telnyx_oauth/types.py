"""The answers of the API, and their base class."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self, TypeAlias, cast

import attrs

from .hints import nearest, refused


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class BaseModel:  # noqa: PLW1641 - unknown members may be of any type, so answers have no hash
    """The base class of all answers."""

    model_extra: dict[str, object] = attrs.field(factory=dict[str, object], repr=False)
    """Members of the answer that this package has no field for. They may hold secrets, so the repr leaves them out."""
    _absent: tuple[str, ...] = attrs.field(default=(), repr=False, eq=False, alias="_absent")

    # Written here, because attrs would generate both for each class: that takes half of the time that importing them takes.
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
        """The names of the members that the answer had, unknown ones included."""
        known = {field.name for field in attrs.fields(type(self))} - {"model_extra", "_absent"}
        return (known - self._unset()) | self.model_extra.keys()

    def _unset(self) -> set[str]:
        # A copy made with `attrs.evolve` may have a value for a member that the answer lacked.
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

    if not TYPE_CHECKING:  # pragma: no branch - with `__getattr__` type checkers would accept any name

        def __getattr__(self, name: str) -> object:
            # Python calls this only for names that are no field. Read `__dict__`, because pickle and copy look up names before
            # there are fields. A special name, such as `__deepcopy__`, must never come from the answer.
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
    """The authorization server's metadata (RFC 8414 section 2)."""

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
    """The API's metadata as a protected resource (RFC 9728 section 2)."""

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
    """The state of a token (RFC 7662 section 2.2). For an inactive token, all but `active` are absent."""

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
    """A newly registered client (RFC 7591 section 3.2.1). No other answer has its secret."""

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
    """The address for the person's browser after consent or denial. It holds the authorization code, or the error."""

    redirect_uri: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DataRequestedScope(BaseModel):
    """One scope that an application requests, in words."""

    id: str | None = None
    name: str | None = None
    description: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Data(BaseModel):
    """The application and the scopes that a person is asked to consent to."""

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
    """An OAuth client. Only the answer that created it has a `client_secret`, and only for a confidential client."""

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
    """A grant: the scopes that a person has allowed a client."""

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
    """The position of a page among all pages. Pages count from 1."""

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
    """The consent page's HTML, or the address that the server redirects to. No redirect was followed.

    `url` is the address for the person's browser: the redirect's, else that of the authorization request itself. `html` is the
    page, or `None` if the server answered with a redirect.
    """

    __slots__ = ("html", "url")
    html: str | None
    url: str

    def __new__(cls, *, url: str, html: str | None = None) -> Self:
        """Make the text: the page if there is one, else the address."""
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
