"""Proving a token that was just issued to us, before it is ever used.

What is asked here is less than of a token that a stranger presents: only that nobody between the server and us has made
it up, and that it is not over already.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from ..errors import InvalidTokenError, TokenVerificationError, ValidationUnavailableError
from ..protocol.jose import parse_object, split_compact
from ..protocol.jwt import numeric_date
from ..transport.clock import Clock, SystemClock
from .keys import KeySource, SigningKeys

_LEEWAY = 60.0


class IssuedTokenVerifier:
    """Checks issued JWTs against the server's keys. `issuer`, where given, must be the token's."""

    def __init__(self, keys: KeySource, *, issuer: str | None = None, clock: Clock | None = None) -> None:
        self._keys = keys
        self._signing = SigningKeys(keys, issued=True)
        self._issuer = issuer
        self._wall = (clock or SystemClock()).wall

    async def prepare(self) -> None:
        """Fetch the keys, beside the token request. A failure shows when a token is checked."""
        with suppress(ValidationUnavailableError):
            await self._keys.warm()

    async def __call__(self, access_token: str, /) -> str | None:
        """`None` for a proven token, else why it cannot be checked. Raises `TokenVerificationError` for one that is wrong."""
        header, payload, signature, signing_input = split_compact(access_token) or (None, None, None, b"")
        head = None if header is None else parse_object(header)
        claims = None if payload is None else parse_object(payload)
        if head is None or claims is None or signature is None:
            return "it is opaque"
        algorithm, kid = head.get("alg"), head.get("kid")
        if not isinstance(algorithm, str) or not isinstance(kid, str | None):
            return "its header is unusual"
        try:
            key = await self._signing.find(algorithm, kid, signing_input, signature)
        except InvalidTokenError as error:
            return f"its key is not among the published ones ({error.reason})"
        except ValidationUnavailableError:
            return "the keys could not be fetched"
        if key is None:
            raise TokenVerificationError("The issued token's signature is not by the key that it names.")
        if self._has_expired(claims):
            raise TokenVerificationError("The issued token has expired already. Check this machine's clock.")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise TokenVerificationError("The issued token names another issuer than the one configured.")
        return None

    def _has_expired(self, claims: Mapping[str, object]) -> bool:
        try:
            expiry = numeric_date(claims, "exp")
        except InvalidTokenError:
            return True
        return expiry is not None and expiry + _LEEWAY < self._wall()
