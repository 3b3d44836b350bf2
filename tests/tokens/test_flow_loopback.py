from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from telnyx_oauth.errors import (
    AccessDeniedError,
    AuthorizationCodeLostError,
    AuthorizationResponseError,
    InvalidGrantError,
    IssuerMismatchError,
    LoopbackPortError,
    SignInTimeoutError,
)
from telnyx_oauth.protocol.authorization_code import PendingAuthorization
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.tokens.authorization_code import AuthorizationFlow
from telnyx_oauth.tokens.loopback import LoopbackReceiver, sign_in


@pytest.fixture
def telnyx() -> Sandbox:
    return Sandbox()


@pytest.fixture
def flow(telnyx) -> AuthorizationFlow:
    return AuthorizationFlow(
        client_id=telnyx.client_id, client_secret=telnyx.client_secret, base_url=telnyx.base_url, send=telnyx.send
    )


class Browser:
    """Goes to an address by itself, as a browser does beside the program that waits for it."""

    def __init__(self) -> None:
        self.session = aiohttp.ClientSession()
        self.visits: list[asyncio.Task[tuple[int, str]]] = []

    async def get(self, url: str, **options) -> tuple[int, str, aiohttp.typedefs.LooseHeaders]:
        async with self.session.request(options.pop("method", "GET"), url, allow_redirects=False, **options) as answer:
            return answer.status, await answer.text(), answer.headers

    def open(self, url: str) -> None:
        self.visits.append(asyncio.create_task(self.get(url)))

    async def ended(self) -> list[tuple[int, str]]:
        return [(status, text) for status, text, _ in await asyncio.gather(*self.visits)]


@pytest.fixture
async def browser():
    browser = Browser()
    yield browser
    await browser.session.close()


def heading(page: str) -> str:
    return re.search("<h1>(.*)</h1>", page)[1]


# --- signing in


async def test_further_parameters_go_along_with_the_person(flow, telnyx, browser):
    shown = []

    async def show(url):
        shown.append(url)
        browser.open(telnyx.approve(url))

    assert await sign_in(flow, show=show, extra={"login_hint": "a@b.example", "prompt": "login"})
    assert "login_hint=a%40b.example&prompt=login" in shown[0]
    with pytest.raises(ValueError, match="`extra` repeats state"):
        await sign_in(flow, show=show, extra={"state": "x"})


async def test_the_browser_brings_the_answer_and_is_told_that_it_worked(flow, telnyx, browser):
    async def show(url):
        browser.open(telnyx.approve(url))

    manager = await sign_in(flow, show=show, scopes="fax.read")
    assert (await manager.get()).scopes == {"fax.read"}
    ((status, page),) = await browser.ended()
    assert (status, heading(page)) == (200, "You are signed in")


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lambda telnyx, url: telnyx.deny(url), AccessDeniedError, "denied"),
        (
            lambda telnyx, url: re.sub("code=[^&]+", "error=server_error", telnyx.approve(url)),
            AuthorizationResponseError,
            "server_error",
        ),
        (lambda telnyx, url: f"{telnyx.approve(url)}&iss=other", IssuerMismatchError, "another"),
        (
            lambda telnyx, url: re.sub("code=[^&]+", "code=other", telnyx.approve(url)),
            InvalidGrantError,
            "invalid_grant",
        ),
    ],
)
async def test_what_went_wrong_is_told_at_the_browser_and_in_the_program(flow, telnyx, browser, spoil, error, said):
    async def show(url):
        browser.open(spoil(telnyx, url))

    with pytest.raises(error, match=said):
        await sign_in(flow, show=show)
    ((status, page),) = await browser.ended()
    assert (status, heading(page)) == (400, "Signing in did not work")
    assert said in page


async def test_a_lost_answer_is_told_at_the_browser_too(flow, telnyx, browser):
    async def show(url):
        browser.open(telnyx.approve(url))

    telnyx.faults.add("/oauth/token", kind="reset", processed=True)
    with pytest.raises(AuthorizationCodeLostError):
        await sign_in(flow, show=show)
    ((_, page),) = await browser.ended()
    assert "sign in again" in page


