"""Plant secrets everywhere, let everything go wrong, and look for them in all that anyone may see."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys

import attrs
import pytest

from telnyx_oauth import AsyncTelnyx, Telnyx
from telnyx_oauth.errors import TelnyxError
from telnyx_oauth.messages import Response, headers
from telnyx_oauth.protocol.credentials import Credentials
from telnyx_oauth.sandbox import Sandbox
from tests.conftest import Secrets, found_among
from tests.operations import CLIENT, OPERATIONS
from tests.wire import RawServer, Script, StaticToken, cut, http, refused, resources

CONSENT = "planted-consent-token-55aa"
HEADER = "planted-extra-header-77bb"
INTROSPECTED = "planted-introspected-token-99cc"
REDIRECT = "https://example.com/cb?code=planted-redirect-code-31dd"


@attrs.frozen
class Planted:
    """All of them, and how to find them."""

    secrets: Secrets
    more: tuple[str, ...] = (CONSENT, HEADER, INTROSPECTED, "planted-redirect-code-31dd")

    @property
    def values(self) -> dict[str, str]:
        return attrs.asdict(self.secrets) | {value: value for value in self.more}

    def look_in(self, *things: object) -> None:
        assert found_among(self.values, *things) == []


@pytest.fixture
def planted(secrets):
    return Planted(secrets)


def client_of(send, planted, **changes):
    mine = planted.secrets
    identity = Credentials(mine.api_key, "id", mine.client_secret, StaticToken(mine.access_token))
    return resources(send, identity, max_retries=1, **changes)


def given_to(operation, planted):
    """The operation's arguments with secrets where secrets go."""
    mine = planted.secrets
    secret = {
        "consent_token": CONSENT,
        "token": INTROSPECTED,
        "client_secret": mine.client_secret,
        "code": mine.code,
        "code_verifier": mine.code_verifier,
        "refresh_token": mine.refresh_token,
    }
    arguments = (CONSENT,) if operation.name == "oauth.retrieve" else operation.arguments
    return arguments, {name: secret.get(name, value) for name, value in operation.given().items()}


def echo(status: int, *, as_text: bool = False):
    """A server that says everything back: what it was sent, in the body and in headers."""

    def answer(request):
        said = f"{request.url} {dict(request.headers)} {request.content.decode()}"
        body = said if as_text else json.dumps({"error": "invalid_request", "error_description": said})
        pairs = (
            ("X-Echo", request.headers.get("Authorization", "-")),
            ("X-Url", request.url),
            ("Set-Cookie", said[:80]),
        )
        return Response(status, headers(("Content-Type", "application/json"), *pairs), body.encode(), request.info)

    return Script(answer)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("as_text", [False, True])
async def test_a_server_that_echoes_puts_no_secret_into_an_error(operation, planted, status, as_text):
    arguments, parameters = given_to(operation, planted)
    client = client_of(echo(status, as_text=as_text), planted)
    with pytest.raises(TelnyxError) as caught:
        await operation.method_of(client)(*arguments, **parameters)
    planted.look_in(caught.value, caught.value.response, caught.value.body)
    planted.look_in(caught.value.response.text(), str(dict(caught.value.response.headers)))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize(
    "failure",
    [refused(sent=False), refused(sent=True), Response(200, headers(), b"nonsense")],
    ids=["no", "lost", "odd"],
)
async def test_an_answer_that_is_none_puts_no_secret_into_an_error(operation, planted, failure):
    if operation.name in ("oauth.retrieve_authorize", "oauth_clients.delete") and isinstance(failure, Response):
        return
    arguments, parameters = given_to(operation, planted)
    client = client_of(Script(failure), planted)
    with pytest.raises(TelnyxError) as caught:
        await operation.method_of(client)(*arguments, **parameters, extra_headers={"X-Secret": HEADER})
    planted.look_in(caught.value)


async def test_credentials_of_the_callers_own_are_kept_out_too(planted):
    for name in ("Authorization", "authorization", "Proxy-Authorization"):
        client = client_of(echo(400), planted)
        with pytest.raises(TelnyxError) as caught:
            await client.get("/x", cast_to=object, options={"headers": {name: f"Bearer {HEADER}"}})
        planted.look_in(caught.value, caught.value.response.text())


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cookie", f"theme=dark; session={HEADER}; a=b"),
        ("cookie", f'session="{HEADER}"'),
        ("X-Api-Key", HEADER),
        ("X-Auth", f"Token {HEADER}"),
        ("X-Signature", f"t=17,v1={HEADER}"),
        ("Cf-Access-Client-Secret", HEADER),
    ],
)
async def test_headers_that_are_named_for_a_secret_are_kept_out_too(planted, name, value, as_text):
    for default, extra in (({name: value}, {}), ({}, {name: value})):
        send = echo(400, as_text=as_text)
        client = AsyncTelnyx(api_key="key", default_headers=default)
        client._engine._send = send
        with pytest.raises(TelnyxError) as caught:
            await client.oauth_clients.list(extra_headers=extra)
        assert HEADER in str(send.requests[0].headers)
        planted.look_in(caught.value, caught.value.body, caught.value.response.text())


