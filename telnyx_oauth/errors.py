"""The exceptions of this package, and what to do about each.

A program branches on the class or on `.code`, which is stable. A person reads the message and the notes below it. No error
holds a secret: not in its text, its attributes or its pickle.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import attrs

from .messages import RequestInfo, Response, headers


class TelnyxError(Exception):
    """Any error of this package. Catch it to catch them all."""

    code: str | None = "telnyx_error"
    """A stable name to branch on."""
    hint: ClassVar[str] = ""
    """Advice on what to do next; added to the traceback as a note."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        if self.hint:
            self.add_note(self.hint)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[TelnyxError], args: tuple[object, ...], state: dict[str, object]) -> TelnyxError:
    """Unpickle without `__init__`, whose parameters differ from class to class."""
    error = kind.__new__(kind, *args)
    error.args = args  # OSError and its subclasses set them in `__init__`
    error.__dict__.update(state)
    return error


class MissingCredentialsError(TelnyxError, AttributeError):
    """The call needs a credential and none is configured. Nothing was sent. Pass the parameter or set the variable.

    For `hasattr` and `inspect`, a client without credentials has no `tokens`.
    """

    code = "missing_credentials"

    def __init__(self, operation: str, *choices: tuple[str, str]) -> None:
        options = ", or ".join(f"{parameter} (environment: {variable})" for parameter, variable in choices)
        super().__init__(f"{operation} needs credentials and none are configured. Pass {options}.")
        self.obj = None  # if unset, Python sets it and suggests a similar name in the traceback
        self.parameters = tuple(parameter for parameter, _ in choices)
        self.variables = tuple(variable for _, variable in choices)


class ClientClosedError(TelnyxError, RuntimeError):
    """The client was used after `close()`. Make a new one, or close it later."""

    code = "client_closed"

    def __init__(self, what: str = "This client", *, lent: bool = False) -> None:
        advice = " A copy ends with its original: close the original last, or make a new client." if lent else ""
        super().__init__(f"{what} has been closed and can no longer be used.{advice}")


class BlockingCallError(TelnyxError, RuntimeError):
    """A blocking call was made from the thread that would have to serve it. Await the async client there instead."""

    code = "blocking_call"


@attrs.frozen
class ErrorDetail:
    """One entry of Telnyx's `errors` list. `source` is a JSON pointer or a parameter's name."""

    code: str | None = None
    title: str | None = None
    detail: str | None = None
    source: str | None = None


class APIError(TelnyxError):
    """A call without a usable answer. `request` is the call's method and path, without query, headers and body."""

    code = "api_error"
    status_code: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds to wait before another attempt, if the server sent them."""
    errors: tuple[ErrorDetail, ...] = ()
    body: object = None
    response: Response | None = None

    def __init__(self, message: str, *, request: RequestInfo | None = None) -> None:
        super().__init__(message)
        self.request = request


class APIConnectionError(APIError):
    """The server could not be reached, or the connection broke before the whole answer was there.

    `sent` is False only when it is certain that no part of the request reached the server, so that sending again
    cannot do anything twice.
    """

    code = "connection_error"
    _default_message: ClassVar[str] = "Connection error."

    def __init__(self, message: str | None = None, *, request: RequestInfo | None = None, sent: bool = True) -> None:
        text = self._default_message if message is None else message
        super().__init__(f"{text} ({request})" if request else text, request=request)
        self.sent = sent


class APITimeoutError(APIConnectionError):
    """The answer did not come in time. Raise `timeout=`, or look at the server."""

    code = "timeout"
    _default_message = "Request timed out."


_HARMLESS = frozenset({"content-type", "content-length", "date", "retry-after", "server", "via", "x-request-id"})


def _harmless(response: Response) -> Response:
    """A response without its body, and with only those headers that hold no secret."""
    pairs = [pair for pair in response.headers.items() if pair[0].lower() in _HARMLESS]
    return attrs.evolve(response, headers=headers(*pairs), content=b"", stream=None)


class APIResponseValidationError(APIError):
    """The server answered, but not what the API promises. `problems` names each place by its path (`$.data[0].name`).

    The body and most headers may hold a secret, so they are not kept. Use `with_raw_response` to look at them.
    """

    code = "invalid_response"

    def __init__(self, problems: tuple[str, ...], *, response: Response) -> None:
        super().__init__(
            f"{response.request}: the answer is not what the API promises: {'; '.join(problems)}",
            request=response.request,
        )
        self.problems = problems
        self.response = _harmless(response)
        self.status_code = response.status_code
        self.request_id = response.request_id


class APIStatusError(APIError):
    """The server refused the call or failed at it (any status but 2xx). `body` is the decoded answer."""

    code = "status_error"
    # Narrower than in APIError, where they may be None: safe, as nothing assigns to an error's attributes.
    status_code: int
    response: Response

    def __init__(
        self,
        message: str,
        *,
        response: Response,
        body: object = None,
        code: str | None = None,
        errors: tuple[ErrorDetail, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, request=response.request)
        self.response = response  # pyright: ignore[reportIncompatibleVariableOverride]  # narrower, as declared above
        self.status_code = response.status_code  # pyright: ignore[reportIncompatibleVariableOverride]  # likewise
        self.request_id = response.request_id
        self.body = body
        self.errors = errors
        self.retry_after = retry_after
        if code is not None:
            self.code = code

    @property
    def location(self) -> str | None:
        """The `Location` of a 3xx answer; no call follows it."""
        return self.response.headers.get("Location")


class BadRequestError(APIStatusError):
    """400: the server does not understand the request. Read `errors`; sending it again will not help."""

    code = "bad_request"


class AuthenticationError(APIStatusError):
    """401: the credentials are missing, wrong, expired or revoked. Check the key or the client's id and secret."""

    code = "authentication_failed"
    hint = "Check the API key, or the client id and secret, and that they belong to this base_url."


