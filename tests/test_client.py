from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from datetime import timedelta
from functools import partial

import aiohttp
import attrs
import pytest
from yarl import URL

from telnyx_oauth import (
    AsyncTelnyx,
    AuthorizationCode,
    AuthorizationFlow,
    AuthorizationServer,
    ClientCredentials,
    FileStore,
    MemoryStore,
    RefreshToken,
    Telnyx,
    omit,
)
from telnyx_oauth.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ClientClosedError,
    InternalServerError,
    InvalidClientError,
    MissingCredentialsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    TelnyxError,
    TokenRejectedError,
    TokenVerificationError,
)
from telnyx_oauth.messages import Response, Timeout
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.types import OAuthClientListResponse, OAuthRetrieveJwksResponse
from tests.wire import RawServer, hang, http, until


@pytest.fixture
async def telnyx():
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def client(telnyx):
    async with telnyx.async_client() as client:
        yield client


@pytest.fixture
async def keyed(telnyx):
    async with telnyx.async_client(api_key=telnyx.api_key) as client:
        yield client


def set_environment(monkeypatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"TELNYX_{name}", value)


# --- who it is


@pytest.mark.parametrize(
    "environment, given, expected",
    [
        ({}, {}, (None, None, None)),
        ({"API_KEY": "E"}, {}, ("E", None, None)),
        ({"API_KEY": "E"}, {"api_key": "G"}, ("G", None, None)),
        ({"CLIENT_ID": "i", "CLIENT_SECRET": "s"}, {}, (None, "i", "s")),
        ({"CLIENT_ID": "i", "CLIENT_SECRET": "s", "API_KEY": "E"}, {}, ("E", "i", "s")),
        ({"CLIENT_ID": "i", "CLIENT_SECRET": "s", "API_KEY": "E"}, {"api_key": "G"}, ("G", None, None)),
        ({"CLIENT_ID": "i", "CLIENT_SECRET": "s"}, {"client_secret": "t"}, (None, "i", "t")),
        ({"CLIENT_SECRET": "s"}, {"client_id": "j"}, (None, "j", "s")),
        ({"CLIENT_ID": "j", "CLIENT_SECRET": "s"}, {"client_id": "j"}, (None, "j", "s")),
        # The secret in the environment is another client's.
        ({"CLIENT_ID": "i", "CLIENT_SECRET": "s"}, {"client_id": "j"}, (None, "j", None)),
        ({"CLIENT_ID": "i", "CLIENT_SECRET": "s"}, {"client_id": "j", "client_secret": "t"}, (None, "j", "t")),
        ({"CLIENT_ID": "", "CLIENT_SECRET": "", "API_KEY": ""}, {}, (None, None, None)),
        # Half an identity is no reason to call as another.
        ({"API_KEY": "E"}, {"client_id": "j"}, (None, "j", None)),
        ({"API_KEY": "E"}, {"client_id": "j", "api_key": "G"}, ("G", "j", None)),
        ({"API_KEY": "E", "CLIENT_ID": "i", "CLIENT_SECRET": "s"}, {"client_id": "j"}, (None, "j", None)),
        ({"API_KEY": "E", "CLIENT_SECRET": "s"}, {"client_id": "j"}, ("E", "j", "s")),
    ],
)
def test_what_is_given_beats_the_environment(monkeypatch, environment, given, expected):
    set_environment(monkeypatch, **environment)
    client = AsyncTelnyx(**given)
    assert (client.api_key, client.client_id, client.client_secret) == expected


def test_where_it_sends_to(monkeypatch):
    assert AsyncTelnyx().base_url == "https://api.telnyx.com/v2"
    set_environment(monkeypatch, BASE_URL="http://127.0.0.1:1/v2/")
    assert AsyncTelnyx().base_url == "http://127.0.0.1:1/v2"
    assert AsyncTelnyx(base_url="https://api.example/v2").base_url == "https://api.example/v2"
    set_environment(monkeypatch, BASE_URL="")
    assert AsyncTelnyx().base_url == "https://api.telnyx.com/v2"


@pytest.mark.parametrize(
    "base_url", ["", "api.telnyx.com", "ftp://x", "https://", "https://u:p@x/v2", "https://x/?a=b", "//x"]
)
def test_an_address_that_cannot_be_one_is_refused(base_url):
    with pytest.raises(ValueError, match="base_url"):
        AsyncTelnyx(base_url=base_url)
    with pytest.raises(ValueError, match="base_url"):
        AsyncTelnyx().copy(base_url=base_url)


@pytest.mark.parametrize(
    "key, says",
    [
        ("KEE\r\nX: y", "holds a line break"),
        ("KÉE", "visible ASCII"),
        ("KEE\tx", "visible ASCII"),
        ("KEE\n", "begins or ends with"),
        (" KEE", "begins or ends with"),
        ("KEE ", "begins or ends with"),
        ("   ", "begins or ends with"),
    ],
)
def test_a_key_that_no_header_can_carry_is_refused_with_its_variable_and_not_quoted(monkeypatch, key, says):
    for make in (
        lambda: AsyncTelnyx(api_key=key),
        lambda: AsyncTelnyx().copy(api_key=key),
        lambda: Telnyx(api_key=key),
    ):
        with pytest.raises(ValueError, match=says) as caught:
            make()
        assert "TELNYX_API_KEY" in str(caught.value)
        assert "KEE" not in repr(caught.value) + repr(caught.value.__context__)
    set_environment(monkeypatch, API_KEY=key)
    with pytest.raises(ValueError, match=says):
        AsyncTelnyx()


async def test_a_key_may_hold_spaces_inside():
    async with Sandbox(api_key="My API Key") as telnyx, telnyx.async_client(api_key="My API Key") as client:
        assert (await client.oauth_clients.list()).data
        assert (await client.tokens.get()).authorization == "Bearer My API Key"
        assert client.with_options(api_key="My Other Key").tokens.peek().authorization == "Bearer My Other Key"


@pytest.mark.parametrize("kind", [AsyncTelnyx, Telnyx])
@pytest.mark.parametrize("name", ["api_key", "client_id", "client_secret"])
def test_an_empty_credential_is_an_error_that_names_its_variable(monkeypatch, kind, name):
    set_environment(monkeypatch, API_KEY="E", CLIENT_ID="i", CLIENT_SECRET="s")
    for make in (kind, kind().copy):
        with pytest.raises(ValueError, match=f"`{name}` is an empty string.*TELNYX_{name.upper()}"):
            make(**{name: ""})


