"""What a failed renewal proves, and what it leaves open."""

from __future__ import annotations

from ..errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    ForkedGrantError,
    ReauthenticationRequiredError,
    TelnyxError,
    TokenEndpointError,
    TokenVerificationError,
)

_NOT_NOW = ("server_error", "slow_down", "temporarily_unavailable")


def is_unknown(error: TelnyxError) -> bool:
    """Whether, after this error, nobody can say if the server has spent the refresh token."""
    if isinstance(error, APIConnectionError):
        return error.sent
    if isinstance(error, APIStatusError):
        status = error.status_code
        return status == 408 or (status >= 500 and not (status == 503 and error.retry_after is not None))
    return isinstance(error, APIResponseValidationError)


def is_refusal(error: TelnyxError) -> bool:
    """Tell if the token endpoint itself refused what was sent, for good: with an OAuth error other than "not now"."""
    return isinstance(error, TokenEndpointError) and error.code not in _NOT_NOW


def is_terminal(error: Exception) -> bool:
    """Whether sending the same again soon would come to the same."""
    if isinstance(error, APIStatusError):
        return 300 <= error.status_code < 500 and error.status_code not in (408, 409, 425, 429)
    return isinstance(error, (ReauthenticationRequiredError, ForkedGrantError, TokenVerificationError))


def code_of(error: BaseException) -> str:
    """A stable name for an error."""
    code = error.code if isinstance(error, TelnyxError) else None
    return code or type(error).__name__
