"""The peers: how each does the same work, and which of them are not here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Any

Call = Callable[[], Awaitable[object]]
NAMES = ("aiohttp", "telnyx", "httpx", "requests", "authlib", "google-auth", "azure-core", "PyJWT", "joserfc")


def has(name: str) -> bool:
    """Whether a distribution is installed."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def versions() -> str:
    """What is compared with what."""
    return ", ".join(f"{name} {version(name)}" for name in NAMES if has(name))


def missing() -> list[str]:
    """One line for each peer that is not installed."""
    return [f"**Missing: {name} is not installed**, so nothing is said of it." for name in NAMES if not has(name)]


async def async_calls(stack: AsyncExitStack, base_url: str) -> dict[str, tuple[Call, Call]]:
    """Each peer's way to get one object and a list of 20."""
    found: dict[str, tuple[Call, Call]] = {}
    one, many = f"{base_url}/oauth/clients/1", f"{base_url}/oauth/clients"
    if has("httpx"):
        import httpx

        client = await stack.enter_async_context(httpx.AsyncClient(headers={"Authorization": "Bearer key"}))
        found["httpx"] = _gets(client, one, many)
    if has("authlib"):
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        token = {"access_token": "key", "token_type": "Bearer", "expires_in": 3600}
        found["authlib"] = _gets(await stack.enter_async_context(AsyncOAuth2Client(token=token)), one, many)
    if has("telnyx"):
        from telnyx import AsyncTelnyx, DefaultAioHttpClient

        for name, backend in (("telnyx (httpx)", None), ("telnyx (aiohttp)", DefaultAioHttpClient)):
            try:
                http_client = backend() if backend else None
            except RuntimeError:
                continue  # its aiohttp backend is an extra
            theirs = AsyncTelnyx(api_key="key", base_url=base_url, http_client=http_client)
            resource = (await stack.enter_async_context(theirs)).oauth_clients
            found[name] = (_retrieves(resource), _lists(resource))
    return found


def _gets(client: Any, one: str, many: str) -> tuple[Call, Call]:
    async def get(url: str) -> object:
        return (await client.get(url)).json()

    return lambda: get(one), lambda: get(many)


def _retrieves(resource: Any) -> Call:
    return lambda: resource.retrieve("1")


def _lists(resource: Any) -> Call:
    async def listed() -> object:
        return await resource.list()

    return listed


def blocking_calls(stack: ExitStack, base_url: str) -> dict[str, Callable[[], object]]:
    """Each peer's way to get one object, blocking."""
    found: dict[str, Callable[[], object]] = {}
    one = f"{base_url}/oauth/clients/1"
    if has("httpx"):
        import httpx

        httpx_client = stack.enter_context(httpx.Client(headers={"Authorization": "Bearer key"}))
        found["httpx"] = lambda: httpx_client.get(one).json()
    if has("requests"):
        import requests

        session = stack.enter_context(requests.Session())
        session.headers["Authorization"] = "Bearer key"
        found["requests"] = lambda: session.get(one).json()
    if has("telnyx"):
        from telnyx import Telnyx

        theirs = stack.enter_context(Telnyx(api_key="key", base_url=base_url)).oauth_clients
        found["telnyx (httpx)"] = lambda: theirs.retrieve("1")
    return found


def async_telnyx(base_url: str, **identity: str) -> Any:
    """The official client over httpx. It asks api.telnyx.com for tokens whatever its base URL is: here it asks the server."""
    import httpx
    from telnyx import AsyncTelnyx, DefaultAsyncHttpxClient

    here = httpx.URL(base_url)

    class Redirected(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.url = request.url.copy_with(scheme=here.scheme, host=here.host, port=here.port)
            return await super().handle_async_request(request)

    http_client = DefaultAsyncHttpxClient(mounts={"https://api.telnyx.com": Redirected()})
    return AsyncTelnyx(base_url=base_url, http_client=http_client, **identity)