async def test_half_an_identity_never_calls_as_another_and_names_the_other_half(monkeypatch):
    async with RawServer.of(hang) as server:
        set_environment(monkeypatch, API_KEY="E", BASE_URL=f"{server.base_url}/v2")
        async with AsyncTelnyx(client_id="x") as client:
            for call in (client.oauth_clients.list, partial(client.oauth.introspect, token="t")):
                with pytest.raises(MissingCredentialsError, match=r"client_secret.*TELNYX_CLIENT_SECRET"):
                    await call()
            with pytest.raises(MissingCredentialsError, match=r"client_secret.*TELNYX_CLIENT_SECRET"):
                _ = client.tokens
            assert client.authorization
        for kind in (AsyncTelnyx, Telnyx):
            with pytest.raises(ValueError, match=r"client_id.*TELNYX_CLIENT_ID"):
                kind(client_secret="s")
        assert server.open == 0


def test_an_unknown_option_names_the_class_that_was_called_and_the_option_that_is_near():
    class Mine(Telnyx):
        pass

    for kind, name in ((Telnyx, "Telnyx"), (Mine, "Mine")):
        with pytest.raises(TypeError, match=rf"^{name}\(\) has no option 'apikey'. Did you mean 'api_key'\?"):
            kind(apikey="k")
        with pytest.raises(TypeError, match=rf"^{name}\(\) has no option 'zzz'. Those that there are: .*client_id"):
            kind(zzz="k")
        with pytest.raises(TypeError, match=rf"^{name}.copy\(\) has no option 'timeouts'. Did you mean 'timeout'"):
            kind(api_key="k").copy(timeouts=3)
    with pytest.raises(TypeError, match="AsyncTelnyx"):
        AsyncTelnyx(zzz="k")


@pytest.mark.parametrize("kind", [AsyncTelnyx, Telnyx])
@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"timeout": "5"}, "`timeout` must be a number of seconds.* of type str"),
        ({"timeout": timedelta(seconds=5)}, r"`timeout` must be a number of seconds, such as delta.total_seconds\(\)"),
        ({"timeout": True}, "`timeout` must be a number of seconds.* of type bool"),
        ({"timeout": aiohttp.ClientTimeout(total=5)}, "telnyx_oauth.Timeout.* of type ClientTimeout"),
        (
            {"base_url": URL("https://a.example/v2")},
            r"`base_url` must be a str, such as str\(url\); what was given is of type URL",
        ),
    ],
)
def test_an_option_of_another_type_is_told_what_it_must_be(kind, wrong, says):
    with pytest.raises(TypeError, match=says):
        kind(api_key="k", **wrong)
    with pytest.raises(TypeError, match=says):
        kind(api_key="k").copy(**wrong)


@pytest.mark.parametrize("headers", [{"X\r\n": "v"}, {"X": "v\r\nY: w"}])
def test_a_default_header_that_would_break_out_is_refused(headers):
    with pytest.raises(ValueError, match="header"):
        AsyncTelnyx(default_headers=headers)
    with pytest.raises(ValueError, match="header"):
        AsyncTelnyx().copy(default_headers=headers)


@pytest.mark.parametrize("most", [-1, None, 1.5, "2", True])
async def test_retries_that_cannot_be_counted_are_refused(most):
    with pytest.raises(ValueError, match="max_retries"):
        AsyncTelnyx(max_retries=most)
    with pytest.raises(ValueError, match="max_retries"):
        AsyncTelnyx().copy(max_retries=most)
    with pytest.raises(ValueError, match="max_retries"):
        await AsyncTelnyx(api_key="k").get("/x", cast_to=object, options={"max_retries": most})


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), Timeout(0)])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(ValueError, match="timeout"):
        AsyncTelnyx(timeout=timeout)


def test_its_attributes_tell_what_it_is_made_of():
    client = AsyncTelnyx(api_key="KEY", timeout=7, max_retries=5, default_headers={"X": "y"}, default_query={"q": 1})
    assert (client.timeout, client.max_retries) == (Timeout(7, 5.0), 5)
    assert (dict(client.default_headers), dict(client.default_query)) == ({"X": "y"}, {"q": 1})
    assert AsyncTelnyx().timeout == Timeout(60.0, 5.0)
    assert AsyncTelnyx(timeout=None).timeout == Timeout(None, None)
    assert AsyncTelnyx().max_retries == 2


@pytest.mark.parametrize(
    "given, text",
    [
        ({"client_id": "i", "client_secret": "planted"}, "<AsyncTelnyx for i at https://api.telnyx.com/v2>"),
        ({"api_key": "planted"}, "<AsyncTelnyx for an API key at https://api.telnyx.com/v2>"),
        ({}, "<AsyncTelnyx for no credentials at https://api.telnyx.com/v2>"),
    ],
)
def test_its_repr_tells_who_without_a_secret(given, text):
    assert repr(AsyncTelnyx(**given)) == text


def test_making_one_needs_no_loop_no_credentials_and_no_network():
    assert not AsyncTelnyx().is_closed()


async def test_without_credentials_the_tokens_are_missed_by_name():
    with pytest.raises(MissingCredentialsError) as caught:
        _ = AsyncTelnyx().tokens
    assert {"TELNYX_API_KEY"} < set(caught.value.variables)


async def test_a_client_with_an_api_key_makes_a_manager_for_those_who_ask():
    client = AsyncTelnyx(api_key="KEY")
    assert (await client.tokens.get()).access_token == "KEY"
    assert client.tokens is client.tokens
    assert not client.tokens.renewable
    await client.close()
    assert client.tokens.status().phase == "closed"
    never_asked = AsyncTelnyx(api_key="KEY")
    await never_asked.close()
    with pytest.raises(ClientClosedError):
        _ = never_asked.tokens


def test_a_client_with_an_api_key_loads_no_token_manager():
    script = "import sys, telnyx_oauth; telnyx_oauth.Telnyx(api_key='KEY'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = [
        name for name in done.stdout.split() if name.startswith(("telnyx_oauth.tokens.", "telnyx_oauth.validation."))
    ]
    assert loaded == []


def test_a_server_that_is_not_on_this_machine_may_be_http_though_nothing_is_verified_there():
    client = AsyncTelnyx(client_id="i", client_secret="s", base_url="http://telnyx.internal/v2", allow_insecure=True)
    assert client.tokens.renewable


INSECURE = r"is plain http to another machine.*; use https, or say "


