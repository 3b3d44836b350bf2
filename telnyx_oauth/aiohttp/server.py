"""The server middleware, the scopes that routes demand, and the metadata route (RFC 6750, RFC 9728)."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import wraps
from inspect import getattr_static
from typing import Any, Final, ParamSpec, TypeVar

import attrs
from aiohttp import HttpVersion11, hdrs, web
from yarl import URL

from ..errors import InsufficientScopeError, MissingTokenError, TokenValidationError, ValidationUnavailableError
from ..hints import NamesChecked
from ..protocol.arguments import expect, expect_a, expect_flags, expect_function
from ..protocol.auth_headers import bearer_token, challenge, check_quotable, check_scopes, metadata_path
from ..protocol.secret import Secret, Uncopied
from ..transport.log import logger
from ..validation.validator import AccessToken, TokenValidator

_HEADERS: Final = {"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}


def protected_resource(
    resource: str,
    *,
    authorization_servers: Iterable[str] = ("https://api.telnyx.com",),
    scopes_supported: Iterable[str] = (),
    resource_name: str | None = None,
    resource_documentation: str | None = None,
) -> web.RouteDef:
    """A public route that serves the metadata of `resource`, this service's identifier, an https address.

    Add it with `app.add_routes([protected_resource(...)])`. Its path is that of RFC 9728 section 3.1: the well-known segment,
    then the identifier's path. `resource_metadata_url` gives the address for `BearerAuth`.
    """
    document: dict[str, object] = {
        "resource": resource,
        "authorization_servers": list(authorization_servers),
        "bearer_methods_supported": ["header"],
    }
    scopes = list(scopes_supported)
    if scopes:
        document["scopes_supported"] = scopes
    if resource_name is not None:
        document["resource_name"] = resource_name
    if resource_documentation is not None:
        document["resource_documentation"] = resource_documentation
    body = json.dumps(document).encode()

    @public
    async def serve(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json", headers=_HEADERS)

    return web.get(metadata_path(resource), serve)


def resource_metadata_url(resource: str) -> str:
    """The address of the metadata of `resource`, for `BearerAuth(resource_metadata=...)`."""
    scheme, _, rest = resource.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}{metadata_path(resource)}"


TOKEN: Final = web.RequestKey("TOKEN", AccessToken)
"""The request's verified token: `request[TOKEN]`."""

JUDGED: Final = web.RequestKey("JUDGED", bool)
"""Set on each request that `BearerAuth` has checked."""

_ABSENT: Final = (
    "BearerAuth is not installed in this application, or comes after what asks for the token, so {what}. "
    "Install it: BearerAuth(client.validator).setup(app)."
)
_PUBLIC: Final = "__telnyx_public__"
_SCOPES: Final = "__telnyx_scopes__"
_P = ParamSpec("_P")
_R = TypeVar("_R")
_H = TypeVar("_H", bound=Callable[..., Any])


@attrs.frozen
class Demand:
    """The scopes that a route demands: every one of `all_of`, and one of `any_of` unless it is empty."""

    all_of: frozenset[str] = frozenset()
    any_of: frozenset[str] = frozenset()

    @property
    def scopes(self) -> frozenset[str]:
        """Every scope in the demand, for the challenge."""
        return self.all_of | self.any_of

    def check(self, access: AccessToken) -> None:
        """Raise `InsufficientScopeError` unless the token carries them."""
        if not access.scopes >= self.all_of or (self.any_of and access.scopes.isdisjoint(self.any_of)):
            raise InsufficientScopeError(self.scopes)


def public(handler: _H) -> _H:
    """Let everyone call this handler, with or without a token. `BearerAuth` lists such routes at start-up.

    On a `web.View` it covers the methods that the class has. A subclass inherits the mark with each of these methods; a method
    that it overrides or adds must be marked again.
    """
    setattr(handler, _PUBLIC, True)
    return handler


