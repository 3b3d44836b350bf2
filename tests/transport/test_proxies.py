from __future__ import annotations

import socket

import aiohttp
import pytest
from yarl import URL

from telnyx_oauth import AsyncTelnyx, Telnyx
from telnyx_oauth.errors import APIConnectionError, TelnyxError
from telnyx_oauth.protocol.secret import Secret
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.transport.proxies import environment_proxy
from tests.wire import RawServer, http

PROXY = "http://proxy.example:3128"
HERE = [
    "127.0.0.1",
    "127.9.9.9",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "api.localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
]
ELSEWHERE = ["api.example", "localhost.example", "notlocalhost", "128.0.0.1", "[::2]", "[::ffff:10.0.0.1]", "0.0.0.0"]


@pytest.fixture
async def proxy(monkeypatch):
    """A proxy that the environment names for everything, and that gives forged answers."""

    async def forge(reader, writer):
        writer.write(http("200 OK", b'{"access_token": "forged", "token_type": "Bearer", "keys": [], "data": []}'))
        await writer.drain()

    async with RawServer.of(forge) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, server.origin)
        yield server


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_environments_proxy_is_for_other_machines_alone(monkeypatch, scheme):
    monkeypatch.setenv(f"{scheme}_proxy", PROXY)
    for port in ("", ":8080"):
        assert {environment_proxy(f"{scheme}://{host}{port}/v2") for host in HERE} == {None}
        assert {environment_proxy(f"{scheme}://{host}{port}/v2") for host in ELSEWHERE} == {Secret(PROXY)}


VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
DIRECT = [
    ("10.0.0.0/8", "http://10.1.2.3:8080"),
    ("example.com,10.1.2.3/32", "http://10.1.2.3"),
    ("example.com, 10.1.2.0/24", "http://10.1.2.3"),
    ("10.1.2.77/24", "http://10.1.2.3"),
    ("fd00::/8", "http://[fd00::5]:8080"),
    ("fd00::5/128", "http://[FD00:0::5]"),
    ("[fd00::]/8", "http://[fd00::5]"),
    ("10.0.0.0/8", "http://[::ffff:10.1.2.3]"),
    ("::ffff:10.0.0.0/104", "http://10.1.2.3"),
    ("0.0.0.0/0", "http://10.1.2.3"),
    ("fd00::5", "http://[fd00:0:0::5]:8080"),
    ("[fd00::5]", "http://[fd00::5]:8080"),
    ("[fd00::5]:8080", "http://[fd00::5]:8080"),
    ("FD00::5", "http://[fd00::5]"),
    ("fe80::1", "http://[fe80::1%25eth0]"),
    ("10.1.2.3", "http://[::ffff:10.1.2.3]"),
    ("10.1.2.3:8080", "http://10.1.2.3:8080"),
    ("10.1.2.3:80", "http://10.1.2.3"),
    ("a.example b.example", "http://b.example"),
    ("A.Example", "http://a.example."),
    ("a.example.", "http://x.a.example"),
    (".a.example", "http://x.a.example"),
    (".a.example", "http://a.example"),
    ("*.a.example", "http://x.a.example"),
    ("a.example:443", "https://a.example"),
    ("*", "http://10.1.2.3"),
    ("x,*", "http://a.example"),
]
PROXIED = [
    ("10.0.0.0/8", "http://11.1.2.3"),
    ("10.0.0.0/8", "http://a.example"),
    ("fd00::/8", "http://[fe00::5]"),
    ("10.0.0.0/33,10.0.0.0/x,/8,10.0.0.0/", "http://10.1.2.3"),
    ("fd00::5", "http://[fd00::6]"),
    ("[fd00::5]:8081", "http://[fd00::5]:8080"),
    ("10.1.2.3:8081", "http://10.1.2.3:8080"),
    ("2.3,.2.3", "http://10.1.2.3"),
    ("a.example", "http://nota.example"),
    ("*.a.example", "http://a.example"),
    ("a.example:8080", "http://a.example"),
    ("a.example:x,[,],:,[a", "http://a.example"),
    ("", "http://a.example"),
    (" , ,", "http://a.example"),
]