@pytest.mark.parametrize("kind", [AsyncTelnyx, Telnyx])
@pytest.mark.parametrize("host", ["telnyx.internal", "10.0.0.1:8080", "[::2]", "localhost.example", "0.0.0.0"])
def test_plain_http_to_another_machine_needs_a_word(kind, host):
    with pytest.raises(ValueError, match=f"^base_url {INSECURE}allow_insecure=True"):
        kind(base_url=f"http://{host}/v2", api_key="KEY")
    with pytest.raises(ValueError, match=f"^base_url {INSECURE}allow_insecure=True"):
        kind(base_url=f"HTTP://{host}/v2", api_key="KEY")
    assert kind(base_url=f"http://{host}/v2", api_key="KEY", allow_insecure=True).base_url == f"http://{host}/v2"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.8.8:80", "localhost", "api.localhost", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_plain_http_to_this_machine_needs_none(host):
    assert AsyncTelnyx(base_url=f"http://{host}/v2").copy(base_url=f"http://{host}").base_url == f"http://{host}"


def test_the_environments_address_has_a_word_of_its_own(monkeypatch):
    monkeypatch.setenv("TELNYX_BASE_URL", "http://telnyx.internal/v2")
    for no in ("", "0", "false", "no"):
        monkeypatch.setenv("TELNYX_ALLOW_INSECURE", no)
        with pytest.raises(ValueError, match=f"^TELNYX_BASE_URL {INSECURE}TELNYX_ALLOW_INSECURE=1"):
            AsyncTelnyx(api_key="KEY")
    assert AsyncTelnyx(api_key="KEY", allow_insecure=True).base_url == "http://telnyx.internal/v2"
    for yes in ("1", "true", "TRUE"):
        monkeypatch.setenv("TELNYX_ALLOW_INSECURE", yes)
        client = AsyncTelnyx(client_id="i", client_secret="s")
        assert client.tokens.renewable
        assert client.copy(max_retries=0).base_url == "http://telnyx.internal/v2"
    with pytest.raises(ValueError, match=f"^base_url {INSECURE}allow_insecure=True"):
        AsyncTelnyx(base_url="http://other.internal/v2", api_key="KEY")


def test_a_copy_needs_a_word_for_another_machine_than_the_one_that_was_allowed():
    client = AsyncTelnyx(api_key="KEY")
    for make in (client.copy, client.with_options, Telnyx(api_key="KEY").with_options):
        with pytest.raises(ValueError, match=INSECURE):
            make(base_url="http://telnyx.internal/v2")
    allowed = client.copy(base_url="http://telnyx.internal/v2", allow_insecure=True)
    assert allowed.copy(max_retries=0).base_url == "http://telnyx.internal/v2"
    assert allowed.copy(base_url="http://telnyx.internal/v3").base_url == "http://telnyx.internal/v3"
    for other in ("http://other.internal/v2", "http://telnyx.internal:81/v2"):
        with pytest.raises(ValueError, match=INSECURE):
            allowed.copy(base_url=other)
    # What is https again has to be allowed again.
    with pytest.raises(ValueError, match=INSECURE):
        allowed.copy(base_url="https://api.example").copy(base_url="http://telnyx.internal/v2")


async def test_signing_in_and_token_sources_need_the_word_too(telnyx):
    where = "http://telnyx.internal/v2"
    with pytest.raises(ValueError, match=INSECURE):
        AuthorizationFlow(client_id="c", base_url=where)
    assert AuthorizationFlow(client_id="c", base_url=where, allow_insecure=True).tokens()
    server = AuthorizationServer("https://as.example", "https://as.example/a", "https://as.example/t")
    for name in ("authorization_endpoint", "token_endpoint", "registration_endpoint"):
        spoilt = attrs.evolve(server, **{name: "http://as.example/x"})
        with pytest.raises(ValueError, match=f"^{name} {INSECURE}"):
            AuthorizationFlow(client_id="c", server=spoilt)
        assert AuthorizationFlow(client_id="c", server=spoilt, allow_insecure=True).tokens()
    for make in (ClientCredentials, RefreshToken, partial(AuthorizationCode, code="c")):
        with pytest.raises(ValueError, match=f"^token_endpoint {INSECURE}"):
            make(telnyx.send, f"{where}/oauth/token", "c", "s")
        assert make(telnyx.send, f"{where}/oauth/token", "c", "s", allow_insecure=True)
    client = AsyncTelnyx(client_id="c", base_url=where, allow_insecure=True)
    assert client.authorization.tokens()


# --- clocks that disagree

DAY = 86400


@pytest.mark.parametrize("ahead", [2 * DAY, 400 * DAY])
async def test_a_clock_that_is_ahead_of_the_servers_makes_no_token_unusable(telnyx, caplog, ahead):
    telnyx.clock.advance(-ahead)
    told = []
    async with telnyx.async_client(token_hooks=[told.append]) as client:
        assert (await client.tokens.get()).remaining() > 1000
        assert (await client.oauth_clients.list()).data
        pending = await client.authorization.begin_authorization(redirect_uri="http://127.0.0.1/callback")
        manager = await client.authorization.complete_authorization(telnyx.approve(pending.url))
        assert (await manager.get()).remaining() > 1000
    reasons = {event.reason for event in told if event.name == "unverified"}
    assert reasons
    for reason in reasons:
        assert re.fullmatch(r"this machine's clock is \d+ s ahead of the server's", reason)
        assert abs(int(re.search(r"\d+", reason)[0]) - ahead) < 60
    assert "clock" in caplog.text


async def test_where_proof_is_demanded_a_wrong_clock_is_named_and_not_the_token(telnyx):
    telnyx.clock.advance(-2 * DAY)
    async with telnyx.async_client(verify_issued=True) as client:
        with pytest.raises(TokenVerificationError, match=r"this machine's clock is \d+ s ahead of the server's"):
            await client.tokens.get()


async def test_a_clock_that_is_behind_the_servers_is_nothing_to_a_fresh_token(telnyx):
    telnyx.clock.advance(2 * DAY)
    async with telnyx.async_client(verify_issued=True) as client:
        assert (await client.tokens.get()).remaining() > 1000


@pytest.mark.parametrize("offset", [-2 * DAY, 2 * DAY])
async def test_a_token_that_the_server_says_has_expired_is_not_used_whatever_the_clock_is_here(telnyx, offset):
    telnyx.clock.advance(offset)
    stale = telnyx.issue_token(lifetime=60)
    telnyx.clock.advance(DAY)
    body = json.dumps({"access_token": stale, "token_type": "Bearer", "expires_in": 3600}).encode()
    telnyx.faults.add("/oauth/token", kind="latency", body=body, times=None)
    async with telnyx.async_client() as client:
        with pytest.raises(TokenVerificationError, match="expired already, by the server's own clock"):
            await client.tokens.get()