async def test_an_address_that_is_pasted_will_do(flow, telnyx):
    pasted: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def show(url):
        pasted.set_result(f"  {telnyx.approve(url)}\n")

    async def paste(problem):
        assert problem is None
        return await pasted

    assert await (await sign_in(flow, show=show, paste=paste)).get()


async def test_a_wrong_address_is_asked_for_again_with_what_is_wrong_with_it(flow, telnyx):
    said = []
    shown = []

    async def show(url):
        shown.append(url)

    async def paste(problem):
        said.append(problem)
        match len(said):
            case 1:
                return "http://127.0.0.1/callback"
            case 2:
                return "http://127.0.0.1/callback?code=x&state=other"
            case _:
                return telnyx.approve(shown[0])

    assert await sign_in(flow, show=show, paste=paste)
    assert said[0] is None
    assert "Take the whole address" in said[1]
    assert "another sign-in" in said[2]


@pytest.mark.parametrize("pasted", [False, True])
async def test_an_answer_may_be_long(flow, telnyx, browser, pasted):
    ended_at: asyncio.Queue[str] = asyncio.Queue()

    async def show(url):
        answer = f"{telnyx.approve(url)}&session_state={'s' * 100_000}"
        if pasted:
            ended_at.put_nowait(answer)
        else:
            browser.open(answer)

    async def paste(problem):
        assert problem is None
        return await ended_at.get()

    assert await (await sign_in(flow, show=show, paste=paste)).get()
    assert all(status == 200 for status, _ in await browser.ended())


async def test_when_nobody_pastes_anything_the_browser_is_waited_for(flow, telnyx, browser):
    shown = []
    refused = asyncio.Event()

    async def show(url):
        shown.append(url)

    async def paste(problem):
        refused.set()
        return

    async def later():
        await refused.wait()
        browser.open(telnyx.approve(shown[0]))

    later_on = asyncio.create_task(later())
    assert await sign_in(flow, show=show, paste=paste)
    await later_on
    assert (await browser.ended())[0][0] == 200


