"""Every exception that this package raises for a reason of its own, and what to do about each.

A program branches on the class or on `.code`, which is stable; a person reads the message and the notes below it. No
error holds a secret: not in its text, not in its attributes, not in its pickle.
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
    """What to do next; added to the traceback as a note."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        if self.hint:
            self.add_note(self.hint)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[TelnyxError], args: tuple[object, ...], state: dict[str, object]) -> TelnyxError:
    """Unpickle without `__init__`, so that every class may have the arguments that suit it."""
    error = kind.__new__(kind, *args)
    error.args = args  # which OSError and its subclasses leave to `__init__`
    error.__dict__.update(state)
    return error


class MissingCredentialsError(TelnyxError, AttributeError):
    """The call needs a credential and none is configured. Nothing was sent. Pass the parameter or set the variable.

    For `hasattr` and `inspect`, a client without credentials has no `tokens`.
    """

    code = "missing_credentials"

    def __init__(self, operation: str, *choices: tuple[str, str]) -> None:
        named = ", or ".join(f"{parameter} (environment: {variable})" for parameter, variable in choices)
        super().__init__(f"{operation} needs credentials and none are configured. Pass {named}.")
        self.obj = None  # or Python would set it, and guess at a similar name in the traceback
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
    """A call did not give a usable answer. `request` says which, without its query, headers or body."""

    code = "api_error"
    status_code: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds to wait before another attempt, when the server said so."""
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

    def __init__(
        self, message: str = "Connection error.", *, request: RequestInfo | None = None, sent: bool = True
    ) -> None:
        super().__init__(f"{message} ({request})" if request else message, request=request)
        self.sent = sent


class APITimeoutError(APIConnectionError):
    """The answer did not come in time. Raise `timeout=`, or look at the server."""

    code = "timeout"

    def __init__(
        self, message: str = "Request timed out.", *, request: RequestInfo | None = None, sent: bool = True
    ) -> None:
        super().__init__(message, request=request, sent=sent)


_HARMLESS = frozenset({"content-type", "content-length", "date", "retry-after", "server", "via", "x-request-id"})


def _harmless(response: Response) -> Response:
    """A response without its body, and with those of its headers that hold no secret."""
    kept = [pair for pair in response.headers.items() if pair[0].lower() in _HARMLESS]
    return attrs.evolve(response, headers=headers(*kept), content=b"", stream=None)


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
    # Narrower than in APIError, where they may be None. Nobody assigns to an error.
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
        """Where a 3xx answer points to; no call follows it."""
        return self.response.headers.get("Location")


class BadRequestError(APIStatusError):
    """400: the request is not one that the server understands. Read `errors`; sending it again will not help."""

    code = "bad_request"


class AuthenticationError(APIStatusError):
    """401: the credentials are missing, wrong, expired or revoked. Check the key or the client's id and secret."""

    code = "authentication_failed"
    hint = "Check the API key, or the client id and secret, and that they belong to this base_url."


class PermissionDeniedError(APIStatusError):
    """403: the credentials are good but not for this. Ask for the scope that the operation needs."""

    code = "permission_denied"


class NotFoundError(APIStatusError):
    """404: there is no such thing here. Check the id and `base_url`."""

    code = "not_found"


class ConflictError(APIStatusError):
    """409: the thing has changed meanwhile, or exists already. Read it again, then decide."""

    code = "conflict"


class UnprocessableEntityError(APIStatusError):
    """422: the request is well-formed and its values are refused. `errors` says which."""

    code = "unprocessable_entity"


class RateLimitError(APIStatusError):
    """429: too many requests. Wait `retry_after` seconds."""

    code = "rate_limited"


class InternalServerError(APIStatusError):
    """5xx: the server failed. Try again later; quote `request_id` to Telnyx's support."""

    code = "server_error"


class TokenEndpointError(APIStatusError):
    """The token endpoint refused a grant (RFC 6749 section 5.2). Its subclasses name why."""

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
    """The token manager could not give a usable token, so the request was not sent."""

    code = "token_error"