def require_scopes(
    *all_of: str, any_of: Collection[str] = ()
) -> Callable[[Callable[_P, Awaitable[_R]]], Callable[_P, Awaitable[_R]]]:
    """Demand from the callers of this handler every scope in `all_of`, and at least one of `any_of` unless it is empty.

    For functions, and for methods of a `web.View`. Without `BearerAuth` in the application the handler answers 500 to every
    request, so that a forgotten middleware does not open it. Raises `ValueError` without scopes.
    """
    if not all(isinstance(scope, str) for scope in all_of):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller is type-checked
        raise TypeError('require_scopes takes scopes one by one, and is called: @require_scopes("admin", "messaging")')
    demand = Demand(check_scopes(all_of, "all_of"), check_scopes(any_of, "any_of"))
    if not demand.scopes:
        raise ValueError("require_scopes needs at least one scope; every route needs a token anyway.")

    def decorate(handler: Callable[_P, Awaitable[_R]]) -> Callable[_P, Awaitable[_R]]:
        @wraps(handler)
        async def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            access = _request(args).get(TOKEN)
            if access is None:
                logger.error("%s", _ABSENT.format(what="no caller can be let in where scopes are required"))
                raise web.HTTPInternalServerError(text='{"error": "server_error"}', content_type="application/json")
            demand.check(access)
            return await handler(*args, **kwargs)

        setattr(checked, _SCOPES, demand)
        return checked

    return decorate


class _NotInstalledError(MissingTokenError, RuntimeError):
    """The application has no `BearerAuth`, or it comes later."""

    def __init__(self) -> None:
        super().__init__()
        self.args = (_ABSENT.format(what="there is no verified token"),)
        self.message = self.args[0]


def current_token(request: web.Request) -> AccessToken:
    """The request's verified token. Raises `MissingTokenError`, which `BearerAuth` answers with 401, where there is none.

    Without `BearerAuth` in the application, the error is a `RuntimeError` as well, and says how to install it.
    """
    access: AccessToken | None = request.get(TOKEN)
    if access is None:
        raise MissingTokenError if JUDGED in request else _NotInstalledError
    return access


def is_public(handler: object, method: str) -> bool:
    """Return whether the handler, or the view's method for `method`, is marked as public."""
    if not isinstance(handler, type):
        return bool(getattr(handler, _PUBLIC, False))
    if _PUBLIC in vars(handler) or getattr(_method(handler, method), _PUBLIC, False):
        return True
    # A base class's mark covers its own methods. Through `getattr`, a method that a subclass overrides would seem marked too.
    name = method.lower()
    serving = getattr_static(handler, name, None)
    return serving is not None and any(
        _PUBLIC in vars(base) and getattr_static(base, name, None) is serving for base in handler.__mro__
    )


def serves_options(route: web.AbstractRoute, handler: object) -> bool:
    """Return whether a route is for OPTIONS requests: registered for that method, or a view with an `options` method.

    A route for any method (`*`) is not: its handler answers OPTIONS as it answers everything else.
    """
    if isinstance(handler, type):
        return route.method in (hdrs.METH_OPTIONS, hdrs.METH_ANY) and callable(getattr(handler, "options", None))
    return route.method == hdrs.METH_OPTIONS


def demand_of(handler: object, method: str) -> Demand:
    """The demand of the handler, or of the view's method for `method`."""
    demand = getattr(_method(handler, method), _SCOPES, None)
    return demand if isinstance(demand, Demand) else NO_DEMAND


NO_DEMAND: Final = Demand()


def _method(handler: object, method: str) -> object:
    # The only classes that aiohttp accepts as handlers are views.
    return getattr(handler, method.lower(), None) if isinstance(handler, type) else handler


def _request(args: tuple[object, ...]) -> web.Request:
    """The request among a handler's arguments: its own, a view's, or the one after `self`."""
    for arg in args:
        if isinstance(arg, web.Request):
            return arg
        if isinstance(arg, web.View):
            return arg.request
    raise TypeError("require_scopes is for aiohttp handlers: none of the arguments is a request.")


VALIDATOR: Final = web.AppKey("VALIDATOR", TokenValidator)
"""The application's validator: `request.config_dict[VALIDATOR]`."""

