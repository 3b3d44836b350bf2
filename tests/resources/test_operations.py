from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from telnyx_oauth import omit
from telnyx_oauth.errors import APIResponseValidationError, MissingCredentialsError
from telnyx_oauth.messages import Timeout
from telnyx_oauth.protocol.credentials import Credentials
from telnyx_oauth.protocol.requests import Defaults, merged
from telnyx_oauth.protocol.secret import Secret
from tests.operations import BY_NAME, META, OPERATIONS, Operation
from tests.wire import Script, StaticToken, reply, resources

each = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
KEY = "KEY"


def script_for(operation: Operation) -> Script:
    return Script(operation.response)


@each
async def test_every_parameter_is_on_the_wire(operation: Operation):
    send = script_for(operation)
    await operation.call(resources(send))
    (request,) = send.requests
    parts = urlsplit(request.url)
    assert (request.method, parts.scheme, parts.netloc) == (operation.method, "https", "api.telnyx.com")
    assert parts.path == operation.path
    assert dict(parse_qsl(parts.query, keep_blank_values=True)) == operation.query
    sent = request.headers.get("Content-Type")
    if operation.json is not None:
        assert sent == "application/json"
        assert json.loads(request.content) == operation.json
    elif operation.form is not None:
        assert sent == "application/x-www-form-urlencoded"
        assert dict(parse_qsl(request.content.decode(), keep_blank_values=True)) == operation.form
    else:
        assert (sent, request.content) == (None, b"")


@each
async def test_nothing_but_what_was_given_is_on_the_wire(operation: Operation):
    send = script_for(operation)
    await operation.call(resources(send), full=False)
    (request,) = send.requests
    given = {
        name: value
        for name, value in operation.given(full=False).items()
        if operation.json is None or operation.json.get(name) == value
    }
    if operation.json is not None:
        assert json.loads(request.content) == given
    elif operation.form is not None:
        assert dict(parse_qsl(request.content.decode())) == given
    else:
        assert dict(parse_qsl(urlsplit(request.url).query)) == given


@each
async def test_the_answer_is_of_its_kind(operation: Operation):
    answer = await operation.call(resources(script_for(operation)))
    if operation.lists:
        assert [type(item) for item in answer.data] == [operation.kind]
        assert [item.to_dict(mode="json") for item in answer.data] == operation.answer["data"]
        assert (answer.meta.to_dict(), answer.to_dict().keys()) == (META, {"data", "meta"})
    else:
        assert isinstance(answer, operation.kind)
        if hasattr(answer, "to_dict"):
            assert answer.to_dict(mode="json") == operation.answer


@each
async def test_it_says_who_is_calling(operation: Operation):
    send = script_for(operation)
    identity = Credentials("KEY", "an id", "s", StaticToken("access-token"))
    await operation.call(resources(send, identity), full=False)
    expected = {"none": None, "bearer": "Bearer access-token", "client": "Basic", "token": "Basic"}[operation.auth]
    sent = send.requests[0].headers.get("Authorization")
    assert sent is None if expected is None else sent is not None and sent.startswith(expected)


@each
async def test_without_credentials_it_fails_before_anything_is_sent_or_needs_none(operation: Operation):
    send = script_for(operation)
    nobody = resources(send, Credentials())
    if operation.auth in ("none", "token"):
        await operation.call(nobody)
        assert "Authorization" not in send.requests[0].headers
        return
    with pytest.raises(MissingCredentialsError, match="TELNYX_API_KEY") as caught:
        await operation.call(nobody)
    assert send.requests == []
    assert set(caught.value.variables) == {"TELNYX_API_KEY", "TELNYX_CLIENT_ID and TELNYX_CLIENT_SECRET"}
    assert operation.argument is None or "a/b" not in str(caught.value)


@each
async def test_extras_are_sent_and_win(operation: Operation):
    send = script_for(operation)
    await operation.call(
        resources(
            send,
            headers={"Accept": "application/json", "X-Default": "d", "X-Gone": "d"},
            query={"default": "d", "both": "d"},
        ),
        extra_headers={"x-default": "e", "X-Extra": "e", "X-Gone": omit},
        extra_query={"both": "e", "extra": ["1", "2"], "none": None},
        extra_body={"added": "e"},
        timeout=1.5,
    )
    (request,) = send.requests
    assert {name.lower(): value for name, value in request.headers.items()}.items() >= {
        ("x-default", "e"),
        ("x-extra", "e"),
    }
    assert "X-Gone" not in request.headers
    pairs = parse_qsl(urlsplit(request.url).query)
    assert {("default", "d"), ("both", "e"), ("extra", "1"), ("extra", "2")} <= set(pairs)
    assert not {"none"} & {name for name, _ in pairs}
    assert ("both", "d") not in pairs
    if operation.form is not None:
        assert dict(parse_qsl(request.content.decode()))["added"] == "e"
    else:
        assert json.loads(request.content)["added"] == "e"
    assert request.timeout == Timeout(1.5, 1.5)


