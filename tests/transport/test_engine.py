from __future__ import annotations

import asyncio
import base64
from email.utils import formatdate

import attrs
import pytest

from telnyx_oauth import errors
from telnyx_oauth.messages import ENDED_EARLY, Response
from telnyx_oauth.messages import headers as response_headers
from telnyx_oauth.protocol.credentials import Credentials
from telnyx_oauth.protocol.requests import omit
from telnyx_oauth.transport.engine import Shared
from tests.operations import BY_NAME, OPERATIONS
from tests.refusals import ANOTHER_TOKEN_HELPS
from tests.wire import FakeClock, Renewable, Script, StaticToken, refused, reply, resources

NOW = 1_800_000_000.0
ONCE = [each for each in OPERATIONS if each.once]
AGAIN = [each for each in OPERATIONS if not each.once]


def named(operation):
    return operation.name


def basic(client_id: str, client_secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()


def challenge(error: str) -> dict[str, str]:
    return {"WWW_Authenticate": f'Bearer error="{error}"'}


# --- who is calling


async def test_client_credentials_win_over_the_api_key():
    send = Script(reply())
    client = resources(send, Credentials("KEY", "id", "secret", StaticToken("token")))
    await client.get("/anything", cast_to=object)
    assert send.requests[0].headers["Authorization"] == "Bearer token"


@pytest.mark.parametrize(
    "identity, expected",
    [
        (Credentials("KEY", "id", "secret"), basic("id", "secret")),
        (Credentials("KEY", "id", None), "Bearer KEY"),
        (Credentials("KEY"), "Bearer KEY"),
        (Credentials(None, "i d", "s:%é"), basic("i%20d", "s%3A%25%C3%A9")),
    ],
)
async def test_introspection_is_asked_for_as_the_client_else_with_the_key(identity, expected):
    operation = BY_NAME["oauth.introspect"]
    send = Script(operation.response)
    await operation.call(resources(send, identity))
    assert send.requests[0].headers["Authorization"] == expected


@pytest.mark.parametrize("identity", [Credentials(), Credentials(None, "id", None)])
async def test_introspection_without_a_secret_or_key_is_refused_before_anything_is_sent(identity):
    send = Script(reply())
    with pytest.raises(errors.MissingCredentialsError) as caught:
        await resources(send, identity).oauth.introspect(token="planted")
    assert send.requests == []
    assert "planted" not in str(caught.value)


TOKEN = BY_NAME["oauth.token"].response


@pytest.mark.parametrize(
    "identity, given, authorization, form",
    [
        (Credentials("KEY", "id", "secret"), {}, basic("id", "secret"), {}),
        (Credentials("KEY", "id", "secret"), {"client_id": "other"}, None, {"client_id": "other"}),
        (
            Credentials("KEY", "id", "secret"),
            {"client_id": "other", "client_secret": "s"},
            None,
            {"client_id": "other", "client_secret": "s"},
        ),
        (Credentials("KEY", "id", "secret"), {"client_secret": "s"}, None, {"client_id": "id", "client_secret": "s"}),
        (
            Credentials("KEY", "id", "secret"),
            {"extra_body": {"client_id": "other", "client_secret": "s"}},
            None,
            {"client_id": "other", "client_secret": "s"},
        ),
        (Credentials("KEY", "id", None), {}, None, {"client_id": "id"}),
        (Credentials("KEY"), {}, None, {}),
        (Credentials(), {}, None, {}),
        (
            Credentials("KEY", "id", "secret"),
            {"extra_headers": {"authorization": "Basic b3RoZXI6cw=="}},
            "Basic b3RoZXI6cw==",
            {},
        ),
        (Credentials("KEY", "id", "secret"), {"extra_headers": {"Authorization": omit}}, None, {}),
        (
            Credentials("KEY", "id", "secret"),
            {"extra_body": {"client_assertion": "jwt"}},
            None,
            {"client_id": "id", "client_assertion": "jwt"},
        ),
    ],
)
async def test_a_token_request_names_its_client_in_one_way_and_never_the_key(identity, given, authorization, form):
    send = Script(TOKEN)
    await resources(send, identity).oauth.token(grant_type="client_credentials", **given)
    (request,) = send.requests
    sent = {name.lower(): value for name, value in request.headers.items()}
    assert sent.get("authorization") == authorization
    fields = dict(pair.split("=") for pair in request.content.decode().split("&"))
    assert fields == {"grant_type": "client_credentials", **form}
    assert "KEY" not in str(sent) + request.content.decode()


@pytest.mark.parametrize("body", [{"client_id": "other", "client_secret": "s"}, {"client_secret": "s"}])
async def test_credentials_in_the_body_of_an_introspection_are_the_only_ones(body):
    operation = BY_NAME["oauth.introspect"]
    send = Script(operation.response)
    identity = Credentials("KEY", "id", "secret")
    await resources(send, identity).oauth.introspect(token="t", extra_body=body)
    assert "Authorization" not in send.requests[0].headers
    expected = {"client_id": "id", **body}
    assert dict(pair.split("=") for pair in send.requests[0].content.decode().split("&")) == {"token": "t", **expected}


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_an_authorization_of_the_callers_own_wins(operation, name):
    for client, extra in (
        (resources(send := Script(operation.response), headers={"Authorization": "Own thing"}), {}),
        (resources(again := Script(operation.response)), {"extra_headers": {name: "Own thing"}}),
    ):
        await operation.call(client, full=False, **extra)
    for script in (send, again):
        (request,) = script.requests
        assert [value for each, value in request.headers.items() if each.lower() == "authorization"] == ["Own thing"]


async def test_an_authorization_of_the_callers_own_needs_no_credentials_and_is_not_replaced():
    send = Script(reply(401, b"{}", **challenge("invalid_token")))
    client = resources(send, Credentials())
    with pytest.raises(errors.AuthenticationError):
        await client.get("/x", cast_to=object, options={"headers": {"Authorization": "Bearer mine"}})
    assert len(send.requests) == 1


# --- a refused token


async def test_a_refused_token_is_replaced_once_and_the_call_made_again():
    tokens = Renewable("old", "new")
    send = Script(reply(401, b"{}", **challenge("invalid_token")), reply())
    assert await resources(send, Credentials(tokens=tokens)).get("/x", cast_to=object) == {}
    assert [request.headers["Authorization"] for request in send.requests] == ["Bearer old", "Bearer new"]
    assert [token.access_token for token in tokens.replaced] == ["old"]


@pytest.mark.parametrize("headers", [{}, challenge("invalid_token"), {"WWW_Authenticate": 'Bearer realm="x"'}])
async def test_a_second_refusal_is_the_callers(headers):
    tokens = Renewable("1", "2", "3")
    send = Script(reply(401, b"{}", **headers))
    with pytest.raises(errors.AuthenticationError):
        await resources(send, Credentials(tokens=tokens)).get("/x", cast_to=object)
    assert (len(send.requests), len(tokens.replaced)) == (2, 1)


async def test_the_same_token_again_is_not_sent_again():
    tokens = Renewable("only")
    send = Script(reply(401))
    with pytest.raises(errors.AuthenticationError):
        await resources(send, Credentials(tokens=tokens)).get("/x", cast_to=object)
    assert len(send.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_missing_scope_is_no_reason_for_another_token(status):
    tokens = Renewable("1", "2")
    send = Script(reply(status, b"{}", **challenge("insufficient_scope")))
    with pytest.raises(errors.APIStatusError):
        await resources(send, Credentials(tokens=tokens)).get("/x", cast_to=object)
    assert (len(send.requests), tokens.replaced) == (1, [])


@pytest.mark.parametrize(("values", "helps"), ANOTHER_TOKEN_HELPS)
async def test_only_a_refusal_of_the_token_itself_is_reason_for_another(values, helps):
    refusal = Response(401, response_headers(*(("WWW-Authenticate", value) for value in values)), b"{}")
    tokens, send = Renewable("1", "2"), Script(refusal, reply())
    calling = resources(send, Credentials(tokens=tokens)).get("/x", cast_to=object)
    if helps:
        assert await calling == {}
    else:
        with pytest.raises(errors.AuthenticationError):
            await calling
    assert len(tokens.replaced) == helps


async def test_a_refused_api_key_is_a_plain_authentication_error():
    send = Script(reply(401, b"{}", **challenge("invalid_token")))
    with pytest.raises(errors.AuthenticationError) as caught:
        await resources(send).get("/x", cast_to=object)
    assert type(caught.value) is errors.AuthenticationError
    assert len(send.requests) == 1


@pytest.mark.parametrize("operation", [each for each in ONCE if each.auth == "bearer"], ids=named)
async def test_a_call_that_is_made_once_is_made_again_after_a_refused_token(operation):
    send = Script(reply(401), operation.response)
    await operation.call(resources(send, Credentials(tokens=Renewable("1", "2"))))
    assert len(send.requests) == 2


@pytest.mark.parametrize("name", ["oauth.introspect", "oauth.token", "oauth.retrieve_jwks"])
async def test_what_carries_no_token_of_ours_replaces_none(name):
    tokens = Renewable("1", "2")
    send = Script(reply(401))
    with pytest.raises(errors.AuthenticationError):
        await BY_NAME[name].call(resources(send, Credentials("KEY", "id", "s", tokens)), full=False)
    assert (len(send.requests), tokens.replaced) == (1, [])


# --- again, and when


RETRIED = [reply(408), reply(409), reply(429), reply(500), reply(502), reply(503), reply(504), reply(599)]
FAILURES = [*RETRIED, refused(sent=True), refused(sent=False), errors.APITimeoutError()]


def shown(value):
    return str(getattr(value, "status_code", None) or type(value).__name__)


@pytest.mark.parametrize("operation", AGAIN, ids=named)
@pytest.mark.parametrize("failure", [reply(503), refused(sent=True)], ids=shown)
async def test_every_repeatable_operation_is_tried_again(operation, failure):
    send = Script(failure, failure, operation.response)
    await operation.call(resources(send))
    assert len(send.requests) == 3


@pytest.mark.parametrize("failure", FAILURES, ids=shown)
async def test_what_may_pass_is_tried_again_after_a_pause_that_grows(failure):
    clock = FakeClock()
    send = Script(failure)
    with pytest.raises(errors.APIError):
        await resources(send, clock=clock, max_retries=6).get("/x", cast_to=object)
    assert clock.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert len(send.requests) == 7


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 405, 410, 418, 422])
async def test_what_will_not_pass_is_not_tried_again(status):
    send = Script(reply(status))
    with pytest.raises(errors.APIStatusError) as caught:
        await resources(send).get("/x", cast_to=object)
    assert (len(send.requests), caught.value.status_code) == (1, status)


