"""OAuth grants: the scopes that people have allowed clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..messages import Timeout
from ..protocol.requests import Call, Extras, HeaderValues, Omit, QueryValues, omit, queried
from ..protocol.urls import segment
from ..transport.pagination import AsyncPaginator
from ..types import (
    OAuthGrant,
    OAuthGrantDeleteResponse,
    OAuthGrantListResponse,
    OAuthGrantRetrieveResponse,
)
from .resource import RawView, Resource, StreamedView, member, viewed, viewed_list

_PATH: Final = "/oauth/grants"


class AsyncOAuthGrants(Resource):
    """The grants that people of the account have given.

    Source: https://developers.telnyx.com/api-reference/oauth-grants
    """

    def list(
        self,
        *,
        page_number: int | Omit = omit,
        page_size: int | Omit = omit,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> AsyncPaginator[OAuthGrant]:
        """List grants. Await it for a page, or iterate over all of them.

        Pages count from 1; `page_size` is 1 to 100 and 20 by default.
        """
        return self._list(
            Call(
                "GET",
                _PATH,
                resource=_PATH,
                query=queried({"page[number]": page_number, "page[size]": page_size}),
            ),
            OAuthGrantListResponse,
            Extras(extra_headers, extra_query, extra_body, timeout),
        )

    async def retrieve(
        self,
        id: str,
        *,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> OAuthGrantRetrieveResponse:
        """Retrieve the grant with this id."""
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call("GET", f"{_PATH}/{segment(id, 'id')}", resource=_PATH),
            OAuthGrantRetrieveResponse,
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
    ) -> OAuthGrantDeleteResponse:
        """Revoke a grant: its refresh tokens end. Answers with the grant that was revoked."""
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call("DELETE", f"{_PATH}/{segment(id, 'id')}", resource=_PATH),
            OAuthGrantDeleteResponse,
            extras,
        )

    @member
    def with_raw_response(self) -> AsyncOAuthGrantsWithRawResponse:
        """The same operations, answering with status, headers and body."""
        return AsyncOAuthGrantsWithRawResponse(AsyncOAuthGrants, self._engine)

    @member
    def with_streaming_response(self) -> AsyncOAuthGrantsWithStreamingResponse:
        """The same operations, answering before the body is read."""
        return AsyncOAuthGrantsWithStreamingResponse(AsyncOAuthGrants, self._engine)


class _Rows:
    list = viewed_list(AsyncOAuthGrants.list)
    retrieve = viewed(AsyncOAuthGrants.retrieve)
    delete = viewed(AsyncOAuthGrants.delete)


class AsyncOAuthGrantsWithRawResponse(_Rows, RawView):
    """The OAuth grants, as raw responses."""


class AsyncOAuthGrantsWithStreamingResponse(_Rows, StreamedView):
    """The OAuth grants, as streams."""