class PermissionDeniedError(APIStatusError):
    """403: the credentials are valid but do not allow this call. Ask for the scope that it needs."""

    code = "permission_denied"


class NotFoundError(APIStatusError):
    """404: there is no such resource. Check the id and `base_url`."""

    code = "not_found"


class ConflictError(APIStatusError):
    """409: the resource was changed meanwhile, or exists already. Read it again, then decide."""

    code = "conflict"


class UnprocessableEntityError(APIStatusError):
    """422: the request is well-formed, but its values are refused. `errors` lists them."""

    code = "unprocessable_entity"


class RateLimitError(APIStatusError):
    """429: too many requests. Wait `retry_after` seconds."""

    code = "rate_limited"


class InternalServerError(APIStatusError):
    """5xx: the server failed. Try again later; quote `request_id` to Telnyx's support."""

    code = "server_error"


class TokenEndpointError(APIStatusError):
    """The token endpoint refused a grant (RFC 6749 section 5.2). There is a subclass for each reason."""

    code = "token_endpoint_error"


class InvalidRequestError(TokenEndpointError, BadRequestError):
    """`invalid_request`: a parameter is missing, repeated or malformed."""

    code = "invalid_request"


class InvalidClientError(TokenEndpointError, AuthenticationError):
    """`invalid_client`: the client's id or secret is unknown or wrong. Check both, and the authentication method."""

    code = "invalid_client"


class InvalidGrantError(TokenEndpointError, BadRequestError):
    """`invalid_grant`: the code or refresh token is expired, used up or revoked. The person must sign in again."""

    code = "invalid_grant"


class UnauthorizedClientError(TokenEndpointError, BadRequestError):
    """`unauthorized_client`: this client may not use this grant type. Allow it in the client's settings."""

    code = "unauthorized_client"


class UnsupportedGrantTypeError(TokenEndpointError, BadRequestError):
    """`unsupported_grant_type`: the server does not know this grant type."""

    code = "unsupported_grant_type"


class InvalidScopeError(TokenEndpointError, BadRequestError):
    """`invalid_scope`: a scope is unknown or more than the client may have. Ask for fewer."""

    code = "invalid_scope"


class InvalidTargetError(TokenEndpointError, BadRequestError):
    """`invalid_target`: the server does not issue tokens for this resource (RFC 8707)."""

    code = "invalid_target"


class TokenError(TelnyxError):
    """The token manager has no usable token, so the request was not sent."""

    code = "token_error"


class TokenBackoffError(TokenError):
    """The refresh failed and the next attempt is not due. Try again at `retry_at` (Unix seconds); see `last_error`."""

    code = "token_backoff"

    def __init__(self, *, retry_at: float, retry_after: float, last_error: str) -> None:
        super().__init__(
            f"No token: the last refresh failed ({last_error}); the next attempt is in {retry_after:.1f} s."
        )
        self.retry_at = retry_at
        self.retry_after = retry_after
        self.last_error = last_error