class TokenBackoffError(TokenError):
    """Renewal failed and the next attempt is not due. Try again at `retry_at` (Unix seconds); see `last_error`."""

    code = "token_backoff"

    def __init__(self, *, retry_at: float, retry_after: float, last_error: str) -> None:
        super().__init__(
            f"No token: the last renewal failed ({last_error}); the next attempt is in {retry_after:.1f} s."
        )
        self.retry_at = retry_at
        self.retry_after = retry_after
        self.last_error = last_error


class TokenWaitTimeoutError(TokenError, APITimeoutError, TimeoutError):
    """The caller's `timeout` ended before the token was there. The renewal goes on; ask again.

    `request` is the call that waited for the token, if one did. `sent` is True only when that call had been sent before, with
    a token that the server refused.
    """

    code = "token_wait_timeout"

    def __init__(self, timeout: float, *, request: RequestInfo | None = None, sent: bool = False) -> None:
        unsent = "the request was not sent again" if sent else "the request was not sent"
        what = f"No token within {timeout:g} s; " + (f"{unsent}, and the token's" if request else "its")
        super().__init__(f"{what} renewal goes on.", request=request, sent=sent)
        self.timeout = timeout


class TokenRejectedError(TokenError, AuthenticationError):
    """The server refuses a token that it has only just issued. Renewing would go on for ever, so it stops here."""

    code = "token_rejected"

    def __init__(
        self,
        message: str = "The server refuses a token that it has only just issued.",
        *,
        response: Response | None = None,
    ) -> None:
        # The manager knows that there was a 401 and not always which one. What it said may quote the token.
        AuthenticationError.__init__(self, message, response=_harmless(response or Response(401)))


class TokenVerificationError(TokenError):
    """The issued token is not what it claims to be (signature, issuer or expiry) and was thrown away unused."""

    code = "token_verification_failed"


class ReauthenticationRequiredError(TokenError):
    """The grant is gone and cannot be renewed. The person must sign in again. `reason` says how it ended."""

    code = "reauthentication_required"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The stored grant can no longer be renewed ({reason}). Sign in again.")
        self.reason = reason


class TokenPersistenceError(TokenError):
    """A token store cannot be read or written. Check the folder, the keyring or the server behind it."""

    code = "token_persistence_failed"


class StoreConflictError(TokenPersistenceError):
    """Somebody else has written the record meanwhile. The manager reads it again; a store raises this, callers never see it."""

    code = "token_store_conflict"

    def __init__(self, message: str = "The stored record was changed by someone else meanwhile.") -> None:
        super().__init__(message)


class ForkedGrantError(TokenError):
    """A forked child would spend its parent's refresh token. Give both a store that they share."""

    code = "forked_grant"

    def __init__(self) -> None:
        super().__init__("A refresh token made before a fork is spent only through a store that both processes share.")


class DiscoveryError(TelnyxError):
    """A server's metadata cannot be used: not there, not its own, or without what is needed. Check the issuer's address."""

    code = "discovery_failed"


class AuthorizationError(TelnyxError):
    """A sign-in did not come to its end. What is stored is as it was. Begin another."""

    code = "authorization_failed"


class InvalidCallbackError(AuthorizationError):
    """This address answers no sign-in: it lacks what an answer has, or has it twice. Take the whole address."""

    code = "invalid_callback"


class StateMismatchError(AuthorizationError):
    """The answer is to another sign-in, or this one was answered already. Go on where you began last, or begin again."""

    code = "state_mismatch"


class AuthorizationExpiredError(AuthorizationError):
    """The answer came more than 10 minutes after the sign-in had begun. Begin another."""

    code = "authorization_expired"


class IssuerMismatchError(AuthorizationError):
    """The answer is from another authorization server than the one that was asked (RFC 9207). Nothing was sent to either."""

    code = "issuer_mismatch"