@pytest.mark.parametrize("failure", FAILURES, ids=shown)
async def test_without_retries_it_is_sent_once(failure):
    for client in (
        resources(once := Script(failure), max_retries=0),
        resources(also := Script(failure)),
    ):
        options = {"max_retries": 0} if client.engine.defaults.max_retries else {}
        with pytest.raises(errors.APIError):
            await client.get("/x", cast_to=object, options=options)
    assert (len(once.requests), len(also.requests)) == (1, 1)


async def test_a_call_may_be_given_more_retries_than_its_client_has():
    send = Script(reply(500), reply(500), reply(500), reply())
    await resources(send).get("/x", cast_to=object, options={"max_retries": 3})
    assert len(send.requests) == 4


@pytest.mark.parametrize(
    "headers, pause",
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "0"}, 0.0),
        ({"Retry_After": "1.5"}, 1.5),
        ({"Retry_After": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"Retry_After": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"Retry_After": "60"}, 60.0),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after_ms": "250", "Retry_After": "7"}, 0.25),
        ({"Retry_After": "soon"}, 0.5),
        ({"Retry_After": "-3"}, 0.5),
        ({"Retry_After": "nan"}, 0.5),
    ],
)
async def test_the_server_says_how_long_to_wait(headers, pause):
    clock = FakeClock(NOW)
    await resources(Script(reply(429, b"{}", **headers), reply()), clock=clock).get("/x", cast_to=object)
    assert clock.slept == [pause]