@pytest.mark.parametrize("sent", [HEADER, HEADER.replace("-", "%2D")])
async def test_a_cookie_is_kept_out_when_the_server_quotes_but_its_value(planted, sent):
    client = client_of(Script(Response(400, headers(), f"bad session {HEADER}".encode())), planted)
    with pytest.raises(TelnyxError) as caught:
        await client.get("/x", cast_to=object, options={"headers": {"Cookie": f"a=b; session={sent}; c=d"}})
    planted.look_in(caught.value, caught.value.response.text())


async def test_query_parameters_that_are_named_for_a_secret_are_kept_out_too(planted):
    with pytest.raises(TelnyxError) as caught:
        await client_of(echo(400), planted).oauth_clients.list(extra_query={"api_key": HEADER, "page": "full"})
    planted.look_in(caught.value, caught.value.response.text())
    assert "page=full" in caught.value.response.text()


async def test_an_answer_with_secrets_that_cannot_be_read_is_not_kept(planted):
    mine = planted.secrets
    body = {
        "access_token": mine.access_token,
        "refresh_token": mine.refresh_token,
        "expires_in": "never",
        "token_type": [],
    }
    client = client_of(Script(Response(200, headers(), json.dumps(body).encode())), planted)
    with pytest.raises(TelnyxError) as caught:
        await client.oauth.token(grant_type="client_credentials")
    planted.look_in(caught.value)
    client = client_of(
        Script(Response(200, headers(), json.dumps({"data": {"client_secret": mine.client_secret}}).encode())), planted
    )
    with pytest.raises(TelnyxError) as caught:
        await client.oauth_clients.retrieve("x")
    planted.look_in(caught.value)


@pytest.mark.parametrize("how", ["cut", "refused", "timeout"])
async def test_a_real_connection_that_fails_puts_no_secret_into_an_error(planted, how):
    mine = planted.secrets
    async with RawServer.of(cut if how == "cut" else http()) as server:
        base_url = server.base_url
        if how == "refused":
            await server.__aexit__(None, None, None)
        options = {"timeout": 1e-6} if how == "timeout" else {}
        async with AsyncTelnyx(api_key=mine.api_key, base_url=base_url, max_retries=0, **options) as client:
            with pytest.raises(TelnyxError) as caught:
                await client.oauth.retrieve(CONSENT, extra_headers={"X-Secret": HEADER}, extra_query={"q": mine.code})
            planted.look_in(caught.value)
            with pytest.raises(TelnyxError) as caught:
                await client.oauth.token(
                    grant_type="authorization_code",
                    client_id="id",
                    client_secret=mine.client_secret,
                    code=mine.code,
                    code_verifier=mine.code_verifier,
                )
            planted.look_in(caught.value)
        async with AsyncTelnyx(
            client_id="id", client_secret=mine.client_secret, base_url=base_url, max_retries=0, **options
        ) as client:
            with pytest.raises(TelnyxError) as caught:
                await client.oauth_clients.list()
            planted.look_in(caught.value)


def test_a_blocking_call_that_fails_carries_no_secret_either(planted):
    mine = planted.secrets
    with Telnyx(api_key=mine.api_key, base_url="http://127.0.0.1:1/v2", max_retries=0) as client:
        with pytest.raises(TelnyxError) as caught:
            client.oauth.retrieve(CONSENT)
        planted.look_in(caught.value, client, client.oauth, client.oauth.with_raw_response)