async def test_processes_with_a_wrong_clock_share_tokens_once_they_know_the_servers_time(telnyx, tmp_path):
    telnyx.clock.advance(-2 * DAY)
    shared = {"token_store": FileStore(tmp_path / "t")}
    async with telnyx.async_client(**shared) as one, telnyx.async_client(**shared) as two:
        old = await one.tokens.get()
        new = await two.tokens.replace(await two.tokens.get())
        asked = telnyx.requests.count("/oauth/token")
        assert (await one.tokens.replace(old)).access_token == new.access_token
        assert telnyx.requests.count("/oauth/token") == asked


async def test_a_stored_token_that_has_expired_by_the_servers_clock_is_not_used_where_the_clock_here_is_behind(telnyx):
    store = MemoryStore()
    async with telnyx.async_client(token_store=store) as client:
        telnyx.clock.advance(40)
        stale = telnyx.issue_token(lifetime=60)
        telnyx.clock.advance(160)
        old = await client.tokens.get()
        ((key, record),) = store.records.items()
        # As a process with a right clock has left it.
        issued = time.time() + 40
        left = attrs.evolve(
            record, access_token=stale, issued_at=issued, expires_at=issued + 60, generation=record.generation + 1
        )
        await store.compare_and_swap(key, record.version, left)
        assert (await client.tokens.replace(old)).access_token not in (old.access_token, stale)
        assert telnyx.requests.count("/oauth/token") == 2


# --- tokens that could not be verified


def no_keys(telnyx):
    telnyx.faults.add("/oauth/jwks", kind="status", status=503, times=None)


def empty_keys(telnyx):
    telnyx.faults.add("/oauth/jwks", kind="latency", body=b'{"keys": []}', times=None)


def opaque(telnyx):
    body = json.dumps({"access_token": "s3cr3t", "token_type": "Bearer", "expires_in": 3600}).encode()
    telnyx.faults.add("/oauth/token", kind="latency", body=body, times=None)


UNVERIFIED = pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (no_keys, r"the keys could not be fetched \(.*503.*\)"),
        (empty_keys, r"the keys could not be fetched \(no usable key\)"),
        (opaque, "it is opaque"),
        (lambda telnyx: telnyx.clock.advance(-2 * DAY), "this machine's clock is .* ahead"),
    ],
)


@UNVERIFIED
async def test_the_first_token_that_cannot_be_verified_is_one_warning_and_a_sentence_in_the_log(
    telnyx, caplog, recwarn, spoil, why
):
    spoil(telnyx)
    sentence = (
        rf"access token is used although it could not be verified: {why}.*verify_issued=True.*verify_issued=False"
    )
    async with telnyx.async_client() as client:
        old = await client.tokens.get()
        if spoil is not opaque:
            await client.tokens.replace(old)
    (warned,) = recwarn.list
    assert warned.category is RuntimeWarning
    assert re.search(sentence, str(warned.message))
    assert re.search(sentence, caplog.text)
    assert {record.levelname for record in caplog.records if "verified" in record.message} == {"WARNING"}
    assert old.access_token not in caplog.text + str(warned.message)


@UNVERIFIED
@pytest.mark.parametrize("hostile", ["error", "always"])
async def test_that_warning_breaks_no_call_and_no_renewal_whatever_becomes_of_warnings(
    telnyx, monkeypatch, spoil, why, hostile
):
    def fail(*_args, **_named):
        raise LookupError

    monkeypatch.setattr(warnings, "showwarning", fail)
    spoil(telnyx)
    with warnings.catch_warnings():
        warnings.simplefilter(hostile)
        async with telnyx.async_client() as client:
            if spoil is not opaque:
                assert (await client.oauth_clients.list()).data
                await client.tokens.replace(await client.tokens.get())
            assert (await client.tokens.get()).remaining() > 1000


async def test_a_token_that_is_verified_or_not_meant_to_be_is_no_warning(telnyx, recwarn):
    async with telnyx.async_client() as client:
        await client.tokens.get()
    no_keys(telnyx)
    async with telnyx.async_client(verify_issued=False) as client:
        await client.tokens.get()
    assert not recwarn.list


# --- with the service


async def test_client_credentials_carry_a_token_and_win_over_the_key(telnyx, client):
    await client.oauth_clients.list()
    (listed,) = telnyx.requests.find("/oauth/clients")
    scheme, token = listed.headers["Authorization"].split()
    assert scheme == "Bearer"
    assert token != telnyx.api_key
    (asked,) = telnyx.requests.find("/oauth/token")
    assert asked.headers["Authorization"].startswith("Basic ")
    assert asked.form == {"grant_type": "client_credentials"}


async def test_a_hundred_callers_share_one_token(telnyx, client):
    await asyncio.gather(*(client.oauth_clients.list() for _ in range(100)))
    assert telnyx.requests.count("/oauth/token") == 1
    assert telnyx.requests.count("/oauth/clients") == 100


async def test_nothing_falls_back_to_the_key_when_the_client_is_refused(telnyx):
    async with telnyx.async_client(api_key=telnyx.api_key, client_id=telnyx.client_id, client_secret="wrong") as client:
        with pytest.raises(InvalidClientError):
            await client.oauth_clients.list()
        with pytest.raises(AuthenticationError):
            await client.oauth.introspect(token="token")
    assert telnyx.requests.count("/oauth/clients") == 0
    assert not [each for each in telnyx.requests if telnyx.api_key in str(dict(each.headers))]


async def test_a_revoked_token_is_replaced_once(telnyx, client):
    await client.oauth_clients.list()
    telnyx.revoke((await client.tokens.get()).access_token)
    await client.oauth_clients.list()
    assert telnyx.requests.count("/oauth/token") == 2
    assert telnyx.requests.count("/oauth/clients", status=401) == 1


async def test_a_token_without_the_scope_is_not_replaced(telnyx):
    async with telnyx.async_client(scopes="messaging.read") as client:
        with pytest.raises(PermissionDeniedError):
            await client.oauth_clients.list()
    assert telnyx.requests.count("/oauth/token") == 1
    assert telnyx.requests.find("/oauth/token")[0].form["scope"] == "messaging.read"


async def test_a_wrong_key_is_a_plain_authentication_error(telnyx):
    async with telnyx.async_client(api_key="KEYwrong") as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.oauth_clients.list()
    assert type(caught.value) is AuthenticationError
    assert (caught.value.code, caught.value.status_code, len(telnyx.requests)) == ("10009", 401, 1)
    assert caught.value.request_id
    assert "API key" in "".join(caught.value.__notes__)


