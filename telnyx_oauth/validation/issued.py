"""Proving a token that was just issued to us, before it is ever used.

What is asked here is less than of a token that a stranger presents: only that nobody between the server and us has made
it up, and that it is not over already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress

from ..errors import InvalidTokenError, TokenVerificationError, ValidationUnavailableError
from ..protocol.discovery import same_issuer
from ..protocol.jose import parse_object, split_compact
from ..protocol.jwt import numeric_date
from ..protocol.secret import Secret
from ..transport.clock import Clock, SystemClock
from ..transport.log import logger
from .jwks import JWKSCache
from .keys import KeySource, SigningKeys

_LEEWAY = 60.0


class IssuedTokenVerifier:
    """Checks issued JWTs against the server's keys. `issuer`, where given, must be the token's."""

    def __init__(self, keys: KeySource, *, issuer: str | None = None, clock: Clock | None = None) -> None:
        self._keys = keys
        self._signing = SigningKeys(keys, issued=True)
        self._issuer = issuer
        self._wall = (clock or SystemClock()).wall
        self._warned = False

    async def prepare(self) -> None:
        """Fetch the keys, beside the token request. A failure shows when a token is checked."""
        with suppress(ValidationUnavailableError, ImportError):
            await self._keys.warm()

    async def __call__(self, access_token: str, /) -> str | None:
        """`None` for a proven token, else why it cannot be checked. Raises `TokenVerificationError` for one that is wrong."""
        judging = self.verify_at(access_token, server_time=None)
        del access_token
        return await judging

    async def verify_at(self, access_token: str, /, *, server_time: float | None) -> str | None:
        """The same, for a token from an answer that was sent at `server_time`: Unix seconds, None when it did not say.

        The token's times are by the server's clock. By this machine's alone, a clock that is wrong here would be taken for a
        token that has expired.
        """
        parts = Secret(split_compact(access_token) or (None, None, None, b""))
        del access_token
        header, payload, signature = parts.plain[:3]
        head = None if header is None else parse_object(header)
        claims = None if payload is None else parse_object(payload)
        if head is None or claims is None or signature is None:
            return "it is opaque"
        signing_input = Secret(parts.plain[3])
        algorithm, kid = head.get("alg"), head.get("kid")
        if not isinstance(algorithm, str) or not isinstance(kid, str | None):
            return "its header is unusual"
        try:
            key = await self._signing.find(algorithm, kid, signing_input, signature)
        except InvalidTokenError as error:
            return f"its key is not among the published ones ({error.reason})"
        except ValidationUnavailableError:
            return f"the keys could not be fetched{self._why()}"
        except ImportError as error:  # a subinterpreter loads no `cryptography`
            return f"what checks signatures cannot be loaded in this interpreter ({error})"
        if key is None:
            raise TokenVerificationError("The issued token's signature is not by the key that it names.")
        if self._issuer is not None and not same_issuer(claims.get("iss"), self._issuer):
            raise TokenVerificationError("The issued token names another issuer than the one configured.")
        return self._check_expiry(_expiry(claims), server_time)

    def _why(self) -> str:
        said = self._keys.health.last_error if isinstance(self._keys, JWKSCache) else None
        return f" ({said.rstrip('.')})" if said else ""

    def _check_expiry(self, expiry: float, server_time: float | None) -> str | None:
        """Why the times cannot be judged, where the clocks disagree. Raises `TokenVerificationError` for an expired token."""
        end, here = expiry + _LEEWAY, self._wall()
        if server_time is None and end < here:
            raise TokenVerificationError(
                "The issued token has expired already by this machine's clock, and the server does not say what time it is: "
                "check this machine's clock."
            )
        if server_time is not None and end < server_time:
            raise TokenVerificationError("The issued token has expired already, by the server's own clock.")
        if server_time is None or here <= end:
            return None
        wrong = f"this machine's clock is {here - server_time:.0f} s ahead of the server's"
        if not self._warned:
            self._warned = True
            logger.warning("%s: set it, or good tokens will look expired.", wrong[0].upper() + wrong[1:])
        return wrong


def _expiry(claims: Mapping[str, object]) -> float:
    """The token's `exp`, infinite where it has none. Raises `TokenVerificationError` for one that is no date."""
    try:
        expiry = numeric_date(claims, "exp")
    except InvalidTokenError:
        pass
    else:
        return math.inf if expiry is None else expiry
    raise TokenVerificationError("The issued token's `exp` is no date, so it counts as expired.")
