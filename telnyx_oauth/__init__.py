"""Telnyx's OAuth API for Python: clients, tokens that renew themselves, and tokens that are checked.

This is the table of contents. A name is loaded when it is first used, so that importing the package costs next to nothing.

pytest need not rewrite any of it (PYTEST_DONT_REWRITE), and so does not mind if it was imported before pytest.
"""

from __future__ import annotations

from importlib import import_module

from ._version import __version__

# Type checkers take this name for True. Importing it would load `typing`, which costs more than all the rest here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from . import types
    from .blocking.rows import APIResponse, Page
    from .client import AsyncTelnyx
    from .errors import (
        AccessDeniedError,
        APIConnectionError,
        APIError,
        APIResponseValidationError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        AuthorizationCodeLostError,
        AuthorizationError,
        AuthorizationExpiredError,
        AuthorizationResponseError,
        BadRequestError,
        BlockingCallError,
        ClientClosedError,
        ConflictError,
        DiscoveryError,
        ErrorDetail,
        ExpiredTokenError,
        ForkedGrantError,
        InsufficientScopeError,
        InternalServerError,
        IntrospectionUnavailableError,
        InvalidCallbackError,
        InvalidClientError,
        InvalidGrantError,
        InvalidRequestError,
        InvalidScopeError,
        InvalidTargetError,
        InvalidTokenError,
        IssuerMismatchError,
        KeysUnavailableError,
        LoopbackPortError,
        MalformedCredentialsError,
        MissingCredentialsError,
        MissingTokenError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        Reason,
        ReauthenticationRequiredError,
        SignInTimeoutError,
        StateMismatchError,
        StoreConflictError,
        TelnyxError,
        TokenBackoffError,
        TokenEndpointError,
        TokenError,
        TokenPersistenceError,
        TokenRejectedError,
        TokenValidationError,
        TokenVerificationError,
        TokenWaitTimeoutError,
        UnauthorizedClientError,
        UnprocessableEntityError,
        UnsupportedGrantTypeError,
        ValidationUnavailableError,
    )
    from .messages import (
        Request,
        RequestInfo,
        Response,
        Timeout,
    )
    from .protocol.auth_headers import (
        bearer_token,
        challenge,
    )
    from .protocol.authorization_code import PendingAuthorization
    from .protocol.freshness import RefreshPolicy
    from .protocol.jwt import TokenPolicy
    from .protocol.metadata import (
        AuthorizationServer,
        ProtectedResource,
    )
    from .protocol.registration import RegisteredClient
    from .protocol.requests import (
        Omit,
        omit,
    )
    from .protocol.token import (
        Token,
        TokenKey,
    )
    from .protocol.token_endpoint import (
        ClientAuthentication,
        TokenGrant,
    )
    from .resources.verbs import RequestOptions
    from .sync.client import Telnyx
    from .tokens.authorization_code import (
        AuthorizationFlow,
        discover,
        discover_resource,
    )
    from .tokens.loopback import sign_in
    from .tokens.manager import TokenManager, TokenStatus
    from .tokens.sources import (
        ApiKey,
        AuthorizationCode,
        ClientCredentials,
        RefreshToken,
    )
    from .tokens.stores.base import (
        StoredGrant,
        TokenStore,
    )
    from .tokens.stores.encrypted import EncryptedStore
    from .tokens.stores.file import FileStore
    from .tokens.stores.keyring import KeyringStore
    from .tokens.stores.memory import MemoryStore
    from .tokens.stores.redis import RedisStore
    from .transport.clock import (
        Clock,
        SystemClock,
    )
    from .transport.http import HttpTransport
    from .transport.pagination import (
        AsyncPage,
        AsyncPaginator,
    )
    from .transport.responses import AsyncAPIResponse
    from .validation.introspection import IntrospectionCache
    from .validation.jwks import JWKSCache
    from .validation.keys import StaticKeys
    from .validation.validator import AccessToken, TokenValidator

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponse",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AccessDeniedError",
    "AccessToken",
    "ApiKey",
    "AsyncAPIResponse",
    "AsyncPage",
    "AsyncPaginator",
    "AsyncTelnyx",
    "AuthenticationError",
    "AuthorizationCode",
    "AuthorizationCodeLostError",
    "AuthorizationError",
    "AuthorizationExpiredError",
    "AuthorizationFlow",
    "AuthorizationResponseError",
    "AuthorizationServer",
    "BadRequestError",
    "BlockingCallError",
    "ClientAuthentication",
    "ClientClosedError",
    "ClientCredentials",
    "Clock",
    "ConflictError",
    "DiscoveryError",
    "EncryptedStore",
    "ErrorDetail",
    "ExpiredTokenError",
    "FileStore",
    "ForkedGrantError",
    "HttpTransport",
    "InsufficientScopeError",
    "InternalServerError",
    "IntrospectionCache",
    "IntrospectionUnavailableError",
    "InvalidCallbackError",
    "InvalidClientError",
    "InvalidGrantError",
    "InvalidRequestError",
    "InvalidScopeError",
    "InvalidTargetError",
    "InvalidTokenError",
    "IssuerMismatchError",
    "JWKSCache",
    "KeyringStore",
    "KeysUnavailableError",
    "LoopbackPortError",
    "MalformedCredentialsError",
    "MemoryStore",
    "MissingCredentialsError",
    "MissingTokenError",
    "NotFoundError",
    "Omit",
    "Page",
    "PendingAuthorization",
    "PermissionDeniedError",
    "ProtectedResource",
    "RateLimitError",
    "Reason",
    "ReauthenticationRequiredError",
    "RedisStore",
    "RefreshPolicy",
    "RefreshToken",
    "RegisteredClient",
    "Request",
    "RequestInfo",
    "RequestOptions",
    "Response",
    "SignInTimeoutError",
    "StateMismatchError",
    "StaticKeys",
    "StoreConflictError",
    "StoredGrant",
    "SystemClock",
    "Telnyx",
    "TelnyxError",
    "Timeout",
    "Token",
    "TokenBackoffError",
    "TokenEndpointError",
    "TokenError",
    "TokenGrant",
    "TokenKey",
    "TokenManager",
    "TokenPersistenceError",
    "TokenPolicy",
    "TokenRejectedError",
    "TokenStatus",
    "TokenStore",
    "TokenValidationError",
    "TokenValidator",
    "TokenVerificationError",
    "TokenWaitTimeoutError",
    "UnauthorizedClientError",
    "UnprocessableEntityError",
    "UnsupportedGrantTypeError",
    "ValidationUnavailableError",
    "__version__",
    "bearer_token",
    "challenge",
    "discover",
    "discover_resource",
    "omit",
    "sign_in",
    "types",
]

_PLACES: Final = {
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
    "validation.introspection": "IntrospectionCache",
    "validation.jwks": "JWKSCache",
    "validation.keys": "StaticKeys",
    "validation.validator": "AccessToken TokenValidator",
}


if not TYPE_CHECKING:  # or type checkers would take any name

    def __getattr__(name: str) -> object:
        """Load a public name (PEP 562)."""
        if name == "types":
            return import_module(".types", __name__)
        for place, names in _PLACES.items():
            if name in names.split():
                value: object = getattr(import_module(f".{place}", __name__), name)
                globals()[name] = value
                return value
        raise import_module(".hints", __name__).no_such_name(__name__, name, __all__)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
