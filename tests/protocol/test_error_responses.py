from __future__ import annotations

import copy
import json
import pickle
from urllib.parse import quote_plus

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth import errors
from telnyx_oauth.errors import APIStatusError, ErrorDetail
from telnyx_oauth.messages import RequestInfo, Response, headers
from telnyx_oauth.protocol.error_responses import error_from

INFO = RequestInfo("POST", "https://api.telnyx.com/v2/oauth/token")
OAUTH = b'{"error": "invalid_grant", "error_description": "The code has expired."}'
TELNYX = json.dumps(
    {
        "errors": [
            {
                "code": "10027",
                "title": "Validation failed",
                "detail": "must be https",
                "source": {"pointer": "/redirect_uris/0"},
                "meta": {"url": "https://developers.telnyx.com/docs/overview/errors/10027"},
            },
            {"code": 10004, "title": "Missing required parameter", "source": {"parameter": "name"}},
            {},
            "no object",
        ]
    }
).encode()
BY_STATUS = {
    302: "APIStatusError",
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "APIStatusError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "APIStatusError",
    409: "ConflictError",
    418: "APIStatusError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    502: "InternalServerError",
    503: "InternalServerError",
    599: "InternalServerError",
}
BY_CODE = {
    "invalid_request": "InvalidRequestError",
    "invalid_client": "InvalidClientError",
    "invalid_grant": "InvalidGrantError",
    "unauthorized_client": "UnauthorizedClientError",
    "unsupported_grant_type": "UnsupportedGrantTypeError",
    "invalid_scope": "InvalidScopeError",
    "invalid_target": "InvalidTargetError",
}


def failed(content: bytes = b"", status: int = 400, *pairs: tuple[str, str], **options) -> APIStatusError:
    return error_from(Response(status, headers(*pairs), content, INFO), **options)


# --- which class


@pytest.mark.parametrize("status, kind", BY_STATUS.items())
@pytest.mark.parametrize("content", [OAUTH, TELNYX, b"", b"<html>"])
def test_the_status_chooses_the_class(status, kind, content):
    error = failed(content, status)
    assert type(error) is getattr(errors, kind)
    assert error.status_code == status


@pytest.mark.parametrize("code, kind", BY_CODE.items())
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403])
def test_at_the_token_endpoint_the_oauth_code_chooses_the_class(code, kind, status):
    error = failed(json.dumps({"error": code}).encode(), status, token_endpoint=True)
    assert type(error) is getattr(errors, kind)
    assert (error.code, error.status_code) == (code, status)


@pytest.mark.parametrize(
    "status, kind", [(429, "RateLimitError"), (500, "InternalServerError"), (503, "InternalServerError")]
)
def test_a_code_beside_a_status_that_says_nothing_of_the_grant_does_not_choose(status, kind):
    error = failed(OAUTH, status, token_endpoint=True)
    assert type(error) is getattr(errors, kind)
    assert error.code == "invalid_grant"


@pytest.mark.parametrize("status", [200, 400, 401, 418])
def test_a_code_that_no_rfc_knows_is_still_the_token_endpoints_error(status):
    error = failed(b'{"error": "interaction_required"}', status, token_endpoint=True)
    assert type(error) is errors.TokenEndpointError
    assert error.code == "interaction_required"


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b'"invalid_grant"', b'{"error": {"code": "invalid_grant"}}']
)
def test_at_the_token_endpoint_too_the_status_chooses_where_there_is_no_code(content):
    assert type(failed(content, 400, token_endpoint=True)) is errors.BadRequestError
    assert failed(content, 400, token_endpoint=True).code == "bad_request"


# --- what it says


def test_an_oauth_error_is_read():
    error = failed(OAUTH)
    assert str(error) == f"400 from {INFO}: invalid_grant: The code has expired."
    assert (error.code, error.errors) == ("invalid_grant", ())
    assert error.body == json.loads(OAUTH)
    assert error.request == INFO


def test_telnyx_errors_are_read():
    error = failed(TELNYX, 422, ("X-Request-Id", "req-1"), ("Retry-After", "7"))
    assert str(error) == (
        f"422 from {INFO}: 10027 must be https (/redirect_uris/0); 10004 Missing required parameter (name)"
    )
    assert error.code == "10027"
    assert error.errors == (
        ErrorDetail("10027", "Validation failed", "must be https", "/redirect_uris/0"),
        ErrorDetail("10004", "Missing required parameter", None, "name"),
        ErrorDetail(),
    )
    assert (error.request_id, error.retry_after) == ("req-1", 7)


