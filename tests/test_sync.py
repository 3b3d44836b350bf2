from __future__ import annotations

import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings

import aiohttp
import pytest

from telnyx_oauth import Telnyx
from telnyx_oauth.errors import (
    APIResponseValidationError,
    AuthenticationError,
    BlockingCallError,
    ClientClosedError,
    MissingCredentialsError,
    NotFoundError,
)
from telnyx_oauth.messages import Timeout
from telnyx_oauth.pagination import SyncDefaultFlatPagination
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.types import OAuthRetrieveJwksResponse
from tests.operations import OPERATIONS
from tests.wire import hang, http, served


@pytest.fixture
def telnyx():
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def client(telnyx):
    with telnyx.client() as client:
        yield client


@pytest.fixture
def keyed(telnyx):
    with telnyx.client(api_key=telnyx.api_key) as client:
        yield client


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "telnyx_oauth"]


def answering(operation):
    """A server that gives this operation's answer to everything."""
    answer = operation.response()
    status = {200: "200 OK", 201: "201 Created", 204: "204 No Content"}[answer.status_code]
    if answer.status_code == 204:
        return served(b"HTTP/1.1 204 No Content\r\nX-Request-Id: request-1\r\n\r\n")
    return served(http(status, answer.content, "X-Request-Id: request-1"))


# --- the operations


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_works_in_all_three_forms(operation):
    with answering(operation) as server, Telnyx(api_key="KEY", base_url=server.base_url) as client:
        answer = operation.call(client)
        raw = operation.method_of(client, "with_raw_response")(*operation.arguments, **operation.given())
        with operation.method_of(client, "with_streaming_response")(
            *operation.arguments, **operation.given()
        ) as streamed:
            assert (streamed.status_code, streamed.request_id) == (operation.status, "request-1")
            assert not streamed.is_closed
            parsed = [raw.parse(), streamed.parse()]
    assert streamed.is_closed
    # What the official package's own tests look at.
    assert [each.http_request.headers.get("X-Stainless-Lang") for each in (raw, streamed)] == ["python"] * 2
    requests = {bytes(each) for each in server.requests}
    assert len(requests) == 1
    assert requests.pop().startswith(f"{operation.method} {operation.path}".encode())
    assert (raw.status_code, raw.method) == (operation.status, operation.method)
    if operation.lists:
        assert [(each.data, each.meta) for each in parsed] == [(answer.data, answer.meta)] * 2
        assert isinstance(answer.data[0], operation.kind)
        assert {type(each) for each in (answer, *parsed)} == {SyncDefaultFlatPagination}
    else:
        assert parsed == [answer, answer]
        assert isinstance(answer, operation.kind)


def test_pages_are_fetched_concurrently_on_request(telnyx, keyed):
    every = list(keyed.oauth_clients.list(page_size=1))
    telnyx.requests.clear()
    page = keyed.oauth_clients.list(page_size=1)
    assert list(page.concurrently(8)) == every
    assert len(telnyx.requests) == 3
    with pytest.raises(ValueError, match="1 or more"):
        page.concurrently(0)


def test_who_stops_among_pages_leaves_nothing_behind(telnyx, keyed):
    telnyx.requests.clear()
    items = keyed.oauth_clients.list(page_size=1).concurrently(8)
    next(items)
    assert len(telnyx.requests) == 1
    next(items)
    items.close()
    assert len(telnyx.requests) <= 3
    abandoned = keyed.oauth_clients.list(page_size=1).concurrently(8)
    next(abandoned)
    keyed.close()
    abandoned.close()


def test_pages_go_on_to_the_end(telnyx, keyed):
    page = keyed.oauth_clients.list(page_size=1)
    assert (page.has_next_page(), page.meta.total_pages, len(page.data)) == (True, 3, 1)
    assert page.next_page_info().params == {"page[number]": 2}
    assert len(list(page)) == len(list(keyed.oauth_clients.list(page_size=2))) == 3
    assert [len(each.data) for each in page.iter_pages()] == [1, 1, 1]
    second = page.get_next_page()
    assert second.to_dict()["data"][0]["client_id"] == second.data[0].client_id
    assert repr(second).startswith("Page(data=[OAuthClient(")
    last = second.get_next_page()
    with pytest.raises(RuntimeError, match="has_next_page"):
        last.get_next_page()
    telnyx.requests.clear()
    for _ in keyed.oauth_clients.list(page_size=1):
        break
    assert len(telnyx.requests) == 1


