"""Sign-in of a person: the authorization code flow (RFC 6749 section 4.1) with PKCE and state, and metadata discovery."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from itertools import islice
from types import TracebackType
from typing import Final, Self

import attrs

from ..errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    AuthorizationCodeLostError,
    DiscoveryError,
    MissingCredentialsError,
    StateMismatchError,
    TokenPersistenceError,
    TokenVerificationError,
)
from ..hints import Hinted, NamesChecked
from ..messages import Response, Send
from ..protocol.arguments import AS_TEXT, TRANSPORT, expect, expect_a, expect_function, expect_text
from ..protocol.authorization_code import LIFETIME, PendingAuthorization, begin, check_state, code_in, read_callback
from ..protocol.freshness import DEFAULT_POLICY, POLICY, RefreshPolicy
from ..protocol.metadata import (
    AuthorizationServer,
    ProtectedResource,
    auth_methods_in,
    check_server,
    choose_auth_method,
    is_missing,
    metadata_request,
    metadata_urls,
    names_itself,
    resource_from,
    resource_urls,
    same_issuer,
    server_from,
    telnyx_server,
)
from ..protocol.registration import RegisteredClient, registered_client, registration_request
from ..protocol.secret import Secret, Uncopied
from ..protocol.token import TokenKey
from ..protocol.token_endpoint import AuthMethod, TokenGrant
from ..protocol.urls import check_base_url, root_of
from ..transport.clock import Clock, SystemClock
from ..transport.engine import send_with_retry
from ..transport.http import HttpTransport
from .drain import run_to_end
from .events import TokenHook, hooks_of
from .manager import TokenManager
from .persistence import Access
from .refresh import IssuedVerifier, is_unknown, verdict
from .sources import AuthorizationCode, ClientSecret, RefreshToken
from .stores.base import STORE, STORE_METHODS, TokenStore, is_shared
from .stores.memory import MemoryStore


async def discover(send: Send, issuer: str) -> AuthorizationServer:
    """Get the metadata of the authorization server whose name is `issuer` (RFC 8414).

    It is looked for at RFC 8414's address, and when there is none, at OpenID Connect's. Raises `DiscoveryError` when it is
    another server's or lacks a required member, `APIConnectionError` when it cannot be fetched, `ValueError` for an issuer
    that is not https (http: only on this machine).
    """
    return server_from(await _first(send, metadata_urls(issuer)), issuer)


async def discover_resource(send: Send, url: str, www_authenticate: Iterable[str] = ()) -> ProtectedResource:
    """Get the metadata of the resource at `url`, which names the authorization servers (RFC 9728). `www_authenticate` are the
    headers of its 401, if there was one.

    The metadata is looked for at the address in the 401, or at those of the resource's path and of the root. Raises the
    errors of `discover`. Go on with `discover(send, metadata.authorization_servers[0])`, and request tokens with
    `resource=metadata.resource`.
    """
    return resource_from(await _first(send, resource_urls(url, www_authenticate)), url)


async def _first(send: Send, urls: tuple[str, ...]) -> Response:
    """The response of the first address that has a document; the first address's, if there is only one."""
    first = None
    for url in urls:
        response = await send_with_retry(send, metadata_request(url))
        if not is_missing(response):
            return response
        first = first or response
    assert first is not None
    if len(urls) == 1:
        return first
    raise DiscoveryError(
        f"{first.request} gave no metadata (status {first.status_code}), and neither did {' and '.join(urls[1:])}."
    )


BASE_URL: Final = "https://api.telnyx.com/v2"
_SYSTEM: Final = SystemClock()
_MOST_MANAGERS: Final = 1024
_ADVERTISED_FOR: Final = 3600.0