async def test_another_key_in_a_copy_is_another_identity(telnyx, client):
    copy = client.with_options(api_key=telnyx.api_key)
    assert (copy.api_key, copy.client_id, copy.client_secret) == (telnyx.api_key, None, None)
    await copy.oauth_clients.list()
    assert [each.path for each in telnyx.requests] == ["/v2/oauth/clients"]
    assert telnyx.requests[0].headers["Authorization"] == f"Bearer {telnyx.api_key}"


async def test_other_client_credentials_in_a_copy_are_another_identity(telnyx, client):
    created = await client.oauth_clients.create(
        name="n", client_type="confidential", allowed_grant_types=["client_credentials"], allowed_scopes=["admin"]
    )
    copy = client.with_options(client_id=created.data.client_id, client_secret=created.data.client_secret)
    assert copy.tokens is not client.tokens
    await copy.oauth_clients.list()
    await copy.close()
    await client.oauth_clients.list()
    assert telnyx.requests.count("/oauth/token") == 2


async def test_public_operations_send_no_authorization(telnyx, client):
    await client.well_known.retrieve_authorization_server_metadata()
    await client.well_known.retrieve_protected_resource_metadata()
    await client.oauth.retrieve_jwks()
    await client.oauth.register(redirect_uris=["https://example.com"])
    await client.oauth.retrieve_authorize(
        client_id=telnyx.client_id, redirect_uri="https://example.com/callback", response_type="code"
    )
    assert not [each for each in telnyx.requests if "Authorization" in each.headers]


@pytest.mark.parametrize("known", ["slash_paths", "underscore_paths"])
async def test_either_form_of_a_path_is_found_and_remembered_with_copies(telnyx, keyed, known):
    telnyx.slash_paths = known == "slash_paths"
    telnyx.underscore_paths = known == "underscore_paths"
    copy = keyed.with_options(max_retries=0)
    other_key = keyed.with_options(api_key=telnyx.api_key, timeout=3)
    await keyed.oauth_clients.list()
    await copy.oauth_clients.list()
    await other_key.oauth_clients.list()
    expected = (
        ["/v2/oauth/clients"] * 3 if known == "slash_paths" else ["/v2/oauth/clients", *["/v2/oauth_clients"] * 3]
    )
    assert [each.path for each in telnyx.requests] == expected


async def test_a_copy_of_another_identity_knows_the_form_too_but_not_one_for_another_address(telnyx, keyed):
    telnyx.slash_paths = False
    await keyed.oauth_clients.list()
    telnyx.requests.clear()
    await keyed.with_options(client_id=telnyx.client_id, client_secret=telnyx.client_secret).oauth_clients.list()
    assert telnyx.requests.count("/oauth/clients") == 0
    elsewhere = keyed.with_options(base_url=telnyx.root_url)
    assert elsewhere._engine.shared is not keyed._engine.shared


async def test_an_unknown_id_is_a_404_of_the_first_form(keyed, telnyx):
    with pytest.raises(NotFoundError) as caught:
        await keyed.oauth_clients.retrieve("nobody")
    assert "/oauth/clients/nobody" in caught.value.request.url
    assert [each.path for each in telnyx.requests] == ["/v2/oauth/clients/nobody", "/v2/oauth_clients/nobody"]


# --- faults on real connections


@pytest.fixture
def impatient(monkeypatch):
    """Pauses between attempts take no time."""
    slept = []

    async def sleep(self, seconds):
        slept.append(seconds)

    monkeypatch.setattr("telnyx_oauth.transport.clock.SystemClock.sleep", sleep)
    return slept


@pytest.mark.parametrize("kind", ["reset", "truncate"])
async def test_a_broken_connection_is_tried_again(telnyx, keyed, impatient, kind):
    telnyx.faults.add("/oauth/jwks", kind=kind, times=2)
    assert (await keyed.oauth.retrieve_jwks()).keys
    assert (telnyx.requests.count("/oauth/jwks"), len(impatient)) == (3, 2)
    telnyx.faults.add("/oauth/jwks", kind=kind, times=None)
    with pytest.raises(APIConnectionError):
        await keyed.oauth.retrieve_jwks()
    with pytest.raises(APIConnectionError):
        await keyed.with_options(max_retries=0).oauth.retrieve_jwks()
    assert telnyx.requests.count("/oauth/jwks") == 3 + 3 + 1


async def test_no_answer_in_time_is_a_timeout_and_tried_again(telnyx, keyed, impatient):
    telnyx.faults.add("/oauth/jwks", kind="hang", times=1)
    assert (await keyed.oauth.retrieve_jwks(timeout=0.2)).keys
    telnyx.faults.add("/oauth/jwks", kind="hang", times=None)
    with pytest.raises(APITimeoutError):
        await keyed.with_options(max_retries=1, timeout=0.05).oauth.retrieve_jwks()
    assert telnyx.requests.count("/oauth/jwks") == 4


async def test_a_server_that_is_gone_is_a_connection_error(impatient):
    async with Sandbox() as telnyx:
        client = telnyx.async_client(api_key="KEY")
    async with client:
        with pytest.raises(APIConnectionError) as caught:
            await client.oauth_clients.create(
                name="n", client_type="public", allowed_grant_types=["authorization_code"], allowed_scopes=["admin"]
            )
    assert (caught.value.sent, len(impatient)) == (False, 2)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
async def test_a_passing_failure_is_tried_again(telnyx, keyed, impatient, status):
    telnyx.faults.add("/oauth/jwks", kind="status", status=status, times=2)
    assert (await keyed.oauth.retrieve_jwks()).keys
    assert telnyx.requests.count("/oauth/jwks") == 3


async def test_a_long_wait_is_told_at_once(telnyx, keyed, impatient):
    telnyx.faults.add(kind="status", status=429, headers={"Retry-After": "61"}, times=None)
    with pytest.raises(RateLimitError) as caught:
        await keyed.oauth.retrieve_jwks()
    assert (caught.value.retry_after, len(telnyx.requests), impatient) == (61.0, 1, [])


async def test_a_one_time_exchange_whose_answer_was_lost_is_not_made_again(telnyx, keyed, impatient):
    telnyx.faults.add("/oauth/clients", kind="reset", processed=True, times=None)
    with pytest.raises(APIConnectionError):
        await keyed.oauth_clients.create(
            name="n", client_type="public", allowed_grant_types=["client_credentials"], allowed_scopes=["admin"]
        )
    assert telnyx.requests.count("/oauth/clients", method="POST") == 1


