"""The blocking twin of the token manager."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..blocking.rows import Twin, blocking, takes
from ..hints import naming_problem
from ..protocol.token import Token, lasting_scopes
from ..tokens.manager import TokenManager, TokenStatus


class Tokens(Twin):
    """The blocking twin of `TokenManager`. A fresh token is returned without the private event loop."""

    replace = blocking(TokenManager.replace)
    forget = blocking(TokenManager.forget)
    warm = blocking(TokenManager.warm)
    accept = blocking(TokenManager.accept)

    @takes(TokenManager.get)
    def get(
        self,
        *,
        scopes: Iterable[str] | str | None = None,
        resource: str | None = None,
        min_ttl: float = 0.0,
        **others: Any,
    ) -> Token:
        if others and (problem := naming_problem("tokens.get", TokenManager.get, 0, others)):
            raise TypeError(problem)
        manager: TokenManager = self._core
        if scopes is not None and hasattr(scopes, "__next__"):  # an iterator can be read once, and two calls read it
            scopes = lasting_scopes(scopes)
        if not min_ttl and not self._lease.is_closed:
            token = manager.peek(scopes=scopes, resource=resource)
            if token is not None:
                return token
        return self._lease.run(partial(manager.get, scopes=scopes, resource=resource, min_ttl=min_ttl, **others))

    @takes(TokenManager.peek)
    def peek(self, **key: Any) -> Token | None:
        return None if self._lease.is_closed else self.manager.peek(**key)

    @takes(TokenManager.status)
    def status(self, **key: Any) -> TokenStatus:
        return self.manager.status(**key)

    @property
    def renewable(self) -> bool:
        """Whether a rejected token can be replaced; an API key cannot."""
        return self.manager.renewable

    @property
    def manager(self) -> TokenManager:
        """The async manager itself, for `Telnyx(tokens=...)`."""
        manager: TokenManager = self._core
        return manager