async def test_no_repr_tells_a_secret(planted):
    mine = planted.secrets
    client = AsyncTelnyx(
        api_key=mine.api_key,
        client_id="id",
        client_secret=mine.client_secret,
        default_headers={"X-Secret": HEADER},
        default_query={"q": mine.code},
    )
    planted.look_in(
        client, client._options, client._engine.defaults, client._engine.credentials, client.tokens, vars(client)
    )
    for operation in OPERATIONS:
        seen = []
        arguments, parameters = given_to(operation, planted)
        fake = client_of(Script(operation.response), planted)
        exchange = fake.engine.exchange

        async def spy(call, extras, read, exchange=exchange, seen=seen):
            seen.extend([call, extras])
            return await exchange(call, extras, read)

        fake.engine.exchange = spy
        extra = {"extra_headers": {"X-Secret": HEADER}, "extra_query": {"q": mine.code}, "extra_body": {"b": CONSENT}}
        answer = await operation.method_of(fake)(*arguments, **parameters, **extra)
        raw = await operation.method_of(fake, "with_raw_response")(*arguments, **parameters, **extra)
        assert seen
        planted.look_in(*seen, raw, raw._answer, raw._answer.request)
        if operation.name != "oauth.retrieve_authorize":  # its answer is an address to send a person to
            planted.look_in(answer)


async def test_answers_hold_secrets_and_do_not_show_them(planted):
    mine = planted.secrets
    answers = {
        "oauth.token": {
            "access_token": mine.access_token, "refresh_token": mine.refresh_token, "token_type": "Bearer", "expires_in": 1,
            "id_token": mine.code,
        },
        "oauth.register": {"client_id": "c", "client_id_issued_at": 1, "client_secret": mine.client_secret},
        "oauth.grants": {"redirect_uri": REDIRECT},
        "oauth_clients.create": {"data": {**CLIENT, "client_secret": mine.client_secret}},
        "oauth_clients.list": {"data": [{**CLIENT, "client_secret": mine.client_secret}]},
    }  # fmt: skip
    for operation in OPERATIONS:
        if operation.name in answers:
            body = json.dumps(answers[operation.name]).encode()
            answer = await operation.call(client_of(Script(Response(200, headers(), body)), planted))
            planted.look_in(answer)
            assert "planted" in json.dumps(answer.to_dict(), default=str)


async def test_nothing_that_is_logged_tells_a_secret(planted, caplog):
    """At the lowest level, of everybody's loggers: aiohttp's and asyncio's too."""
    caplog.set_level(logging.DEBUG)
    mine = planted.secrets
    async with (
        Sandbox(api_key=mine.api_key, client_secret=mine.client_secret) as telnyx,
        telnyx.async_client(max_retries=1) as client,
    ):
        telnyx.faults.add("/oauth/jwks", kind="status", status=503, headers={"Retry-After": "0"}, times=1)
        await client.oauth.retrieve_jwks(extra_headers={"X-Secret": HEADER})
        await client.oauth_clients.list(extra_query={"q": mine.code})
        with pytest.raises(TelnyxError):
            await client.oauth.retrieve(CONSENT)
        token = (await client.tokens.get()).access_token
    assert any("attempt 2" in message for message in caplog.messages)
    planted.look_in(caplog.text)
    assert token not in caplog.text


CODE = """
import sys
from telnyx_oauth import Telnyx, TelnyxError
from telnyx_oauth.sandbox import Sandbox

with Sandbox(api_key=sys.argv[1], client_secret=sys.argv[2]) as telnyx, telnyx.client(max_retries=1) as client:
    telnyx.faults.add("/oauth/jwks", kind="status", status=503, headers={"Retry-After": "0"}, times=1)
    client.oauth.retrieve_jwks(extra_headers={"X-Secret": sys.argv[3]}, extra_query={"q": sys.argv[3]})
    client.oauth_clients.list()
    print(client.oauth.token(grant_type="client_credentials", client_id=telnyx.client_id, client_secret=sys.argv[2]))
    print(client.tokens.get(), client, client.tokens.status(), telnyx, telnyx.requests[0])
    client.oauth.retrieve(sys.argv[3])
"""


def test_a_program_that_logs_everything_and_ends_in_a_traceback_tells_no_secret(planted):
    mine = planted.secrets
    done = subprocess.run(
        [sys.executable, "-c", CODE, mine.api_key, mine.client_secret, CONSENT],
        env={**os.environ, "TELNYX_LOG": "debug"},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "attempt 2" in done.stderr
    assert "UnprocessableEntityError" in done.stderr
    planted.look_in(done.stdout, done.stderr)
    assert "eyJ" not in done.stdout + done.stderr


def test_no_client_can_be_pickled_by_accident(planted):
    """It would write the secrets down."""
    for client in (AsyncTelnyx(api_key=planted.secrets.api_key), Telnyx(api_key=planted.secrets.api_key)):
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)) as caught:
            pickle.dumps(client)
        planted.look_in(str(caught.value))
