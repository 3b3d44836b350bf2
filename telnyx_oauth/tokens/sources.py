"""The sources of tokens: an API key, client credentials, a refresh token, an authorization code.

A source is one async function from a `TokenKey` to a `TokenGrant`, so one may wrap another, and each works without a manager.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol, TypeAlias

import anyio
import attrs

from ..errors import InvalidClientError, ReauthenticationRequiredError, TokenError
from ..messages import Send, Timeout
from ..protocol.arguments import TRANSPORT, expect_function, expect_text
from ..protocol.freshness import digest_of
from ..protocol.requests import as_timeout
from ..protocol.secret import Secret
from ..protocol.token import TokenKey
from ..protocol.token_endpoint import (
    TOKEN_TIMEOUT,
    AuthMethod,
    ClientAuthentication,
    Form,
    TokenGrant,
    authorization_code_form,
    client_credentials_form,
    read_token_response,
    refresh_token_form,
    token_request,
)
from ..protocol.urls import check_token_endpoint
from ..transport.clock import Clock, SystemClock
from .drain import run_to_end

ClientSecret: TypeAlias = str | Callable[[], Awaitable[str]]
"""A client's secret, or an async function that returns it."""
_SYSTEM: Final = SystemClock()


class TokenSource(Protocol):
    """One async function. `key` has the scopes and the resource; an attribute `key` on the source, if any, is the default."""

    async def __call__(self, key: TokenKey, /) -> TokenGrant:
        """Request a token."""
        ...


class ApiKey:
    """An API key, which never expires and cannot be refreshed."""

    def __init__(self, api_key: str) -> None:
        key = Secret(api_key)
        del api_key
        expect_text(type(key.plain), "api_key")
        self.key = TokenKey(grant="api_key")
        self.grant = TokenGrant(key.plain)

    async def __call__(self, key: TokenKey, /) -> TokenGrant:
        """Return the key."""
        return self.grant


class TokenEndpoint:
    """A client at its token endpoint. `client_secret` may be an async function, called at every token request.

    Raises `ValueError` for a `token_endpoint` that is plain http to another machine, unless `allow_insecure` is true.
    """

    def __init__(
        self,
        send: Send,
        token_endpoint: str,
        client_id: str,
        client_secret: ClientSecret | None = None,
        *,
        auth_method: AuthMethod | None = None,
        timeout: Timeout = TOKEN_TIMEOUT,
        clock: Clock = _SYSTEM,
        allow_insecure: bool = False,
    ) -> None:
        self._secret = client_secret
        del client_secret
        if send is not None:  # it is None where only the source's key is needed and nothing is ever sent
            expect_function(send, "send", TRANSPORT)
        expect_text(type(client_id), "client_id")
        self.token_endpoint = check_token_endpoint(token_endpoint, "token_endpoint", allow_insecure=allow_insecure)
        self.client_id = client_id
        self._send = send
        self._method: AuthMethod | None = auth_method
        self._timeout = as_timeout(timeout)
        self._clock = clock
        if self._secret is None or isinstance(self._secret, str):
            ClientAuthentication(
                client_id, self._secret, auth_method
            )  # raises now, where the mistake is, and not at the first request

    async def exchange(
        self, form: Form, *, may_be_refused: bool = False, check: Callable[[], None] | None = None
    ) -> TokenGrant:
        """Send one token request, and a second one only when the first shows that the secret was replaced: never for a
        code, which is sent only once (RFC 6749 section 4.1.2).

        An answer that must not be used raises, or with `may_be_refused` gives a grant that is `refused`, where it has a
        refresh token. `check` is called at the last moment before the request is sent: its exception stops that.
        """
        secret, grant = await self._current_secret(), None
        try:
            grant = await self._send_once(form, secret, check)
        except InvalidClientError:
            # The client is authenticated before its grant is looked at, so nothing was spent (RFC 6749 section 5.2).
            newer = secret if "code" in dict(form.plain) else await self._current_secret()
            if newer == secret:
                raise
            secret = newer
        if grant is None:  # outside of the `except` block, whose error would become the context of a new one
            grant = await self._send_once(form, secret, check)
        if grant.refused is not None and not may_be_refused:
            raise grant.refused
        return grant

    async def _send_once(self, form: Form, secret: Secret[str | None], check: Callable[[], None] | None) -> TokenGrant:
        client = ClientAuthentication(self.client_id, secret.plain, self._method)
        request = token_request(self.token_endpoint, form, client, timeout=self._timeout)
        if check is not None:
            check()  # a user's transport may not call it
            request = attrs.evolve(request, check=check)
        response = await self._send(request)
        return read_token_response(response, secrets=Secret(request.secrets), now=self._clock.wall())

    async def _current_secret(self) -> Secret[str | None]:
        if self._secret is None or isinstance(self._secret, str):
            return Secret(self._secret)
        try:
            return Secret(await self._secret())
        except Exception as exc:  # noqa: BLE001 - a user's function, and its error may quote the secret
            kind = type(exc).__name__
        raise TokenError(f"The function that gives the client secret failed ({kind}).")


