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
    from .protocol.authorization import PendingAuthorization
    from .protocol.calls import (
        Omit,
        omit,
    )
    from .protocol.challenges import (
        bearer_token,
        challenge,
    )
    from .protocol.discovery import (
        AuthorizationServer,
        ProtectedResource,
    )
    from .protocol.freshness import RefreshPolicy
    from .protocol.grants import (
        ClientAuthentication,
        TokenGrant,
    )
    from .protocol.jwt import TokenPolicy
    from .protocol.registration import RegisteredClient
    from .protocol.token import (
        Token,
        TokenKey,
    )
    from .resources.undocumented import RequestOptions
    from .sync.client import Telnyx
    from .tokens.discovery import (
        discover,
        discover_resource,
    )
    from .tokens.flow import AuthorizationFlow
    from .tokens.loopback import sign_in
    from .tokens.manager import TokenManager
    from .tokens.sources import (
        ApiKey,
        AuthorizationCode,
        ClientCredentials,
        RefreshToken,
    )
    from .tokens.status import TokenStatus
    from .tokens.stores.encrypted import EncryptedStore
    from .tokens.stores.file import FileStore
    from .tokens.stores.keyring import KeyringStore
    from .tokens.stores.memory import MemoryStore
    from .tokens.stores.record import (
        StoredGrant,
        TokenStore,
    )
    from .tokens.stores.redis import RedisStore
    from .transport.clock import (
        Clock,
        SystemClock,
    )
    from .transport.http import HttpTransport
    from .transport.pager import (
        AsyncPage,
        AsyncPaginator,
    )
    from .transport.raw import AsyncAPIResponse
    from .validation.access import AccessToken
    from .validation.introspection import IntrospectionCache
    from .validation.jwks import JWKSCache
    from .validation.keys import StaticKeys
    from .validation.validator import TokenValidator

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
        "StateMismatchError StoreConflictError TelnyxError TokenBackoffError TokenEndpointError TokenError "
        "TokenPersistenceError TokenRejectedError TokenValidationError TokenVerificationError "
        "TokenWaitTimeoutError UnauthorizedClientError UnprocessableEntityError UnsupportedGrantTypeError "
        "ValidationUnavailableError"
    ),
    "messages": "Request RequestInfo Response Timeout",
    "protocol.authorization": "PendingAuthorization",
    "protocol.calls": "Omit omit",
    "protocol.challenges": "bearer_token challenge",
    "protocol.discovery": "AuthorizationServer ProtectedResource",
    "protocol.freshness": "RefreshPolicy",
    "protocol.grants": "ClientAuthentication TokenGrant",
    "protocol.jwt": "TokenPolicy",
    "protocol.registration": "RegisteredClient",
    "protocol.token": "Token TokenKey",
    "resources.undocumented": "RequestOptions",
    "sync.client": "Telnyx",
    "tokens.discovery": "discover discover_resource",
    "tokens.flow": "AuthorizationFlow",
    "tokens.loopback": "sign_in",
    "tokens.manager": "TokenManager",
    "tokens.sources": "ApiKey AuthorizationCode ClientCredentials RefreshToken",
    "tokens.status": "TokenStatus",
    "tokens.stores.encrypted": "EncryptedStore",
    "tokens.stores.file": "FileStore",
    "tokens.stores.keyring": "KeyringStore",
    "tokens.stores.memory": "MemoryStore",
    "tokens.stores.record": "StoredGrant TokenStore",
    "tokens.stores.redis": "RedisStore",
    "transport.clock": "Clock SystemClock",
    "transport.http": "HttpTransport",
    "transport.pager": "AsyncPage AsyncPaginator",
    "transport.raw": "AsyncAPIResponse",
    "validation.access": "AccessToken",
    "validation.introspection": "IntrospectionCache",
    "validation.jwks": "JWKSCache",
    "validation.keys": "StaticKeys",
    "validation.validator": "TokenValidator",
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
