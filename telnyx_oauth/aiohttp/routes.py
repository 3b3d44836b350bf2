"""What a route says of itself: that it is public, or which scopes it demands. And who called it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from inspect import getattr_static
from typing import Any, Final, ParamSpec, TypeVar

import attrs
from aiohttp import hdrs, web

from ..errors import InsufficientScopeError, MissingTokenError
from ..protocol.challenges import check_scopes
from ..transport.log import logger
from ..validation.access import AccessToken

TOKEN: Final = web.RequestKey("TOKEN", AccessToken)
"""The request's verified token: `request[TOKEN]`."""

JUDGED: Final = web.RequestKey("JUDGED", bool)
"""Set on a request that `BearerAuth` has seen."""

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
        """All that are named, for the challenge."""
        return self.all_of | self.any_of

    def check(self, access: AccessToken) -> None:
        """Raises `InsufficientScopeError` unless the token carries them."""
        if not access.scopes >= self.all_of or (self.any_of and access.scopes.isdisjoint(self.any_of)):
            raise InsufficientScopeError(self.scopes)


def public(handler: _H) -> _H:
    """Let everyone call this handler, with or without a token. `BearerAuth` lists such routes at start-up.

    On a `web.View` it covers the methods that the class has. A subclass inherits it with each of them, and not for a method
    that it overrides or adds: mark that one again.
    """
    setattr(handler, _PUBLIC, True)
    return handler


def require_scopes(
    *all_of: str, any_of: Collection[str] = ()
) -> Callable[[Callable[_P, Awaitable[_R]]], Callable[_P, Awaitable[_R]]]:
    """Demand every scope in `all_of`, and one of `any_of` where given, of whoever calls this handler.

    For functions, and for methods of a `web.View`. It also checks by itself: without `BearerAuth` in the application the
    handler answers 500 to everyone, so that forgetting the middleware cannot open it. Raises `ValueError` without scopes.
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
    """Tell if the handler, or the method of a view that serves `method`, is marked as public."""
    if not isinstance(handler, type):
        return bool(getattr(handler, _PUBLIC, False))
    if _PUBLIC in vars(handler) or getattr(_method(handler, method), _PUBLIC, False):
        return True
    # A base's mark is for what stands there. `getattr` would find the mark through a subclass that has put something else
    # in its place.
    name = method.lower()
    serving = getattr_static(handler, name, None)
    return serving is not None and any(
        _PUBLIC in vars(base) and getattr_static(base, name, None) is serving for base in handler.__mro__
    )


def serves_options(route: web.AbstractRoute, handler: object) -> bool:
    """Tell if a route is there for OPTIONS requests: registered for that method, or a view that has an `options` method.

    A route for any method (`*`) is not: its handler answers OPTIONS as it answers everything else.
    """
    if isinstance(handler, type):
        return route.method in (hdrs.METH_OPTIONS, hdrs.METH_ANY) and callable(getattr(handler, "options", None))
    return route.method == hdrs.METH_OPTIONS


def demand_of(handler: object, method: str) -> Demand:
    """What the handler, or the method of a view that serves `method`, demands."""
    found = getattr(_method(handler, method), _SCOPES, None)
    return found if isinstance(found, Demand) else NO_DEMAND


NO_DEMAND: Final = Demand()


def _method(handler: object, method: str) -> object:
    # Of classes, aiohttp takes views alone.
    return getattr(handler, method.lower(), None) if isinstance(handler, type) else handler


def _request(args: tuple[object, ...]) -> web.Request:
    """The request among a handler's arguments: its own, a view's, or the one after `self`."""
    for arg in args:
        if isinstance(arg, web.Request):
            return arg
        if isinstance(arg, web.View):
            return arg.request
    raise TypeError("require_scopes is for aiohttp handlers: none of the arguments is a request.")
