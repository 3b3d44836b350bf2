"""The 17 operations as data: how each is called, what must be on the wire then, and an answer to give."""

from __future__ import annotations

import json
from typing import Any, Literal

import attrs

from telnyx_oauth import types
from telnyx_oauth.messages import Request, Response, headers

WHEN = "2026-01-02T03:04:05Z"
CLIENT: dict[str, object] = {
    "record_type": "oauth_client",
    "client_id": "8qI2tC7qexVUVvItjkzVpA",
    "name": "My OAuth client",
    "org_id": "org",
    "user_id": "user",
    "client_type": "confidential",
    "require_pkce": False,
    "created_at": WHEN,
    "updated_at": WHEN,
}
GRANT: dict[str, object] = {
    "id": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e",
    "record_type": "oauth_grant",
    "client_id": "8qI2tC7qexVUVvItjkzVpA",
    "scopes": ["admin"],
    "created_at": WHEN,
}
META = {"page_number": 1, "page_size": 20, "total_pages": 1, "total_results": 1}
EXAMPLE = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"


@attrs.frozen(kw_only=True)
class Operation:
    """One operation, called with all of its parameters. `minimal` names those that it cannot do without."""

    name: str
    method: str
    path: str
    auth: Literal["none", "bearer", "client", "token"]
    kind: Any
    answer: object
    status: int = 200
    argument: str | None = None
    parameters: dict[str, Any] = attrs.field(factory=dict)
    minimal: tuple[str, ...] = ()
    query: dict[str, str] = attrs.field(factory=dict)
    json: dict[str, object] | None = None
    form: dict[str, str] | None = None
    once: bool = False
    lists: bool = False

    def call(self, client: Any, *, full: bool = True, **extra: Any) -> Any:
        """Call it on a client, or on anything that has its resources, such as a view."""
        return self.method_of(client)(*self.arguments, **self.given(full=full), **extra)

    def method_of(self, client: Any, view: str = "") -> Any:
        """The bound method, of the resource's `view` where one is named."""
        resource, _, name = self.name.partition(".")
        owner = getattr(client, resource)
        return getattr(getattr(owner, view) if view else owner, name)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What is passed by position."""
        return () if self.argument is None else (self.argument,)

    def given(self, *, full: bool = True) -> dict[str, Any]:
        """What is passed by name."""
        return {name: value for name, value in self.parameters.items() if full or name in self.minimal}

    def response(self, request: Request | None = None) -> Response:
        """A good answer."""
        content = b"" if self.answer is None else json.dumps(self.answer).encode()
        if isinstance(self.answer, str):
            content = self.answer.encode()
        kind = "text/html" if isinstance(self.answer, str) else "application/json"
        info = {} if request is None else {"request": request.info}
        return Response(self.status, headers(("Content-Type", kind), ("X-Request-Id", "request-1")), content, **info)


_URIS = {name: f"https://example.com/{name}" for name in ("logo_uri", "policy_uri", "tos_uri")}
_CLIENT_FIELDS: dict[str, Any] = {
    "name": "Ünïcode “name”",
    "allowed_grant_types": ["client_credentials", "authorization_code", "refresh_token"],
    "allowed_scopes": ["admin", "messaging.read"],
    "redirect_uris": ["https://example.com/callback?a=b&c=d"],
    "require_pkce": True,
    **_URIS,
}
_REGISTRATION: dict[str, Any] = {
    "client_name": "My OAuth Application",
    "redirect_uris": ["https://example.com/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "scope": "admin messaging.read",
    "token_endpoint_auth_method": "client_secret_basic",
    **_URIS,
}
_AUTHORIZATION = {
    "client_id": "the id",
    "redirect_uri": "https://example.com/callback?a=b&c=d",
    "response_type": "code",
    "scope": "admin messaging.read",
    "state": "ünï=&?#/+ code",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
    "resource": "https://api.telnyx.com/v2/mcp",
}
_TOKEN = {
    "grant_type": "authorization_code",
    "client_id": "the id",
    "client_secret": "s%c:r+e t",
    "code": "the/code+&=",
    "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "redirect_uri": "https://example.com/callback?a=b",
    "refresh_token": "refresh token",
    "scope": "admin",
    "resource": "https://api.telnyx.com/v2/mcp",
}

OPERATIONS = (
    Operation(
        name="well_known.retrieve_authorization_server_metadata",
        method="GET",
        path="/.well-known/oauth-authorization-server",
        auth="none",
        kind=types.WellKnownRetrieveAuthorizationServerMetadataResponse,
        answer={"issuer": "https://api.telnyx.com", "agent_auth": {"a": 1}},
    ),
    Operation(
        name="well_known.retrieve_protected_resource_metadata",
        method="GET",
        path="/.well-known/oauth-protected-resource",
        auth="none",
        kind=types.WellKnownRetrieveProtectedResourceMetadataResponse,
        answer={"resource": "https://api.telnyx.com", "authorization_servers": ["https://api.telnyx.com"]},
    ),
    Operation(
        name="oauth.retrieve_authorize",
        method="GET",
        path="/v2/oauth/authorize",
        auth="none",
        kind=types.OAuthRetrieveAuthorizeResponse,
        answer="<html>May it?</html>",
        parameters=_AUTHORIZATION,
        minimal=("client_id", "redirect_uri", "response_type"),
        query=_AUTHORIZATION,
    ),
    Operation(
        name="oauth.retrieve",
        method="GET",
        path="/v2/oauth/consent/a%2Fb%20%25",
        auth="bearer",
        kind=types.OAuthRetrieveResponse,
        answer={"data": {"client_id": "c", "requested_scopes": [{"id": "admin"}]}},
        argument="a/b %",
    ),
    Operation(
        name="oauth.grants",
        method="POST",
        path="/v2/oauth/grants",
        auth="bearer",
        kind=types.OAuthGrantsResponse,
        answer={"redirect_uri": "https://example.com/callback?code=c"},
        parameters={"allowed": False, "consent_token": "consent"},
        minimal=("allowed", "consent_token"),
        json={"allowed": False, "consent_token": "consent"},
        once=True,
    ),
    Operation(
        name="oauth.introspect",
        method="POST",
        path="/v2/oauth/introspect",
        auth="client",
        kind=types.OAuthIntrospectResponse,
        answer={"active": True, "client_id": "c", "sub": "s"},
        parameters={"token": "a+token=&"},
        minimal=("token",),
        form={"token": "a+token=&"},
    ),
    Operation(
        name="oauth.retrieve_jwks",
        method="GET",
        path="/v2/oauth/jwks",
        auth="none",
        kind=types.OAuthRetrieveJwksResponse,
        answer={"keys": [{"kty": "RSA", "kid": "1", "n": "AQ", "e": "AQAB"}]},
    ),
    Operation(
        name="oauth.register",
        method="POST",
        path="/v2/oauth/register",
        auth="none",
        kind=types.OAuthRegisterResponse,
        answer={"client_id": "c", "client_id_issued_at": 1},
        status=201,
        parameters=_REGISTRATION,
        json=_REGISTRATION,
        once=True,
    ),
    Operation(
        name="oauth.token",
        method="POST",
        path="/v2/oauth/token",
        auth="token",
        kind=types.OAuthTokenResponse,
        answer={"access_token": "t", "token_type": "Bearer", "expires_in": 1800},
        parameters=_TOKEN,
        minimal=("grant_type",),
        form=_TOKEN,
        once=True,
    ),
    Operation(
        name="oauth_clients.list",
        method="GET",
        path="/v2/oauth/clients",
        auth="bearer",
        kind=types.OAuthClient,
        answer={"data": [CLIENT], "meta": META},
        parameters={
            "page_number": 2,
            "page_size": 100,
            "filter_client_id": "c/d",
            "filter_client_type": "public",
            "filter_name": "a&b",
            "filter_name_contains": "b",
            "filter_allowed_grant_types_contains": "refresh_token",
            "filter_verified": False,
        },
        query={
            "page[number]": "2",
            "page[size]": "100",
            "filter[client_id]": "c/d",
            "filter[client_type]": "public",
            "filter[name]": "a&b",
            "filter[name][contains]": "b",
            "filter[allowed_grant_types][contains]": "refresh_token",
            "filter[verified]": "false",
        },
        lists=True,
    ),
    Operation(
        name="oauth_clients.create",
        method="POST",
        path="/v2/oauth/clients",
        auth="bearer",
        kind=types.OAuthClientCreateResponse,
        answer={"data": {**CLIENT, "client_secret": "s"}},
        status=201,
        parameters={**_CLIENT_FIELDS, "client_type": "confidential"},
        minimal=("name", "client_type", "allowed_grant_types", "allowed_scopes"),
        json={**_CLIENT_FIELDS, "client_type": "confidential"},
        once=True,
    ),
    Operation(
        name="oauth_clients.retrieve",
        method="GET",
        path=f"/v2/oauth/clients/{EXAMPLE}",
        auth="bearer",
        kind=types.OAuthClientRetrieveResponse,
        answer={"data": CLIENT},
        argument=EXAMPLE,
    ),
    Operation(
        name="oauth_clients.update",
        method="PUT",
        path=f"/v2/oauth/clients/{EXAMPLE}",
        auth="bearer",
        kind=types.OAuthClientUpdateResponse,
        answer={"data": CLIENT},
        argument=EXAMPLE,
        parameters=_CLIENT_FIELDS,
        json=_CLIENT_FIELDS,
    ),
    Operation(
        name="oauth_clients.delete",
        method="DELETE",
        path=f"/v2/oauth/clients/{EXAMPLE}",
        auth="bearer",
        kind=type(None),
        answer=None,
        status=204,
        argument=EXAMPLE,
    ),
    Operation(
        name="oauth_grants.list",
        method="GET",
        path="/v2/oauth/grants",
        auth="bearer",
        kind=types.OAuthGrant,
        answer={"data": [GRANT], "meta": META},
        parameters={"page_number": 2, "page_size": 1},
        query={"page[number]": "2", "page[size]": "1"},
        lists=True,
    ),
    Operation(
        name="oauth_grants.retrieve",
        method="GET",
        path=f"/v2/oauth/grants/{EXAMPLE}",
        auth="bearer",
        kind=types.OAuthGrantRetrieveResponse,
        answer={"data": GRANT},
        argument=EXAMPLE,
    ),
    Operation(
        name="oauth_grants.delete",
        method="DELETE",
        path=f"/v2/oauth/grants/{EXAMPLE}",
        auth="bearer",
        kind=types.OAuthGrantDeleteResponse,
        answer={"data": GRANT},
        argument=EXAMPLE,
    ),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