@pytest.mark.parametrize(
    "headers, asked",
    [
        ({"Retry_After": "61"}, 61.0),
        ({"Retry_After": formatdate(NOW + 3600, usegmt=True)}, 3600.0),
        ({"retry_after_ms": "60001"}, 60.001),
    ],
)
async def test_a_long_wait_is_the_callers_at_once(headers, asked):
    clock = FakeClock(NOW)
    send = Script(reply(429, b"{}", **headers))
    with pytest.raises(errors.RateLimitError) as caught:
        await resources(send, clock=clock).get("/x", cast_to=object)
    assert (caught.value.retry_after, clock.slept, len(send.requests)) == (asked, [], 1)


async def test_the_server_may_say_whether_to_try_again():
    yes = Script(reply(400, b"{}", x_should_retry="true"), reply())
    await resources(yes).get("/x", cast_to=object)
    assert len(yes.requests) == 2
    no = Script(reply(500, b"{}", x_should_retry="false"))
    with pytest.raises(errors.InternalServerError):
        await resources(no).get("/x", cast_to=object)
    assert len(no.requests) == 1


NOT_PROCESSED = [refused(sent=False), reply(429), reply(503, b"{}", Retry_After="1")]
PERHAPS_PROCESSED = [
    refused(sent=True),
    errors.APITimeoutError(),
    reply(500),
    reply(503),
    reply(408),
    reply(409),
    reply(500, b"{}", x_should_retry="true"),
    attrs.evolve(reply(200), fault=ENDED_EARLY),
]