@pytest.fixture
def named(monkeypatch):
    """The proxy for a URL in an environment of these variables alone."""

    def ask(url: str, **variables: str) -> Secret[str] | None:
        for name in VARIABLES:
            for spelling in (name, name.lower()):
                monkeypatch.delenv(spelling, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return environment_proxy(url)

    return ask


@pytest.mark.parametrize("proxies", [{"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}, {"ALL_PROXY": PROXY}], ids=str)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_names_addresses_blocks_and_names(named, proxies, name):
    for no_proxy, url in DIRECT:
        assert named(f"{url}/v2", **proxies, **{name: no_proxy}) is None, (no_proxy, url)
    for no_proxy, url in PROXIED:
        assert named(f"{url}/v2", **proxies, **{name: no_proxy}) == Secret(PROXY), (no_proxy, url)


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy"])
def test_all_proxy_is_for_what_has_no_proxy_of_its_own(named, name):
    own = "http://own.example:3128"
    for scheme in ("http", "https"):
        assert named(f"{scheme}://a.example/", **{name: PROXY}) == Secret(PROXY)
        assert named(f"{scheme}://a.example/", **{name: PROXY, f"{scheme}_proxy": own}) == Secret(own)
        assert named(f"{scheme}://a.example/", **{name: PROXY, f"{scheme.upper()}_PROXY": own}) == Secret(own)
    assert named("http://a.example/", **{name: PROXY, "https_proxy": own}) == Secret(PROXY)
    assert named("http://127.0.0.1/", **{name: PROXY}) is None


def test_a_proxys_address_is_http_where_it_says_nothing(named):
    assert named("http://a.example/", HTTP_PROXY="proxy.example:3128") == Secret(PROXY)


UNUSABLE = [
    "socks5://u:planted@proxy.example",
    "http://proxy..example:1",
    "http://" + "a" * 64 + ":1",
    "http://proxy.example:99999",
    "http://[::1",
    "http://u:planted%E2%82%AC@proxy.example",
    "http://u%3Ax:planted@proxy.example",
    "http://",
    "ftp://x",
]


@pytest.mark.parametrize("proxy", UNUSABLE)
def test_a_proxy_that_there_is_no_way_through_is_refused_where_it_is_given(proxy):
    for make in (AsyncTelnyx, Telnyx):
        with pytest.raises(ValueError, match=r"^`proxy`") as caught:
            make(api_key="KEY", proxy=proxy)
        assert not isinstance(caught.value, UnicodeError)
        assert "planted" not in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_proxy_is_text():
    with pytest.raises(TypeError, match="`proxy` must be a str; what was given is of type URL"):
        AsyncTelnyx(api_key="KEY", proxy=URL("http://u:planted@proxy.example"))


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", UNUSABLE)
def test_a_proxy_of_the_environment_is_refused_by_its_variables_name(named, name, proxy):
    with pytest.raises(ValueError, match=f"^`{name}`"):
        named("http://a.example/", **{name: proxy})


async def test_keys_tokens_and_calls_read_the_variables_alike(monkeypatch):
    async def forge(reader, writer):
        writer.write(http("200 OK", b'{"access_token": "t", "token_type": "Bearer", "keys": [], "data": []}'))
        await writer.drain()

    async with RawServer.of(forge) as server:
        monkeypatch.setenv("ALL_PROXY", server.origin)
        base = "http://192.0.2.1:9/v2"
        options = {"client_id": "i", "client_secret": "s", "base_url": base, "allow_insecure": True}
        async with AsyncTelnyx(**options, verify_issued=False) as client:
            await client.oauth.retrieve_jwks()
            await client.oauth_clients.list()
        assert len(server.requests) == 3
        monkeypatch.setenv("NO_PROXY", "example.com,192.0.2.0/24")
        async with AsyncTelnyx(**options, verify_issued=False, timeout=0.05, max_retries=0) as client:
            for call in (client.oauth.retrieve_jwks, client.tokens.get):
                with pytest.raises((TelnyxError, TimeoutError)):
                    await call()
        assert len(server.requests) == 3


def test_without_a_proxy_in_the_environment_there_is_none(monkeypatch):
    monkeypatch.setenv("https_proxy", PROXY)
    assert environment_proxy("http://api.example/v2") is None
    monkeypatch.setenv("no_proxy", "api.example")
    assert environment_proxy("https://api.example/v2") is None
    assert environment_proxy("https://other.example/v2") == Secret(PROXY)


@pytest.mark.parametrize("given", [False, True], ids=["of the environment", "given"])
async def test_tokens_keys_and_calls_to_this_machine_go_past_a_proxy(proxy, given):
    options = {"proxy": proxy.origin} if given else {}
    async with Sandbox() as telnyx:
        async with telnyx.async_client(**options) as client:
            token = await client.tokens.get()
            assert (await client.validator.validate(token.access_token)).client_id == telnyx.client_id
            assert (await client.oauth_clients.list()).data
            assert (await client.oauth.introspect(token=token.access_token)).active
            pending = await client.authorization.begin_authorization(redirect_uri="http://127.0.0.1/callback")
            assert await client.authorization.complete_authorization(telnyx.approve(pending.url))
        async with telnyx.async_client(api_key=telnyx.api_key, **options) as client:
            assert (await client.oauth_clients.list()).data
    assert proxy.requests == []


def test_the_blocking_client_goes_past_a_proxy_too(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as nobody_answers, Sandbox() as telnyx:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{nobody_answers.getsockname()[1]}")
        with Telnyx(
            base_url=telnyx.base_url, client_id=telnyx.client_id, client_secret=telnyx.client_secret, timeout=5
        ) as client:
            assert client.tokens.get().access_token
            assert client.oauth_clients.list().data


async def test_each_name_of_this_machine_goes_past_a_proxy(proxy):
    async with RawServer.of(http()) as server:
        for host in ("127.0.0.1", "localhost", "LOCALHOST"):
            for options in ({}, {"proxy": proxy.origin}):
                base = f"http://{host}:{server.port}"
                async with AsyncTelnyx(api_key="KEY", base_url=base, **options) as client:
                    assert await client.get("/x", cast_to=dict) == {}
    assert proxy.requests == []


@pytest.mark.parametrize("own", [{"trust_env": True}, {"proxy": "http://127.0.0.1:1"}], ids=["environment", "its own"])
async def test_a_given_session_with_a_proxy_sends_nothing_to_this_machine_and_says_so(proxy, own, monkeypatch):
    async with RawServer.of(http()) as server, aiohttp.ClientSession(**own) as session:
        for options in ({}, {"proxy": proxy.origin}):
            async with AsyncTelnyx(api_key="KEY", base_url=server.base_url, http_session=session, **options) as client:
                with pytest.raises(APIConnectionError, match=r"Nothing was sent.*through a proxy.*NO_PROXY") as caught:
                    await client.oauth_clients.list()
                assert not caught.value.sent
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        if "trust_env" in own:
            async with AsyncTelnyx(api_key="KEY", base_url=server.base_url, http_session=session) as client:
                assert await client.get("/x", cast_to=dict) == {}
    assert proxy.requests == []


async def test_a_given_session_without_a_proxy_is_used_for_this_machine_as_ever(proxy):
    async with (
        RawServer.of(http()) as server,
        aiohttp.ClientSession() as session,
        AsyncTelnyx(api_key="KEY", base_url=server.base_url, http_session=session) as client,
    ):
        assert await client.get("/x", cast_to=dict) == {}
    assert proxy.requests == []


@pytest.mark.parametrize("exempt", ["127.0.0.0/8", "127.0.0.1/32", "127.0.0.1", "*"])
async def test_a_given_session_that_reads_the_environment_reads_it_as_we_do(proxy, exempt, monkeypatch):
    async with RawServer.of(http()) as server, aiohttp.ClientSession(trust_env=True) as session:
        monkeypatch.setenv("NO_PROXY", exempt)
        async with AsyncTelnyx(api_key="KEY", base_url=server.base_url, http_session=session) as client:
            assert await client.get("/x", cast_to=dict) == {}
    assert proxy.requests == []


async def test_a_given_session_that_reads_the_environment_goes_through_all_proxy(monkeypatch):
    async with RawServer.of(http()) as proxy, aiohttp.ClientSession(trust_env=True) as session:
        monkeypatch.setenv("ALL_PROXY", proxy.origin)
        async with AsyncTelnyx(
            api_key="KEY", base_url="http://api.example", allow_insecure=True, http_session=session
        ) as client:
            assert await client.get("/x", cast_to=dict) == {}
        monkeypatch.setenv("NO_PROXY", "192.0.2.0/24")
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        async with AsyncTelnyx(
            api_key="KEY",
            base_url="http://192.0.2.1:9",
            allow_insecure=True,
            http_session=session,
            timeout=0.05,
            max_retries=0,
        ) as client:
            with pytest.raises(APIConnectionError):
                await client.get("/x", cast_to=dict)
    assert len(proxy.requests) == 1