class TokenWaitTimeoutError(TokenError, APITimeoutError, TimeoutError):
    """The caller's `timeout` ended before the token arrived. The refresh goes on; try again.

    `request` is the call that waited for the token, or `None`. `sent` is True only for a call that was sent before with a
    token that the server refused.
    """

    code = "token_wait_timeout"

    def __init__(self, timeout: float, *, request: RequestInfo | None = None, sent: bool = False) -> None:
        unsent = "the request was not sent again" if sent else "the request was not sent"
        what = f"No token within {timeout:g} s; " + (f"{unsent}, and the token's" if request else "its")
        super().__init__(f"{what} refresh goes on.", request=request, sent=sent)
        self.timeout = timeout


class TokenRejectedError(TokenError, AuthenticationError):
    """The server refuses a token that it has only just issued. Another refresh would not help, so there is none."""

    code = "token_rejected"

    def __init__(
        self,
        message: str = "The server refuses a token that it has only just issued.",
        *,
        response: Response | None = None,
    ) -> None:
        # The manager does not always have the 401 itself. Its body and headers may quote the token.
        AuthenticationError.__init__(self, message, response=_harmless(response or Response(401)))


class TokenVerificationError(TokenError):
    """The issued token fails verification (signature, issuer or expiry) and was discarded unused."""

    code = "token_verification_failed"


class ReauthenticationRequiredError(TokenError):
    """The grant has ended and cannot be refreshed. The person must sign in again. `reason` says how it ended."""

    code = "reauthentication_required"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The stored grant can no longer be refreshed ({reason}). Sign in again.")
        self.reason = reason


class TokenPersistenceError(TokenError):
    """A token store cannot be read or written. Check the folder, the keyring or the server behind it."""

    code = "token_persistence_failed"


class StoreConflictError(TokenPersistenceError):
    """Another process changed the record meanwhile. A store raises this, and the manager reads again; callers never see it."""

    code = "token_store_conflict"

    def __init__(self, message: str = "The stored record was changed by someone else meanwhile.") -> None:
        super().__init__(message)


class ForkedGrantError(TokenError):
    """A forked child would use its parent's refresh token. Give both a store that they share."""

    code = "forked_grant"

    def __init__(self) -> None:
        super().__init__("A refresh token made before a fork is spent only through a store that both processes share.")


class DiscoveryError(TelnyxError):
    """A server's metadata is missing, belongs to another issuer, or lacks a needed member. Check the issuer's address."""

    code = "discovery_failed"


class AuthorizationError(TelnyxError):
    """A sign-in failed. Stored tokens are unchanged. Begin another."""

    code = "authorization_failed"


class InvalidCallbackError(AuthorizationError):
    """The address is no authorization response: a parameter is missing or repeated. Pass the whole address."""

    code = "invalid_callback"


class StateMismatchError(AuthorizationError):
    """The response belongs to another sign-in, or to one that is complete. Continue the latest sign-in, or begin again."""

    code = "state_mismatch"


class AuthorizationExpiredError(AuthorizationError):
    """The response came more than 10 minutes after the sign-in had begun. Begin another."""

    code = "authorization_expired"


class IssuerMismatchError(AuthorizationError):
    """The response is from another authorization server than the request went to (RFC 9207). The code was not sent."""

    code = "issuer_mismatch"


class AuthorizationResponseError(AuthorizationError):
    """The authorization server answered with an error. `code` is the server's own (RFC 6749 section 4.1.2.1)."""

    code = "authorization_refused"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class AccessDeniedError(AuthorizationResponseError):
    """The person or the server denied the request. Asking for fewer scopes may help."""

    code = "access_denied"


class AuthorizationCodeLostError(AuthorizationError):
    """The code was sent and no usable answer came, so it may be used up. It is not sent twice: sign in again."""

    code = "authorization_code_lost"


class LoopbackPortError(AuthorizationError):
    """The port for the browser's response is taken, perhaps by another sign-in. End that one or choose port 0."""

    code = "loopback_port_taken"


class SignInTimeoutError(AuthorizationError, TimeoutError):
    """The browser did not come back in time. Sign in again, or paste the address that the browser ended at."""

    code = "sign_in_timeout"

    def __init__(self, timeout: float) -> None:
        super().__init__(f"No answer came back from the browser within {timeout:g} s. Sign in again.")
        self.timeout = timeout


