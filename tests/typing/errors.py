"""What type checkers know of an error that a program has caught.

Each line with an ignore must fail, under both checkers: an ignore that hides nothing is an error to them.
"""

from __future__ import annotations

from typing import assert_type

from telnyx_oauth.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    ErrorDetail,
    InvalidClientError,
    TelnyxError,
    TokenEndpointError,
    TokenValidationError,
)
from telnyx_oauth.messages import Response


def any_error(error: TelnyxError) -> None:
    assert_type(error.message, str)
    assert_type(error.code, str | None)
    _ = error.status_code  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def error_of_a_call(error: APIError) -> None:
    assert_type(error.status_code, int | None)
    assert_type(error.response, Response | None)
    assert_type(error.request_id, str | None)
    assert_type(error.retry_after, float | None)
    assert_type(error.errors, tuple[ErrorDetail, ...])


def refusal(error: APIStatusError) -> None:
    assert_type(error.status_code, int)
    assert_type(error.response, Response)
    assert_type(error.location, str | None)


def wrong_answer(error: APIResponseValidationError) -> None:
    assert_type(error.problems, tuple[str, ...])


def refused_client(error: InvalidClientError) -> tuple[TokenEndpointError, AuthenticationError]:
    return error, error


def refused_token(error: TokenValidationError) -> APIError:
    return error  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
