"""`AsyncTelnyx`: the client, its connections and its token manager."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import aiohttp
import attrs

from . import tokens as _tokens  # their classes are loaded when they are looked up
from . import validation as _validation
from .errors import ClientClosedError, MissingCredentialsError
from .hints import NamesChecked, refused
from .messages import Timeout
from .options import (
    ISSUER,
    Options,
    VerifyIssued,
    as_dict,
    base_address,
    changed,
    check_api_key,
    check_credentials,
    check_verify_issued,
    complete,
    defaults,
)
from .protocol.arguments import AS_TEXT, expect, expect_functions, expect_text, expect_texts
from .protocol.credentials import Credentials
from .protocol.requests import HeaderValues, Omit, QueryValues, as_retries, as_timeout, omit
from .protocol.secret import Secret
from .protocol.urls import is_insecure
from .resources.oauth import AsyncOAuth
from .resources.oauth_clients import AsyncOAuthClients
from .resources.oauth_grants import AsyncOAuthGrants
from .resources.resource import member, part
from .resources.verbs import AsyncUndocumented
from .resources.well_known import AsyncWellKnown
from .transport.engine import Engine, Shared
from .transport.http import HttpTransport
from .transport.mirror import MirroredTransport, is_plain

# Connections at once, of one client and its copies. Nearly all of them are for calls.
_CALLS: Final = 100
_TOKENS: Final = 10


class Connections:
    """The connections of one client and its copies, in two pools: one for calls, and one for tokens and keys.

    A refresh never waits for a connection behind the calls that need its token. Beside a given session the second pool is a
    mirror of it. A session or connector of another class may connect in ways that a mirror cannot repeat, so it serves tokens
    and keys as well.
    """

    def __init__(
        self,
        http_session: aiohttp.ClientSession | None = None,
        *,
        proxy: str | None = None,
        trust_env: bool = True,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        hidden_proxy = Secret(proxy)
        del proxy
        self.api = HttpTransport(
            http_session=http_session,
            proxy=hidden_proxy.plain,
            trust_env=trust_env,
            ssl_context=ssl_context,
            limit=_CALLS,
        )
        if http_session is not None and is_plain(http_session):
            self.tokens: HttpTransport = MirroredTransport(
                http_session, proxy=hidden_proxy.plain, ssl_context=ssl_context, limit=_TOKENS
            )
            return
        self.tokens = HttpTransport(
            http_session=http_session,
            proxy=hidden_proxy.plain,
            trust_env=trust_env,
            ssl_context=ssl_context,
            limit=_TOKENS,
            # The session's own middlewares stay out: one of them may itself ask for a token.
            middlewares=False,
        )

    @property
    def is_open(self) -> bool:
        """True while there are connections on a loop that still runs."""
        return self.api.is_open or self.tokens.is_open

    async def aclose(self) -> None:
        """Close both pools."""
        await self.api.aclose()
        await self.tokens.aclose()


class AsyncTelnyx(NamesChecked, AsyncUndocumented):
    """Telnyx's OAuth API, asynchronous. Use it on any event loop; close it, or use it as a context manager.

    Making a client does no I/O and needs no credentials. A call that needs credentials and has none fails before anything is
    sent.

    `api_key` (environment: `TELNYX_API_KEY`), `client_id` (`TELNYX_CLIENT_ID`) and `client_secret` (`TELNYX_CLIENT_SECRET`)
    are the credentials: with an id and a secret, calls carry tokens that refresh themselves, else they carry the key.
    Credentials that are passed here win over the environment's. `base_url` (`TELNYX_BASE_URL`) is where everything is sent,
    token requests included. Plain http to another machine needs `allow_insecure` (`TELNYX_ALLOW_INSECURE=1`, for the
    environment's address).

    `timeout` is seconds for one attempt, 60 by default and 5 for connecting; `None` is no limit. `max_retries` counts the
    attempts after the first. Each token request asks for `scopes` and `resource`, `token_store` keeps tokens between
    processes, and `token_hooks` are called with every token event. Or pass a whole token manager as `tokens`, such as that of
    a person who has signed in: calls carry its tokens, and closing it stays your task. `verify_issued` checks issued tokens
    against the server's keys before they are used: those that can be checked (`"auto"`), all (`True`), or none (`False`).
    `validator` demands `audience` and `issuer` of the tokens that others present to you.

    `http_session` is used as it is and never closed. Tokens and keys have connections of their own with its settings (a
    session or connector of your own class serves them too). Without a session, `proxy` or, with `trust_env`, the environment's
    proxies, and `ssl_context` apply; calls to this machine use no proxy. Raises `ValueError` for a bad base URL or header.
    """

    _instead = "Make a client in each process; `with_options` gives one with other options."

    # A blocking client turns this off for the client that it wraps: it gives the warning itself.
    _warns_unclosed = True

    def __init__(
        self,
        *,
        api_key: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        base_url: str | None = None,
        timeout: float | Timeout | Omit | None = omit,
        max_retries: int = 2,
        default_headers: HeaderValues | None = None,
        default_query: QueryValues | None = None,
        http_session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        trust_env: bool = True,
        ssl_context: ssl.SSLContext | None = None,
        scopes: Iterable[str] = (),
        resource: str | None = None,
        token_store: _tokens.TokenStore | None = None,
        token_hooks: Iterable[_tokens.TokenHook] = (),
        tokens: _tokens.TokenManager | None = None,
        verify_issued: VerifyIssued = "auto",
        audience: str | Iterable[str] = (),
        issuer: str | None = None,
        allow_insecure: bool = False,
    ) -> None:
        credentials = Secret((api_key, client_id, client_secret))
        headers, query = Secret(default_headers), Secret(default_query)
        hidden_url, hidden_proxy = Secret(base_url), Secret(proxy)
        del api_key, client_secret, default_headers, default_query, base_url, proxy
        base, insecure = base_address(hidden_url, allow_insecure=allow_insecure)
        if tokens is not None:
            expect(
                tokens, "tokens", "a TokenManager, such as AsyncTelnyx(...).tokens or Telnyx(...).tokens.manager", "get"
            )
        else:
            credentials = complete(credentials)
        if token_store is not None:
            expect(
                token_store, "token_store", "a token store, such as FileStore(...)", "load", "compare_and_swap", "lock"
            )
        if issuer is not None:
            expect_text(type(issuer), "issuer", AS_TEXT)
        if resource is not None:
            expect_text(type(resource), "resource", AS_TEXT)
        options = Options(
            api_key=credentials.plain[0],
            client_id=credentials.plain[1],
            client_secret=credentials.plain[2],
            base_url=base,
            timeout=Timeout() if isinstance(timeout, Omit) else as_timeout(timeout),
            max_retries=as_retries(max_retries),
            default_headers=as_dict(headers, "default_headers"),
            default_query=as_dict(query, "default_query"),
            scopes=tuple(scopes.split()) if isinstance(scopes, str) else expect_texts(scopes, "scopes"),
            resource=resource,
            token_store=token_store,
            token_hooks=expect_functions(token_hooks, "token_hooks"),
            verify_issued=check_verify_issued(verify_issued),
            audience=expect_texts(audience, "audience"),
            issuer=issuer,
            allow_insecure=insecure,
        )
        connections = Connections(http_session, proxy=hidden_proxy.plain, trust_env=trust_env, ssl_context=ssl_context)
        self._wire(options, connections, None, tokens)

    def _wire(
        self,
        options: Options,
        connections: Connections,
        original: AsyncTelnyx | None,
        tokens: _tokens.TokenManager | None,
    ) -> None:
        self._options = options
        self._connections = connections
        self._borrows_connections = original is not None and original._connections is connections
        if original is not None and original._options.has_tokens_of(options):
            tokens = original._tokens
        self._borrows_tokens = tokens is not None
        if tokens is None and options.client_id and options.client_secret:
            tokens = self._new_manager(options.client_id, Secret(options.client_secret))
        self._tokens: _tokens.TokenManager | None = tokens
        same_server = original is not None and original.base_url == options.base_url
        shared = original._engine.shared if original is not None and same_server else Shared()
        engine = Engine(
            connections.api,
            defaults(options),
            Credentials(options.api_key, options.client_id, options.client_secret, tokens),
            shared=shared,
        )
        super().__init__(engine)

    def _new_manager(self, client_id: str, client_secret: Secret[str]) -> _tokens.TokenManager:
        # Loaded here, as other modules below: a client with an API key never needs them.
        from .tokens.manager import TokenManager
        from .tokens.sources import ClientCredentials

        options = self._options
        source = ClientCredentials(
            self._connections.tokens,
            f"{options.base_url}/oauth/token",
            client_id,
            client_secret.plain,
            scopes=options.scopes,
            resource=options.resource,
            allow_insecure=options.allow_insecure,
        )
        return TokenManager(
            source,
            store=options.token_store,
            hooks=options.token_hooks,
            verifier=self._issued_verifier(),
            demand_proof=options.verify_issued is True,
        )

    @part
    def well_known(self) -> AsyncWellKnown:
        """The well-known documents."""
        return AsyncWellKnown(self._engine)

    @part
    def oauth(self) -> AsyncOAuth:
        """The protocol's endpoints."""
        return AsyncOAuth(self._engine)

    @part
    def oauth_clients(self) -> AsyncOAuthClients:
        """The OAuth clients of the account."""
        return AsyncOAuthClients(self._engine)

    @part
    def oauth_grants(self) -> AsyncOAuthGrants:
        """The grants that people of the account have given."""
        return AsyncOAuthGrants(self._engine)

    def _issued_verifier(self) -> _tokens.IssuedVerifier | None:
        verify = self._options.verify_issued
        # Keys that came over plain http from another machine prove nothing.
        if verify is False or (verify == "auto" and is_insecure(self.base_url)):
            return None
        from .validation.jwks import IssuedTokenVerifier

        return IssuedTokenVerifier(self._keys, issuer=self._options.issuer)

    @member
    def authorization(self) -> _tokens.AuthorizationFlow:
        """The sign-in of people to this client's `client_id`. A client made with `tokens=` then calls on behalf of one."""
        return self._authorization

    @cached_property
    def _authorization(self) -> _tokens.AuthorizationFlow:
        from .tokens.authorization_code import AuthorizationFlow

        options = self._options
        return AuthorizationFlow(
            client_id=options.client_id,
            client_secret=options.client_secret,
            base_url=options.base_url,
            issuer=options.issuer,
            resource=options.resource,
            send=self._connections.tokens,
            store=options.token_store,
            hooks=options.token_hooks,
            verifier=self._issued_verifier(),
            demand_proof=options.verify_issued is True,
            allow_insecure=options.allow_insecure,
        )

    @cached_property
    def _keys(self) -> _validation.JWKSCache:
        from .validation.jwks import JWKSCache

        # `base_url` has been checked: another refusal here would hide the reason why no token verifies.
        return JWKSCache(f"{self.base_url}/oauth/jwks", send=self._connections.tokens, allow_insecure_loopback=True)

    @member
    def validator(self) -> _validation.TokenValidator:
        """The validator of tokens that others present to you. Raises `ValueError` for a client without an `audience`."""
        return self._validator

    @cached_property
    def _validator(self) -> _validation.TokenValidator:
        from .protocol.jwt import TokenPolicy
        from .validation.validator import TokenValidator

        if not self._options.audience:
            raise _NoAudienceError(
                "`validator` needs the audience of the tokens: pass audience= to the client", obj=None
            )
        policy = TokenPolicy.telnyx(audience=self._options.audience, issuer=self._options.issuer or ISSUER)
        return TokenValidator(policy, self._keys)

    @property
    def api_key(self) -> str | None:
        """The API key, or `None`."""
        return self._options.api_key

    @property
    def client_id(self) -> str | None:
        """The OAuth client's id, or `None`."""
        return self._options.client_id

    @property
    def client_secret(self) -> str | None:
        """The OAuth client's secret, or `None`."""
        return self._options.client_secret

    @property
    def base_url(self) -> str:
        """The address that everything is sent to."""
        return self._options.base_url

    @property
    def timeout(self) -> Timeout:
        """The time limits of one attempt."""
        return self._options.timeout

    @property
    def max_retries(self) -> int:
        """The number of attempts after the first."""
        return self._options.max_retries

    @property
    def default_headers(self) -> HeaderValues:
        """Headers of every call."""
        return self._options.default_headers

    @property
    def default_query(self) -> QueryValues:
        """Query parameters of every call."""
        return self._options.default_query

    @member
    def tokens(self) -> _tokens.TokenManager:
        """The manager of this client's tokens. Raises `MissingCredentialsError` when it has no credentials."""
        return self._key_manager if self._tokens is None else self._tokens

    @cached_property
    def _key_manager(self) -> _tokens.TokenManager:
        """A manager of the API key, for `tokens` alone: calls carry the key itself."""
        from .tokens.manager import TokenManager
        from .tokens.sources import ApiKey

        if not self._options.api_key:
            raise MissingCredentialsError(
                "`tokens`",
                ("client_secret", "TELNYX_CLIENT_SECRET")
                if self._options.client_id
                else ("client_id and client_secret", "TELNYX_CLIENT_ID and TELNYX_CLIENT_SECRET"),
                ("api_key", "TELNYX_API_KEY"),
            )
        if self._engine.closed:
            raise _ClosedBeforeError
        return TokenManager(ApiKey(self._options.api_key), hooks=self._options.token_hooks)

    def copy(
        self,
        *,
        api_key: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        base_url: str | None = None,
        timeout: float | Timeout | Omit | None = omit,
        max_retries: int | Omit = omit,
        default_headers: HeaderValues | None = None,
        set_default_headers: HeaderValues | None = None,
        default_query: QueryValues | None = None,
        set_default_query: QueryValues | None = None,
        http_session: aiohttp.ClientSession | None = None,
        allow_insecure: bool = False,
    ) -> Self:
        """Make a client with other options that shares this one's connections, and its tokens if the credentials are the same.

        `default_headers` and `default_query` are merged into the present ones, `set_default_...` replace them. An `api_key`
        without client credentials takes their place. `allow_insecure` is for one origin, so a `base_url` at another origin
        needs it again. Closing the copy leaves this client open; closing this client ends its copies.
        """
        old = self._options
        changes = Secret((api_key, client_id, client_secret))
        headers = Secret((old.default_headers, default_headers, set_default_headers))
        query = Secret((old.default_query, default_query, set_default_query))
        hidden_url = Secret(base_url)
        del api_key, client_secret, default_headers, default_query, set_default_headers, set_default_query, base_url
        check_credentials(changes)
        credentials = old.credentials_of_copy(*changes.plain)
        check_api_key(credentials)
        base, insecure = old.base_address_of_copy(hidden_url, allow_insecure=allow_insecure)
        options = attrs.evolve(
            old,
            api_key=credentials.plain[0],
            client_id=credentials.plain[1],
            client_secret=credentials.plain[2],
            base_url=base,
            allow_insecure=insecure,
            timeout=old.timeout if isinstance(timeout, Omit) else as_timeout(timeout),
            max_retries=old.max_retries if isinstance(max_retries, Omit) else as_retries(max_retries),
            default_headers=changed("headers", headers),
            default_query=changed("query", query),
        )
        connections = self._connections if http_session is None else Connections(http_session)
        twin = type(self).__new__(type(self))
        twin._wire(options, connections, self, None)
        return twin

    with_options = copy

    @property
    def is_copy(self) -> bool:
        """True for a client that uses another's connections. Nothing warns of such a copy that is dropped unclosed."""
        return self._borrows_connections

    def is_closed(self) -> bool:
        """Return `True` after `close`."""
        return self._engine.closed

    async def close(self) -> None:
        """Close connections and end refreshes. An `http_session`, and whatever another client lends to this one, stay open."""
        self._engine.closed = True
        # Each step may be repeated, so the next `close` finishes one that was cancelled. The stack runs the last first, and
        # all of them even if one raises.
        async with AsyncExitStack() as ends:
            if not self._borrows_connections:
                ends.push_async_callback(self._connections.aclose)
            if "_keys" in self.__dict__:
                ends.push_async_callback(self._keys.aclose)
            if "_authorization" in self.__dict__:
                ends.push_async_callback(self._authorization.aclose)
            if "_key_manager" in self.__dict__:
                ends.push_async_callback(self._key_manager.aclose)
            if self._tokens is not None and not self._borrows_tokens:
                # Without a store, the token of a refresh that is still running would be lost anyway: do not wait for it.
                drain = 0.0 if self._options.token_store is None else 5.0
                ends.push_async_callback(self._tokens.aclose, drain=drain)

    if not TYPE_CHECKING:
        __enter__ = refused("is used with `async with`; the client for `with` is Telnyx.")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        if self.client_secret:
            caller: str | None = self.client_id
        elif self.api_key:
            caller = "an API key"
        else:
            caller = "no credentials" if self._tokens is None else "a token manager"
        return f"<{type(self).__name__} for {caller} at {self.base_url}>"

    def __del__(self) -> None:
        # `_engine` is missing when the constructor raised.
        if getattr(self, "_engine", None) is None or self.is_copy or not self._warns_unclosed or self._engine.closed:
            return
        if self._connections.is_open:
            text = f"Unclosed {self!r}; call close(), or use it as a context manager"
            # A recorder of warnings, such as pytest's, keeps this object alive. Drop the connections, so that they close now,
            # and keep only what `repr` needs.
            self.__dict__ = {"_options": self._options, "_tokens": None}
            warnings.warn(text, ResourceWarning, source=self)


# Errors of properties are AttributeErrors too, so that `hasattr`, `inspect` and mocks see an attribute that is absent.


class _NoAudienceError(AttributeError, ValueError):
    pass


class _ClosedBeforeError(ClientClosedError, AttributeError):
    def __init__(self) -> None:
        super().__init__()
        self.obj = None  # as in `MissingCredentialsError`