def test_fields_that_registration_refuses_are_named():
    body = {
        "error": "invalid_client_metadata",
        "error_description": "The client metadata was invalid",
        "invalid_fields": {"redirect_uris": ["must be https", "must be one"], "scope": "unknown", "tos_uri": [{}]},
    }
    error = failed(json.dumps(body).encode())
    assert str(error) == (
        f"400 from {INFO}: invalid_client_metadata: The client metadata was invalid; "
        "must be https, must be one (redirect_uris); unknown (scope); (tos_uri)"
    )
    assert [(each.source, each.detail) for each in error.errors] == [
        ("redirect_uris", "must be https, must be one"),
        ("scope", "unknown"),
        ("tos_uri", None),
    ]
    assert error.code == "invalid_client_metadata"


@pytest.mark.parametrize(
    "body, code, said",
    [
        ({}, "bad_request", ""),
        ({"error": "x"}, "x", ": x"),
        ({"error": 7}, "7", ": 7"),
        ({"error": ""}, "bad_request", ""),
        ({"error": True, "error_description": None}, "bad_request", ""),
        ({"error_description": "d"}, "bad_request", ": d"),
        ({"errors": [], "error": "x"}, "x", ": x"),
        ({"errors": ["boom"], "error": "x"}, "x", ": x"),
        ({"errors": {"code": "1"}}, "bad_request", ""),
        ({"errors": [{"code": "1"}], "error": "x"}, "1", ": 1"),
        ({"errors": [{"detail": "d", "source": "s"}]}, "bad_request", ": d"),
        ({"errors": [{"code": False, "title": [], "detail": 2.5}]}, "bad_request", ""),
        ({"invalid_fields": []}, "bad_request", ""),
        ([], "bad_request", ""),
        (None, "bad_request", ""),
    ],
)
def test_odd_errors_are_read_as_far_as_they_go(body, code, said):
    error = failed(json.dumps(body).encode())
    assert error.code == code
    assert str(error) == f"400 from {INFO}{said}"
    assert error.body == body


def test_a_body_that_is_no_json_is_kept_as_text():
    assert failed(b"<html>\xff</html>").body == "<html>\ufffd</html>"
    assert failed("é".encode("latin-1"), 400, ("Content-Type", "text/html; charset=latin-1")).body == "é"
    assert failed(b"").body is None
    assert str(failed(b"<html>")) == f"400 from {INFO}"


def test_a_redirect_says_that_it_is_one():
    error = failed(b"", 302, ("Location", "https://elsewhere.test/"))
    assert str(error) == f"302 from {INFO}: a redirect, and no call follows one; see `location`"
    assert error.location == "https://elsewhere.test/"


def test_the_servers_words_are_one_line_of_bounded_length():
    told = str(
        failed(json.dumps({"error": "x", "error_description": "a\r\n\x1b[2J\u2028\ud800" + "b" * 9999}).encode())
    )
    assert told.isprintable()
    assert ": x: a   [2J  bbb" in told
    assert len(told) < 600


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x07", "\r\n", "\x9b", "\u202e", "\u2066", "\u200f", "\u2028", "\ud800"])
def test_each_part_of_an_error_is_one_line_that_no_terminal_obeys(odd):
    said = f"a{odd}b"
    listed = {"errors": [{"code": said, "title": said, "detail": said, "source": {"pointer": f"/{said}"}}]}
    for body in (listed, {"invalid_fields": {said: [said]}}, {"error": said, "error_description": said}):
        error = failed(json.dumps(body).encode())
        assert str(error).isprintable()
        assert (error.code or "").isprintable()
        for detail in error.errors:
            assert all(part is None or part.isprintable() for part in attrs.astuple(detail))


def test_a_date_to_wait_for_is_seconds_from_now():
    fields = ("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")
    assert failed(b"", 503, fields, now=1_445_412_400.0).retry_after == 80


# --- what it must not say

SPELLINGS = {
    "plain": str,
    "JSON": lambda it: json.dumps(it)[1:-1],
    "percent-encoded": quote_plus,
    "JSON with every character escaped": lambda it: "".join(f"\\u{ord(each):04x}" for each in it),
}


def kept_by(error: APIStatusError) -> str:
    """Everything that an error holds, as text."""
    return "\n".join(
        [
            str(error),
            repr(error),
            repr(error.args),
            repr(vars(error)),
            json.dumps(error.body, ensure_ascii=False),
            repr([attrs.astuple(each) for each in error.errors]),
            repr(list(error.response.headers.items())),
            error.response.content.decode("utf-8", "replace"),
            error.response.text(),
            pickle.dumps(error, 0).decode("ascii", "replace"),
            repr(vars(copy.copy(error))),
            repr(getattr(error, "__notes__", ())),
        ]
    )


TEMPLATES = [
    '{"error": "%s", "error_description": "%s"}',
    '{"errors": [{"code": "%s", "title": "%s", "detail": "%s", "source": {"pointer": "%s"}}]}',
    '{"error": "x", "invalid_fields": {"%s": ["%s"]}}',
    '{"nested": [{"%s": {"deep": "%s"}}]}',
    '"%s"',
    "<html>%s</html>",
    "%s",
]


