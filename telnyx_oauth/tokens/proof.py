"""The proof of a token, made before anyone gets to use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol, runtime_checkable

from ..errors import TokenError, TokenVerificationError
from ..protocol.grants import TokenGrant
from ..protocol.secret import Secret
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


@runtime_checkable
class DatedVerifier(Protocol):
    """A verifier that can tell an expired token from a wrong clock here: it also takes the server's time."""

    async def verify_at(self, access_token: str, /, *, server_time: float | None) -> str | None:
        """The same verdict, for a token from an answer that was sent at `server_time`: Unix seconds by the server's clock."""
        ...


async def verdict(verifier: IssuedVerifier, grant: TokenGrant) -> str | None:
    """A verifier's verdict on a token that was just granted."""
    return await _verdict_at(verifier, Secret(grant.access_token), grant.server_time)


async def _verdict_at(verifier: IssuedVerifier, token: Secret[str], server_time: float | None) -> str | None:
    if isinstance(verifier, DatedVerifier):
        return await verifier.verify_at(token.plain, server_time=server_time)
    return await verifier(token.plain)


class Proof:
    """What a renewal asks of a verifier; without one, every token will do."""

    def __init__(self, verifier: IssuedVerifier | None, clock: Clock, announce: Announcer, *, demanded: bool) -> None:
        self._verifier = verifier
        self._clock = clock
        self._announce = announce
        self._demanded = demanded

    async def beside_keys(self, job: Job, request: Awaitable[TokenGrant]) -> TokenGrant:
        """The answer to a token request. The keys for its proof are fetched at the same time, and not waited for here: what
        the answer brings may have to be stored first.
        """
        if self._verifier is not None and job.keys is None:
            job.keys = asyncio.ensure_future(self._verifier.prepare())
        return await request

    async def fault(self, job: Job, grant: TokenGrant, boot: float) -> TokenError | None:
        """Why a token that was granted must not be used."""
        if grant.expires_in and self._clock.boot() - boot >= grant.expires_in:
            return TokenError("The token had expired before its answer was there.")
        if job.keys is not None:
            await asyncio.wait({job.keys})
        try:
            if self._verifier is not None:
                self._accept(job, await verdict(self._verifier, grant))
        except TokenVerificationError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - a verifier may be the user's own
            return TokenError(f"The verifier failed ({type(exc).__name__}).")
        return None

    async def judge(self, job: Job, access_token: Secret[str], *, server_time: float | None) -> None:
        """Raise `TokenVerificationError` for a token that is proven wrong, or not proven where that is demanded.

        `server_time` is what time it is by the server's clock, which the token's times are by; None where that is not known.
        """
        if self._verifier is None:
            return
        self._accept(job, await _verdict_at(self._verifier, access_token, server_time))

    def _accept(self, job: Job, reason: str | None) -> None:
        if reason is None:
            return
        if self._demanded:
            raise TokenVerificationError(
                f"The issued token cannot be verified ({reason}), and verification is demanded."
            )
        self._announce(IssuedUnverified(job.key, self._clock.wall(), job.flight, reason))
