"""What does `BearerAuth` add to an aiohttp handler when the token is known already? The network is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from joserfc.jwk import RSAKey

from telnyx_oauth.aiohttp import BearerAuth, require_scopes
from telnyx_oauth.protocol.jwt import TokenPolicy
from telnyx_oauth.validation.keys import StaticKeys
from telnyx_oauth.validation.validator import TokenValidator

from .measure import in_turns_async, microseconds
from .report import Table
from .verification import AUDIENCE, ISSUER, made

PER, ROUNDS = 500, 15


async def handler(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


@web.middleware
async def idle(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    return await handler(request)


def application(auth: BearerAuth | None, *middlewares: object, scoped: bool = False) -> web.Application:
    app = web.Application(middlewares=middlewares)
    app.router.add_get("/", require_scopes("wireless.write")(handler) if scoped else handler)
    if auth is not None:
        auth.setup(app)
    app.freeze()
    return app


def serving(app: web.Application, token: str) -> Callable[[], Awaitable[object]]:
    # One request for all rounds: making one costs many times what is measured here.
    request = make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {token}"}, app=app)

    async def batch() -> None:
        for _ in range(PER):
            response = await app._handle(request)
            assert response.status == 200

    return batch


async def measured() -> Table:
    """The table."""
    table = Table("The server middleware on a known token", ("side", "CPU per request", "added"))
    key = RSAKey.generate_key(2048, {"kid": "k"})
    policy = TokenPolicy.rfc9068(issuer=ISSUER, audience=AUDIENCE)
    auth = BearerAuth(TokenValidator(policy, StaticKeys({"keys": [key.as_dict(private=False)]})))
    token = made(key, "RS256")
    apps = {
        "bare handler": application(None),
        "a middleware that does nothing": application(None, idle),
        "BearerAuth": application(auth),
        "BearerAuth and require_scopes": application(auth, scoped=True),
    }
    results = await in_turns_async({name: serving(app, token) for name, app in apps.items()}, rounds=ROUNDS, per=PER)
    plain = results["bare handler"].cpu
    for name, side in results.items():
        added = median(ours - theirs for ours, theirs in zip(side.cpu, plain, strict=True))
        table.add(name, microseconds(side.cpu), f"{added * 1e6:.1f} µs")
    return table


def run() -> list[Table]:
    """The tables."""
    return [asyncio.run(measured())]
