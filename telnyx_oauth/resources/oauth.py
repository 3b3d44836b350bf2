"""The OAuth protocol's own endpoints: authorize, consent, token, introspection, keys, registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ..messages import Timeout
from ..protocol.requests import Auth, Call, Extras, HeaderValues, Omit, QueryValues, given, omit, queried, text, texts
from ..protocol.secret import Secret
from ..protocol.urls import segment
from ..types import (
    CodeChallengeMethod,
    GrantType,
    OAuthGrantsResponse,
    OAuthIntrospectResponse,
    OAuthRegisterResponse,
    OAuthRetrieveAuthorizeResponse,
    OAuthRetrieveJwksResponse,
    OAuthRetrieveResponse,
    OAuthTokenResponse,
    TokenEndpointAuthMethod,
)
from .resource import RawView, Resource, StreamedView, member, viewed


class AsyncOAuth(Resource):
    """The protocol's endpoints.

    Source: https://developers.telnyx.com/api-reference/oauth-protocol
    """

    async def retrieve_authorize(
        self,
        *,
        client_id: str,
        redirect_uri: str,
        response_type: Literal["code"],
        scope: str | Omit = omit,
        state: str | Omit = omit,
        code_challenge: str | Omit = omit,
        code_challenge_method: CodeChallengeMethod | Omit = omit,
        resource: str | Omit = omit,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthRetrieveAuthorizeResponse:
        """Begin an authorization: the consent page, or its address in `.url`. No redirect is followed.

        `scope` is separated by spaces; `resource` is the API that the token will be for (RFC 8707). Source: RFC 6749
        section 4.1.1, RFC 7636 section 4.3.
        """
        mark = Secret(state)
        del state
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call(
                "GET",
                "/oauth/authorize",
                Auth.NONE,
                query=queried(
                    {
                        "client_id": client_id,
                        "redirect_uri": redirect_uri,
                        "response_type": response_type,
                        "scope": scope,
                        "state": mark.plain,
                        "code_challenge": code_challenge,
                        "code_challenge_method": code_challenge_method,
                        "resource": resource,
                    }
                ),
                accept="text/html",
                redirects=True,
            ),
            OAuthRetrieveAuthorizeResponse,
            extras,
        )

    async def retrieve(
        self,
        consent_token: str,
        *,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthRetrieveResponse:
        """Retrieve what a person is asked to consent to: the client, and its scopes in words."""
        consent = Secret(consent_token)
        del consent_token
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call(
                "GET",
                f"/oauth/consent/{segment(consent.plain, 'consent_token')}",
                shown="/oauth/consent/{consent_token}",
                secrets=(consent.plain,),
            ),
            OAuthRetrieveResponse,
            extras,
        )

    async def grants(
        self,
        *,
        allowed: bool,
        consent_token: str,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthGrantsResponse:
        """Allow or deny the request of a consent token. The answer has the address for the browser; denial is no error."""
        consent = Secret(consent_token)
        del consent_token
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call(
                "POST",
                "/oauth/grants",
                body=given(allowed=allowed, consent_token=consent.plain),
                once=True,
                secrets=(consent.plain,),
            ),
            OAuthGrantsResponse,
            extras,
        )

    async def introspect(
        self,
        *,
        token: str,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthIntrospectResponse:
        """Introspect a token (RFC 7662). Check `active` before anything else.

        Authenticates as the OAuth client if one is configured, else with the API key.
        """
        presented = Secret(token)
        del token
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call(
                "POST",
                "/oauth/introspect",
                Auth.CLIENT,
                form={"token": text("token", presented.plain)},
                secrets=(presented.plain,),
            ),
            OAuthIntrospectResponse,
            extras,
        )

    async def retrieve_jwks(
        self,
        *,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthRetrieveJwksResponse:
        """Retrieve the keys that access tokens are signed with (RFC 7517)."""
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call("GET", "/oauth/jwks", Auth.NONE),
            OAuthRetrieveJwksResponse,
            extras,
        )

    async def register(
        self,
        *,
        client_name: str | Omit = omit,
        redirect_uris: Sequence[str] | Omit = omit,
        grant_types: Sequence[GrantType] | Omit = omit,
        response_types: Sequence[str] | Omit = omit,
        scope: str | Omit = omit,
        token_endpoint_auth_method: TokenEndpointAuthMethod | Omit = omit,
        logo_uri: str | Omit = omit,
        policy_uri: str | Omit = omit,
        tos_uri: str | Omit = omit,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthRegisterResponse:
        """Register a client (RFC 7591). No other answer has a confidential client's secret."""
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call(
                "POST",
                "/oauth/register",
                Auth.NONE,
                body=given(
                    client_name=client_name,
                    redirect_uris=redirect_uris,
                    grant_types=grant_types,
                    response_types=response_types,
                    scope=scope,
                    token_endpoint_auth_method=token_endpoint_auth_method,
                    logo_uri=logo_uri,
                    policy_uri=policy_uri,
                    tos_uri=tos_uri,
                ),
                once=True,
            ),
            OAuthRegisterResponse,
            extras,
        )

    async def token(
        self,
        *,
        grant_type: GrantType,
        client_id: str | Omit = omit,
        client_secret: str | Omit = omit,
        code: str | Omit = omit,
        code_verifier: str | Omit = omit,
        redirect_uri: str | Omit = omit,
        refresh_token: str | Omit = omit,
        scope: str | Omit = omit,
        resource: str | Omit = omit,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthTokenResponse:
        """Exchange a grant for a token (RFC 6749 sections 4.1.3, 4.4.2 and 6). Raises a `TokenEndpointError` on refusal.

        Credentials that are passed here go into the form. Otherwise the client's own are sent as Basic; the API key never is. A
        code and a refresh token are sent once. `client.tokens` does all of this by itself.
        """
        proofs = Secret(
            texts(
                {
                    "client_secret": client_secret,
                    "code": code,
                    "code_verifier": code_verifier,
                    "refresh_token": refresh_token,
                }
            )
        )
        del client_secret, code, code_verifier, refresh_token
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call(
                "POST",
                "/oauth/token",
                Auth.TOKEN,
                form=texts(
                    {
                        "grant_type": text("grant_type", grant_type),
                        "client_id": client_id,
                        "redirect_uri": redirect_uri,
                        "scope": scope,
                        "resource": resource,
                        **proofs.plain,
                    }
                ),
                once=grant_type != "client_credentials",
                secrets=tuple(proofs.plain.values()),
            ),
            OAuthTokenResponse,
            extras,
        )

    @member
    def with_raw_response(self) -> AsyncOAuthWithRawResponse:
        """The same operations, answering with status, headers and body."""
        return AsyncOAuthWithRawResponse(AsyncOAuth, self._engine)

    @member
    def with_streaming_response(self) -> AsyncOAuthWithStreamingResponse:
        """The same operations, answering before the body is read."""
        return AsyncOAuthWithStreamingResponse(AsyncOAuth, self._engine)


class _Rows:
    retrieve_authorize = viewed(AsyncOAuth.retrieve_authorize)
    retrieve = viewed(AsyncOAuth.retrieve)
    grants = viewed(AsyncOAuth.grants)
    introspect = viewed(AsyncOAuth.introspect)
    retrieve_jwks = viewed(AsyncOAuth.retrieve_jwks)
    register = viewed(AsyncOAuth.register)
    token = viewed(AsyncOAuth.token)


class AsyncOAuthWithRawResponse(_Rows, RawView):
    """The protocol's endpoints, as raw responses."""


class AsyncOAuthWithStreamingResponse(_Rows, StreamedView):
    """The protocol's endpoints, as streams."""
