"""Telnyx's OAuth API for Python: clients, tokens that refresh themselves, and tokens that are validated.

Each public name is loaded when it is first used, so importing the package is cheap.

PYTEST_DONT_REWRITE: there are no assertions here, so importing the package before pytest is no reason for a warning.
"""

from __future__ import annotations

from importlib import import_module

from ._version import __version__ as __version__

# Type checkers take any variable of this name as True. Importing it would load `typing`, the largest cost of this import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from . import types as types
    from .blocking.rows import (
        APIResponse as APIResponse,
        Page as Page,
    )
    from .client import AsyncTelnyx as AsyncTelnyx
    from .errors import (
        AccessDeniedError as AccessDeniedError,
        APIConnectionError as APIConnectionError,
        APIError as APIError,
        APIResponseValidationError as APIResponseValidationError,
        APIStatusError as APIStatusError,
        APITimeoutError as APITimeoutError,
        AuthenticationError as AuthenticationError,
        AuthorizationCodeLostError as AuthorizationCodeLostError,
        AuthorizationError as AuthorizationError,
        AuthorizationExpiredError as AuthorizationExpiredError,
        AuthorizationResponseError as AuthorizationResponseError,
        BadRequestError as BadRequestError,
        BlockingCallError as BlockingCallError,
        ClientClosedError as ClientClosedError,
        ConflictError as ConflictError,
        DiscoveryError as DiscoveryError,
        ErrorDetail as ErrorDetail,
        ExpiredTokenError as ExpiredTokenError,
        ForkedGrantError as ForkedGrantError,
        InsufficientScopeError as InsufficientScopeError,
        InternalServerError as InternalServerError,
        IntrospectionUnavailableError as IntrospectionUnavailableError,
        InvalidCallbackError as InvalidCallbackError,
        InvalidClientError as InvalidClientError,
        InvalidGrantError as InvalidGrantError,
        InvalidRequestError as InvalidRequestError,
        InvalidScopeError as InvalidScopeError,
        InvalidTargetError as InvalidTargetError,
        InvalidTokenError as InvalidTokenError,
        IssuerMismatchError as IssuerMismatchError,
        KeysUnavailableError as KeysUnavailableError,
        LoopbackPortError as LoopbackPortError,
        MalformedCredentialsError as MalformedCredentialsError,
        MissingCredentialsError as MissingCredentialsError,
        MissingTokenError as MissingTokenError,
        NotFoundError as NotFoundError,
        PermissionDeniedError as PermissionDeniedError,
        RateLimitError as RateLimitError,
        Reason as Reason,
        ReauthenticationRequiredError as ReauthenticationRequiredError,
        SignInTimeoutError as SignInTimeoutError,
        StateMismatchError as StateMismatchError,
        StoreConflictError as StoreConflictError,
        TelnyxError as TelnyxError,
        TokenBackoffError as TokenBackoffError,
        TokenEndpointError as TokenEndpointError,
        TokenError as TokenError,
        TokenPersistenceError as TokenPersistenceError,
        TokenRejectedError as TokenRejectedError,
        TokenValidationError as TokenValidationError,
        TokenVerificationError as TokenVerificationError,
        TokenWaitTimeoutError as TokenWaitTimeoutError,
        UnauthorizedClientError as UnauthorizedClientError,
        UnprocessableEntityError as UnprocessableEntityError,
        UnsupportedGrantTypeError as UnsupportedGrantTypeError,
        ValidationUnavailableError as ValidationUnavailableError,
    )
    from .messages import (
        Request as Request,
        RequestInfo as RequestInfo,
        Response as Response,
        Timeout as Timeout,
    )
    from .protocol.auth_headers import (
        bearer_token as bearer_token,
        challenge as challenge,
    )
    from .protocol.authorization_code import PendingAuthorization as PendingAuthorization
    from .protocol.freshness import RefreshPolicy as RefreshPolicy
    from .protocol.jwt import TokenPolicy as TokenPolicy
    from .protocol.metadata import (
        AuthorizationServer as AuthorizationServer,
        ProtectedResource as ProtectedResource,
    )
    from .protocol.registration import RegisteredClient as RegisteredClient
    from .protocol.requests import (
        Omit as Omit,
        omit as omit,
    )
    from .protocol.token import (
        Token as Token,
        TokenKey as TokenKey,
    )
    from .protocol.token_endpoint import (
        ClientAuthentication as ClientAuthentication,
        TokenGrant as TokenGrant,
    )
    from .resources.verbs import RequestOptions as RequestOptions
    from .sync.client import Telnyx as Telnyx
    from .tokens.authorization_code import (
        AuthorizationFlow as AuthorizationFlow,
        discover as discover,
        discover_resource as discover_resource,
    )
    from .tokens.loopback import sign_in as sign_in
    from .tokens.manager import (
        TokenManager as TokenManager,
        TokenStatus as TokenStatus,
    )
    from .tokens.sources import (
        ApiKey as ApiKey,
        AuthorizationCode as AuthorizationCode,
        ClientCredentials as ClientCredentials,
        RefreshToken as RefreshToken,
    )
    from .tokens.stores.base import (
        StoredGrant as StoredGrant,
        TokenStore as TokenStore,
    )
    from .tokens.stores.encrypted import EncryptedStore as EncryptedStore
    from .tokens.stores.file import FileStore as FileStore
    from .tokens.stores.keyring import KeyringStore as KeyringStore
    from .tokens.stores.memory import MemoryStore as MemoryStore
    from .tokens.stores.redis import RedisStore as RedisStore
    from .transport.clock import (
        Clock as Clock,
        SystemClock as SystemClock,
    )
    from .transport.http import HttpTransport as HttpTransport
    from .transport.pagination import (
        AsyncPage as AsyncPage,
        AsyncPaginator as AsyncPaginator,
    )
    from .transport.responses import AsyncAPIResponse as AsyncAPIResponse
    from .validation.introspection import IntrospectionCache as IntrospectionCache
    from .validation.jwks import JWKSCache as JWKSCache
    from .validation.keys import StaticKeys as StaticKeys
    from .validation.validator import (
        AccessToken as AccessToken,
        TokenValidator as TokenValidator,
    )

