"""The proof of a token, made before anyone gets to use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from ..errors import TokenError, TokenVerificationError
from ..protocol.grants import TokenGrant
from ..transport.clock import Clock
from .events import Announcer, IssuedUnverified
from .flight import Job


class IssuedVerifier(Protocol):
    """Proves a token before anyone gets to use it. Safe to call for any token, opaque ones included."""

    async def prepare(self) -> None:
        """Fetch what a proof needs. Runs beside the token request; must not raise."""
        ...

    async def __call__(self, access_token: str, /) -> str | None:
        """`None` when proven, else a short reason why it cannot be. Raises `TokenVerificationError` when it is proven
        wrong.
        """
        ...


class Proof:
    """What a renewal asks of a verifier; without one, every token will do."""

    def __init__(self, verifier: IssuedVerifier | None, clock: Clock, announce: Announcer, *, demanded: bool) -> None:
        self._verifier = verifier
        self._clock = clock
        self._announce = announce
        self._demanded = demanded

    async def beside_keys(self, request: Awaitable[TokenGrant]) -> TokenGrant:
        """The answer to a token request, with the keys for its proof fetched at the same time."""
        if self._verifier is None:
            return await request
        keys = asyncio.ensure_future(self._verifier.prepare())
        try:
            grant = await request
            await asyncio.wait({keys})
        finally:
            keys.cancel()
        return grant

    async def fault(self, job: Job, grant: TokenGrant, boot: float) -> TokenError | None:
        """Why a token that was granted must not be used."""
        if grant.expires_in and self._clock.boot() - boot >= grant.expires_in:
            return TokenError("The token had expired before its answer was there.")
        try:
            await self.judge(job, grant.access_token)
        except TokenVerificationError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - a verifier may be the user's own
            return TokenError(f"The verifier failed ({type(exc).__name__}).")
        return None

    async def judge(self, job: Job, access_token: str) -> None:
        """Raise `TokenVerificationError` for a token that is proven wrong, or not proven where that is demanded."""
        if self._verifier is None:
            return
        reason = await self._verifier(access_token)
        if reason is None:
            return
        if self._demanded:
            raise TokenVerificationError(
                f"The issued token cannot be verified ({reason}), and verification is demanded."
            )
        self._announce(IssuedUnverified(job.key, self._clock.wall(), job.flight, reason))