class Reason(StrEnum):
    """The reason why a token was refused: stable values for logs and metrics, never sent to the client."""

    MISSING = "missing"
    CREDENTIALS_MALFORMED = "credentials_malformed"
    TOO_LONG = "too_long"
    NOT_A_JWT = "not_a_jwt"
    ENCODING_INVALID = "encoding_invalid"
    HEADER_INVALID = "header_invalid"
    PAYLOAD_INVALID = "payload_invalid"
    ALG_NOT_ALLOWED = "alg_not_allowed"
    EXTENSION_NOT_SUPPORTED = "extension_not_supported"
    TYP_NOT_ALLOWED = "typ_not_allowed"
    NOT_AN_ACCESS_TOKEN = "not_an_access_token"
    KID_INVALID = "kid_invalid"
    KID_UNKNOWN = "kid_unknown"
    KID_AMBIGUOUS = "kid_ambiguous"
    SIGNATURE_INVALID = "signature_invalid"
    CLAIM_MISSING = "claim_missing"
    CLAIM_INVALID = "claim_invalid"
    ISS_MISMATCH = "iss_mismatch"
    AUD_MISMATCH = "aud_mismatch"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUED_IN_FUTURE = "issued_in_future"
    LIFETIME_TOO_LONG = "lifetime_too_long"
    TOO_OLD = "too_old"
    SCOPE_INVALID = "scope_invalid"
    SENDER_CONSTRAINED = "sender_constrained"
    INACTIVE = "inactive"
    INTROSPECTION_CONTRADICTS = "introspection_contradicts"
    SCOPE_INSUFFICIENT = "scope_insufficient"
    KEYS_UNAVAILABLE = "keys_unavailable"
    INTROSPECTION_UNAVAILABLE = "introspection_unavailable"
    INTROSPECTION_RATE_LIMITED = "introspection_rate_limited"
    INTROSPECTION_SATURATED = "introspection_saturated"
    INTROSPECTION_REFUSED_US = "introspection_refused_us"
    INTROSPECTION_ANSWER_INVALID = "introspection_answer_invalid"


class TokenValidationError(TelnyxError):
    """A token that was presented to this service is refused. The error never carries the token's text.

    `status` and `error` are a resource server's answer by RFC 6750; `reason` is for logs and metrics alone.
    """

    code = "token_not_accepted"
    status: ClassVar[int] = 401
    error: ClassVar[str | None] = "invalid_token"
    description: ClassVar[str] = "The access token is invalid"
    reason: Reason

    def __init__(self, reason: Reason | None = None) -> None:
        super().__init__(self.description)
        # Classes for one reason have it as a class attribute; the others must be passed one.
        self.reason = self.reason if reason is None else reason


class MissingTokenError(TokenValidationError):
    """The request carries no bearer token. Send one as `Authorization: Bearer ...`."""

    code = "token_missing"
    error = None
    description = "An access token is required"
    reason = Reason.MISSING


class MalformedCredentialsError(TokenValidationError):
    """The request's credentials break RFC 6750: twice, empty, or in other characters."""

    code = "credentials_malformed"
    status = 400
    error = "invalid_request"
    description = "The request's credentials are malformed"
    reason = Reason.CREDENTIALS_MALFORMED


class InvalidTokenError(TokenValidationError):
    """The token is forged, for another audience, revoked, or no access token. `reason` says which, for the log."""

    code = "token_invalid"


class ExpiredTokenError(InvalidTokenError):
    """The token has expired. Its bearer should get a new one."""

    code = "token_expired"
    description = "The access token expired"
    reason = Reason.EXPIRED


class InsufficientScopeError(TokenValidationError):
    """The token is valid, but lacks a scope: the request needs every one in `required`."""

    code = "insufficient_scope"
    status = 403
    error = "insufficient_scope"
    description = "The access token does not have the required scope"

    reason = Reason.SCOPE_INSUFFICIENT

    def __init__(self, required: frozenset[str]) -> None:
        super().__init__()
        self.required = required


class ValidationUnavailableError(TokenValidationError):
    """The token cannot be validated now. Nothing is wrong with the token: try again in `retry_after` seconds."""

    code = "validation_unavailable"
    status = 503
    error = "temporarily_unavailable"
    description = "Access tokens cannot be validated at the moment"

    def __init__(self, reason: Reason | None = None, *, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class KeysUnavailableError(ValidationUnavailableError):
    """The token's key cannot be fetched now: the issuer does not answer, or was asked too often. See `JWKSCache.health`."""

    code = "keys_unavailable"
    reason = Reason.KEYS_UNAVAILABLE


class IntrospectionUnavailableError(ValidationUnavailableError):
    """The introspection endpoint gave no usable answer. `reason` says how it failed."""

    code = "introspection_unavailable"
