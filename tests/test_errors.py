from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from telnyx_oauth import errors
from telnyx_oauth.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ErrorDetail,
    MissingCredentialsError,
    Reason,
    TelnyxError,
    TokenError,
    TokenValidationError,
)
from telnyx_oauth.messages import RequestInfo, Response, headers

INFO = RequestInfo("GET", "https://api.telnyx.com/v2/oauth_clients")
RESPONSE = Response(400, headers(("X-Request-Id", "req-1"), ("Location", "/there")), b'{"error": "x"}', INFO)
KINDS = sorted(
    (
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, TelnyxError) and kind.__module__ == errors.__name__
    ),
    key=lambda kind: kind.__name__,
)
ARGUMENTS = {
    "message": "What happened.",
    "operation": "`tokens`",
    "choices": ("api_key", "TELNYX_API_KEY"),
    "what": "This thing",
    "request": INFO,
    "sent": False,
    "problems": ("$.data[0].name: is missing",),
    "response": RESPONSE,
    "body": {"error": "x"},
    "lent": True,
    "code": "10009",
    "errors": (ErrorDetail("10009", "Title", "Detail", "/name"),),
    "retry_at": 1.5,
    "retry_after": 2.5,
    "last_error": "invalid_grant",
    "timeout": 3.0,
    "reason": "revoked",
    "required": frozenset({"admin"}),
}


def made(kind: type[TelnyxError]) -> TelnyxError:
    """An error of this kind with every argument that it takes."""
    positional, named = [], {}
    for name, parameter in inspect.signature(kind).parameters.items():
        value = ARGUMENTS[name]
        if name == "reason" and issubclass(kind, TokenValidationError):
            value = Reason.EXPIRED
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[name] = value
        else:
            positional.append(value)
    return kind(*positional, **named)


def every_kind(function):
    return pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)(function)


def state(error: TelnyxError) -> dict[str, object]:
    """What an error holds, with its response (which is equal to itself alone) taken apart."""
    kept = dict(vars(error))
    response = kept.pop("response", None)
    if response is not None:
        kept |= {"status": response.status_code, "headers": tuple(response.headers.items()), "body": response.content}
    return kept


@every_kind
def test_each_error_can_be_made_and_says_something(kind):
    error = made(kind)
    assert str(error) == error.message == error.args[0] != ""
    assert kind.__name__ in repr(error)


@every_kind
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_each_error_survives_pickling_and_copying_with_all_that_it_holds(kind, duplicate):
    error = made(kind)
    error.add_note("a note of the caller's")
    twin = duplicate(error)
    assert type(twin) is kind
    assert (str(twin), repr(twin), twin.args) == (str(error), repr(error), error.args)
    assert state(twin) == state(error)
    assert twin.__notes__ == [*([kind.hint] if kind.hint else []), "a note of the caller's"]
    assert twin.code == error.code


def test_each_error_has_a_code_of_its_own():
    codes = [kind.code for kind in KINDS]
    assert sorted(codes) == sorted(set(codes))
    assert all("code" in vars(kind) and kind.code.replace("_", "").isalpha() for kind in KINDS)


@every_kind
def test_each_error_says_what_it_means(kind):
    assert len(inspect.cleandoc(vars(kind)["__doc__"])) > 25


@every_kind
def test_each_error_is_named_as_one(kind):
    assert kind.__name__.endswith("Error")


@pytest.mark.parametrize(
    "kind, also",
    [
        ("APITimeoutError", "APIConnectionError"),
        ("APIConnectionError", "APIError"),
        ("APIResponseValidationError", "APIError"),
        ("InvalidClientError", "TokenEndpointError AuthenticationError"),
        ("InvalidGrantError", "TokenEndpointError BadRequestError"),
        ("InvalidRequestError", "TokenEndpointError BadRequestError"),
        ("UnauthorizedClientError", "TokenEndpointError BadRequestError"),
        ("UnsupportedGrantTypeError", "TokenEndpointError BadRequestError"),
        ("InvalidScopeError", "TokenEndpointError BadRequestError"),
        ("InvalidTargetError", "TokenEndpointError BadRequestError"),
        ("TokenRejectedError", "TokenError AuthenticationError"),
        ("TokenBackoffError", "TokenError"),
        ("ReauthenticationRequiredError", "TokenError"),
        ("TokenVerificationError", "TokenError"),
        ("TokenPersistenceError", "TokenError"),
        ("ForkedGrantError", "TokenError"),
        ("ExpiredTokenError", "InvalidTokenError"),
        ("KeysUnavailableError", "ValidationUnavailableError"),
        ("IntrospectionUnavailableError", "ValidationUnavailableError"),
    ],
)
def test_errors_can_be_caught_by_what_they_have_in_common(kind, also):
    assert all(issubclass(getattr(errors, kind), getattr(errors, name)) for name in also.split())


