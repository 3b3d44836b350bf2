"""The blocking twin of the authorization code flow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, cast

from ..blocking.driver import Lease
from ..blocking.rows import Twin, blocking, takes
from ..hints import Hinted
from ..tokens.authorization_code import AuthorizationFlow
from ..tokens.manager import TokenManager
from .tokens import Tokens

_P = ParamSpec("_P")


class _Granting(blocking[_P, Tokens]):
    @staticmethod
    def finish(value: TokenManager, lease: Lease) -> Tokens:
        return Tokens(value, lease)


def granting(method: Callable[Concatenate[Any, _P], Awaitable[TokenManager]]) -> blocking[_P, Tokens]:
    """A row for a method that returns a token manager."""
    return _Granting(cast("Callable[Concatenate[Any, _P], Awaitable[Any]]", method))


class Authorization(Hinted, Twin):
    """The blocking twin of `AuthorizationFlow`."""

    begin_authorization = blocking(AuthorizationFlow.begin_authorization)
    complete_authorization = granting(AuthorizationFlow.complete_authorization)
    register = blocking(AuthorizationFlow.register)

    @takes(AuthorizationFlow.tokens)
    def tokens(self, **key: Any) -> Tokens:
        flow: AuthorizationFlow = self._core
        return Tokens(flow.tokens(**key), self._lease)
