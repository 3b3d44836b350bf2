"""A transport with the settings of the user's `http_session`, for tokens and keys."""

from __future__ import annotations

import ssl
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver

from ..errors import ClientClosedError
from ..messages import Request, Response
from ..protocol.secret import Secret
from .http import HttpTransport
from .response_body import ACCEPTED

# Settings of sessions and connectors that aiohttp accepts but has no public attribute for.
_PROXY: Final = ("_default_proxy", "_default_proxy_auth")
_CONNECTOR: Final = (
    "_ssl",
    "_family",
    "_local_addr_infos",
    "_happy_eyeballs_delay",
    "_interleave",
    "_socket_factory",
)
_RESOLVER: Final = ("_resolver", "_resolver_owner")
_PERSONAL: Final = frozenset({"accept-encoding", "authorization", "cookie"})


def is_plain(session: aiohttp.ClientSession) -> bool:
    """Return whether session and connector are aiohttp's own, so that everything that routes their connections is known."""
    connector = session.connector
    return (
        type(session) is aiohttp.ClientSession
        and type(connector) is aiohttp.TCPConnector
        and all(hasattr(session, name) for name in _PROXY)
        and all(hasattr(connector, name) for name in (*_CONNECTOR, *_RESOLVER))
    )


class MirroredTransport(HttpTransport):
    """Sends like a plain session, with its TLS settings, resolver, addresses, proxies, headers and trace configs, but not over
    its connections, and without its cookies, credentials and middlewares.
    """

    def __init__(
        self, model: aiohttp.ClientSession, *, proxy: str | None, ssl_context: ssl.SSLContext | None, limit: int
    ) -> None:
        way = Secret(proxy)
        del proxy
        self._model: Any = model
        trust_env = model.trust_env and self._model._default_proxy is None
        super().__init__(proxy=way.plain, trust_env=trust_env, ssl_context=ssl_context, limit=limit)
        if way.plain is None and self._model._default_proxy is not None:
            self._proxy = Secret(str(self._model._default_proxy))

    async def __call__(self, request: Request) -> Response:
        """Send one request. Raises `ClientClosedError` once the mirrored session is closed."""
        if self._model.closed:
            raise ClientClosedError("The given `http_session`")
        return await super().__call__(request)

    def _new_session(self) -> tuple[aiohttp.ClientSession, AbstractResolver | None]:
        model = self._model
        connector = aiohttp.TCPConnector(
            limit=self._limit, resolver=None if model.connector._resolver_owner else model.connector._resolver
        )
        for name in _CONNECTOR:
            setattr(connector, name, getattr(model.connector, name))
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=[
                *(pair for pair in model.headers.items() if pair[0].lower() not in _PERSONAL),
                ("Accept-Encoding", ACCEPTED),
            ],
            trace_configs=model.trace_configs,
            trust_env=False,
        )
        # `_proxy` is passed with each request that may use it.
        session._default_proxy_auth = model._default_proxy_auth
        session._retry_connection = False
        return session, None
