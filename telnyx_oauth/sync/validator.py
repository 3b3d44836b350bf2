"""The blocking twin of the token validator."""

from __future__ import annotations

from typing import Any

from ..blocking.rows import Twin, blocking, takes
from ..protocol.secret import Secret
from ..validation.validator import AccessToken, TokenValidator


class Validator(Twin):
    """The blocking twin of `TokenValidator`. A cached token is returned without the private event loop."""

    warm = blocking(TokenValidator.warm)

    @takes(TokenValidator.validate)
    def validate(self, token: str, **options: Any) -> AccessToken:
        validator, presented = self._validator, Secret(token)
        del token
        if not options and (access := validator.cached(presented.plain)) is not None:
            return access
        return self._lease.run(lambda: validator.validate(presented.plain, **options))

    @takes(TokenValidator.cached)
    def cached(self, token: str) -> AccessToken | None:
        return self._validator.cached(token)

    @takes(TokenValidator.revoke_cached)
    def revoke_cached(self, **options: Any) -> int:
        return self._validator.revoke_cached(**options)

    @property
    def _validator(self) -> TokenValidator:
        validator: TokenValidator = self._core
        return validator