def test_standard_errors_catch_those_of_ours_that_are_their_kind():
    assert isinstance(made(errors.TokenWaitTimeoutError), TimeoutError)
    assert isinstance(made(errors.ClientClosedError), RuntimeError)
    assert isinstance(made(errors.BlockingCallError), RuntimeError)
    assert not issubclass(TokenValidationError, (APIError, TokenError)), "a refused caller is no failed call of ours"


def test_missing_credentials_name_each_parameter_and_its_variable():
    error = MissingCredentialsError("GET /x", ("api_key", "TELNYX_API_KEY"), ("client_id", "TELNYX_CLIENT_ID"))
    assert str(error) == (
        "GET /x needs credentials and none are configured. "
        "Pass api_key (environment: TELNYX_API_KEY), or client_id (environment: TELNYX_CLIENT_ID)."
    )
    assert (error.parameters, error.variables) == (("api_key", "client_id"), ("TELNYX_API_KEY", "TELNYX_CLIENT_ID"))


def test_a_connection_error_names_the_request_where_it_is_known():
    assert str(APIConnectionError()) == "Connection error."
    assert str(APIConnectionError(request=INFO)) == f"Connection error. ({INFO})"
    assert str(APITimeoutError(request=INFO)) == f"Request timed out. ({INFO})"
    assert APIConnectionError().sent is True
    assert APITimeoutError(sent=False).sent is False


def test_an_error_without_an_answer_has_the_attributes_of_one_all_the_same():
    error = APIConnectionError(request=INFO)
    assert (error.status_code, error.request_id, error.retry_after, error.errors) == (None, None, None, ())
    assert (error.body, error.response, error.request) == (None, None, INFO)


def test_a_status_error_carries_what_the_answer_said():
    error = made(APIStatusError)
    assert (error.status_code, error.request_id, error.location) == (400, "req-1", "/there")
    assert (error.code, error.retry_after, error.body) == ("10009", 2.5, {"error": "x"})
    assert error.errors == ARGUMENTS["errors"]
    assert error.response is RESPONSE
    assert APIStatusError("m", response=Response(400)).location is None
    assert APIStatusError("m", response=Response(400)).code == "status_error"


def test_refused_credentials_come_with_advice():
    assert made(AuthenticationError).__notes__ == [AuthenticationError.hint]
    assert made(errors.TokenRejectedError).__notes__ == [AuthenticationError.hint]
    assert errors.TokenRejectedError().status_code == 401


def test_a_refused_answer_is_kept_without_what_may_be_secret_in_it(secrets):
    pairs = (("Content-Type", "text/html"), ("X-Request-Id", "req-1"), ("Retry-After", "3"))
    response = Response(
        200,
        headers(*pairs, ("Set-Cookie", secrets.code), ("X-Echo", secrets.api_key), ("Location", secrets.code)),
        secrets.access_token.encode(),
        INFO,
    )
    error = APIResponseValidationError(("$: expected JSON", "$.x: is missing"), response=response)
    assert secrets.found_in(error, error.response.headers, error.response.content) == []
    assert tuple(error.response.headers.items()) == pairs
    assert error.request_id == "req-1"
    assert str(error) == f"{INFO}: the answer is not what the API promises: $: expected JSON; $.x: is missing"


@pytest.mark.parametrize(
    "kind, status, error",
    [
        ("MissingTokenError", 401, None),
        ("MalformedCredentialsError", 400, "invalid_request"),
        ("InvalidTokenError", 401, "invalid_token"),
        ("ExpiredTokenError", 401, "invalid_token"),
        ("InsufficientScopeError", 403, "insufficient_scope"),
        ("KeysUnavailableError", 503, "temporarily_unavailable"),
        ("IntrospectionUnavailableError", 503, "temporarily_unavailable"),
    ],
)
def test_a_refused_token_says_what_rfc_6750_has_a_server_answer_and_no_more(kind, status, error):
    refused = made(getattr(errors, kind))
    assert (refused.status, refused.error) == (status, error)
    assert refused.reason in Reason
    assert str(refused) == refused.description


@pytest.mark.parametrize("kind", ["MissingTokenError", "MalformedCredentialsError", "ExpiredTokenError"])
def test_a_refusal_for_an_obvious_reason_need_not_be_told_it(kind):
    assert getattr(errors, kind)().reason in Reason