@pytest.mark.parametrize("kind", ["malformed", "html", "wrong_types", "oversized"])
async def test_an_answer_that_is_none_says_where(telnyx, keyed, impatient, kind):
    telnyx.faults.add("/oauth/clients", kind=kind, times=None)
    with pytest.raises(APIResponseValidationError) as caught:
        await keyed.oauth_clients.list()
    assert caught.value.problems[0].startswith("$")
    assert caught.value.response.content == b""
    assert (telnyx.requests.count(), impatient) == (1, [])


async def test_pages_go_on_to_the_end(telnyx, keyed):
    assert len([each async for each in keyed.oauth_clients.list(page_size=1)]) == 3
    assert telnyx.requests.count("/oauth/clients") == 3


async def test_a_call_that_is_given_up_leaves_nothing_behind_and_the_client_works(telnyx, client):
    fault = telnyx.faults.add("/oauth/*", kind="hang", times=None)
    for _ in range(5):
        task = asyncio.ensure_future(client.oauth_clients.list())
        await until(lambda: fault.hits)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    telnyx.faults.clear()
    fresh = client.with_options(api_key=telnyx.api_key)
    assert (await fresh.oauth_clients.list()).data


# --- undocumented endpoints


@pytest.mark.parametrize(
    "cast_to", [object, OAuthClientListResponse, str, bytes, Response, type(None), dict, dict[str, object]]
)
async def test_an_answer_can_be_read_as_many_things(keyed, cast_to):
    answer = await keyed.get("/oauth_clients", cast_to=cast_to, options={"params": {"page[size]": 1}})
    expected = {object: dict, dict[str, object]: dict, type(None): type(None)}.get(cast_to, cast_to)
    assert isinstance(answer, expected)


async def test_an_answer_of_the_wrong_kind_is_told(keyed):
    with pytest.raises(APIResponseValidationError, match=r"\$: expected an array"):
        await keyed.get("/oauth_clients", cast_to=list[OAuthRetrieveJwksResponse])


async def test_every_verb_goes_out_with_credentials_body_and_options():
    async with (
        RawServer.of(http("200 OK", b'{"ok": true}')) as server,
        AsyncTelnyx(api_key="KEY", base_url=server.base_url) as client,
    ):
        assert await client.get("/x", cast_to=object) == {"ok": True}
        options = {"headers": {"X-A": "b"}, "params": {"q": [1, 2]}, "extra_json": {"c": 3}, "timeout": 9}
        await client.post("x", cast_to=object, body={"a": 1}, options=options)
        await client.put("/x", cast_to=object, body=[1, 2])
        await client.patch("/x", cast_to=object, body=b"\x00raw")
        await client.delete("/x", cast_to=type(None))
        await client.post("/x", cast_to=object, body=None)
    lines = [each.split(b"\r\n")[0].decode() for each in server.requests]
    assert lines == [
        "GET /v2/x HTTP/1.1",
        "POST /v2/x?q=1&q=2 HTTP/1.1",
        "PUT /v2/x HTTP/1.1",
        "PATCH /v2/x HTTP/1.1",
        "DELETE /v2/x HTTP/1.1",
        "POST /v2/x HTTP/1.1",
    ]
    bodies = [each.partition(b"\r\n\r\n")[2] for each in server.requests]
    assert bodies == [b"", b'{"a":1,"c":3}', b"[1,2]", b"\x00raw", b"", b"null"]
    assert all(b"Authorization: Bearer KEY\r\n" in each for each in server.requests)
    assert b"X-A: b\r\n" in server.requests[1]
    assert b"Content-Type: application/octet-stream" in server.requests[3]


@pytest.mark.parametrize("path", ["https://elsewhere.example/v2/x", "http://127.0.0.1:1/v2/x"])
async def test_an_address_on_another_origin_is_not_sent_to(keyed, telnyx, path):
    with pytest.raises(ValueError, match="origin"):
        await keyed.get(path, cast_to=object)
    assert len(telnyx.requests) == 0


async def test_a_path_that_looks_like_an_address_is_a_path(keyed, telnyx):
    with pytest.raises(NotFoundError):
        await keyed.get("//elsewhere.example/x", cast_to=object)
    assert telnyx.requests[0].path == "/v2//elsewhere.example/x"


@pytest.mark.parametrize("path", ["/x y", "/x\r\nX: y", "/x\0"])
async def test_a_path_that_would_break_out_is_refused(keyed, telnyx, path):
    with pytest.raises(ValueError, match="escape"):
        await keyed.get(path, cast_to=object)
    assert len(telnyx.requests) == 0


# --- copies


async def test_a_copy_is_like_its_original_but_for_what_is_given(client):
    copy = client.copy(timeout=1, max_retries=7, default_headers={"X": "y"}, default_query={"q": 1})
    assert (copy.timeout.total, copy.max_retries) == (1, 7)
    assert (copy.base_url, copy.client_id, copy.client_secret) == (
        client.base_url,
        client.client_id,
        client.client_secret,
    )
    again = copy.with_options(default_headers={"Z": omit, "x": "w"}, default_query={"r": 2})
    assert {**again.default_query} == {"q": 1, "r": 2}
    assert {name.lower(): value for name, value in again._engine.defaults.headers.items()}["x"] == "w"
    assert len([name for name in again._engine.defaults.headers if name.lower() == "x"]) == 1
    assert client.max_retries == 2
    replaced = copy.copy(set_default_headers={"A": "b"}, set_default_query={"s": 3})
    assert (dict(replaced.default_headers), dict(replaced.default_query)) == ({"A": "b"}, {"s": 3})
    emptied = copy.copy(set_default_headers={}, set_default_query={})
    assert (dict(emptied.default_headers), dict(emptied.default_query)) == ({}, {})


@pytest.mark.parametrize("kind", ["headers", "query"])
def test_adding_to_the_defaults_and_replacing_them_exclude_each_other(kind):
    with pytest.raises(ValueError, match="exclude"):
        AsyncTelnyx().copy(**{f"default_{kind}": {}, f"set_default_{kind}": {}})


async def test_default_headers_and_query_go_with_every_call(telnyx, keyed):
    copy = keyed.copy(default_headers={"X-A": "b", "User-Agent": omit}, default_query={"q": "v"})
    await copy.oauth.retrieve_jwks(extra_headers={"X-A": "c"})
    await copy.oauth.retrieve_jwks(extra_headers={"X-A": omit}, extra_query={"q": None})
    first, second = telnyx.requests
    assert (first.headers["X-A"], first.query, "User-Agent" in first.headers) == ("c", "q=v", False)
    assert ("X-A" in second.headers, second.query) == (False, "")


