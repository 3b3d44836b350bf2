"""What a person sees and does between "sign in" and being signed in."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from telnyx_oauth.errors import AccessDeniedError, AuthorizationResponseError
from telnyx_oauth.tokens.loopback import sign_in

SCOPES = "numbers.read messaging.write voice.write"


@pytest.fixture
def signing_in(flow, page):
    """Begins a sign-in as a program in a terminal does; the page is at the consent page when this returns."""

    async def begin(scopes: str = SCOPES) -> asyncio.Task:
        shown: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def show(url: str) -> None:
            shown.set_result(url)

        task = asyncio.create_task(sign_in(flow, show=show, scopes=scopes, timeout=60))
        await page.goto(await shown)
        return task

    return begin


def showing(text: str):
    async def show(request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    return show


@pytest.fixture
def consent_page(flow, page, serve):
    """Brings the page to the consent page of an application that only says that the person is back."""

    async def visit() -> None:
        app = web.Application()
        app.add_routes([web.get("/callback", showing("back at the application"))])
        redirect_uri = f"http://127.0.0.1:{await serve(app)}/callback"
        await page.goto((await flow.begin_authorization(redirect_uri=redirect_uri, scopes=SCOPES)).url)

    return visit


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


async def heading(page) -> str:
    return await page.get_by_role("heading", level=1).inner_text()


async def test_allowing_signs_the_person_in(signing_in, page, browser, keep, telnyx):
    waiting = await signing_in()
    assert await page.title() == "Allow Call Centre Reports?"
    assert await heading(page) == "Allow Call Centre Reports to use your Telnyx account?"
    asked = await page.get_by_role("list").inner_text()
    assert "See numbers in your Telnyx account." in asked
    assert "See and change voice in your Telnyx account." in asked
    await keep("consent")
    await button(page, "Allow").click()
    manager = await waiting
    assert (await manager.get()).scopes == frozenset(SCOPES.split())
    assert await heading(page) == "You are signed in"
    await keep("signed-in")
    assert len(telnyx.state.grants) == 2  # one is the sandbox's own example
    assert browser.errors == []
    assert browser.hosts == {"127.0.0.1"}


async def test_denying_tells_the_program_and_grants_nothing(signing_in, page, telnyx):
    waiting = await signing_in()
    await button(page, "Deny").click()
    with pytest.raises(AccessDeniedError):
        await waiting
    assert await heading(page) == "Signing in did not work"
    assert "The person denied the request" in await page.get_by_role("status").inner_text()
    assert len(telnyx.state.grants) == 1


async def test_a_request_that_has_expired_is_explained(consent_page, page, telnyx, keep):
    await consent_page()
    telnyx.clock.advance(601)
    await button(page, "Allow").click()
    assert await heading(page) == "This request cannot go on"
    assert "expired" in await page.get_by_role("alert").inner_text()
    await keep("expired")
    await page.goto(page.url)
    assert await heading(page) == "This request cannot go on"
    assert len(telnyx.state.grants) == 1


async def test_going_back_and_allowing_again_grants_nothing_more(signing_in, page, telnyx):
    waiting = await signing_in()
    consent = page.url
    await button(page, "Allow").click()
    await waiting
    await page.go_back()
    assert await heading(page) == "This request cannot go on"  # the page is not kept by the browser either
    await page.goto(consent)
    assert "already answered" in await page.get_by_role("alert").inner_text()
    assert len(telnyx.state.grants) == 2


async def test_a_form_that_is_sent_twice_counts_once(consent_page, page, browser, telnyx):
    await consent_page()
    twin = await browser.new_page()
    await twin.goto(page.url)
    for tab in (page, twin):
        await button(tab, "Allow").click()
    assert "back at the application" in await page.inner_text("body")
    assert "already answered" in await twin.get_by_role("alert").inner_text()
    assert len(telnyx.state.grants) == 2


async def test_a_scope_that_the_application_may_not_have_leads_straight_back(signing_in, page):
    waiting = await signing_in("billing.read")
    with pytest.raises(AuthorizationResponseError, match="may not ask for this scope"):
        await waiting
    assert await heading(page) == "Signing in did not work"


async def test_a_narrow_screen_shows_everything_without_scrolling_sideways(consent_page, page, telnyx, keep):
    await page.set_viewport_size({"width": 280, "height": 600})
    await consent_page()
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 280
    for name in ("Allow", "Deny"):
        box = await button(page, name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 280
        assert box["height"] >= 44  # what a thumb needs
    await page.emulate_media(color_scheme="dark")
    await keep("consent-narrow-dark")


async def test_the_keyboard_alone_will_do(signing_in, page):
    waiting = await signing_in()
    reached = []
    for _ in range(4):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.innerText"))
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "whoever uses the keyboard sees where they are"
    assert reached == ["Privacy policy", "Terms of service", "Allow", "Deny"]
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    assert await (await waiting).get()


CONTRAST = """() => {
  const light = (text) => {
    const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const [r, g, b] = text.match(/[0-9.]+/g).map((v) => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
  };
  return [...document.querySelectorAll("h1, h2, p, strong, span, a, button")].map((element) => {
    const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    return [element.innerText, (pair[0] + .05) / (pair[1] + .05)];
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_can_be_read_in_the_light_and_in_the_dark(consent_page, page, scheme):
    await page.emulate_media(color_scheme=scheme)
    await consent_page()
    background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", background)[0]) < 128) is (scheme == "dark")
    faint = [(text, round(ratio, 1)) for text, ratio in await page.evaluate(CONTRAST) if ratio < 4.5]
    assert faint == []  # WCAG 2.2, 1.4.3


async def test_what_an_application_calls_itself_is_only_text(consent_page, page, flow, telnyx, browser):
    name = '<img src=x onerror="document.title=1">\u05d0\u05d1'
    async with telnyx.async_client() as client:
        await client.oauth_clients.update(flow.client_id, name=name)
    await consent_page()
    assert name in await page.inner_text("h1")
    assert await page.locator("img").count() == 0
    assert browser.errors == []


async def test_an_application_may_send_the_browser_on_to_another_host(flow, page, serve):
    async def callback(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"http://localhost:{request.url.port}/home")

    app = web.Application()
    app.add_routes([web.get("/callback", callback), web.get("/home", showing("at home"))])
    port = await serve(app)
    await page.goto((await flow.begin_authorization(redirect_uri=f"http://127.0.0.1:{port}/callback")).url)
    await button(page, "Allow").click()
    await page.wait_for_url(f"http://localhost:{port}/home")


async def test_another_sites_form_allows_nothing(consent_page, page, serve, telnyx):
    await consent_page()
    fields = await page.evaluate("[...document.querySelectorAll('input')].map((i) => [i.name, i.value])")
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in [*fields, ("decision", "allow")])
    form = f'<form method="post" action="{telnyx.root_url}/consent">{inputs}<button>Win a prize</button></form>'
    app = web.Application()
    app.add_routes([web.get("/", showing(form))])
    await page.goto(f"http://localhost:{await serve(app)}/")
    await button(page, "Win a prize").click()
    assert "does not come from this page" in await page.get_by_role("alert").inner_text()
    assert len(telnyx.state.grants) == 1


async def test_another_site_cannot_put_the_page_into_a_frame(consent_page, page, serve, browser):
    await consent_page()
    app = web.Application()
    app.add_routes([web.get("/", showing(f'<iframe src="{page.url}"></iframe>'))])
    await page.goto(f"http://localhost:{await serve(app)}/")
    assert any("frame" in error for error in browser.errors)
    framed = [frame for frame in page.frames if frame.parent_frame]
    assert all(urlsplit(frame.url).path != "/consent" for frame in framed)