def test_a_raw_list_gives_a_page_that_goes_on(keyed):
    page = keyed.oauth_clients.with_raw_response.list(page_size=2).parse()
    assert len(list(page)) == 3
    with keyed.oauth_clients.with_streaming_response.list(page_size=2) as raw:
        assert len(list(raw.parse())) == 3


def test_the_verbs_reach_what_has_no_method(keyed):
    assert keyed.get("/oauth/jwks", cast_to=OAuthRetrieveJwksResponse).keys
    created = keyed.post("/oauth/register", cast_to=object, body={"redirect_uris": ["https://example.com"]})
    assert created["client_id"]
    path = "/oauth_clients/182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
    assert keyed.put(path, cast_to=object, body={"name": "n"})["data"]["name"] == "n"
    assert keyed.delete(path, cast_to=type(None)) is None
    with pytest.raises(NotFoundError):
        keyed.patch(path, cast_to=object, body={})


def test_errors_are_the_same(keyed, telnyx):
    with pytest.raises(NotFoundError) as caught:
        keyed.oauth_grants.retrieve("nobody")
    assert caught.value.request_id
    with pytest.raises(ValueError, match="Expected a non-empty value for `id`"):
        keyed.oauth_grants.retrieve("")
    with telnyx.client(api_key="KEYwrong") as wrong, pytest.raises(AuthenticationError):
        wrong.oauth_grants.list()
    with Telnyx(base_url=telnyx.base_url) as nobody, pytest.raises(MissingCredentialsError, match="TELNYX_API_KEY"):
        nobody.oauth_grants.list()


# --- raw responses and streams


def test_a_raw_response_is_read_without_the_loop_and_after_closing(telnyx):
    client = telnyx.client(api_key=telnyx.api_key)
    raw = client.oauth.with_raw_response.retrieve_jwks()
    client.close()
    assert loop_threads() == []
    assert raw.is_closed
    assert raw.json() == raw.parse().to_dict()
    assert raw.text() == raw.read().decode() == "".join(raw.iter_text()) == "".join(raw.iter_lines())
    assert b"".join(raw.iter_bytes(7)) == raw.read()
    assert len(next(raw.iter_bytes(7))) == 7
    raw.close()
    assert repr(raw).startswith("<APIResponse [200] GET http")
    assert (raw.http_version, raw.retries_taken, raw.url) == ("HTTP/1.1", 0, f"{telnyx.base_url}/oauth/jwks")
    assert raw.headers["Content-Type"].startswith("application/json")


async def test_a_raw_response_is_read_where_another_loop_runs(keyed):
    raw = keyed.oauth.with_raw_response.retrieve_jwks()
    assert b"".join(raw.iter_bytes(5)) == raw.read()
    assert raw.parse().keys


def test_what_cannot_be_parsed_can_be_looked_at():
    with served(http("200 OK", b"<html>")) as server, Telnyx(base_url=server.base_url) as client:
        raw = client.oauth.with_raw_response.retrieve_jwks()
        with pytest.raises(APIResponseValidationError):
            raw.parse()
        with pytest.raises(ValueError, match="Expecting value"):
            raw.json()
        assert raw.text() == "<html>"


def test_a_stream_is_read_as_it_comes():
    body = "one\r\ntwo\nthrée".encode()
    with served(http("200 OK", body)) as server, Telnyx(base_url=server.base_url) as client:
        with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            assert not raw.is_closed
            assert list(raw.iter_lines()) == ["one", "two", "thrée"]
            assert raw.is_closed
            with pytest.raises(RuntimeError, match="read already"):
                raw.read()
        with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            assert "".join(raw.iter_text(2)) == body.decode()
        with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            assert raw.text() == body.decode()
            assert raw.read() == body
        assert server.connections == 1