async def test_a_copy_shares_connections_and_tokens_and_closing_it_leaves_the_original_open(telnyx, client):
    copy = client.copy(timeout=9)
    await client.oauth_clients.list()
    await copy.oauth_clients.list()
    assert copy.tokens is client.tokens
    assert telnyx.requests.count("/oauth/token") == 1
    await copy.close()
    assert (copy.is_closed(), client.is_closed()) == (True, False)
    with pytest.raises(ClientClosedError):
        await copy.oauth_clients.list()
    await client.oauth_clients.list()


async def test_a_copy_whose_original_is_gone_works_and_is_quiet(telnyx):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy = telnyx.async_client(api_key=telnyx.api_key).with_options(timeout=9)
        gc.collect()
        assert (await copy.oauth_clients.list()).data
        await copy.close()
        del copy
        gc.collect()


async def test_a_copy_of_a_closed_original_says_so(telnyx):
    client = telnyx.async_client()
    copy = client.copy()
    await client.oauth.retrieve_jwks()
    await client.close()
    assert not copy.is_closed()
    for call in (copy.oauth.retrieve_jwks, copy.oauth_clients.list, copy.tokens.get):
        with pytest.raises(ClientClosedError, match=r"the client that it belongs to, .* close the original last"):
            await call()
    await copy.close()


async def test_a_copy_may_use_a_session_of_ones_own(telnyx, keyed):
    async with aiohttp.ClientSession(headers={"X-Theirs": "yes"}) as session:
        copy = keyed.copy(http_session=session)
        await copy.oauth_clients.list()
        await copy.close()
        assert not session.closed
        await keyed.oauth_clients.list()
    assert ["X-Theirs" in each.headers for each in telnyx.requests] == [True, False]


# --- its life


async def test_after_closing_it_says_so(telnyx):
    client = telnyx.async_client()
    await client.oauth_clients.list()
    page = await client.oauth_clients.list(page_size=1)
    await client.close()
    await client.close()
    assert client.is_closed()
    for call in (client.oauth_clients.list, client.oauth.retrieve_jwks, page.get_next_page, client.tokens.get):
        with pytest.raises(ClientClosedError, match="closed"):
            await call()
    with pytest.raises(ClientClosedError):
        await client.get("/x", cast_to=object)


async def test_the_context_manager_closes(telnyx):
    async with telnyx.async_client() as client:
        await client.oauth_clients.list()
    assert client.is_closed()


async def test_closing_ends_connections_even_if_something_fails_on_the_way(telnyx, monkeypatch):
    client = telnyx.async_client()
    await client.oauth_clients.list()

    async def fail(*_, **__):
        raise KeyError

    monkeypatch.setattr(type(client.tokens), "aclose", fail)
    with pytest.raises(KeyError):
        await client.close()
    assert not client._connections.is_open


async def test_a_close_that_was_cancelled_is_finished_by_the_next(telnyx, client, monkeypatch):
    await client.oauth_clients.list()
    begun, finished = [], []
    close = type(client.tokens).aclose

    async def slow(self, **options):
        begun.append(self)
        if len(begun) == 1:
            await asyncio.Event().wait()
        await close(self, **options)
        finished.append(self)

    monkeypatch.setattr(type(client.tokens), "aclose", slow)
    closing = asyncio.create_task(client.close())
    await until(lambda: begun)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert client.is_closed()
    await client.close()
    assert finished == [client.tokens]
    assert client.tokens.status().phase == "closed"


async def test_calls_under_way_end_when_it_is_closed(telnyx):
    client = telnyx.async_client(api_key=telnyx.api_key)
    telnyx.faults.add(kind="hang", times=None)
    task = asyncio.ensure_future(client.oauth_clients.list())
    await until(lambda: telnyx.requests)
    await client.close()
    with pytest.raises(TelnyxError):
        await task


async def test_a_given_session_is_used_and_left_open(telnyx):
    async with aiohttp.ClientSession() as session:
        client = telnyx.async_client(http_session=session)
        await client.oauth_clients.list()
        await client.close()
        assert not session.closed


def test_one_client_works_on_one_loop_after_another():
    with Sandbox() as telnyx, warnings.catch_warnings():
        warnings.simplefilter("error")
        client = telnyx.async_client()

        async def use():
            return len((await client.oauth_clients.list()).data)

        assert [asyncio.run(use()), asyncio.run(use())] == [3, 3]
        assert telnyx.requests.count("/oauth/token") == 1
        asyncio.run(client.close())


def test_one_client_works_on_many_loops_at_once():
    with Sandbox() as telnyx:
        client = telnyx.async_client()
        failures = []

        def use():
            async def many():
                await asyncio.gather(*(client.oauth_clients.list() for _ in range(10)))

            try:
                asyncio.run(many())
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert telnyx.requests.count("/oauth/clients", status=200) == 40
        asyncio.run(client.close())


async def test_dropping_one_unclosed_is_told(telnyx):
    client = telnyx.async_client()
    await client.oauth.retrieve_jwks()
    with pytest.warns(ResourceWarning, match=r"Unclosed <AsyncTelnyx for \S+ at http"):  # noqa: PT031 - to be sure
        del client
        gc.collect()
    await until(lambda: not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()])


@pytest.mark.parametrize("how", ["unused", "closed", "a copy", "a session", "refused"])
async def test_dropping_one_that_holds_nothing_is_quiet(telnyx, how):
    original = telnyx.async_client()
    session = aiohttp.ClientSession()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if how == "refused":
            with pytest.raises(ValueError, match="base_url"):
                AsyncTelnyx(base_url="nonsense")
        else:
            client = {
                "a copy": lambda: original.with_options(timeout=3),
                "a session": lambda: telnyx.async_client(http_session=session),
            }.get(how, telnyx.async_client)()
            if how != "unused":
                await client.oauth.retrieve_jwks()
            if how == "closed":
                await client.close()
            del client
        gc.collect()
    await session.close()
    await original.close()


PROGRAM = """
import asyncio, logging, os, sys
from telnyx_oauth import AsyncTelnyx
logging.getLogger("asyncio").setLevel("ERROR")  # a busy machine makes steps slow, which is no fault of theirs
client = AsyncTelnyx()

async def use():
    return len((await client.oauth_clients.list()).data)

{body}
"""


