"""`Telnyx`: the blocking twin of `AsyncTelnyx`, made of rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .. import sync as _twins  # its classes are loaded at their first use
from ..blocking.driver import Lease
from ..blocking.rows import RawTwin, StreamedTwin, Twin, blocking, paging, takes
from ..client import AsyncTelnyx
from ..hints import Hinted, NamesChecked, naming_problem, refused
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
        hidden = Secret(options)
        del options
        _check_options(type(self).__name__, hidden, AsyncTelnyx.__init__)
        self._wrap(AsyncTelnyx(**hidden.plain))

    def _wrap(self, core: AsyncTelnyx, lender: Lease | None = None) -> None:
        core._warns_unclosed = False
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
        """The API key, or `None`."""
        return self._client.api_key

    @property
    def client_id(self) -> str | None:
        """The OAuth client's id, or `None`."""
        return self._client.client_id

    @property
    def client_secret(self) -> str | None:
        """The OAuth client's secret, or `None`."""
        return self._client.client_secret

    @property
    def base_url(self) -> str:
        """The address that everything is sent to."""
        return self._client.base_url

    @property
    def timeout(self) -> Timeout:
        """The time limits of one attempt."""
        return self._client.timeout

    @property
    def max_retries(self) -> int:
        """The number of attempts after the first."""
        return self._client.max_retries

    @property
    def default_headers(self) -> HeaderValues:
        """Headers of every call."""
        return self._client.default_headers

    @property
    def default_query(self) -> QueryValues:
        """Query parameters of every call."""
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
        """The sign-in of people to this client's `client_id`. A client made with `tokens=` then calls on behalf of one."""
        from .authorization import Authorization

        return Authorization(self._client.authorization, self._lease)

    @member
    def validator(self) -> _twins.Validator:
        """The validator of tokens that others present to you. Raises `ValueError` for a client without an `audience`."""
        from .validator import Validator

        return Validator(self._client.validator, self._lease)

    @takes(AsyncTelnyx.copy)
    def copy(self, **changes: Any) -> Self:
        hidden = Secret(changes)
        del changes
        _check_options(f"{type(self).__name__}.copy", hidden, AsyncTelnyx.copy)
        twin = type(self).__new__(type(self))
        twin._wrap(self._client.copy(**hidden.plain), self._lease)
        return twin

    with_options = copy

    def is_closed(self) -> bool:
        """Return `True` after `close`."""
        return self._lease.is_closed

    def close(self) -> None:
        """Close connections and end refreshes, and the private event loop if no other client needs it."""
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
        return _repr(self._client)

    @property
    def _client(self) -> AsyncTelnyx:
        core: AsyncTelnyx = self._core
        return core


def _repr(core: AsyncTelnyx) -> str:
    return repr(core).replace("AsyncTelnyx", "Telnyx", 1)


def _unclosed(core: AsyncTelnyx) -> str:
    # A copy may be dropped without `close`: `client.with_options(...).oauth...` sets options for one call.
    return "" if core.is_copy else f"Unclosed {_repr(core)}; call close(), or use it as a context manager"


def _check_options(caller: str, options: Secret[dict[str, object]], function: Callable[..., object]) -> None:
    """Raise `TypeError` for an option that `function` does not have, and `ValueError` for a session of aiohttp's."""
    if problem := naming_problem(caller, function, 0, options.plain):
        raise TypeError(problem)
    if options.plain.get("http_session") is not None:
        raise ValueError(
            "An aiohttp session belongs to the event loop it was made on; give `http_session` to AsyncTelnyx"
        )