@pytest.mark.parametrize("operation", ONCE, ids=named)
@pytest.mark.parametrize("failure", NOT_PROCESSED, ids=shown)
async def test_a_one_time_exchange_is_made_again_when_the_server_has_not_seen_it(operation, failure):
    send = Script(failure, operation.response)
    await operation.call(resources(send))
    assert len(send.requests) == 2


@pytest.mark.parametrize("operation", ONCE, ids=named)
@pytest.mark.parametrize("failure", PERHAPS_PROCESSED, ids=shown)
async def test_a_one_time_exchange_is_not_made_again_when_it_may_have_happened(operation, failure):
    send = Script(failure)
    with pytest.raises(errors.APIError):
        await operation.call(resources(send))
    assert len(send.requests) == 1


@pytest.mark.parametrize(
    "grant_type, times", [("client_credentials", 3), ("authorization_code", 1), ("refresh_token", 1)]
)
async def test_only_a_token_request_that_spends_nothing_is_repeated(grant_type, times):
    send = Script(refused(sent=True))
    with pytest.raises(errors.APIConnectionError):
        await resources(send).oauth.token(grant_type=grant_type)
    assert len(send.requests) == times


async def test_a_body_that_broke_off_is_tried_again_as_a_broken_connection():
    broken = attrs.evolve(reply(200), fault=ENDED_EARLY)
    send = Script(broken, reply())
    assert await resources(send).get("/x", cast_to=object) == {}
    with pytest.raises(errors.APIConnectionError, match="ended early"):
        await resources(Script(broken)).get("/x", cast_to=object)


async def test_a_body_that_is_too_large_is_not_asked_for_again():
    large = attrs.evolve(reply(200), fault="the body has more than 16 bytes")
    send = Script(large)
    with pytest.raises(errors.APIResponseValidationError, match="more than"):
        await resources(send).get("/x", cast_to=object)
    assert len(send.requests) == 1


async def test_it_tells_how_many_attempts_went_before():
    operation = BY_NAME["oauth.retrieve_jwks"]
    send = Script(reply(500), reply(500), operation.response)
    raw = await operation.method_of(resources(send), "with_raw_response")()
    assert raw.retries_taken == 2