async def test_a_browser_that_never_comes_is_not_waited_for_forever(flow):
    async def show(url):
        pass

    waits = []

    async def paste(problem):
        waits.append(asyncio.current_task())
        await asyncio.Event().wait()

    with pytest.raises(SignInTimeoutError, match=r"within 0.01 s\. Sign in again") as caught:
        await sign_in(flow, show=show, paste=paste, timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert waits[0].cancelled()


async def test_a_browser_that_runs_in_the_terminal_may_last_as_long_as_it_likes(flow, telnyx, browser):
    async def show(url):
        await browser.get(telnyx.approve(url))  # answered only once the sign-in is complete

    assert await (await sign_in(flow, show=show)).get()


async def test_a_browser_that_cannot_be_opened_ends_the_sign_in(flow):
    async def show(url):
        raise OSError("no display")

    with pytest.raises(OSError, match="no display"):
        await sign_in(flow, show=show)


async def test_being_cancelled_leaves_nothing_listening(flow):
    shown: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def show(url):
        shown.set_result(re.search(r"127\.0\.0\.1%3A(\d+)", url)[1])

    waiting = asyncio.create_task(sign_in(flow, show=show))
    port = int(await shown)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    socket.create_server(("127.0.0.1", port)).close()


async def test_a_second_sign_in_on_the_same_port_says_so_and_the_first_goes_on(flow, telnyx, browser):
    shown: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def show(url):
        shown.set_result(url)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first = asyncio.create_task(sign_in(flow, show=show, port=port))
    url = await shown
    with pytest.raises(LoopbackPortError, match=f"port {port} of 127.0.0.1 .*Another sign-in may be waiting"):
        await sign_in(flow, show=show, port=port)
    browser.open(telnyx.approve(url))
    assert await (await first).get()
    await browser.ended()


# --- what is not the answer


def port_in(url: str) -> int:
    return int(re.search(r"127\.0\.0\.1%3A(\d+)", url)[1])


FOREIGN = [
    "?code=evil&state=wrong",
    "?code=evil",
    "?code=evil&state=",
    "?error=access_denied",
    "?error=access_denied&state=y",
    "?error=server_error&error_description=it+broke&state=",
    "?state=only",
    "",
    "?code=a&code=b&state=c",
    "?code=evil&state=%00%ff%F0%9F%92%A9",
    f"?code={'e' * 4000}&state=wrong",
]


async def test_only_the_answer_with_its_own_state_ends_a_sign_in(flow, telnyx, browser):
    shown: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def show(url):
        shown.set_result(url)

    waiting = asyncio.create_task(sign_in(flow, show=show))
    url = await shown
    root = f"http://127.0.0.1:{port_in(url)}/callback"
    own = re.search(r"state=([^&]+)", url)[1]
    for query in (*FOREIGN, f"?code=a&state={own}&state=b", f"?code=a&state={own[:-1]}", f"?state={own}"):
        status, page, _ = await browser.get(root + query)
        assert (query, status, heading(page)) == (query, 400, "This is not the answer to the sign-in")
    assert not waiting.done()
    browser.open(telnyx.approve(url))
    assert await (await waiting).get()
    assert [status for status, _ in await browser.ended()] == [200]


async def test_what_was_ignored_is_counted_when_nothing_else_came(flow, browser):
    async def show(url):
        for query in FOREIGN[:3]:
            await browser.get(f"http://127.0.0.1:{port_in(url)}/callback{query}")
        await browser.get(f"http://127.0.0.1:{port_in(url)}/favicon.ico")

    with pytest.raises(SignInTimeoutError) as caught:
        await sign_in(flow, show=show, timeout=1)
    assert caught.value.__notes__ == ["Requests that came and were no answer to this sign-in: 3."]


REQUEST = b"GET /callback?code=evil&state=wrong HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
RUDE = {
    "nothing at all": b"",
    "half a request": b"GET /callback?code=a&sta",
    "headers without an end": REQUEST + b"X: y\r\n",
    "a line without an end": b"GET /callback?code=" + b"a" * 100_000,
    "too many headers": REQUEST + b"X: y\r\n" * 10_000 + b"\r\n",
    "a huge header": REQUEST + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n",
    "a body that never comes": REQUEST.replace(b"GET", b"POST") + b"Content-Length: 1000000000\r\n\r\nx",
    "a body in chunks": REQUEST.replace(b"GET", b"PUT") + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "TLS": bytes.fromhex("16030100f8010000f40303"),
    "another protocol": b"\x00\xff\r\n\r\n",
    "a connection that is kept": REQUEST + b"Connection: keep-alive\r\n\r\n",
    "an upgrade": REQUEST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "a tunnel": b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
    "a stream of requests": (REQUEST + b"\r\n") * 200,
}


@pytest.fixture
async def rude():
    """Connections that stay open, with whatever was sent on them."""
    writers = []

    async def connect(port: int, data: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(data.replace(b"%d", str(port).encode()))
        return reader

    yield connect
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("data", RUDE.values(), ids=RUDE)
async def test_nobody_keeps_the_browser_out_and_nothing_stays_open(flow, telnyx, browser, rude, data, capfd):
    shown: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def show(url):
        shown.set_result(url)

    waiting = asyncio.create_task(sign_in(flow, show=show))
    url = await shown
    readers = [await rude(port_in(url), data) for _ in range(100)]
    browser.open(telnyx.approve(url))
    async with asyncio.timeout(10):
        assert await (await waiting).get()
        assert [status for status, _ in await browser.ended()] == [200]
        for reader in readers:
            with suppress(ConnectionError):
                await reader.read()
    socket.create_server(("127.0.0.1", port_in(url))).close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", RUDE.values(), ids=RUDE)
async def test_a_sign_in_ends_at_its_time_whatever_is_still_connected(flow, rude, data):
    async def show(url):
        shown.append(url)
        for _ in range(5):
            await rude(port_in(url), data)

    shown = []
    async with asyncio.timeout(10):
        with pytest.raises(SignInTimeoutError):
            await sign_in(flow, show=show, timeout=0.05)
    socket.create_server(("127.0.0.1", port_in(shown[0]))).close()


async def test_a_flood_does_not_close_the_connection_that_brought_the_answer(flow, telnyx, browser, rude, monkeypatch):
    shown: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    exchange, sent, go_on = flow._exchange, asyncio.Event(), asyncio.Event()

    async def slow(*arguments):
        sent.set()
        await go_on.wait()
        return await exchange(*arguments)

    async def show(url):
        shown.set_result(url)

    monkeypatch.setattr(flow, "_exchange", slow)
    waiting = asyncio.create_task(sign_in(flow, show=show))
    url = await shown
    browser.open(telnyx.approve(url))
    await sent.wait()
    for _ in range(100):
        await rude(port_in(url), b"")
    go_on.set()
    assert await waiting
    assert [status for status, _ in await browser.ended()] == [200]


# --- the receiver


PENDING = PendingAuthorization(
    "https://as.example/authorize", "https://as.example", "c", "", frozenset(), None, 1e12, False, "b", "verifier"
)


@asynccontextmanager
async def receiving(browser):
    """A receiver of the answer with the state `b`, and what a browser at its address would ask."""
    async with LoopbackReceiver() as receiver:
        receiver.expect(PENDING)
        yield receiver, receiver.redirect_uri.removesuffix("/callback")


async def test_before_a_sign_in_has_begun_nothing_is_its_answer(browser):
    async with LoopbackReceiver() as receiver:
        status, page, _ = await browser.get(f"{receiver.redirect_uri}?code=a&state=b")
        assert (status, "No sign-in has begun" in page) == (400, True)
        receiver.expect(PENDING)
        browser.open(f"{receiver.redirect_uri}?code=a&state=b")
        await receiver.wait()
    assert len(await browser.ended()) == 1


async def test_one_request_counts(browser):
    async with receiving(browser) as (receiver, root):
        browser.open(f"{root}/callback?code=a&state=b")
        assert (await receiver.wait()).plain == f"{root}/callback?code=a&state=b"
        status, page, _ = await browser.get(f"{root}/callback?code=c&state=b")
        assert (status, heading(page)) == (409, "This sign-in was answered already")
        status, page, _ = await browser.get(f"{root}/callback?code=c&state=d")
        assert (status, heading(page)) == (400, "This is not the answer to the sign-in")
        receiver.tell(None)
        receiver.tell("too late")
        assert [status for status, _ in await browser.ended()] == [200]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/favicon.ico", {}, 404),
        ("GET", "/", {}, 404),
        ("POST", "/callback?code=a&state=b", {}, 404),
        ("HEAD", "/callback?code=a&state=b", {}, 404),
        ("GET", "/callback", {}, 400),
        ("GET", "/callback?code=a&code=b", {}, 400),
        ("GET", "/callback?code=a&state=c", {}, 400),
        ("OPTIONS", "/callback?code=a&state=b", {}, 404),
        ("GET", "/callback/?code=a&state=b", {}, 404),
        ("GET", "/callback?code=a&state=b", {"Host": "evil.example:80"}, 421),
        ("GET", "/callback?code=a&state=b", {"Host": "evil.example"}, 421),
    ],
)
async def test_what_is_no_answer_does_not_count(browser, method, path, headers, status):
    async with receiving(browser) as (receiver, root):
        assert (await browser.get(root + path, method=method, headers=headers))[0] == status
        assert not receiver._answered.done()


async def test_the_page_needs_nothing_from_elsewhere_and_lets_nothing_run(browser):
    async with receiving(browser) as (receiver, root):
        browser.open(f"{root}/callback?error=%3Cscript%3E&state=b")
        await receiver.wait()
        receiver.tell("<script>alert(1)</script>")
        ((_, page, headers),) = await asyncio.gather(*browser.visits)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"src=|href=|@import|url\(", page)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")


async def test_it_listens_on_this_machine_alone(browser):
    async with receiving(browser) as (receiver, _):
        assert {one.getsockname()[0] for one in receiver._server.sockets} == {"127.0.0.1"}


async def test_a_browser_that_waits_is_told_when_the_program_ends(browser):
    async with receiving(browser) as (receiver, root):
        browser.open(f"{root}/callback?code=a&state=b")
        await receiver.wait()
    ((status, page),) = await browser.ended()
    assert status == 400
    assert "ended before it was complete" in page