@each
@pytest.mark.parametrize(
    "timeout, expected", [(None, Timeout(None, None)), (Timeout(9, 3), Timeout(9, 3)), (omit, Timeout())]
)
async def test_each_call_has_a_timeout_of_its_own(operation: Operation, timeout, expected):
    send = script_for(operation)
    await operation.call(resources(send), timeout=timeout)
    assert send.requests[0].timeout == expected


@each
@pytest.mark.parametrize(
    "name, value", [("X-A\r\nX-B", "v"), ("X-A", "v\r\nX-B: w"), ("X-A", "v\nw"), ("X-A", "a\0b"), ("", "v")]
)
async def test_a_header_that_would_break_out_is_refused_before_anything_is_sent(operation: Operation, name, value):
    send = script_for(operation)
    with pytest.raises(ValueError, match="header"):
        await operation.call(resources(send), extra_headers={name: value})
    assert send.requests == []


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.argument], ids=lambda each: each.name)
@pytest.mark.parametrize("value", ["", ".", ".."])
async def test_a_path_parameter_that_is_no_name_is_refused(operation: Operation, value):
    send = script_for(operation)
    with pytest.raises(ValueError, match=r"`id`|`consent_token`"):
        await operation.method_of(resources(send))(value)
    assert send.requests == []


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.argument], ids=lambda each: each.name)
@pytest.mark.parametrize("value", ["../x", "a/b", "%2e%2e", "?a=b", "#f", "é", "a b", "\r\n", ";v=1", "\\"])
async def test_a_path_parameter_stays_one_segment(operation: Operation, value):
    send = script_for(operation)
    await operation.method_of(resources(send))(value)
    parts = urlsplit(send.requests[0].url)
    assert (parts.query, parts.fragment) == ("", "")
    assert parts.path.count("/") == operation.path.count("/")
    assert not set(parts.path.rpartition("/")[2]) & set("/?#\r\n \\;é")


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.argument], ids=lambda each: each.name)
async def test_a_path_parameter_is_a_string(operation: Operation):
    with pytest.raises(TypeError, match="must be a str"):
        await operation.method_of(resources(script_for(operation)))(7)


WRONG = [each for each in OPERATIONS if each.kind is not type(None) and each.name != "oauth.retrieve_authorize"]


@pytest.mark.parametrize("operation", WRONG, ids=lambda operation: operation.name)
@pytest.mark.parametrize("content", [b"<html>502</html>", b"", b'{"data": ', b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_json_is_told_from_what_the_api_promises(operation: Operation, content):
    with pytest.raises(APIResponseValidationError, match=r"\$: expected JSON") as caught:
        await operation.call(resources(Script(reply(200, content))))
    assert caught.value.status_code == 200
    assert caught.value.response.content == b""


async def test_each_wrong_place_of_an_answer_is_named():
    answer = b'{"data": [{"client_id": 7}], "meta": {"total_pages": "x"}}'
    with pytest.raises(APIResponseValidationError) as caught:
        await BY_NAME["oauth_clients.list"].call(resources(Script(reply(200, answer))))
    assert "$.data[0].client_id: expected a string, found an integer" in caught.value.problems
    assert "$.data[0].name: is missing" in caught.value.problems
    assert any(problem.startswith("$.meta.total_pages") for problem in caught.value.problems)


async def test_a_created_client_may_come_with_status_200():
    operation = BY_NAME["oauth_clients.create"]
    send = Script(reply(200, operation.response().content))
    assert (await operation.call(resources(send))).data.client_secret == "s"


async def test_an_authorization_that_is_redirected_gives_the_address_and_follows_nothing():
    send = Script(reply(302, b"", Location="/consent?consent_token=c"))
    answer = await BY_NAME["oauth.retrieve_authorize"].call(resources(send))
    assert answer == answer.url == "https://api.telnyx.com/consent?consent_token=c"
    assert (answer.html, len(send.requests)) == (None, 1)


async def test_a_consent_page_comes_with_the_address_to_send_the_person_to():
    operation = BY_NAME["oauth.retrieve_authorize"]
    send = Script(operation.response)
    answer = await operation.call(resources(send))
    assert (answer, answer.html, answer.url) == (operation.answer, operation.answer, send.requests[0].url)
    assert send.requests[0].headers["Accept"] == "text/html"


async def test_a_redirect_without_an_address_is_no_answer():
    with pytest.raises(APIResponseValidationError, match="Location"):
        await BY_NAME["oauth.retrieve_authorize"].call(resources(Script(reply(302, b""))))


@each
async def test_no_header_is_sent_twice_in_another_case(operation: Operation):
    send = script_for(operation)
    ours = merged({"Accept": "a", "User-Agent": "a"}, Secret({"accept": "b", "content-type": "b", "user-agent": "b"}))
    await operation.call(resources(send, headers=ours), extra_headers={"ACCEPT": "c", "x-own": "c"})
    names = [name.lower() for name in send.requests[0].headers]
    assert len(names) == len(set(names))
    assert send.requests[0].headers["Accept"] == "c"


def test_defaults_tell_no_header_in_their_repr():
    assert "secret" not in repr(Defaults("https://x", Timeout(), {"X": "secret"}, {"q": "v"}))