def run(body: str, telnyx: Sandbox) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", PROGRAM.format(body=body)],
        env={
            **os.environ,
            "TELNYX_BASE_URL": telnyx.base_url,
            "TELNYX_CLIENT_ID": telnyx.client_id,
            "TELNYX_CLIENT_SECRET": telnyx.client_secret,
        },
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@pytest.mark.parametrize("ending", ["", "asyncio.run(client.close())", "del client"])
def test_a_program_that_ends_says_nothing(ending):
    with Sandbox() as telnyx:
        assert run(f"print(asyncio.run(use()), asyncio.run(use()))\n{ending}", telnyx) == "3 3\n"


FORK = """
print(asyncio.run(use()), flush=True)
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("parent", asyncio.run(use()))
else:
    print("child", asyncio.run(use()), flush=True)
    if sys.argv[1:] == ["close"]:
        asyncio.run(client.close())
"""
FORK_INSIDE = """
loop = asyncio.new_event_loop()
print(loop.run_until_complete(use()), flush=True)
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("parent", loop.run_until_complete(use()))
    loop.run_until_complete(client.close())
    loop.close()
else:
    print("child", asyncio.run(use()), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("body", [FORK, FORK_INSIDE], ids=["between loops", "with a loop that goes on"])
def test_a_forked_child_and_its_parent_both_work(body):
    with Sandbox() as telnyx:
        assert run(body, telnyx) == "3\nchild 3\nparent 3\n"


async def test_its_context_reaches_the_core_and_proxies_reach_its_connections(monkeypatch):
    async with RawServer.of(http("200 OK", b'{"keys": []}')) as proxy:
        async with AsyncTelnyx(base_url="http://api.example/v2", proxy=proxy.origin, allow_insecure=True) as client:
            assert (await client.oauth.retrieve_jwks()).keys == []
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        async with AsyncTelnyx(base_url="http://api.example/v2", allow_insecure=True) as client:
            assert (await client.oauth.retrieve_jwks()).keys == []
        assert [each.split(b" ")[1] for each in proxy.requests] == [b"http://api.example/v2/oauth/jwks"] * 2


async def test_the_validator_needs_an_audience_and_judges_with_the_servers_keys(telnyx):
    with pytest.raises(ValueError, match="audience"):
        _ = AsyncTelnyx().validator
    async with telnyx.async_client() as client:
        access = await client.validator.validate(telnyx.issue_token())
        assert access.client_id == telnyx.client_id
        assert client.validator is client.validator


@pytest.mark.parametrize("verify", ["auto", True, False])
async def test_issued_tokens_are_proven_unless_that_is_turned_off(telnyx, verify):
    async with telnyx.async_client(verify_issued=verify) as client:
        await client.oauth_clients.list()
    assert telnyx.requests.count("/oauth/jwks") == (0 if verify is False else 1)


async def test_a_redirect_is_an_error_that_says_where_to():
    async with (
        RawServer.of(http("302 Found", b"", "Location: https://elsewhere.example/")) as server,
        AsyncTelnyx(api_key="KEY", base_url=server.base_url) as client,
    ):
        with pytest.raises(APIStatusError) as caught:
            await client.get("/x", cast_to=object)
    assert caught.value.location == "https://elsewhere.example/"
    assert not isinstance(caught.value, InternalServerError)
    assert len(server.requests) == 1


# --- a manager of one's own


async def test_calls_carry_the_tokens_of_a_given_manager_which_stays_open(telnyx):
    async with telnyx.async_client() as owner:
        client = AsyncTelnyx(tokens=owner.tokens, base_url=telnyx.base_url)
        await client.oauth_clients.list()
        assert client.tokens is owner.tokens
        assert (client.api_key, client.client_id, client.client_secret) == (None, None, None)
        assert "a token manager" in repr(client)
        await client.close()
        await owner.oauth_clients.list()
    assert telnyx.requests.count("/oauth/token") == 1


async def test_a_given_manager_keeps_the_environments_identity_out(telnyx, monkeypatch):
    set_environment(monkeypatch, API_KEY="key", CLIENT_ID="id", CLIENT_SECRET="secret")
    async with telnyx.async_client() as owner, AsyncTelnyx(tokens=owner.tokens, base_url=telnyx.base_url) as client:
        assert (client.api_key, client.client_id) == (None, None)
        async with client.copy(timeout=3) as copy:
            assert copy.tokens is owner.tokens


async def test_closing_waits_for_no_renewal_that_nothing_could_save(telnyx):
    telnyx.faults.add("/oauth/token", kind="hang")
    client = telnyx.async_client()
    call = asyncio.ensure_future(client.oauth_clients.list())
    await until(lambda: telnyx.requests.count("/oauth/token") == 1)
    before = asyncio.get_running_loop().time()
    await client.close()
    with pytest.raises(ClientClosedError):
        await call
    assert asyncio.get_running_loop().time() - before < 2


async def test_introspection_is_asked_for_with_a_given_managers_token_where_there_is_no_client(telnyx):
    async with telnyx.async_client() as owner, AsyncTelnyx(tokens=owner.tokens, base_url=telnyx.base_url) as client:
        with pytest.raises(AuthenticationError):  # the sandbox, like Telnyx, wants an OAuth client here
            await client.oauth.introspect(token="t")
        (asked,) = telnyx.requests.find("/oauth/introspect")[:1]
        assert asked.headers["Authorization"].startswith("Bearer ")


@pytest.mark.parametrize("blocking", [True, False])
def test_a_token_that_is_refused_anew_is_told_with_the_call_that_was_refused(blocking):
    async def awaited(telnyx: Sandbox) -> None:
        async with telnyx.async_client(max_retries=0) as client:
            with pytest.raises(AuthenticationError):
                await client.oauth_clients.list()
            await client.oauth_clients.list()

    def waited(telnyx: Sandbox) -> None:
        with telnyx.client(max_retries=0) as client:
            with pytest.raises(AuthenticationError):
                client.oauth_clients.list()
            client.oauth_clients.list()

    with Sandbox() as telnyx:
        said = {"X-Request-Id": "request-7", "X-Quoted": "token"}
        telnyx.faults.add("/oauth/clients", kind="status", status=401, body=b"quoted", headers=said, times=None)
        with pytest.raises(TokenRejectedError) as refused:
            waited(telnyx) if blocking else asyncio.run(awaited(telnyx))
        error = refused.value
        assert (error.request_id, error.status_code) == ("request-7", 401)
        assert str(error.request) == f"GET {telnyx.base_url}/oauth/clients"
        assert "X-Quoted" not in error.response.headers
        assert error.response.content == b""