_REFUSALS: Final[dict[int, type[web.HTTPException]]] = {
    400: web.HTTPBadRequest,
    401: web.HTTPUnauthorized,
    403: web.HTTPForbidden,
    503: web.HTTPServiceUnavailable,
}


class BearerAuth(NamesChecked, Uncopied):
    """A middleware that demands a valid bearer token for every route but those marked `@public` (RFC 6750).

    `scopes` are demanded everywhere, besides those of `@require_scopes`. `optional` lets requests without credentials
    through to routes that demand no scopes; an invalid token is refused there too. `protect_unmatched` demands a token for
    unknown paths as well. `allow_preflight` lets CORS preflights through to the routes that are registered for OPTIONS and
    demand no scopes; every other preflight gets the same 401, for a path that exists and one that does not, whatever
    `protect_unmatched` and `optional` say of other requests. `realm` and
    `resource_metadata` (RFC 9728) go into the challenges. `on_reject` is called for every refusal; its errors are logged.
    """

    __middleware_version__ = 1
    _usage = "Give aiohttp a middleware that is made: BearerAuth(client.validator)."

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
        """Serve a request, for aiohttp."""
        try:
            await self._admit(request)
            return await handler(request)
        except TokenValidationError as error:  # from `_admit`, or from a handler by way of `current_token`
            rejected = error
        raise await self._refusal(request, rejected)

    async def expect_handler(self, request: web.Request) -> web.StreamResponse | None:
        """For a route's `expect_handler=`: send `100 Continue` only to callers with a valid token.

        aiohttp asks for the body before any middleware runs, so without this anyone may upload before the 401.
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
                request.writer.output_size = 0  # aiohttp must not count these bytes as the response
            return None
        refusal = await self._refusal(request, rejected)
        # Close without waiting for the announced body: a caller without a token could occupy a task for ten seconds.
        refusal.force_close()
        await refusal.prepare(request)
        await refusal.write_eof()
        request.protocol.force_close()
        raise refusal

    def setup(self, app: web.Application) -> None:
        """Install the middleware, `app[VALIDATOR]`, and the audit of the routes at start-up.

        The application loads the keys before it takes requests. Closing the validator stays the task of its owner.
        """
        if self not in app.middlewares:
            app.middlewares.append(self)
        app[VALIDATOR] = self._validator
        app.on_startup.append(self._audit)
        app.on_startup.append(self._warm)

    async def _warm(self, _app: web.Application) -> None:
        await self._validator.warm()

    async def _audit(self, app: web.Application) -> None:
        """Refuse to start with a route that is public and demands scopes, and log those that are open to everyone."""
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
            except Exception:  # noqa: BLE001 - an error in a callback must not change the refusal
                logger.exception("on_reject raised")
        # Without a token, every preflight gets the same answer: the scopes of a route would show that the route exists.
        hidden = _is_preflight(request) and not isinstance(error, InsufficientScopeError)
        scopes = self._scopes if hidden else self._demand(request).scopes
        value = challenge(error, realm=self._realm, resource_metadata=self._metadata, scopes=scopes)
        headers = {hdrs.CACHE_CONTROL: "no-store"} | ({} if value is None else {hdrs.WWW_AUTHENTICATE: value})
        if isinstance(error, ValidationUnavailableError):
            headers[hdrs.RETRY_AFTER] = str(max(1, math.ceil(error.retry_after)))
        body = ({} if error.error is None else {"error": error.error}) | {"error_description": error.description}
        return _REFUSALS[error.status](headers=headers, text=json.dumps(body), content_type="application/json")


def _is_preflight(request: web.Request) -> bool:
    """Return whether this is a CORS preflight: a browser's question, without credentials, before a request."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def _methods(route: web.AbstractRoute) -> Iterable[str]:
    """The methods that a route serves. Those of a view may have different demands."""
    if route.method != hdrs.METH_ANY:
        return (route.method,)
    return sorted(hdrs.METH_ALL) if isinstance(route.handler, type) else (hdrs.METH_ANY,)