class ClientCredentials:
    """The client's own token (RFC 6749 section 4.4)."""

    def __init__(
        self,
        send: Send,
        token_endpoint: str,
        client_id: str,
        client_secret: ClientSecret,
        *,
        auth_method: AuthMethod | None = None,
        scopes: Iterable[str] | str = (),
        resource: str | None = None,
        timeout: Timeout = TOKEN_TIMEOUT,
        clock: Clock = _SYSTEM,
        allow_insecure: bool = False,
    ) -> None:
        secret = Secret(client_secret)
        del client_secret
        self.key = TokenKey(token_endpoint, client_id, "client_credentials", scopes, resource)
        self._endpoint = TokenEndpoint(
            send,
            token_endpoint,
            client_id,
            secret.plain,
            auth_method=auth_method,
            timeout=timeout,
            clock=clock,
            allow_insecure=allow_insecure,
        )

    async def __call__(self, key: TokenKey, /) -> TokenGrant:
        """Request a token."""
        return await self._endpoint.exchange(client_credentials_form(key.scopes, key.resource))


class AuthorizationCode:
    """The token for a code, which is sent exactly once: a second use may revoke the tokens of the first (RFC 6749 section
    4.1.2).
    """

    def __init__(
        self,
        send: Send,
        token_endpoint: str,
        client_id: str,
        client_secret: ClientSecret | None = None,
        *,
        code: str,
        redirect_uri: str | None = None,
        code_verifier: str | None = None,
        auth_method: AuthMethod | None = None,
        scopes: Iterable[str] | str = (),
        resource: str | None = None,
        timeout: Timeout = TOKEN_TIMEOUT,
        clock: Clock = _SYSTEM,
        allow_insecure: bool = False,
    ) -> None:
        secret, secret_code = Secret(client_secret), Secret(code)
        verifier = None if code_verifier is None else Secret(code_verifier)
        del client_secret, code, code_verifier
        expect_text(type(secret_code.plain), "code")
        name = digest_of(secret_code.plain)
        self.key = TokenKey(token_endpoint, client_id, "authorization_code", scopes, resource, name)
        self._form: Form | None = authorization_code_form(
            secret_code, redirect_uri=redirect_uri, code_verifier=verifier, resource=resource
        )
        self._endpoint = TokenEndpoint(
            send,
            token_endpoint,
            client_id,
            secret.plain,
            auth_method=auth_method,
            timeout=timeout,
            clock=clock,
            allow_insecure=allow_insecure,
        )

    async def __call__(self, key: TokenKey, /) -> TokenGrant:
        """Exchange the code. A second call raises `ReauthenticationRequiredError` and sends nothing."""
        form, self._form = self._form, None
        if form is None:
            raise ReauthenticationRequiredError("authorization_code_used")
        try:
            return await self._endpoint.exchange(form)
        except TokenError:  # there was no client secret, so nothing was sent
            self._form = form
            raise


class RefreshToken:
    """Tokens for a person who has signed in (RFC 6749 section 6).

    The server may replace the refresh token at every use, so it is used once and its successor kept: here when the source
    is used without a manager, in the manager's store otherwise. `refresh_token` is only the first one; with `first` (an
    `AuthorizationCode`, say) the first call gets it. `account` names the person in a store that holds several.
    """

    def __init__(
        self,
        send: Send,
        token_endpoint: str,
        client_id: str,
        client_secret: ClientSecret | None = None,
        *,
        refresh_token: str | None = None,
        first: TokenSource | None = None,
        account: str | None = None,
        auth_method: AuthMethod | None = None,
        scopes: Iterable[str] | str = (),
        resource: str | None = None,
        timeout: Timeout = TOKEN_TIMEOUT,
        clock: Clock = _SYSTEM,
        allow_insecure: bool = False,
    ) -> None:
        secret, self.seed = Secret(client_secret), refresh_token
        del client_secret, refresh_token
        if self.seed is not None:
            expect_text(type(self.seed), "refresh_token")
        # Two people's grants must never share a record, so without a name the first refresh token tells them apart.
        name = account if account is not None else digest_of(self.seed) if self.seed else ""
        self.key = TokenKey(token_endpoint, client_id, "refresh_token", scopes, resource, name)
        self.first = first
        self._current = self.seed
        self._lock = anyio.Lock()  # guards `_current` while it is used, without a manager
        self._endpoint = TokenEndpoint(
            send,
            token_endpoint,
            client_id,
            secret.plain,
            auth_method=auth_method,
            timeout=timeout,
            clock=clock,
            allow_insecure=allow_insecure,
        )

    async def __call__(self, key: TokenKey, /) -> TokenGrant:
        """Use the refresh token and keep its successor. Calls wait for one another."""
        async with self._lock:
            return await run_to_end(self._next(key))  # if it were cancelled, the successor would be lost

    async def _next(self, key: TokenKey) -> TokenGrant:
        if self._current is None and self.first is not None:
            grant = await self.first(key)
        elif self._current is None:
            raise ReauthenticationRequiredError("no_refresh_token")
        else:
            grant = await self.spend(key, self._current)
        self._current = grant.refresh_token or self._current
        if grant.refused is not None:
            raise grant.refused
        return grant

    async def spend(self, key: TokenKey, refresh_token: str, *, check: Callable[[], None] | None = None) -> TokenGrant:
        """Use this refresh token and keep nothing. The grant may be `refused`: then it has only the next refresh token.
        `check` is called at the last moment before the request is sent: its exception stops that.
        """
        form = refresh_token_form(Secret(refresh_token), key.scopes, key.resource)
        del refresh_token
        return await self._endpoint.exchange(form, may_be_refused=True, check=check)
