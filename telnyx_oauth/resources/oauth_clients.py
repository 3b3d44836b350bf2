"""OAuth clients: the applications that may request tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Final

from ..messages import Timeout
from ..protocol.requests import Call, Extras, HeaderValues, Omit, QueryValues, given, omit, queried
from ..protocol.urls import segment
from ..transport.pagination import AsyncPaginator
from ..types import (
    ClientType,
    GrantType,
    OAuthClient,
    OAuthClientCreateResponse,
    OAuthClientListResponse,
    OAuthClientRetrieveResponse,
    OAuthClientUpdateResponse,
)
from .resource import RawView, Resource, StreamedView, member, viewed, viewed_list

_PATH: Final = "/oauth/clients"


class AsyncOAuthClients(Resource):
    """The OAuth clients of the account.

    Source: https://developers.telnyx.com/api-reference/oauth-clients
    """

    def list(
        self,
        *,
        page_number: int | Omit = omit,
        page_size: int | Omit = omit,
        filter_client_id: str | Omit = omit,
        filter_client_type: ClientType | Omit = omit,
        filter_name: str | Omit = omit,
        filter_name_contains: str | Omit = omit,
        filter_allowed_grant_types_contains: GrantType | Omit = omit,
        filter_verified: bool | Omit = omit,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> AsyncPaginator[OAuthClient]:
        """List OAuth clients, filtered. Await it for a page, or iterate over all of them.

        Pages count from 1; `page_size` is 1 to 100 and 20 by default.
        """
        return self._list(
            Call(
                "GET",
                _PATH,
                resource=_PATH,
                query=queried(
                    {
                        "page[number]": page_number,
                        "page[size]": page_size,
                        "filter[client_id]": filter_client_id,
                        "filter[client_type]": filter_client_type,
                        "filter[name]": filter_name,
                        "filter[name][contains]": filter_name_contains,
                        "filter[allowed_grant_types][contains]": filter_allowed_grant_types_contains,
                        "filter[verified]": filter_verified,
                    }
                ),
            ),
            OAuthClientListResponse,
            Extras(extra_headers, extra_query, extra_body, timeout),
        )

    async def create(
        self,
        *,
        name: str,
        client_type: ClientType,
        allowed_grant_types: Sequence[GrantType],
        allowed_scopes: Sequence[str],
        redirect_uris: Sequence[str] | Omit = omit,
        require_pkce: bool | Omit = omit,
        logo_uri: str | Omit = omit,
        policy_uri: str | Omit = omit,
        tos_uri: str | Omit = omit,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthClientCreateResponse:
        """Create an OAuth client. No other answer has a confidential client's secret.

        `redirect_uris` are required for the authorization code grant.
        """
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call(
                "POST",
                _PATH,
                resource=_PATH,
                body=given(
                    name=name,
                    client_type=client_type,
                    allowed_grant_types=allowed_grant_types,
                    allowed_scopes=allowed_scopes,
                    redirect_uris=redirect_uris,
                    require_pkce=require_pkce,
                    logo_uri=logo_uri,
                    policy_uri=policy_uri,
                    tos_uri=tos_uri,
                ),
                once=True,
            ),
            OAuthClientCreateResponse,
            extras,
        )

    async def retrieve(
        self,
        id: str,
        *,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthClientRetrieveResponse:
        """Retrieve the client with this id."""
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call("GET", f"{_PATH}/{segment(id, 'id')}", resource=_PATH),
            OAuthClientRetrieveResponse,
            extras,
        )

    async def update(
        self,
        id: str,
        *,
        name: str | Omit = omit,
        allowed_grant_types: Sequence[GrantType] | Omit = omit,
        allowed_scopes: Sequence[str] | Omit = omit,
        redirect_uris: Sequence[str] | Omit = omit,
        require_pkce: bool | Omit = omit,
        logo_uri: str | Omit = omit,
        policy_uri: str | Omit = omit,
        tos_uri: str | Omit = omit,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthClientUpdateResponse:
        """Update a client: the values passed here replace its own. Its type cannot be changed."""
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call(
                "PUT",
                f"{_PATH}/{segment(id, 'id')}",
                resource=_PATH,
                body=given(
                    name=name,
                    allowed_grant_types=allowed_grant_types,
                    allowed_scopes=allowed_scopes,
                    redirect_uris=redirect_uris,
                    require_pkce=require_pkce,
                    logo_uri=logo_uri,
                    policy_uri=policy_uri,
                    tos_uri=tos_uri,
                ),
            ),
            OAuthClientUpdateResponse,
            extras,
        )

    async def delete(
        self,
        id: str,
        *,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> None:
        """Delete a client. Its tokens can no longer be refreshed."""
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call("DELETE", f"{_PATH}/{segment(id, 'id')}", resource=_PATH),
            NoneType,
            extras,
        )

    @member
    def with_raw_response(self) -> AsyncOAuthClientsWithRawResponse:
        """The same operations, answering with status, headers and body."""
        return AsyncOAuthClientsWithRawResponse(AsyncOAuthClients, self._engine)

    @member
    def with_streaming_response(self) -> AsyncOAuthClientsWithStreamingResponse:
        """The same operations, answering before the body is read."""
        return AsyncOAuthClientsWithStreamingResponse(AsyncOAuthClients, self._engine)


class _Rows:
    list = viewed_list(AsyncOAuthClients.list)
    create = viewed(AsyncOAuthClients.create)
    retrieve = viewed(AsyncOAuthClients.retrieve)
    update = viewed(AsyncOAuthClients.update)
    delete = viewed(AsyncOAuthClients.delete)


class AsyncOAuthClientsWithRawResponse(_Rows, RawView):
    """The OAuth clients, as raw responses."""


class AsyncOAuthClientsWithStreamingResponse(_Rows, StreamedView):
    """The OAuth clients, as streams."""