def test_a_stream_is_read_whole_up_to_a_size_and_gone_over_beyond_it():
    mebi = 1024 * 1024
    with served(http("200 OK", bytes(16 * mebi + 1))) as server, Telnyx(base_url=server.base_url) as client:
        with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            for how in (raw.read, raw.text, raw.json, raw.parse):
                with pytest.raises(APIResponseValidationError, match=f"more than {16 * mebi} bytes"):
                    how()
            assert raw.is_closed
        with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            assert sum(map(len, raw.iter_bytes())) == 16 * mebi + 1


def test_leaving_a_stream_early_ends_its_connection():
    async def half(reader, writer):
        writer.write(http("200 OK", b"first", length=100))
        await hang(reader, writer)

    with served(half) as server, Telnyx(base_url=server.base_url) as client:
        with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            assert next(raw.iter_bytes()) == b"first"
        with pytest.raises(KeyError), client.oauth.with_streaming_response.retrieve_jwks() as raw:
            raise KeyError
        with client.oauth.with_streaming_response.retrieve_jwks() as raw:
            raw.close()
            assert raw.is_closed
            with pytest.raises(RuntimeError, match="closed"):
                raw.read()
        while server.open:
            pass


def test_leaving_a_stream_after_its_client_was_closed_is_quiet(keyed):
    with keyed.oauth.with_streaming_response.retrieve_jwks() as raw:
        keyed.close()
        raw.close()
        with pytest.raises(ClientClosedError):
            raw.read()


# --- configuration


def test_its_attributes_are_those_of_its_other_half():
    client = Telnyx(api_key="K", timeout=3, max_retries=1, default_headers={"X": "y"}, default_query={"q": 1})
    assert (client.api_key, client.client_id, client.client_secret) == ("K", None, None)
    assert (client.base_url, client.timeout, client.max_retries) == ("https://api.telnyx.com/v2", Timeout(3, 3), 1)
    assert (dict(client.default_headers), dict(client.default_query)) == ({"X": "y"}, {"q": 1})
    assert repr(client) == "<Telnyx for an API key at https://api.telnyx.com/v2>"
    copy = client.copy(max_retries=9, api_key="L")
    assert (type(copy), copy.max_retries, copy.api_key, client.max_retries) == (Telnyx, 9, "L", 1)
    assert client.with_options(client_id="AsyncTelnyx", client_secret="s").client_id == "AsyncTelnyx"
    assert repr(client.with_options(client_id="AsyncTelnyx", client_secret="s")).startswith(
        "<Telnyx for AsyncTelnyx at"
    )


async def test_a_session_of_ones_own_is_for_the_other_kind_of_client():
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ValueError, match="AsyncTelnyx"):
            Telnyx(http_session=session)
        with pytest.raises(ValueError, match="AsyncTelnyx"):
            Telnyx().copy(http_session=session)
    assert Telnyx(http_session=None).copy(http_session=None).is_closed() is False


def test_a_subclass_copies_to_its_own_kind():
    class Ours(Telnyx):
        pass

    assert type(Ours().with_options(timeout=1)) is Ours


# --- tokens and validation


def test_the_tokens_of_the_client_are_at_hand(client, telnyx):
    assert client.tokens.peek() is None
    token = client.tokens.get()
    assert client.tokens.peek() is token
    assert client.tokens.get() is token
    assert client.tokens.renewable
    assert client.tokens.status().generation == 1
    narrow = client.tokens.get(scopes="messaging.read")
    assert narrow.scopes == {"messaging.read"}
    client.tokens.forget()
    assert client.tokens.peek() is None
    client.tokens.warm()
    second = client.tokens.get()
    assert second.generation > token.generation
    assert client.tokens.replace(second).generation > second.generation
    assert telnyx.requests.count("/oauth/token") == 4


def test_a_cached_token_and_a_cached_verdict_need_no_loop(client, telnyx):
    token = client.tokens.get()
    good = telnyx.issue_token()
    access = client.validator.validate(good)
    client._lease.run = None
    try:
        assert client.tokens.get() is token
        assert client.validator.validate(good) == access
        assert client.validator.cached(good) == access
        assert client.validator.revoke_cached(subject=access.subject) == 1
        assert client.validator.cached(good) is None
    finally:
        del client._lease.run
    client.validator.warm()


