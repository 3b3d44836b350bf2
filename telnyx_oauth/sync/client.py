"""`Telnyx`: the blocking twin of `AsyncTelnyx`, made of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .. import sync as _twins  # its classes are loaded when they are looked up
from ..blocking.driver import Lease
from ..blocking.rows import RawTwin, StreamedTwin, Twin, blocking, paging, takes
from ..client import AsyncTelnyx
from ..hints import Hinted, NamesChecked, misnamed, refused
from ..messages import Timeout
from ..protocol.requests import HeaderValues, QueryValues
from ..protocol.secret import Secret
from ..resources.oauth import AsyncOAuth
from ..resources.oauth_clients import AsyncOAuthClients
from ..resources.oauth_grants import AsyncOAuthGrants
from ..resources.resource import member, part
from ..resources.well_known import AsyncWellKnown


class _WellKnownRows(Hinted):
    retrieve_authorization_server_metadata = blocking(AsyncWellKnown.retrieve_authorization_server_metadata)
    retrieve_protected_resource_metadata = blocking(AsyncWellKnown.retrieve_protected_resource_metadata)


class _OAuthRows(Hinted):
    retrieve_authorize = blocking(AsyncOAuth.retrieve_authorize)
    retrieve = blocking(AsyncOAuth.retrieve)
    grants = blocking(AsyncOAuth.grants)
    introspect = blocking(AsyncOAuth.introspect)
    retrieve_jwks = blocking(AsyncOAuth.retrieve_jwks)
    register = blocking(AsyncOAuth.register)
    token = blocking(AsyncOAuth.token)


class _OAuthClientsRows(Hinted):
    list = paging(AsyncOAuthClients.list)
    create = blocking(AsyncOAuthClients.create)
    retrieve = blocking(AsyncOAuthClients.retrieve)
    update = blocking(AsyncOAuthClients.update)
    delete = blocking(AsyncOAuthClients.delete)


class _OAuthGrantsRows(Hinted):
    list = paging(AsyncOAuthGrants.list)
    retrieve = blocking(AsyncOAuthGrants.retrieve)
    delete = blocking(AsyncOAuthGrants.delete)


class WellKnownWithRawResponse(_WellKnownRows, RawTwin):
    """The well-known documents. They need no credentials. As raw responses."""


class WellKnownWithStreamingResponse(_WellKnownRows, StreamedTwin):
    """The well-known documents. They need no credentials. As streams."""


class WellKnown(_WellKnownRows, Twin):
    """The well-known documents. They need no credentials."""

    @member
    def with_raw_response(self) -> WellKnownWithRawResponse:
        """The same operations, answering with status, headers and body."""
        return WellKnownWithRawResponse(AsyncWellKnown, self._engine, self._lease)

    @member
    def with_streaming_response(self) -> WellKnownWithStreamingResponse:
        """The same operations, answering before the body is read."""
        return WellKnownWithStreamingResponse(AsyncWellKnown, self._engine, self._lease)


class OAuthWithRawResponse(_OAuthRows, RawTwin):
    """The protocol's endpoints. As raw responses."""


class OAuthWithStreamingResponse(_OAuthRows, StreamedTwin):
    """The protocol's endpoints. As streams."""


class OAuth(_OAuthRows, Twin):
    """The protocol's endpoints."""

    @member
    def with_raw_response(self) -> OAuthWithRawResponse:
        """The same operations, answering with status, headers and body."""
        return OAuthWithRawResponse(AsyncOAuth, self._engine, self._lease)

    @member
    def with_streaming_response(self) -> OAuthWithStreamingResponse:
        """The same operations, answering before the body is read."""
        return OAuthWithStreamingResponse(AsyncOAuth, self._engine, self._lease)


class OAuthClientsWithRawResponse(_OAuthClientsRows, RawTwin):
    """The OAuth clients of the account. As raw responses."""


class OAuthClientsWithStreamingResponse(_OAuthClientsRows, StreamedTwin):
    """The OAuth clients of the account. As streams."""


class OAuthClients(_OAuthClientsRows, Twin):
    """The OAuth clients of the account."""

    @member
    def with_raw_response(self) -> OAuthClientsWithRawResponse:
        """The same operations, answering with status, headers and body."""
        return OAuthClientsWithRawResponse(AsyncOAuthClients, self._engine, self._lease)

    @member
    def with_streaming_response(self) -> OAuthClientsWithStreamingResponse:
        """The same operations, answering before the body is read."""
        return OAuthClientsWithStreamingResponse(AsyncOAuthClients, self._engine, self._lease)


class OAuthGrantsWithRawResponse(_OAuthGrantsRows, RawTwin):
    """The grants that people of the account have given. As raw responses."""


class OAuthGrantsWithStreamingResponse(_OAuthGrantsRows, StreamedTwin):
    """The grants that people of the account have given. As streams."""


class OAuthGrants(_OAuthGrantsRows, Twin):
    """The grants that people of the account have given."""

    @member
    def with_raw_response(self) -> OAuthGrantsWithRawResponse:
        """The same operations, answering with status, headers and body."""
        return OAuthGrantsWithRawResponse(AsyncOAuthGrants, self._engine, self._lease)

    @member
    def with_streaming_response(self) -> OAuthGrantsWithStreamingResponse:
        """The same operations, answering before the body is read."""
        return OAuthGrantsWithStreamingResponse(AsyncOAuthGrants, self._engine, self._lease)


