"""A small service: it demands tokens of its callers, calls Telnyx with tokens of its own, and says how it is.

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
"""What this service calls itself, and what the tokens of its callers must be for."""

CLIENT = web.AppKey("CLIENT", AsyncTelnyx)
SESSION = web.AppKey("SESSION", aiohttp.ClientSession)


async def whoami(request: web.Request) -> web.Response:
    """Any good token will do."""
    token = current_token(request)
    return web.json_response({"client_id": token.client_id, "scopes": sorted(token.scopes)})


@require_scopes("account_management.read")
async def directory(request: web.Request) -> web.Response:
    """Ask Telnyx, with a token of this service's own: the caller's is not for Telnyx."""
    client = request.app[CLIENT]
    try:
        async with request.app[SESSION].get(f"{client.base_url}/oauth/clients") as answer:
            if answer.status != 200:
                raise web.HTTPBadGateway(text="Telnyx does not answer as it should.")
            found = await answer.json()
    except (aiohttp.ClientError, TokenError):
        raise web.HTTPBadGateway(text="Telnyx cannot be asked at the moment.") from None
    return web.json_response({"names": sorted(each["name"] for each in found["data"])})


@public
async def health(request: web.Request) -> web.Response:
    """What a load balancer and a person want to know. It asks nobody."""
    client = request.app[CLIENT]
    token = client.tokens.status()
    keys = client.validator.keys
    assert isinstance(keys, JWKSCache)
    told = {
        "token": {"phase": token.phase, "expires_in": round(token.expires_in), "last_error": token.last_error},
        "keys": {"state": keys.health.state, "count": keys.health.keys, "last_error": keys.health.last_error},
    }
    # Without keys nobody can be let in, and while there is no token nothing can be asked.
    well = keys.health.state != "empty" and token.phase not in ("backoff", "expired", "rejected", "closed")
    return web.json_response({"ok": well, **told}, status=200 if well else 503)


def make_app(client: AsyncTelnyx) -> web.Application:
    """The service, for callers whose tokens `client.validator` accepts. Closing the client is for whoever made it."""

    async def session(app: web.Application) -> AsyncIterator[None]:
        # Over plain http only to this machine: that is where the tests' local Telnyx is.
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
    """The application as it runs in earnest."""
    client = AsyncTelnyx(audience=RESOURCE)
    app = make_app(client)
    app.on_cleanup.append(lambda _app: client.close())
    return app


if __name__ == "__main__":
    web.run_app(main())