def test_closed_tokens_say_so(telnyx):
    for used in (True, False):
        client = telnyx.client(api_key=telnyx.api_key)
        tokens = client.tokens
        if used:
            client.oauth_clients.list()
        client.close()
        assert tokens.peek() is None
        with pytest.raises(ClientClosedError):
            tokens.get()


def test_the_validator_needs_an_audience():
    with pytest.raises(ValueError, match="audience"):
        _ = Telnyx().validator


# --- its life


def test_calls_start_no_thread(telnyx):
    first, second = telnyx.client(), telnyx.client(api_key=telnyx.api_key)
    first.oauth_clients.list()
    second.oauth_clients.list()
    assert loop_threads() == []
    first.close()
    second.oauth_clients.list()
    second.close()
    assert loop_threads() == []


def test_after_closing_it_says_so(telnyx):
    client = telnyx.client()
    page = client.oauth_clients.list(page_size=1)
    assert not client.is_closed()
    client.close()
    client.close()
    assert client.is_closed()
    for call in (client.oauth_clients.list, client.oauth.retrieve_jwks, page.get_next_page, client.tokens.get):
        with pytest.raises(ClientClosedError, match="closed"):
            call()
    with pytest.raises(ClientClosedError):
        client.get("/x", cast_to=object)
    assert len(page.data) == 1


def test_one_that_was_never_used_can_be_closed():
    client = Telnyx()
    client.close()
    with pytest.raises(ClientClosedError):
        client.oauth.retrieve_jwks()


def test_closing_a_copy_leaves_the_original_open(telnyx, client):
    copy = client.copy(timeout=9)
    client.oauth_clients.list()
    copy.oauth_clients.list()
    assert telnyx.requests.count("/oauth/token") == 1
    copy.close()
    assert (copy.is_closed(), client.is_closed()) == (True, False)
    with pytest.raises(ClientClosedError):
        copy.oauth_clients.list()
    client.oauth_clients.list()


def test_a_copy_whose_original_is_gone_works_and_ends_its_connections():
    with served(http("200 OK", b'{"keys": []}')) as server:
        copy = Telnyx(base_url=server.base_url).with_options(timeout=9)
        gc.collect()
        copy.oauth.retrieve_jwks()
        copy.close()
        assert loop_threads() == []
        while server.open:
            pass


def test_options_for_one_call_leave_nothing_behind(telnyx, client):
    client.oauth.retrieve_jwks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            client.with_options(timeout=9).oauth.retrieve_jwks()
        gc.collect()
    client.oauth.retrieve_jwks()


def test_eight_threads_share_one_client(telnyx, client):
    failures, results = [], []

    def use():
        try:
            results.extend(len(client.oauth_clients.list().data) for _ in range(50))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert results == [3] * 400
    assert telnyx.requests.count("/oauth/token") == 1


def test_closing_ends_the_calls_of_other_threads(telnyx):
    client = telnyx.client(api_key=telnyx.api_key)
    fault = telnyx.faults.add("/oauth/clients", kind="hang", times=None)
    errors = []

    def use():
        try:
            client.oauth_clients.list()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    while fault.hits < 3:
        pass
    client.close()
    for thread in threads:
        thread.join(10)
    assert [type(error) for error in errors] == [ClientClosedError] * 3


def test_closing_ends_a_call_that_waits_to_be_tried_again(telnyx):
    client = telnyx.client(api_key=telnyx.api_key)
    fault = telnyx.faults.add(kind="status", status=503, headers={"Retry-After": "60"}, times=None)
    errors = []

    def use():
        try:
            client.oauth.retrieve_jwks()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    while not fault.hits:
        pass
    client.close()
    thread.join(10)
    assert [type(error) for error in errors] == [ClientClosedError]


async def test_it_works_where_another_loop_runs(telnyx):
    with telnyx.client() as client:
        assert len(client.oauth_clients.list().data) == 3


def test_a_call_from_its_own_loop_is_refused_and_harms_nothing(client):
    refused = []

    async def inside():
        for call in (client.oauth_clients.list, client.close):
            try:
                call()
            except BlockingCallError as error:
                refused.append(error.code)

    client._lease.run(inside)
    assert refused == ["blocking_call", "blocking_call"]
    assert client.oauth_clients.list().data


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_context_variables_reach_the_core(telnyx, keyed, monkeypatch):
    seen = []
    send = keyed._client._engine._send

    async def spy(request):
        seen.append(VARIABLE.get())
        return await send(request)

    monkeypatch.setattr(keyed._client._engine, "_send", spy)
    VARIABLE.set("mine")
    keyed.oauth.retrieve_jwks()
    assert seen == ["mine"]


