"""The connections of one client and its copies."""

from __future__ import annotations

import ssl

import aiohttp

from .http import HttpTransport


class Connections:
    """Two pools: one for calls, and one for tokens and keys, so that a renewal never waits behind the calls that need it."""

    def __init__(
        self,
        http_session: aiohttp.ClientSession | None = None,
        *,
        proxy: str | None = None,
        trust_env: bool = True,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        def pool(limit: int, *, middlewares: bool) -> HttpTransport:
            return HttpTransport(
                http_session=http_session,
                proxy=proxy,
                trust_env=trust_env,
                ssl_context=ssl_context,
                limit=limit,
                middlewares=middlewares,
            )

        self.api = pool(100, middlewares=True)
        # A given session's middlewares are left out here: they may be what asks for a token.
        self.tokens = pool(10, middlewares=False)

    @property
    def is_open(self) -> bool:
        """Whether there are connections on a loop that still runs."""
        return self.api.is_open or self.tokens.is_open

    async def aclose(self) -> None:
        """End the connections."""
        await self.api.aclose()
        await self.tokens.aclose()
