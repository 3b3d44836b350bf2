"""Names of this machine, which no name server is asked for."""

from __future__ import annotations

import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ..protocol.urls import is_loopback

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_HERE: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class LocalNames(AbstractResolver):
    """aiohttp's resolver, but for `localhost` and `*.localhost`: they are this machine (RFC 6761 section 6.3).

    Plain http is allowed to these names, so a name server must not be able to lead it elsewhere.
    """

    def __init__(self) -> None:
        self._others = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name."""
        if not is_loopback(host):
            return await self._others.resolve(host, port, family)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=_NUMERIC)
            for kind, address in _HERE
            if family in (kind, socket.AF_UNSPEC)
        ]

    async def close(self) -> None:
        """Release aiohttp's resolver."""
        await self._others.close()