def test_dropping_one_unclosed_is_told_and_ends_it(telnyx):
    client = telnyx.client()
    client.oauth.retrieve_jwks()
    with pytest.warns(ResourceWarning, match=r"Unclosed <Telnyx for \S+ at http"):  # noqa: PT031 - to be sure
        del client
        gc.collect()
    while loop_threads():
        pass


def test_a_client_that_is_gone_before_its_call_is_made_works_and_is_ended(telnyx):
    with pytest.warns(ResourceWarning, match="Unclosed"):  # noqa: PT031 - to be sure
        assert telnyx.client().oauth.retrieve_jwks().keys
        gc.collect()
    while loop_threads():
        pass


def test_dropping_one_that_holds_nothing_is_quiet(telnyx):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="base_url"):
            Telnyx(base_url="nonsense")
        Telnyx()
        with telnyx.client() as client:
            client.oauth.retrieve_jwks()
        del client
        gc.collect()


# --- in programs


PROGRAM = """
import asyncio, logging, os, signal, sys, threading
from telnyx_oauth import Telnyx
logging.getLogger("asyncio").setLevel("ERROR")  # a busy machine makes steps slow, which is no fault of theirs
client = Telnyx()

def use():
    return len(client.oauth_clients.list().data)

"""


def start(body: str, telnyx: Sandbox, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "dev", *options, "-c", PROGRAM + body],
        env={
            **os.environ,
            "TELNYX_BASE_URL": telnyx.base_url,
            "TELNYX_CLIENT_ID": telnyx.client_id,
            "TELNYX_CLIENT_SECRET": telnyx.client_secret,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(body: str, telnyx: Sandbox) -> str:
    with start(body, telnyx) as process:
        out, said = process.communicate(timeout=60)
    assert (said, process.returncode) == ("", 0)
    return out


@pytest.mark.parametrize(
    "body",
    [
        "print(use()); client.close()",
        "copy = client.with_options(timeout=9); use(); print(len(list(copy.oauth_clients.list(page_size=1))))",
        "async def main(): return use()\nprint(asyncio.run(main()))",
        "t = threading.Thread(target=lambda: print(use())); t.start(); t.join()",
        "raw = client.oauth.with_streaming_response.retrieve_jwks().__enter__(); print(len(next(raw.iter_bytes(3))))",
        "import atexit; use(); atexit.register(lambda: print(use()))",
        "class Cycle: pass\nc = Cycle(); c.c = c; c.client = client; print(use()); del client, c",
    ],
    ids=lambda body: body[:20],
)
def test_a_program_that_ends_says_nothing(telnyx, body):
    assert run(body, telnyx) == "3\n"


def test_a_program_may_end_while_a_thread_of_it_waits(telnyx):
    telnyx.faults.add("/oauth/jwks", kind="hang", times=None)
    body = """
def hanging():
    try:
        client.with_options(timeout=None).oauth.retrieve_jwks()
    except BaseException:
        pass
threading.Thread(target=hanging, daemon=True).start()
print(use())
"""
    assert run(body.replace("use()", "3"), telnyx) == "3\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("end", ["", "client.close()", "os._exit(0)"])
def test_a_forked_child_and_its_parent_both_work(telnyx, end):
    body = f"""
print(use(), flush=True)
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("parent", use())
else:
    print("child", use(), threading.active_count(), flush=True)
    {end}
"""
    assert run(body, telnyx) == "3\nchild 3 1\nparent 3\n"
    if end != "":
        return
    # Parent and child have a token of their own each only if that is needed: both may carry the one from before.
    assert telnyx.requests.count("/oauth/token") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_middle_of_other_threads_calls_leaves_both_sides_working(telnyx):
    body = """
print(use(), flush=True)
busy = True
def work():
    while busy:
        use()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(5):
    child = os.fork()
    if not child:
        use()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
busy = False
for thread in threads:
    thread.join()
print("parent", use())
"""
    assert run(body, telnyx) == "3\nparent 3\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_multiprocessing_works(telnyx):
    body = """
import multiprocessing
print(use(), flush=True)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(lambda_free, range(3)))
"""
    body = body.replace("lambda_free", "work").replace("import multi", "def work(_): return use()\nimport multi", 1)
    assert run(body, telnyx) == "3\n[3, 3, 3]\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_leaves_a_client_that_works(telnyx):
    telnyx.faults.add("/oauth/jwks", kind="hang", after=1, times=1)
    body = """
print(use(), flush=True)
try:
    client.oauth.retrieve_jwks()
except KeyboardInterrupt:
    print("interrupted", len(client.oauth.retrieve_jwks().keys), use(), threading.active_count())
"""
    with start(body, telnyx) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "3\n"
        while telnyx.requests.count("/oauth/jwks") < 2:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=60)
    assert (said, process.returncode) == ("", 0)
    assert out == "interrupted 1 3 1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_that_nobody_catches_ends_the_program_with_one_traceback(telnyx):
    telnyx.faults.add("/oauth/jwks", kind="hang", after=1, times=None)
    with start("print(use(), flush=True)\nclient.oauth.retrieve_jwks()", telnyx) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "3\n"
        while telnyx.requests.count("/oauth/jwks") < 2:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert said.count("Traceback") == 1
    assert said.endswith("KeyboardInterrupt\n")


