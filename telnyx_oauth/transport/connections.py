"""The connections of one client and its copies."""

from __future__ import annotations

import ssl
from typing import Final

import aiohttp

from ..protocol.secret import Secret
from .http import HttpTransport
from .mirror import Likeness, is_plain

_CALLS: Final = 100
_TOKENS: Final = 10


class Connections:
    """Two pools: one for calls, and one for tokens and keys, so that a renewal never waits behind the calls that need it.

    Beside a given session the second pool is made in its likeness. Where the session or its connector is of somebody's own
    making, nobody can tell where its connections would go, so tokens and keys go over it as well.
    """

    def __init__(
        self,
        http_session: aiohttp.ClientSession | None = None,
        *,
        proxy: str | None = None,
        trust_env: bool = True,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        way = Secret(proxy)
        del proxy
        self.api = HttpTransport(
            http_session=http_session, proxy=way.plain, trust_env=trust_env, ssl_context=ssl_context, limit=_CALLS
        )
        if http_session is not None and is_plain(http_session):
            self.tokens: HttpTransport = Likeness(http_session, proxy=way.plain, ssl_context=ssl_context, limit=_TOKENS)
            return
        self.tokens = HttpTransport(
            http_session=http_session,
            proxy=way.plain,
            trust_env=trust_env,
            ssl_context=ssl_context,
            limit=_TOKENS,
            # A given session's middlewares are left out here: they may be what asks for a token.
            middlewares=False,
        )

    @property
    def is_open(self) -> bool:
        """Whether there are connections on a loop that still runs."""
        return self.api.is_open or self.tokens.is_open

    async def aclose(self) -> None:
        """End the connections."""
        await self.api.aclose()
        await self.tokens.aclose()
