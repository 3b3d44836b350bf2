"""A real Chromium, the sandbox that it visits, and an application for people to sign in to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import async_playwright

from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.tokens.authorization_code import AuthorizationFlow

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "images"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep-screenshots", action="store_true", help="Renew the pictures in docs/tutorial/images.")


@pytest.fixture
async def browser(tmp_path):
    """A Chromium with a profile of its own. What it logs as an error, and each host that it asks, is written down."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: on Debian and Ubuntu, `apt-get install chromium`")
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": 640, "height": 720},
        )
        context.errors, context.hosts = [], set()
        context.on("console", lambda message: context.errors.append(message.text) if message.type == "error" else None)
        context.on("request", lambda request: context.hosts.add(request.url.split("/")[2].partition(":")[0]))
        yield context
        await context.close()


@pytest.fixture
async def page(browser):
    return browser.pages[0]


@pytest.fixture
def keep(request, page) -> Callable:
    """Keeps a picture of the page for the tutorial, when asked to."""

    async def kept(name: str) -> None:
        if request.config.getoption("keep_screenshots"):
            IMAGES.mkdir(parents=True, exist_ok=True)
            await page.screenshot(path=IMAGES / f"{name}.png", full_page=True)

    return kept


@pytest.fixture
async def telnyx():
    async with Sandbox() as telnyx:
        yield telnyx


@pytest.fixture
async def flow(telnyx):
    """An application that has just registered itself."""
    async with AuthorizationFlow(base_url=telnyx.base_url) as flow:
        await flow.register(
            redirect_uris=["http://127.0.0.1/callback"],
            client_name="Call Centre Reports",
            scopes="numbers.read messaging.write voice.write",
        )
        links = {"policy_uri": "https://reports.example/privacy", "tos_uri": "https://reports.example/terms"}
        async with telnyx.async_client() as operator:
            await operator.oauth_clients.update(flow.client_id, **links)
        yield flow


@pytest.fixture
async def serve():
    """Serves an application on any port of this machine; gives the port."""
    runners = []

    async def served(app: web.Application) -> int:
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return runners[-1].addresses[0][1]

    yield served
    for runner in runners:
        await runner.cleanup()