class Telnyx(NamesChecked, Hinted, Twin):
    """Telnyx's OAuth API for callers that block: the same as `AsyncTelnyx`, without `await`.

    It may be used from many threads at once, and inside a running event loop. A client that is never closed is closed when the
    program ends.
    """

    _instead = AsyncTelnyx._instead

    get = blocking(AsyncTelnyx.get)
    post = blocking(AsyncTelnyx.post)
    put = blocking(AsyncTelnyx.put)
    patch = blocking(AsyncTelnyx.patch)
    delete = blocking(AsyncTelnyx.delete)

    @takes(AsyncTelnyx.__init__)
    def __init__(self, **options: Any) -> None:
        given = Secret(options)
        del options
        _check_names(type(self).__name__, given, AsyncTelnyx.__init__)
        if given.plain.get("http_session") is not None:
            raise ValueError(
                "An aiohttp session belongs to the event loop it was made on; give `http_session` to AsyncTelnyx"
            )
        self._wrap(AsyncTelnyx(**given.plain))

    def _wrap(self, core: AsyncTelnyx, lender: Lease | None = None) -> None:
        core._is_core = True
        super().__init__(core, Lease(core.close, partial(_unclosed, core), lender))

    @part
    def well_known(self) -> WellKnown:
        """The well-known documents."""
        return WellKnown(self._client.well_known, self._lease)

    @part
    def oauth(self) -> OAuth:
        """The protocol's endpoints."""
        return OAuth(self._client.oauth, self._lease)

    @part
    def oauth_clients(self) -> OAuthClients:
        """The OAuth clients of the account."""
        return OAuthClients(self._client.oauth_clients, self._lease)

    @part
    def oauth_grants(self) -> OAuthGrants:
        """The grants that people of the account have given."""
        return OAuthGrants(self._client.oauth_grants, self._lease)

    @property
    def api_key(self) -> str | None:
        """The API key, where the client has one."""
        return self._client.api_key

    @property
    def client_id(self) -> str | None:
        """The OAuth client's id."""
        return self._client.client_id

    @property
    def client_secret(self) -> str | None:
        """The OAuth client's secret."""
        return self._client.client_secret

    @property
    def base_url(self) -> str:
        """Where everything is sent."""
        return self._client.base_url

    @property
    def timeout(self) -> Timeout:
        """How long one attempt may take."""
        return self._client.timeout

    @property
    def max_retries(self) -> int:
        """How many attempts may follow the first."""
        return self._client.max_retries

    @property
    def default_headers(self) -> HeaderValues:
        """What the client adds to the headers of every call."""
        return self._client.default_headers

    @property
    def default_query(self) -> QueryValues:
        """What the client adds to the query of every call."""
        return self._client.default_query

    @member
    def tokens(self) -> _twins.Tokens:
        """The manager of this client's tokens. Raises `MissingCredentialsError` when it has no credentials."""
        return self._tokens

    @cached_property
    def _tokens(self) -> _twins.Tokens:
        from .tokens import Tokens

        return Tokens(self._client.tokens, self._lease)

    @member
    def authorization(self) -> _twins.Authorization:
        """Signs people in to this client's `client_id`; a client made with `tokens=` then calls as one of them."""
        from .authorization import Authorization

        return Authorization(self._client.authorization, self._lease)

    @member
    def validator(self) -> _twins.Validator:
        """Judges tokens that others present to you. Raises `ValueError` when the client was made without an `audience`."""
        from .validator import Validator

        return Validator(self._client.validator, self._lease)

    @takes(AsyncTelnyx.copy)
    def copy(self, **changes: Any) -> Self:
        given = Secret(changes)
        del changes
        _check_names(f"{type(self).__name__}.copy", given, AsyncTelnyx.copy)
        if given.plain.get("http_session") is not None:
            raise ValueError(
                "An aiohttp session belongs to the event loop it was made on; give `http_session` to AsyncTelnyx"
            )
        twin = type(self).__new__(type(self))
        twin._wrap(self._client.copy(**given.plain), self._lease)
        return twin

    with_options = copy

    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        return self._lease.is_closed

    def close(self) -> None:
        """End this client's connections and renewals, and the private event loop if no other client needs it."""
        self._lease.end()

    if not TYPE_CHECKING:
        __aenter__ = refused("is used with `with`; the client for `async with` is AsyncTelnyx.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return _shown(self._client)

    @property
    def _client(self) -> AsyncTelnyx:
        core: AsyncTelnyx = self._core
        return core


def _shown(core: AsyncTelnyx) -> str:
    return repr(core).replace("AsyncTelnyx", "Telnyx", 1)


def _unclosed(core: AsyncTelnyx) -> str:
    # `client.with_options(...).oauth...` is how one call gets options of its own.
    return "" if core.is_copy else f"Unclosed {_shown(core)}; call close(), or use it as a context manager"


def _check_names(called: str, given: Secret[Mapping[str, object]], function: Callable[..., object]) -> None:
    problem = misnamed(called, function, 0, given.plain)
    if problem:
        raise TypeError(problem)
