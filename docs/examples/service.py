"""A small service: it requires a token from its callers, calls Telnyx with its own tokens, and has a health endpoint.

Run it with TELNYX_CLIENT_ID and TELNYX_CLIENT_SECRET in the environment: `python service.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from telnyx_oauth import AsyncTelnyx, JWKSCache, TokenError
from telnyx_oauth.aiohttp import (
    BearerAuth,
    BearerTokenMiddleware,
    current_token,
    protected_resource,
    public,
    require_scopes,
    resource_metadata_url,
)

RESOURCE = "https://calls.example.com"
"""The identifier of this service: the audience that the tokens of its callers must name."""

CLIENT = web.AppKey("CLIENT", AsyncTelnyx)
SESSION = web.AppKey("SESSION", aiohttp.ClientSession)


async def whoami(request: web.Request) -> web.Response:
    """Show the caller's token. Every valid token is accepted."""
    token = current_token(request)
    return web.json_response({"client_id": token.client_id, "scopes": sorted(token.scopes)})


@require_scopes("account_management.read")
async def directory(request: web.Request) -> web.Response:
    """List the OAuth clients, with the service's own token: the caller's token is not for Telnyx."""
    client = request.app[CLIENT]
    try:
        async with request.app[SESSION].get(f"{client.base_url}/oauth/clients") as answer:
            if answer.status != 200:
                raise web.HTTPBadGateway(text="Telnyx gave an unexpected answer.")
            body = await answer.json()
    except (aiohttp.ClientError, TokenError):
        raise web.HTTPBadGateway(text="Telnyx cannot be reached at the moment.") from None
    return web.json_response({"names": sorted(each["name"] for each in body["data"])})


@public
async def health(request: web.Request) -> web.Response:
    """The state of the token and of the keys, for load balancers and people. Sends nothing."""
    client = request.app[CLIENT]
    token = client.tokens.status()
    keys = client.validator.keys
    assert isinstance(keys, JWKSCache)
    state = {
        "token": {"phase": token.phase, "expires_in": round(token.expires_in), "last_error": token.last_error},
        "keys": {"state": keys.health.state, "count": keys.health.keys, "last_error": keys.health.last_error},
    }
    # Without keys no caller can be admitted, and without a token Telnyx cannot be called.
    well = keys.health.state != "empty" and token.phase not in ("backoff", "expired", "rejected", "closed")
    return web.json_response({"ok": well, **state}, status=200 if well else 503)


def make_app(client: AsyncTelnyx) -> web.Application:
    """The service, for callers whose tokens `client.validator` accepts. The caller of this function closes the client."""

    async def session(app: web.Application) -> AsyncIterator[None]:
        # Plain http is allowed to this machine alone, for the local Telnyx of the tests.
        origin = client.base_url.removesuffix("/v2")
        attach = BearerTokenMiddleware(client.tokens, origins=[origin], allow_insecure_loopback=True)
        async with aiohttp.ClientSession(middlewares=(attach,)) as app[SESSION]:
            yield

    app = web.Application()
    app[CLIENT] = client
    app.cleanup_ctx.append(session)
    BearerAuth(client.validator, resource_metadata=resource_metadata_url(RESOURCE)).setup(app)
    app.add_routes(
        [
            web.get("/whoami", whoami),
            web.get("/directory", directory),
            web.get("/health", health),
            protected_resource(RESOURCE, scopes_supported=["account_management.read"]),
        ]
    )
    return app


async def main() -> web.Application:
    """The application as it runs in production."""
    client = AsyncTelnyx(audience=RESOURCE)
    app = make_app(client)
    app.on_cleanup.append(lambda _app: client.close())
    return app


if __name__ == "__main__":
    web.run_app(main())