async def test_a_caller_who_gives_up_while_it_waits_is_let_go():
    class Patient(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    task = asyncio.create_task(resources(Script(reply(500)), clock=Patient()).get("/x", cast_to=object))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- two forms of a path


RECORDS = [each for each in OPERATIONS if each.name.startswith(("oauth_clients.", "oauth_grants."))]


def knowing(*forms: str, operation):
    """A server that knows only these forms."""

    def answer(request):
        path = request.url.removeprefix("https://api.telnyx.com/v2")
        return operation.response(request) if path.startswith(forms) else attrs.evolve(reply(404), request=request.info)

    return Script(answer)


def paths(send: Script) -> list[str]:
    return [request.url.removeprefix("https://api.telnyx.com/v2").partition("?")[0] for request in send.requests]


@pytest.mark.parametrize("operation", RECORDS, ids=named)
async def test_the_documented_form_is_asked_for_and_then_the_other(operation):
    documented = operation.path.removeprefix("/v2")
    alias = documented.replace("/oauth/", "/oauth_", 1)
    send = knowing("/oauth_", operation=operation)
    client = resources(send)
    await operation.call(client)
    await operation.call(client)
    assert paths(send) == [documented, alias, alias]
    send = knowing("/oauth/", operation=operation)
    client = resources(send)
    await operation.call(client)
    await operation.call(client)
    assert paths(send) == [documented, documented]


@pytest.mark.parametrize("operation", RECORDS, ids=named)
async def test_where_both_forms_are_unknown_the_first_answer_counts_and_nothing_is_learnt(operation):
    first, second = reply(404, b'{"errors": [{"code": "1"}]}'), reply(404, b'{"errors": [{"code": "2"}]}')
    send = Script(first, second, first, second, operation.response)
    client = resources(send)
    for _ in range(2):
        with pytest.raises(errors.NotFoundError) as caught:
            await operation.call(client)
        assert caught.value.code == "1"
    assert len(send.requests) == 4
    assert client.engine.shared.forms == {}


async def test_what_is_learnt_is_learnt_for_one_resource_and_shared():
    operation = BY_NAME["oauth_clients.list"]
    send = knowing("/oauth_", operation=operation)
    shared = Shared()
    await resources(send, shared=shared).oauth_clients.list()
    await resources(send, shared=shared).oauth_clients.list()
    assert paths(send) == ["/oauth/clients", "/oauth_clients", "/oauth_clients"]
    assert shared.forms == {"/oauth/clients": "/oauth_clients"}


@pytest.mark.parametrize("status", [302, 400, 401, 403, 422, 429, 500, 503])
async def test_a_form_is_remembered_once_it_has_worked_and_not_before(status):
    operation = BY_NAME["oauth_clients.list"]
    for failures, working in (
        ([reply(status)], "/oauth/clients"),
        ([reply(404), reply(status)], "/oauth_clients"),
        ([reply(405), reply(status)], "/oauth_clients"),
    ):
        send = Script(*failures)
        client = resources(send, max_retries=0)
        with pytest.raises(errors.APIStatusError) as caught:
            await client.oauth_clients.list()
        assert caught.value.status_code == status
        assert client.engine.shared.forms == {}
        send.replies = [*failures[:-1], operation.response]
        await client.oauth_clients.list()
        assert client.engine.shared.forms == {"/oauth/clients": working}


@pytest.mark.parametrize("operation", RECORDS, ids=named)
@pytest.mark.parametrize("unknown", [404, 405])
async def test_a_path_that_has_other_methods_alone_is_the_other_forms(operation, unknown):
    documented = operation.path.removeprefix("/v2")
    send = Script(reply(unknown), operation.response)
    client = resources(send)
    await operation.call(client)
    await operation.call(client)
    alias = documented.replace("/oauth/", "/oauth_", 1)
    assert paths(send) == [documented, alias, alias]


LISTED = b'{"errors": [{"code": "10005", "title": "Resource not found"}]}'


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (reply(405), reply(404), 404),
        (reply(404), reply(405), 404),
        (reply(405, LISTED), reply(404, b"<html>"), 405),
        (reply(404, b"<html>"), reply(405, LISTED), 405),
        (reply(404, b"<html>"), reply(404, LISTED), 404),
        (reply(405), reply(403), 403),
    ],
)
async def test_where_both_forms_fail_the_more_telling_answer_is_told(first, second, told):
    with pytest.raises(errors.APIStatusError) as caught:
        await resources(Script(first, second), max_retries=0).oauth_clients.retrieve("x")
    assert caught.value.status_code == told
    if LISTED in (first.content, second.content):
        assert caught.value.code == "10005"


async def test_once_a_form_is_known_a_404_is_just_that():
    operation = BY_NAME["oauth_clients.list"]
    send = Script(operation.response, reply(404))
    client = resources(send)
    await client.oauth_clients.list()
    with pytest.raises(errors.NotFoundError):
        await client.oauth_clients.retrieve("x")
    assert len(send.requests) == 2


async def test_a_connection_that_fails_decides_for_no_form():
    client = resources(Script(refused(sent=False)))
    with pytest.raises(errors.APIConnectionError):
        await client.oauth_clients.list()
    assert client.engine.shared.forms == {}


async def test_creating_a_grant_has_one_form():
    send = Script(reply(404))
    with pytest.raises(errors.NotFoundError):
        await resources(send).oauth.grants(allowed=True, consent_token="c")
    assert len(send.requests) == 1


# --- what comes of it


async def test_no_redirect_is_followed():
    send = Script(reply(302, b"", Location="https://elsewhere.example/"))
    with pytest.raises(errors.APIStatusError, match="location") as caught:
        await resources(send).get("/x", cast_to=object)
    assert (caught.value.location, len(send.requests)) == ("https://elsewhere.example/", 1)


async def test_a_closed_engine_says_so_and_sends_nothing():
    send = Script(reply())
    client = resources(send)
    client.engine.closed = True
    with pytest.raises(errors.ClientClosedError, match="closed"):
        await client.get("/x", cast_to=object)
    assert send.requests == []


async def test_a_refusal_of_the_token_endpoint_has_the_class_of_its_code():
    send = Script(reply(401, b'{"error": "invalid_client", "error_description": "no such client"}'))
    with pytest.raises(errors.InvalidClientError, match="no such client"):
        await resources(send).oauth.token(grant_type="client_credentials")


async def test_elsewhere_the_status_decides():
    send = Script(reply(401, b'{"error": "invalid_client"}'))
    with pytest.raises(errors.AuthenticationError) as caught:
        await resources(send).oauth.introspect(token="t")
    assert not isinstance(caught.value, errors.TokenEndpointError)
