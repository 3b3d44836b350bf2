"""The well-known metadata documents."""

from __future__ import annotations

from collections.abc import Mapping

from ..messages import Timeout
from ..protocol.requests import Auth, Call, Extras, HeaderValues, Omit, QueryValues, omit
from ..types import (
    WellKnownRetrieveAuthorizationServerMetadataResponse,
    WellKnownRetrieveProtectedResourceMetadataResponse,
)
from .resource import RawView, Resource, StreamedView, member, viewed


class AsyncWellKnown(Resource):
    """The well-known documents. They need no credentials."""

    async def retrieve_authorization_server_metadata(
        self,
        *,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> WellKnownRetrieveAuthorizationServerMetadataResponse:
        """Retrieve the authorization server's metadata: its features and endpoints (RFC 8414)."""
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call("GET", "/.well-known/oauth-authorization-server", Auth.NONE),
            WellKnownRetrieveAuthorizationServerMetadataResponse,
            extras,
        )

    async def retrieve_protected_resource_metadata(
        self,
        *,
        extra_headers: HeaderValues | None = None,
        extra_query: QueryValues | None = None,
        extra_body: Mapping[str, object] | None = None,
        timeout: float | Timeout | Omit | None = omit,
    ) -> WellKnownRetrieveProtectedResourceMetadataResponse:
        """Retrieve the API's metadata: the authorization servers whose tokens it accepts (RFC 9728)."""
        extras = Extras(extra_headers, extra_query, extra_body, timeout)
        del extra_headers, extra_query, extra_body
        return await self._send(
            Call("GET", "/.well-known/oauth-protected-resource", Auth.NONE),
            WellKnownRetrieveProtectedResourceMetadataResponse,
            extras,
        )

    @member
    def with_raw_response(self) -> AsyncWellKnownWithRawResponse:
        """The same operations, answering with status, headers and body."""
        return AsyncWellKnownWithRawResponse(AsyncWellKnown, self._engine)

    @member
    def with_streaming_response(self) -> AsyncWellKnownWithStreamingResponse:
        """The same operations, answering before the body is read."""
        return AsyncWellKnownWithStreamingResponse(AsyncWellKnown, self._engine)


class _Rows:
    retrieve_authorization_server_metadata = viewed(AsyncWellKnown.retrieve_authorization_server_metadata)
    retrieve_protected_resource_metadata = viewed(AsyncWellKnown.retrieve_protected_resource_metadata)


class AsyncWellKnownWithRawResponse(_Rows, RawView):
    """The well-known documents, as raw responses."""


class AsyncWellKnownWithStreamingResponse(_Rows, StreamedView):
    """The well-known documents, as streams."""