class AuthorizationFlow(NamesChecked, Hinted, Uncopied):
    """Signs people in with an authorization code and PKCE, and keeps their grants.

    `begin_authorization` gives the address to send a person to. `complete_authorization` takes the address that they came
    back to and gives a `TokenManager` for their grant; `tokens` gives it again later, from `store` (a `MemoryStore`
    without one). `account` is your name for the person, one grant to each.

    Without `server` it is Telnyx at `base_url`, and every address derives from that. `issuer` is its name where that is
    not the root of `base_url`. For another server, pass the result of `discover`. `resource` is the API that the tokens are
    for (RFC 8707). A program without a `client_id` gets one from `register`. `verifier` verifies tokens before they are
    handed out. `send` is the transport; without one the flow has its own connections, which `aclose` ends. Addresses that
    are plain http to another machine raise `ValueError` unless `allow_insecure` is true.

    With a secret, `auth_method` is Basic, unless the server's metadata names other methods. Raises `DiscoveryError` where
    this package knows none of them; an `auth_method` that you pass is used as it is.
    """

    def __init__(
        self,
        *,
        client_id: str | None = None,
        client_secret: ClientSecret | None = None,
        auth_method: AuthMethod | None = None,
        base_url: str = BASE_URL,
        issuer: str | None = None,
        server: AuthorizationServer | None = None,
        resource: str | None = None,
        send: Send | None = None,
        store: TokenStore | None = None,
        policy: RefreshPolicy = DEFAULT_POLICY,
        clock: Clock = _SYSTEM,
        hooks: Iterable[TokenHook] = (),
        verifier: IssuedVerifier | None = None,
        demand_proof: bool = False,
        allow_insecure: bool = False,
    ) -> None:
        self._secret, place = client_secret, Secret(base_url)
        del client_secret, base_url
        if server is not None:
            expect_a(
                server,
                "server",
                "an AuthorizationServer, such as AuthorizationFlow.discover finds",
                AuthorizationServer,
            )
        if send is not None:
            expect_function(send, "send", TRANSPORT)
        if client_id is not None:
            expect_text(type(client_id), "client_id")
        self.client_id = client_id
        self.resource = resource
        self.server = server or telnyx_server(place.plain, issuer, allow_insecure=allow_insecure)
        check_server(self.server, allow_insecure=allow_insecure)
        self._allow_insecure = allow_insecure
        checked = check_base_url(place.plain, allow_insecure=allow_insecure) if server is None else ""
        self._root = root_of(checked) if server is None else None
        self._advertised_until = 0.0
        self._method: AuthMethod | None = auth_method
        self._auth_method()  # raises here, where the arguments are, if the server takes no such client
        self._own = HttpTransport(limit=10, middlewares=False)
        self._send: Send = send or self._own
        expect_a(policy, "policy", POLICY, RefreshPolicy)
        if store is not None:
            expect(store, "store", STORE, *STORE_METHODS)
        self._store = store or MemoryStore()
        self._policy = policy
        self._clock = clock
        self._hooks = hooks_of(hooks)
        self._verifier = verifier
        self._demand_proof = demand_proof
        self._pending: PendingAuthorization | None = None
        self._used: dict[bytes, float] = {}
        self._managers: dict[tuple[str, str | None], TokenManager] = {}

    async def begin_authorization(
        self,
        *,
        redirect_uri: str,
        scopes: Iterable[str] | str = (),
        resource: str | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> PendingAuthorization:
        """Begin a sign-in, good for 10 minutes: send the person to its `url`. PKCE is always S256.

        A web application keeps the value in its visitor's session (`to_json`) and passes it back at the end: that proves
        that the same visitor came back. Raises `ValueError` for a `redirect_uri` that is none, `MissingCredentialsError`
        without a client id, `APIConnectionError` and `DiscoveryError` when the server's metadata cannot be fetched or used.
        """
        pending = begin(
            await self._current_server(),
            client_id=self._client(),
            redirect_uri=redirect_uri,
            scopes=scopes,
            resource=self.resource if resource is None else resource,
            extra=extra,
            entropy=(Secret(secrets.token_bytes(32)), Secret(secrets.token_bytes(32))),
            now=self._clock.wall(),
        )
        self._pending = pending
        return pending

    async def complete_authorization(
        self, callback_url: str, *, pending: PendingAuthorization | None = None, account: str = ""
    ) -> TokenManager:
        """Complete a sign-in. Return the manager of the grant, which is stored under `account` in the place of any before it.

        `callback_url` is the address that the browser came back to. `pending` is the result of `begin_authorization` for this
        person; without it, the last sign-in that began here is completed, which suits only a program for one person.

        Raises an `AuthorizationError` (`StateMismatchError`, `AuthorizationExpiredError`, `IssuerMismatchError`,
        `AccessDeniedError`, `AuthorizationCodeLostError`, ...) or a `TokenEndpointError`; a stored grant stays. The code is
        sent once, and a sign-in is completed once, unless nothing could be sent. Nothing is sent when a shared `store` does
        not take a record now: `TokenPersistenceError`, and the same answer may be completed again.
        """
        callback = Secret(callback_url)
        del callback_url
        expect_text(type(callback.plain), "callback_url", AS_TEXT)
        began = pending or self._pending
        if began is None:
            raise StateMismatchError("No sign-in has begun here, so this cannot be its answer.")
        if began.client_id != self.client_id or not same_issuer(began.issuer, self.server.issuer):
            raise StateMismatchError("This sign-in began with another server or client.")
        answer = read_callback(callback)
        check_state(began, answer)
        self._use_up(began)
        code = code_in(began, answer, now=self._clock.wall())
        # The code can be used only once. A visitor may leave now, and their handler be cancelled: the grant must not be lost.
        return await run_to_end(self._complete(began, code, account))

    async def _complete(self, began: PendingAuthorization, code: Secret[str], account: str) -> TokenManager:
        manager = self.tokens(account=account, resource=began.resource)
        await self._rehearse(began, manager.status().key)
        sent_at = self._clock.boot()
        grant = await self._exchange(began, code)
        if self._verifier is not None:
            # Here and not only in the manager, so that a wrong token never replaces a good grant.
            await self._verifier.prepare()
            reason = await verdict(self._verifier, grant)
            if reason is not None and self._demand_proof:
                raise TokenVerificationError(
                    f"The issued token cannot be verified ({reason}), and verification is demanded."
                )
        if grant.scopes is None:  # then they are the requested ones (RFC 6749 section 5.1)
            grant = attrs.evolve(grant, scopes=began.scopes)
        await manager.accept(grant, age=max(0.0, self._clock.boot() - sent_at))
        return manager

    def tokens(self, *, account: str = "", resource: str | None = None) -> TokenManager:
        """The manager of the grant of `account`, from this process or, with a store that lasts, from one before.

        This call does no I/O. If there is no grant, the manager's `get` raises `ReauthenticationRequiredError`.
        """
        key = (account, self.resource if resource is None else resource)
        manager = self._managers.pop(key, None) or self._new_manager(*key)
        self._managers[key] = manager  # the youngest is last
        for old in list(islice(self._managers, max(0, len(self._managers) - _MOST_MANAGERS))):
            state = self._managers[old].status()
            if state.durable and not state.renewing:
                del self._managers[old]
        return manager

    async def register(
        self,
        *,
        redirect_uris: Iterable[str],
        client_name: str,
        scopes: Iterable[str] | str = (),
        auth_method: AuthMethod | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> RegisteredClient:
        """Register a client and use it from here on (RFC 7591). Keep the result and pass it to the next flow.

        Without an `auth_method` a client without a secret is requested (`none`), unless the server's metadata names only
        other methods. The server's answer decides how the client authenticates: see `RegisteredClient.auth_method`.
        `metadata` is further client metadata (RFC 7591 section 2), such as `logo_uri`; `None` leaves a member out.

        Sent once. Raises `APIStatusError` when refused, `APIConnectionError` when no whole answer came (there may be a client
        then, if `sent` is true), `DiscoveryError` when the server has no registration endpoint, and `ValueError` for
        `metadata` that repeats another parameter or cannot be written as JSON.
        """
        if self.server.registration_endpoint is None:
            raise DiscoveryError(
                f"{self.server.issuer} registers no clients by itself, or at no safe address: ask there for a client id."
            )
        supported = self.server.token_endpoint_auth_methods_supported
        method = auth_method or (
            "none" if "none" in supported else choose_auth_method(supported, has_secret=True) or "none"
        )
        request = registration_request(
            self.server.registration_endpoint,
            redirect_uris=redirect_uris,
            client_name=client_name,
            scopes=scopes,
            auth_method=method,
            metadata=metadata,
        )
        response = await self._send(request)
        client = registered_client(response, requested=method, supported=supported, now=self._clock.wall())
        self.client_id, self._secret, self._method = client.client_id, client.client_secret, client.auth_method
        return client

    async def aclose(self) -> None:
        """Close the managers, and the connections if they are the flow's own."""
        await asyncio.gather(*(manager.aclose() for manager in self._managers.values()))
        self._managers.clear()  # only now, so that the next call finishes a close that was cancelled
        await self._own.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _client(self) -> str:
        if not self.client_id:
            raise MissingCredentialsError("Signing in", ("client_id", "TELNYX_CLIENT_ID"))
        return self.client_id

    def _auth_method(self) -> AuthMethod | None:
        """The client's authentication method: the argument, else one from the server's metadata."""
        supported = self.server.token_endpoint_auth_methods_supported
        return self._method or choose_auth_method(supported, has_secret=bool(self._secret))

    async def _current_server(self) -> AuthorizationServer:
        """The server, with its metadata's current statements about `iss` and client authentication. Telnyx's addresses are
        never taken from there.
        """
        if self._root is not None and self._clock.boot() >= self._advertised_until:
            url = f"{self._root}/.well-known/oauth-authorization-server"
            response = await send_with_retry(self._send, metadata_request(url), clock=self._clock)
            self.server = attrs.evolve(
                self.server,
                issuer_in_response=names_itself(response, self.server.issuer),
                token_endpoint_auth_methods_supported=auth_methods_in(response, self.server.issuer),
            )
            self._auth_method()  # raises before the person is sent to the server
            self._advertised_until = self._clock.boot() + _ADVERTISED_FOR
        return self.server

    def _use_up(self, began: PendingAuthorization) -> None:
        """Mark the state as used: it counts once, whether the sign-in succeeds or fails."""
        now = self._clock.wall()
        self._used = {mark: end for mark, end in self._used.items() if end > now}
        mark = _mark(began)
        if mark in self._used:
            raise StateMismatchError("This sign-in was answered already. Begin another.")
        self._used[mark] = max(began.expires_at, now + LIFETIME)

    async def _rehearse(self, began: PendingAuthorization, key: TokenKey) -> None:
        """Check that a shared store takes a record, before the code is used up."""
        if not is_shared(self._store):
            return
        try:
            access = Access(self._store, self._policy, self._clock)
            await access.rehearse(key.family_key, key.token_endpoint, key.client_id)
        except TokenPersistenceError:
            self._used.pop(_mark(began), None)  # so the same answer may be completed once the store works
            raise

    async def _exchange(self, began: PendingAuthorization, code: Secret[str]) -> TokenGrant:
        source = AuthorizationCode(
            self._send,
            self.server.token_endpoint,
            began.client_id,
            self._secret,
            code=code.plain,
            redirect_uri=began.redirect_uri,
            code_verifier=began.code_verifier,
            auth_method=self._auth_method(),
            resource=began.resource,
            clock=self._clock,
            allow_insecure=self._allow_insecure,
        )
        try:
            return await source(source.key)
        except (APIConnectionError, APIStatusError, APIResponseValidationError) as exc:
            if isinstance(exc, APIConnectionError) and not exc.sent:
                self._used.pop(_mark(began), None)  # so the same answer may be completed once more
                raise
            if not is_unknown(exc):
                exc.add_note("The person is not signed in and nothing was stored. Begin another sign-in.")
                raise
            raise AuthorizationCodeLostError(
                "The code was sent and no usable answer came back, so it may be used up. It is not sent twice: sign in "
                "again."
            ) from exc

    def _new_manager(self, account: str, resource: str | None) -> TokenManager:
        source = RefreshToken(
            self._send,
            self.server.token_endpoint,
            self._client(),
            self._secret,
            account=account,
            auth_method=self._auth_method(),
            resource=resource,
            clock=self._clock,
            allow_insecure=self._allow_insecure,
        )
        return TokenManager(
            source,
            store=self._store,
            policy=self._policy,
            clock=self._clock,
            hooks=self._hooks,
            verifier=self._verifier,
            demand_proof=self._demand_proof,
        )


def _mark(began: PendingAuthorization) -> bytes:
    return hashlib.sha256(began.state.encode()).digest()
