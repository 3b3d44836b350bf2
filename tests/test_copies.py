"""Copies and pickles of public objects: they work, or are refused in words, and the original goes on."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from telnyx_oauth import (
    ApiKey,
    ClientAuthentication,
    ClientCredentials,
    EncryptedStore,
    FileStore,
    HttpTransport,
    JWKSCache,
    KeyringStore,
    MemoryStore,
    RedisStore,
    RefreshPolicy,
    RefreshToken,
    Request,
    RequestInfo,
    Response,
    StaticKeys,
    StoredGrant,
    SystemClock,
    Timeout,
    TokenPolicy,
    omit,
)
from telnyx_oauth.aiohttp import BearerAuth, BearerTokenMiddleware
from telnyx_oauth.sandbox import Sandbox

WAYS = {
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
REFUSED = "cannot be copied or pickled: it holds connections, locks or secrets"
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@pytest.fixture
def telnyx():
    with Sandbox() as sandbox:
        yield sandbox


@ways
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.filterwarnings("error")
def test_a_blocking_client_and_what_it_gives_refuse_in_words_and_go_on(telnyx, way, used):
    with telnyx.client(audience="a") as client:
        values: list[object] = [client, client.oauth, client.tokens, client.validator, client.authorization]
        values += [client.oauth.with_raw_response, client.oauth.with_streaming_response]
        values += [client.with_options(timeout=3), client.tokens.manager]
        if used:
            values += [client.oauth_clients.list(), client.oauth_clients.with_raw_response.list()]
            values += [client.oauth_clients.with_streaming_response.list()]
        for value in values:
            with pytest.raises(TypeError, match=f"^{type(value).__name__} {REFUSED}"):
                way(value)
        gc.collect()
        assert client.oauth_clients.list().data


@ways
async def test_an_async_client_and_what_it_gives_refuse_in_words_and_go_on(telnyx, way):
    async with telnyx.async_client(audience="a") as client:
        values: list[object] = [client, client.oauth, client.tokens, client.validator, client.authorization]
        values += [client.oauth.with_raw_response, client.oauth.with_streaming_response, client.oauth_clients.list()]
        values += [await client.oauth_clients.list(), await client.oauth_clients.with_raw_response.list()]
        values += [BearerAuth(client.validator), BearerTokenMiddleware(client.tokens, origins=["https://a.example"])]
        for value in values:
            with pytest.raises(TypeError, match=f"^{type(value).__name__} {REFUSED}"):
                way(value)
        assert (await client.oauth_clients.list()).data


@ways
def test_what_holds_connections_or_locks_refuses_in_words(telnyx, tmp_path, way):
    send = HttpTransport()
    values: list[object] = [
        send,
        telnyx,
        FileStore(tmp_path),
        KeyringStore(folder=tmp_path),
        RedisStore("redis://127.0.0.1"),
    ]
    values += [JWKSCache("https://a.example/jwks")]
    for value in values:
        with pytest.raises(TypeError, match=f"^{type(value).__name__} {REFUSED}"):
            way(value)


@ways
def test_values_are_copied(telnyx, way):
    with telnyx.client() as client:
        token = client.tokens.get()
        pending = client.authorization.begin_authorization(redirect_uri="http://127.0.0.1/callback")
        status = client.tokens.status()
        answer = client.oauth.retrieve_jwks()
    info = RequestInfo("GET", "https://a.example")
    assert way(token).authorization == token.authorization
    for value in (
        token.key,
        pending,
        status,
        answer,
        Timeout(1),
        RefreshPolicy(),
        TokenPolicy.telnyx(audience="a"),
    ):
        assert way(value) == value
    assert way(omit) is omit
    assert way(Response(200, content=b"x")).content == b"x"
    assert way(Request("GET", "https://a.example", info)).url == "https://a.example"
    assert way(StoredGrant("https://a.example", "i")) == StoredGrant("https://a.example", "i")
    for other in (SystemClock(), MemoryStore(), ApiKey("k"), StaticKeys({"keys": []}), ClientAuthentication("i")):
        assert type(way(other)) is type(other)
    assert way(EncryptedStore(MemoryStore(), [Fernet.generate_key()]))


@pytest.mark.parametrize("source", [ClientCredentials, RefreshToken])
def test_a_source_is_copied_with_a_transport_that_can_be(source):
    more = {"refresh_token": "r"} if source is RefreshToken else {}
    with pytest.raises(TypeError, match=f"^HttpTransport {REFUSED}"):
        pickle.dumps(source(HttpTransport(), "https://a.example/token", "i", "s", **more))
    assert copy.copy(source(HttpTransport(), "https://a.example/token", "i", "s", **more))


def test_trying_leaves_nothing_on_stderr():
    code = """
import copy, gc, pickle, telnyx_oauth
from telnyx_oauth.sandbox import Sandbox
with Sandbox() as sandbox:
    for client in (telnyx_oauth.Telnyx(api_key="k"), sandbox.client()):
        if client.client_id:
            client.oauth_clients.list()
        for way in (copy.copy, copy.deepcopy, pickle.dumps):
            try:
                way({"client": [client, client.oauth]})
            except TypeError as error:
                assert "Telnyx cannot be copied or pickled" in str(error), error
                assert "with_options" in str(error)
            else:
                assert way is copy.copy  # of the dictionary alone
        gc.collect()
        client.close()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