class AuthorizationResponseError(AuthorizationError):
    """The authorization server answered with an error. `code` is what it calls it (RFC 6749 section 4.1.2.1)."""

    code = "authorization_refused"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class AccessDeniedError(AuthorizationResponseError):
    """The person, or the server, said no. Asking for fewer scopes may help."""

    code = "access_denied"


class AuthorizationCodeLostError(AuthorizationError):
    """The code was sent and no usable answer came, so nobody knows if it was taken. It is not sent twice: sign in again."""

    code = "authorization_code_lost"


class LoopbackPortError(AuthorizationError):
    """The port for the browser's answer is taken, perhaps by another sign-in that waits. End that one or choose port 0."""

    code = "loopback_port_taken"


class SignInTimeoutError(AuthorizationError, TimeoutError):
    """The browser did not come back in time. Sign in again, or paste the address that the browser ended at."""

    code = "sign_in_timeout"

    def __init__(self, timeout: float) -> None:
        super().__init__(f"No answer came back from the browser within {timeout:g} s. Sign in again.")
        self.timeout = timeout


class Reason(StrEnum):
    """Why a token was refused: stable values for logs and metrics, never sent to the client."""

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
    """A token that was presented to this service is not good enough. It never carries the token's text.

    `status` and `error` are what RFC 6750 has a resource server answer; `reason` is for logs and metrics alone.
    """

    code = "token_not_accepted"
    status: ClassVar[int] = 401
    error: ClassVar[str | None] = "invalid_token"
    description: ClassVar[str] = "The access token is invalid"

    def __init__(self, reason: Reason) -> None:
        super().__init__(self.description)
        self.reason = reason


class MissingTokenError(TokenValidationError):
    """There is no bearer token on the request. Send one as `Authorization: Bearer ...`."""

    code = "token_missing"
    error = None
    description = "An access token is required"

    def __init__(self, reason: Reason = Reason.MISSING) -> None:
        super().__init__(reason)


class MalformedCredentialsError(TokenValidationError):
    """The request presents credentials in a way that RFC 6750 does not know: twice, empty, or in other characters."""

    code = "credentials_malformed"
    status = 400
    error = "invalid_request"
    description = "The request's credentials are malformed"

    def __init__(self, reason: Reason = Reason.CREDENTIALS_MALFORMED) -> None:
        super().__init__(reason)


class InvalidTokenError(TokenValidationError):
    """The token is forged, for someone else, revoked, or not an access token. `reason` says which, for the log."""

    code = "token_invalid"


class ExpiredTokenError(InvalidTokenError):
    """The token was good once. Its bearer should get a new one."""

    code = "token_expired"
    description = "The access token expired"

    def __init__(self, reason: Reason = Reason.EXPIRED) -> None:
        super().__init__(reason)


class InsufficientScopeError(TokenValidationError):
    """The token is good, but not for this: it needs every scope in `required`."""

    code = "insufficient_scope"
    status = 403
    error = "insufficient_scope"
    description = "The access token does not have the required scope"

    def __init__(self, required: frozenset[str]) -> None:
        super().__init__(Reason.SCOPE_INSUFFICIENT)
        self.required = required


class ValidationUnavailableError(TokenValidationError):
    """Whether the token is good cannot be known now. Nothing is wrong with the token: try again in `retry_after` s."""

    code = "validation_unavailable"
    status = 503
    error = "temporarily_unavailable"
    description = "Access tokens cannot be validated at the moment"

    def __init__(self, reason: Reason, *, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class KeysUnavailableError(ValidationUnavailableError):
    """The token's key cannot be had now: the issuer does not answer, or was asked too often. See `JWKSCache.health`."""

    code = "keys_unavailable"

    def __init__(self, *, retry_after: float) -> None:
        super().__init__(Reason.KEYS_UNAVAILABLE, retry_after=retry_after)


class IntrospectionUnavailableError(ValidationUnavailableError):
    """The introspection endpoint did not say whether the token is active. `reason` says how it failed."""

    code = "introspection_unavailable"
