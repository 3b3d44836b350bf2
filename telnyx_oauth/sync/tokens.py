"""The token manager for callers that block."""

from __future__ import annotations

from typing import Any

from ..blocking.rows import Twin, blocking, takes
from ..hints import misnamed
from ..protocol.token import Token
from ..tokens.manager import TokenManager
from ..tokens.status import TokenStatus


class Tokens(Twin):
    """The blocking twin of `TokenManager`. A fresh token costs no hop to the private loop."""

    replace = blocking(TokenManager.replace)
    forget = blocking(TokenManager.forget)
    warm = blocking(TokenManager.warm)
    accept = blocking(TokenManager.accept)

    @takes(TokenManager.get)
    def get(self, **options: Any) -> Token:
        manager = self.manager
        if not options and (token := self.peek()) is not None:
            return token
        problem = misnamed("tokens.get", TokenManager.get, 0, options)
        if problem:
            raise TypeError(problem)
        return self._lease.run(lambda: manager.get(**options))

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