@pytest.mark.parametrize(
    "spelling, template",
    [(spelling, each) for spelling in SPELLINGS for each in TEMPLATES if "JSON" not in spelling or each[0] in '{"'],
)
@pytest.mark.parametrize("secret", ["planted-secret-91e7", 'pl"anted\\se/cret+91 e7'])
def test_no_error_keeps_a_secret_that_the_server_echoed(spelling, template, secret):
    echoed = SPELLINGS[spelling](secret)
    content = template.replace("%s", echoed).encode()
    error = failed(content, 401, ("X-Echo", echoed), ("X-" + echoed, "1"), token_endpoint=True, secrets=[secret])
    told = kept_by(error)
    assert secret not in told
    assert json.dumps(secret)[1:-1] not in told
    assert quote_plus(secret) not in told
    assert "***" in told


def test_a_secret_in_another_charset_is_struck_out_too():
    html = "<p>planted-secret-91e7</p>".encode("utf-16")
    error = failed(html, 400, ("Content-Type", "text/html; charset=utf-16"), secrets=["planted-secret-91e7"])
    assert error.body == "<p>***</p>"
    assert b"91e7" not in error.response.content.replace(b"\x00", b"")


def test_a_secret_across_the_end_of_the_message_is_struck_out():
    body = {"error_description": "a" * 490 + "planted-secret-91e7" + "b" * 50}
    error = failed(json.dumps(body).encode(), secrets=["planted-secret-91e7"])
    assert "planted" not in str(error)


@pytest.mark.parametrize("depth", [600, 900, 1500, 3000, 6000, 100_000])
def test_no_body_is_so_deep_that_a_secret_hides_in_it(depth):
    content = b"[" * depth + b'"planted-\\u0073ecret-91e7"' + b"]" * depth
    error = failed(content, secrets=["planted-secret-91e7"])
    assert b"91e7" not in error.response.content
    assert not isinstance(error.body, str)


def test_a_body_too_deep_to_look_through_is_not_kept():
    error = failed(b"[" * 100_000 + b"]" * 100_000)
    assert (error.body, error.response.content) == (None, b"")


def test_cookies_are_not_kept():
    assert "Set-Cookie" not in failed(b"", 400, ("set-cookie", "session=1"), ("Date", "today")).response.headers


def test_secrets_that_are_words_of_the_protocol_do_not_change_what_is_read():
    words = ["error", "errors", "code", "invalid_grant", "grant", "", "e"]
    error = failed(OAUTH, 400, token_endpoint=True, secrets=words)
    assert type(error) is errors.InvalidGrantError
    assert error.code == "invalid_grant"
    assert failed(TELNYX, secrets=words).code == "10027"


def test_an_answer_without_secrets_is_kept_as_it_came():
    response = Response(400, headers(("X-A", "1")), OAUTH, INFO)
    error = error_from(response, secrets=["planted-secret-91e7"])
    assert error.response.content == OAUTH
    assert list(error.response.headers.items()) == [("X-A", "1")]


# --- whatever comes

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
bodies = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "code", "title", "detail", "source", "pointer", "invalid_fields", "x"]),
            inner,
            max_size=4,
        )
    ),
)


@given(
    st.one_of(st.binary(), bodies.map(lambda body: json.dumps(body).encode())),
    st.integers(100, 999),
    st.lists(st.tuples(st.sampled_from(["Content-Type", "Retry-After", "Location", "X-Request-Id"]), st.text())),
    st.booleans(),
    st.lists(st.text()),
)
def test_any_answer_is_an_error_that_can_be_told_and_pickled(content, status, pairs, token_endpoint, secrets):
    error = error_from(Response(status, headers(*pairs), content, INFO), token_endpoint=token_endpoint, secrets=secrets)
    assert isinstance(error, APIStatusError)
    assert str(error).isprintable()
    assert error.code
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*"), max_size=30).map(
        lambda text: f"{text}-planted-91e7"  # or else it finds a word that every pickle holds
    ),
    bodies,
    st.sampled_from(sorted(SPELLINGS)),
)
def test_no_body_makes_an_error_keep_a_secret(secret, body, spelling):
    content = json.dumps({"error": "x", "echo": [body, "SECRET"], "error_description": "a SECRET b"})
    content = content.replace("SECRET", SPELLINGS[spelling](secret)).encode("utf-8")
    told = kept_by(failed(content, secrets=[secret]))
    assert secret not in told


@pytest.mark.parametrize("depth", [10, 200, 480, 900, 5_000, 200_000])
def test_a_deeply_nested_body_is_an_error_like_any_other(depth):
    for content in (b"[" * depth, b"[" * depth + b"]" * depth, b'{"error":' * depth + b"1" + b"}" * depth):
        error = failed(content, secrets=["planted-secret-91e7"])
        assert type(error) is errors.BadRequestError
