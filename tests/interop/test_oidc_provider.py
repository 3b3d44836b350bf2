"""Our flow against a peer's server: one that names itself in its answers, rotates refresh tokens and registers anyone."""

from __future__ import annotations

import re

import aiohttp
import pytest

from telnyx_oauth import AuthorizationFlow, HttpTransport, IssuerMismatchError, discover

REDIRECT = "https://app.example/callback"
SCOPES = "openid offline_access api:read"


@pytest.fixture
async def issuer(node):
    async with node("server.mjs") as server:
        yield (await server.stdout.readline()).decode().strip()


async def person(url: str) -> str:
    """Signs in and consents as a person does, by form, until the server sends them back to the application."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        form = None
        while not url.startswith(REDIRECT):
            method = "GET" if form is None else "POST"
            async with session.request(method, url, data=form, allow_redirects=False) as answer:
                page = await answer.text()
                form = None
                if "Location" in answer.headers:
                    url = str(answer.url.join(aiohttp.client.URL(answer.headers["Location"])))
                    continue
            assert answer.status == 200, page
            form = {"prompt": re.search(r'name="prompt" value="(\w+)"', page)[1], "login": "anna", "password": "any"}
            url = re.search(r'action="([^"]+)"', page)[1]
    return url


async def test_a_person_signs_in_at_somebody_elses_server_and_stays_signed_in(issuer):
    transport = HttpTransport()
    server = await discover(transport, issuer)
    assert server.issuer_in_response
    async with AuthorizationFlow(server=server, send=transport) as flow:
        await flow.register(redirect_uris=[REDIRECT], client_name="Tool", scopes=SCOPES)
        pending = await flow.begin_authorization(redirect_uri=REDIRECT, scopes=SCOPES, extra={"prompt": "consent"})
        callback = await person(pending.url)
        with pytest.raises(IssuerMismatchError):
            await AuthorizationFlow(client_id=flow.client_id, server=server, send=transport).complete_authorization(
                re.sub("&iss=[^&]*", "", callback), pending=pending
            )
        manager = await flow.complete_authorization(callback, pending=pending)
        token = await manager.get()
        renewed = await manager.replace(token)
        fewer = await manager.get(scopes="api:read")  # with the refresh token that the renewal brought
        assert len({token.access_token, renewed.access_token, fewer.access_token}) == 3
        assert "offline_access" in renewed.scopes
        assert fewer.scopes == {"api:read"}
        assert 0 < fewer.remaining() <= 60
    await transport.aclose()
