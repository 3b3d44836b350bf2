"""The server's side: no request reaches a handler without a good token, unless the handler is public."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from yarl import URL

from ..errors import InsufficientScopeError, MissingTokenError, TokenValidationError, ValidationUnavailableError
from ..hints import NamesChecked
from ..protocol.challenges import bearer_token, challenge, check_quotable, check_scopes
from ..protocol.expected import expect, expect_a, expect_flags, expect_function
from ..protocol.secret import Secret
from ..protocol.uncopied import Uncopied
from ..transport.log import logger
from ..validation.access import AccessToken
from ..validation.validator import TokenValidator
from .routes import JUDGED, TOKEN, Demand, demand_of, is_public, serves_options

VALIDATOR: Final = web.AppKey("VALIDATOR", TokenValidator)
"""The application's validator: `request.config_dict[VALIDATOR]`."""

_REFUSALS: Final[dict[int, type[web.HTTPException]]] = {
    400: web.HTTPBadRequest,
    401: web.HTTPUnauthorized,
    403: web.HTTPForbidden,
    503: web.HTTPServiceUnavailable,
}


class BearerAuth(NamesChecked, Uncopied):
    """A middleware that demands a good bearer token for every route but those marked `@public` (RFC 6750).

    `scopes` are demanded everywhere, besides those of `@require_scopes`. `optional` lets requests without credentials
    through to routes that demand no scopes; a bad token is refused there too. `protect_unmatched` demands a token for
    unknown paths as well. `allow_preflight` lets CORS preflights through to the routes that are registered for OPTIONS and
    demand no scopes; every other preflight gets the same 401, for a path that exists and one that does not, whatever
    `protect_unmatched` and `optional` say of other requests. `realm` and
    `resource_metadata` (RFC 9728) go into the challenges. `on_reject` hears of every refusal; what it raises is logged.
    """

    __middleware_version__ = 1
    _made = "Give aiohttp a middleware that is made: BearerAuth(client.validator)."

    def __init__(
        self,
        validator: TokenValidator,
        *,
        realm: str | None = None,
        resource_metadata: str | None = None,
        scopes: Collection[str] = (),
        optional: bool = False,
        protect_unmatched: bool = True,
        allow_preflight: bool = True,
        on_reject: Callable[[web.Request, TokenValidationError], Awaitable[None]] | None = None,
    ) -> None:
        expect(
            validator,
            "validator",
            "a TokenValidator, such as AsyncTelnyx(audience=...).validator",
            "validate",
            "cached",
        )
        expect_flags(optional=optional, protect_unmatched=protect_unmatched, allow_preflight=allow_preflight)
        if resource_metadata is not None:
            expect_a(resource_metadata, "resource_metadata", "the address of the metadata, a str", str, URL)
        if on_reject is not None:
            expect_function(on_reject, "on_reject", "an async function of a request and an error")
        self._validator = validator
        self._realm = None if realm is None else check_quotable(realm, "realm")
        metadata = None if resource_metadata is None else str(resource_metadata)
        self._metadata = None if metadata is None else check_quotable(metadata, "resource_metadata")
        self._scopes = check_scopes(scopes, "scopes")
        self._optional = optional
        self._protect_unmatched = protect_unmatched
        self._allow_preflight = allow_preflight
        self._on_reject = on_reject

    async def __call__(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """What aiohttp calls for every request."""
        try:
            await self._admit(request)
            return await handler(request)
        except TokenValidationError as error:  # ours, or a handler's by way of `current_token`
            rejected = error
        raise await self._refusal(request, rejected)

    async def expect_handler(self, request: web.Request) -> web.StreamResponse | None:
        """For a route's `expect_handler=`: says `100 Continue` only to callers whose token is good.

        aiohttp asks for the body before any middleware runs, so that without this anyone may upload before the 401.
        """
        try:
            await self._admit(request)
        except TokenValidationError as error:
            rejected = error
        else:
            if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
                raise web.HTTPExpectationFailed
            if request.version == HttpVersion11:
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # the answer itself has not begun
            return None
        refusal = await self._refusal(request, rejected)
        # The announced body is not waited for: whoever holds no token would hold a task of ours instead, for ten seconds.
        refusal.force_close()
        await refusal.prepare(request)
        await refusal.write_eof()
        request.protocol.force_close()
        raise refusal

    def setup(self, app: web.Application) -> None:
        """Install the middleware, `app[VALIDATOR]`, and the audit of the routes at start-up.

        The application has the keys ready before it takes requests. Closing the validator is for whoever made it.
        """
        if self not in app.middlewares:
            app.middlewares.append(self)
        app[VALIDATOR] = self._validator
        app.on_startup.append(self._audit)
        app.on_startup.append(self._warm)

    async def _warm(self, _app: web.Application) -> None:
        await self._validator.warm()

    async def _audit(self, app: web.Application) -> None:
        """Refuse to start with a route that contradicts itself, and say which are open to everyone."""
        opened: set[str] = set()
        preflights: set[str] = set()
        for route in app.router.routes():
            path = route.resource.canonical if route.resource else "?"
            if self._takes_preflights(route, route.handler):
                preflights.add(path)
            for method in _methods(route):
                if not is_public(route.handler, method):
                    continue
                if demand_of(route.handler, method).scopes:
                    raise RuntimeError(f"{path} is both public and in need of scopes: drop one of the two decorators.")
                opened.add(f"{method} {path}")
        if preflights:
            logger.info("Open to CORS preflights: %s.", ", ".join(sorted(preflights)))
        logger.info("Open to everyone: %s.", ", ".join(sorted(opened)) or "nothing")

    async def _admit(self, request: web.Request) -> None:
        """Let the request pass, its token verified; raise a `TokenValidationError` otherwise."""
        request[JUDGED] = True
        access = None if self._is_open(request) else await self._authenticate(request)
        if access is not None:
            request[TOKEN] = access

    def _is_open(self, request: web.Request) -> bool:
        match = request.match_info
        if match.http_exception is not None and not self._protect_unmatched and not _is_preflight(request):
            return True
        if is_public(match.handler, request.method):
            return True
        return _is_preflight(request) and self._takes_preflights(match.route, match.handler)

    def _takes_preflights(self, route: web.AbstractRoute, handler: object) -> bool:
        return (
            self._allow_preflight
            and serves_options(route, handler)
            and not demand_of(handler, hdrs.METH_OPTIONS).scopes
        )

    async def _authenticate(self, request: web.Request) -> AccessToken | None:
        demand = self._demand(request)
        try:
            in_query = bool(request.rel_url.raw_query_string) and "access_token" in request.query
            token = Secret(bearer_token(request.headers.getall(hdrs.AUTHORIZATION, ()), token_in_query=in_query))
        except MissingTokenError:
            hidden = _is_preflight(request) and request.match_info.http_exception is not None
            if self._optional and not demand.scopes and not hidden:
                return None
            raise
        access = await self._validator.validate(token.plain)
        demand.check(access)
        return access

    def _demand(self, request: web.Request) -> Demand:
        demand = demand_of(request.match_info.handler, request.method)
        return Demand(demand.all_of | self._scopes, demand.any_of) if self._scopes else demand

    async def _refusal(self, request: web.Request, error: TokenValidationError) -> web.HTTPException:
        if self._on_reject is not None:
            try:
                await self._on_reject(request, error)
            except Exception:  # noqa: BLE001 - a listener's fault must not turn a refusal into anything else
                logger.exception("on_reject raised")
        # A stranger's preflight is answered alike everywhere: the scopes of a route would show that the route exists.
        hidden = _is_preflight(request) and not isinstance(error, InsufficientScopeError)
        scopes = self._scopes if hidden else self._demand(request).scopes
        said = challenge(error, realm=self._realm, resource_metadata=self._metadata, scopes=scopes)
        headers = {hdrs.CACHE_CONTROL: "no-store"} | ({} if said is None else {hdrs.WWW_AUTHENTICATE: said})
        if isinstance(error, ValidationUnavailableError):
            headers[hdrs.RETRY_AFTER] = str(max(1, math.ceil(error.retry_after)))
        body = ({} if error.error is None else {"error": error.error}) | {"error_description": error.description}
        return _REFUSALS[error.status](headers=headers, text=json.dumps(body), content_type="application/json")


def _is_preflight(request: web.Request) -> bool:
    """Tell if a browser asks beforehand, without credentials, if it may send a request from another origin (CORS)."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def _methods(route: web.AbstractRoute) -> Iterable[str]:
    """The methods that a route serves. Those of a view may differ in what they demand."""
    if route.method != hdrs.METH_ANY:
        return (route.method,)
    return sorted(hdrs.METH_ALL) if isinstance(route.handler, type) else (hdrs.METH_ANY,)
