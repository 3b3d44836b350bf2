from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from telnyx_oauth.errors import (
    AccessDeniedError,
    AuthorizationCodeLostError,
    InvalidGrantError,
    LoopbackPortError,
    SignInTimeoutError,
    StateMismatchError,
)
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.tokens.flow import AuthorizationFlow
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
        (lambda telnyx, url: re.sub("state=[^&]+", "state=other", telnyx.approve(url)), StateMismatchError, "another"),
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


# --- the receiver


@asynccontextmanager
async def receiving(browser):
    """A receiver and what a browser at its address would ask."""
    async with LoopbackReceiver() as receiver:
        yield receiver, receiver.redirect_uri.removesuffix("/callback")


async def test_one_request_counts(browser):
    async with receiving(browser) as (receiver, root):
        browser.open(f"{root}/callback?code=a&state=b")
        assert (await receiver.wait()).reveal() == f"{root}/callback?code=a&state=b"
        status, page, _ = await browser.get(f"{root}/callback?code=c&state=d")
        assert (status, heading(page)) == (409, "This sign-in was answered already")
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