def test_nobodys_log_is_written_to(telnyx):
    body = """
import logging
logging.basicConfig(level="WARNING")
print(use())
"""
    assert run(body, telnyx) == "3\n"


def test_a_person_signs_in_and_a_client_calls_as_them():
    callback = "http://127.0.0.1/callback"
    with Sandbox() as telnyx, telnyx.client(api_key=telnyx.api_key) as operator:
        app = operator.oauth.register(
            redirect_uris=[callback],
            grant_types=["authorization_code", "refresh_token"],
            token_endpoint_auth_method="none",
        )
        with Telnyx(client_id=app.client_id, base_url=telnyx.base_url) as client:
            pending = client.authorization.begin_authorization(redirect_uri=callback, scopes=["admin"])
            tokens = client.authorization.complete_authorization(telnyx.approve(pending.url))
            with Telnyx(tokens=tokens.manager, base_url=telnyx.base_url) as person:
                assert person.oauth_grants.list().data
            assert tokens.get() is client.authorization.tokens().get()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda it: it.oauth_clients.retrieve(), r"^OAuthClients.retrieve\(\) missing .*'id'"),
        (lambda it: it.oauth_clients.retrieve("a", id="b"), r"^OAuthClients.retrieve\(\) got multiple values .*'id'"),
        (lambda it: it.oauth_clients.create(), r"^OAuthClients.create\(\) missing .*'name'"),
        (lambda it: it.oauth_clients.list(5), r"^OAuthClients.list\(\) takes these by name"),
        (lambda it: it.oauth_clients.list(sizes=5), r"^OAuthClients.list\(\) has no option 'sizes'"),
        (lambda it: it.oauth.token(), r"^OAuth.token\(\) missing .*'grant_type'"),
        (lambda it: it.get(), r"^Telnyx.get\(\) missing .*'path'"),
        (lambda it: it.tokens.replace(), r"^Tokens.replace\(\) missing .*'rejected'"),
        (
            lambda it: it.oauth_clients.with_raw_response.list(sizes=5),
            r"^\w*WithRawResponse.list\(\) has no option 'sizes'",
        ),
        (
            lambda it: it.oauth_clients.with_raw_response.retrieve(),
            r"^OAuthClientsWithRawResponse.retrieve\(\) missing .*'id'",
        ),
        (
            lambda it: it.oauth_clients.with_streaming_response.retrieve().__enter__(),
            r"^OAuthClientsWithStreamingResponse.retrieve\(\) missing .*'id'",
        ),
    ],
)
def test_a_wrong_argument_is_refused_in_the_name_of_the_method_that_was_called(call, says):
    with Telnyx(api_key="k") as client, pytest.raises(TypeError, match=says) as caught:
        call(client)
    assert "Async" not in str(caught.value)
