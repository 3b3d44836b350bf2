"""How each peer holds a token: a call that has one at its end, from a token endpoint that takes its time and counts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from . import peers

Call = Callable[[], Awaitable[object]]


class Endpoint:
    """A token endpoint in this process."""

    def __init__(self, delay: float) -> None:
        self.calls = 0
        self.answer = {"access_token": "token-" + "x" * 40, "token_type": "Bearer", "expires_in": 3600}
        self._delay = delay

    async def token(self) -> dict[str, Any]:
        """The answer to one token request."""
        self.calls += 1
        await asyncio.sleep(self._delay)
        return self.answer


def holders() -> dict[str, Callable[[Endpoint], Call]]:
    """By name: what makes a client without a token, and gives its way to one."""
    known = {
        "azure-core, its async policy": ("azure-core", _azure),
        "authlib, `ensure_active_token`": ("authlib", _authlib),
        "google-auth, its async credentials": ("google-auth", _google),
        "telnyx, its auth flow": ("telnyx", _telnyx),
    }
    return {name: make for name, (package, make) in known.items() if peers.has(package)}


def _azure(endpoint: Endpoint) -> Call:
    from azure.core.credentials import AccessToken
    from azure.core.pipeline import PipelineContext, PipelineRequest
    from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy
    from azure.core.rest import HttpRequest

    class Credential:
        async def get_token(self, *_: str, **__: object) -> AccessToken:
            told = await endpoint.token()
            return AccessToken(told["access_token"], int(time.time()) + told["expires_in"])

    credential: Any = Credential()
    policy: Any = AsyncBearerTokenCredentialPolicy(credential, "scope")
    request: Any = PipelineRequest(HttpRequest("GET", "https://api.example.com"), PipelineContext(None))
    return lambda: policy.on_request(request)


def _authlib(endpoint: Endpoint) -> Call:
    import httpx
    from authlib.integrations.httpx_client import AsyncOAuth2Client

    async def answered(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=await endpoint.token())

    expired = {"access_token": "old", "token_type": "Bearer", "expires_at": 1}
    client: Any = AsyncOAuth2Client(
        "id",
        "secret",
        token=expired,
        token_endpoint="https://auth.example.com/token",
        grant_type="client_credentials",
        transport=httpx.MockTransport(answered),
    )
    return lambda: client.ensure_active_token(client.token)


def _google(endpoint: Endpoint) -> Call:
    from google.oauth2._credentials_async import Credentials

    class Answer:
        status = 200

        def __init__(self, body: bytes) -> None:
            self.headers: dict[str, str] = {}
            self._body = body

        async def content(self) -> bytes:
            return self._body

    async def send(**_: object) -> Answer:
        return Answer(json.dumps(await endpoint.token()).encode())

    credentials: Any = Credentials(
        None,
        refresh_token="refresh",
        token_uri="https://auth.example.com/token",
        client_id="id",
        client_secret="secret",
    )
    return lambda: credentials.before_request(send, "GET", "https://api.example.com", {})


def _telnyx(endpoint: Endpoint) -> Call:
    import httpx
    from telnyx import AsyncTelnyx

    # It keeps tokens by client id for the whole process, so every client has an id of its own.
    client: Any = AsyncTelnyx(client_id=f"id-{uuid4()}", client_secret="secret")
    auth = client.custom_auth
    request = httpx.Request("GET", "https://api.example.com")

    async def call() -> object:
        # As httpx drives it, but for the request itself.
        flow = auth.async_auth_flow(request)
        asked = await anext(flow)
        while asked is not request:
            asked = await flow.asend(httpx.Response(200, json=await endpoint.token(), request=asked))
        await flow.aclose()
        return request

    return call