_NAMES: Final = {
    "_version": "__version__",
    "blocking.rows": "APIResponse Page",
    "client": "AsyncTelnyx",
    "errors": (
        "APIConnectionError APIError APIResponseValidationError APIStatusError APITimeoutError "
        "AccessDeniedError AuthenticationError AuthorizationCodeLostError AuthorizationError "
        "AuthorizationExpiredError AuthorizationResponseError BadRequestError BlockingCallError "
        "ClientClosedError ConflictError DiscoveryError ErrorDetail ExpiredTokenError ForkedGrantError "
        "InsufficientScopeError InternalServerError IntrospectionUnavailableError InvalidCallbackError "
        "InvalidClientError InvalidGrantError InvalidRequestError InvalidScopeError InvalidTargetError "
        "InvalidTokenError IssuerMismatchError KeysUnavailableError LoopbackPortError "
        "MalformedCredentialsError MissingCredentialsError MissingTokenError NotFoundError "
        "PermissionDeniedError RateLimitError Reason ReauthenticationRequiredError SignInTimeoutError "
        "StateMismatchError StoreConflictError TelnyxError TokenBackoffError TokenEndpointError "
        "TokenError TokenPersistenceError TokenRejectedError TokenValidationError TokenVerificationError "
        "TokenWaitTimeoutError UnauthorizedClientError UnprocessableEntityError UnsupportedGrantTypeError "
        "ValidationUnavailableError"
    ),
    "messages": "Request RequestInfo Response Timeout",
    "protocol.auth_headers": "bearer_token challenge",
    "protocol.authorization_code": "PendingAuthorization",
    "protocol.freshness": "RefreshPolicy",
    "protocol.jwt": "TokenPolicy",
    "protocol.metadata": "AuthorizationServer ProtectedResource",
    "protocol.registration": "RegisteredClient",
    "protocol.requests": "Omit omit",
    "protocol.token": "Token TokenKey",
    "protocol.token_endpoint": "ClientAuthentication TokenGrant",
    "resources.verbs": "RequestOptions",
    "sync.client": "Telnyx",
    "tokens.authorization_code": "AuthorizationFlow discover discover_resource",
    "tokens.loopback": "sign_in",
    "tokens.manager": "TokenManager TokenStatus",
    "tokens.sources": "ApiKey AuthorizationCode ClientCredentials RefreshToken",
    "tokens.stores.base": "StoredGrant TokenStore",
    "tokens.stores.encrypted": "EncryptedStore",
    "tokens.stores.file": "FileStore",
    "tokens.stores.keyring": "KeyringStore",
    "tokens.stores.memory": "MemoryStore",
    "tokens.stores.redis": "RedisStore",
    "transport.clock": "Clock SystemClock",
    "transport.http": "HttpTransport",
    "transport.pagination": "AsyncPage AsyncPaginator",
    "transport.responses": "AsyncAPIResponse",
    "types": "types",
    "validation.introspection": "IntrospectionCache",
    "validation.jwks": "JWKSCache",
    "validation.keys": "StaticKeys",
    "validation.validator": "AccessToken TokenValidator",
}

if not TYPE_CHECKING:  # type checkers read the imports above; with `__getattr__` they would accept any name
    _PLACES = {name: place for place, names in _NAMES.items() for name in names.split()}
    __all__ = list(_PLACES)

    def __getattr__(name: str) -> object:
        """Load a public name (PEP 562)."""
        if name not in _PLACES:
            raise import_module(".hints", __name__).no_such_name(__name__, name, __all__)
        module = import_module(f".{_PLACES[name]}", __name__)
        value: object = module if name == "types" else getattr(module, name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """The public names."""
        return sorted(__all__)
