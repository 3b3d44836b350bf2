"""`AsyncTelnyx`: configuration and wiring."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

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
    address,
    as_dict,
    changed,
    check_given,
    check_key,
    check_verify_issued,
    defaults,
    identity,
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
from .transport.connections import Connections
from .transport.engine import Engine, Shared


class AsyncTelnyx(NamesChecked, AsyncUndocumented):
    """Telnyx's OAuth API, asynchronous. Use it on any event loop; close it, or use it as a context manager.

    Making one does no I/O and needs no credentials; a call that needs some and has none fails before anything is sent.

    `api_key` (environment: `TELNYX_API_KEY`), `client_id` (`TELNYX_CLIENT_ID`) and `client_secret` (`TELNYX_CLIENT_SECRET`)
    say who is calling: with an id and a secret the calls carry tokens that renew themselves, else the key. An identity that
    is given here wins over the environment's. `base_url` (`TELNYX_BASE_URL`) is where everything is sent, token requests
    included. Plain http to another machine needs `allow_insecure` (`TELNYX_ALLOW_INSECURE=1`, for the environment's address).

    `timeout` is seconds for one attempt, 60 by default and 5 for connecting; `None` is no limit. `max_retries` counts the
    attempts after the first. `scopes` and `resource` are asked for with each token, `token_store` keeps tokens between
    processes, and `token_hooks` hear of every event in their lives; or give a whole manager as `tokens`, such as that of a
    person who has signed in: the calls carry its tokens, and closing it stays with you. `verify_issued` checks issued
    tokens against the server's keys before they are used: whatever can be checked (`"auto"`), all (`True`), or none.
    `audience` and `issuer` are what `validator` demands of tokens that others present.

    `http_session` is used as it is and never closed, and tokens and keys have connections of their own in its likeness (a
    session or connector of your own making serves them too); else `proxy` or, with `trust_env`, the environment's proxies,
    and `ssl_context` apply; calls to this machine go through none. Raises `ValueError` for a bad base URL or header.
    """

    _instead = "Make a client in each process; `with_options` gives one with other options."

    # Whether it is the core of a blocking client.
    _is_core = False

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
        who = Secret((api_key, client_id, client_secret))
        added = Secret((default_headers, default_query))
        place, way = Secret(base_url), Secret(proxy)
        del api_key, client_secret, default_headers, default_query, base_url, proxy
        base, allowed = address(place, allow_insecure=allow_insecure)
        if tokens is not None:
            expect(
                tokens, "tokens", "a TokenManager, such as AsyncTelnyx(...).tokens or Telnyx(...).tokens.manager", "get"
            )
        if token_store is not None:
            expect(
                token_store, "token_store", "a token store, such as FileStore(...)", "load", "compare_and_swap", "lock"
            )
        if tokens is None:
            who = identity(who)
        if issuer is not None:
            expect_text(type(issuer), "issuer", AS_TEXT)
        if resource is not None:
            expect_text(type(resource), "resource", AS_TEXT)
        options = Options(
            api_key=who.plain[0],
            client_id=who.plain[1],
            client_secret=who.plain[2],
            base_url=base,
            timeout=Timeout() if isinstance(timeout, Omit) else as_timeout(timeout),
            max_retries=as_retries(max_retries),
            default_headers=as_dict(Secret(added.plain[0]), "default_headers"),
            default_query=as_dict(Secret(added.plain[1]), "default_query"),
            scopes=tuple(scopes.split()) if isinstance(scopes, str) else expect_texts(scopes, "scopes"),
            resource=resource,
            token_store=token_store,
            token_hooks=expect_functions(token_hooks, "token_hooks"),
            verify_issued=check_verify_issued(verify_issued),
            audience=expect_texts(audience, "audience"),
            issuer=issuer,
            allow_insecure=allowed,
        )
        connections = Connections(http_session, proxy=way.plain, trust_env=trust_env, ssl_context=ssl_context)
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
        same = original is not None and original._options.who == options.who
        self._tokens: _tokens.TokenManager | None = original._tokens if original is not None and same else tokens
        self._borrows_tokens = self._tokens is not None
        if self._tokens is None and options.client_id and options.client_secret:
            from .managers import of_credentials  # here, as below, because many a client never needs it

            self._tokens = of_credentials(options, connections.tokens, self._issued_verifier())
        neighbours = original is not None and original.base_url == options.base_url
        shared = original._engine.shared if original is not None and neighbours else Shared()
        engine = Engine(
            connections.api,
            defaults(options),
            Credentials(options.api_key, options.client_id, options.client_secret, self._tokens),
            shared=shared,
        )
        super().__init__(engine)

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
        # Keys that came by plain http from another machine would prove nothing.
        if verify is False or (verify == "auto" and is_insecure(self.base_url)):
            return None
        from .validation.jwks import IssuedTokenVerifier

        return IssuedTokenVerifier(self._keys, issuer=self._options.issuer)

    @part
    def authorization(self) -> _tokens.AuthorizationFlow:
        """Signs people in to this client's `client_id`; a client made with `tokens=` then calls as one of them."""
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

        # Whoever gives an http base_url has decided that already; here it would only hide why nothing verifies.
        return JWKSCache(f"{self.base_url}/oauth/jwks", send=self._connections.tokens, allow_insecure_loopback=True)

    @part
    def validator(self) -> _validation.TokenValidator:
        """Judges tokens that others present to you. Raises `ValueError` when the client was made without an `audience`."""
        from .protocol.jwt import TokenPolicy
        from .validation.validator import TokenValidator

        if not self._options.audience:
            problem = "`validator` needs to know whom tokens must be meant for: pass audience= to the client"
            raise _NoAudienceError(problem, obj=None)
        policy = TokenPolicy.telnyx(audience=self._options.audience, issuer=self._options.issuer or ISSUER)
        return TokenValidator(policy, self._keys)

    @property
    def api_key(self) -> str | None:
        """The API key, where the client has one."""
        return self._options.api_key

    @property
    def client_id(self) -> str | None:
        """The OAuth client's id."""
        return self._options.client_id

    @property
    def client_secret(self) -> str | None:
        """The OAuth client's secret."""
        return self._options.client_secret

    @property
    def base_url(self) -> str:
        """Where everything is sent."""
        return self._options.base_url

    @property
    def timeout(self) -> Timeout:
        """How long one attempt may take."""
        return self._options.timeout

    @property
    def max_retries(self) -> int:
        """How many attempts may follow the first."""
        return self._options.max_retries

    @property
    def default_headers(self) -> HeaderValues:
        """What the client adds to the headers of every call."""
        return self._options.default_headers

    @property
    def default_query(self) -> QueryValues:
        """What the client adds to the query of every call."""
        return self._options.default_query

    @member
    def tokens(self) -> _tokens.TokenManager:
        """The manager of this client's tokens. Raises `MissingCredentialsError` when it has no credentials."""
        return self._key_manager if self._tokens is None else self._tokens

    @cached_property
    def _key_manager(self) -> _tokens.TokenManager:
        """A manager of the API key, for those who ask for one: calls carry the key itself."""
        from .managers import of_key

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
        return of_key(self._options)

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
        """A client like this one but for what is given. It shares connections, and tokens where the identity is the same.

        `default_headers` and `default_query` are laid over the present ones, `set_default_...` replace them. An `api_key` given
        alone takes the place of client credentials. `allow_insecure` was said for one origin, so a `base_url` at another needs it
        again. Closing the copy leaves this client open; closing this one ends its copies.
        """
        old = self._options
        who = Secret((api_key, client_id, client_secret))
        headers = Secret((old.default_headers, default_headers, set_default_headers))
        query = Secret((old.default_query, default_query, set_default_query))
        place = Secret(base_url)
        del api_key, client_secret, default_headers, default_query, set_default_headers, set_default_query, base_url
        check_given(who)
        who = old.identity_with(*who.plain)
        check_key(who)
        base, allowed = old.moved(place, allow_insecure=allow_insecure)
        options = attrs.evolve(
            old,
            api_key=who.plain[0],
            client_id=who.plain[1],
            client_secret=who.plain[2],
            base_url=base,
            allow_insecure=allowed,
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
        """Whether another client's connections are used here. Such a copy may be dropped without a word."""
        return self._borrows_connections

    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        return self._engine.closed

    async def close(self) -> None:
        """End this client's connections and renewals. A given session, and what is borrowed from another client, stay open."""
        self._engine.closed = True
        # All of this may be done twice, so that a close that was cancelled is finished by the next.
        async with AsyncExitStack() as ends:  # the last one first, and each whatever becomes of the others
            if not self._borrows_connections:
                ends.push_async_callback(self._connections.aclose)
            if "_keys" in self.__dict__:
                ends.push_async_callback(self._keys.aclose)
            if "authorization" in self.__dict__:
                ends.push_async_callback(self.authorization.aclose)
            if "_key_manager" in self.__dict__:
                ends.push_async_callback(self._key_manager.aclose)
            if self._tokens is not None and not self._borrows_tokens:
                # Without a store there is nothing that a renewal under way could save for later.
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
        named = self.client_id if self.client_secret else ("an API key" if self.api_key else "nobody")
        who = "a token manager" if named == "nobody" and self._tokens is not None else named
        return f"<{type(self).__name__} for {who} at {self.base_url}>"

    def __del__(self) -> None:
        # `_engine` is missing when the constructor raised. A blocking client gives the warning itself.
        if getattr(self, "_engine", None) is None or self.is_copy or self._is_core or self._engine.closed:
            return
        if self._connections.is_open:
            text = f"Unclosed {self!r}; call close(), or use it as a context manager"
            # Who records warnings, as pytest does, keeps this object: the connections must not be kept with it.
            kept = {"_options": self._options, "_tokens": None}
            self.__dict__.clear()
            self.__dict__.update(kept)
            warnings.warn(text, ResourceWarning, source=self)


# What a property raises is an AttributeError too: `hasattr`, `inspect` and mocks take it for what is not there.


class _NoAudienceError(AttributeError, ValueError):
    pass


class _ClosedBeforeError(ClientClosedError, AttributeError):
    def __init__(self) -> None:
        super().__init__()
        self.obj = None  # as in `MissingCredentialsError`
