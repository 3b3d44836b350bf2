"""A request over a session that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp
import attrs
from aiohttp.hdrs import ACCEPT_ENCODING, AUTHORIZATION
from multidict import CIMultiDict

from ..messages import Request
from ..protocol.secret import Secret
from .coding import ACCEPTED
from .proxies import has_own_proxy


def lent(
    session: aiohttp.ClientSession, request: Request, always: dict[str, Any], *, direct: bool
) -> tuple[Request, dict[str, Any]]:
    """The request and its options, so that nothing but the request decides what stands in `Authorization`.

    With `direct` it goes through no proxy of the environment's, which aiohttp reads in a way of its own.

    A session may have credentials of its own: in its headers, as `auth`, of a middleware or of `.netrc`. aiohttp refuses to
    send two, and cannot be told to leave them out: so the header is put in, or taken out, after it has added its own.
    """
    given: Sequence[aiohttp.ClientMiddlewareType] | None = always["middlewares"]
    theirs = tuple(getattr(session, "_middlewares", ())) if given is None else tuple(given)
    named = AUTHORIZATION in session.headers
    # What the session would take beside these is not read here.
    headers = Secret(CIMultiDict({ACCEPT_ENCODING: ACCEPTED}))
    headers.plain.update(request.headers)
    request = attrs.evolve(request, headers=headers.plain)
    if not (theirs or named or session.trust_env or session.auth is not None):
        return request, always
    decided = _LastWord(request, direct=direct and session.trust_env and not has_own_proxy(session))
    headers.plain.popall(AUTHORIZATION, None)
    # First, for the session's own middlewares to see what is sent, and last, after what they make of it.
    middlewares = (decided, *theirs, decided) if theirs else (decided,)
    return request, {**always, "middlewares": middlewares}


class _LastWord:
    """A middleware that has the last word on `Authorization` and proxies. Its repr shows nothing."""

    def __init__(self, request: Request, *, direct: bool) -> None:
        self._direct = direct
        self._values = Secret([value for name, value in request.headers.items() if name.lower() == "authorization"])

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers.popall(AUTHORIZATION, None)
        request.headers.extend((AUTHORIZATION, value) for value in self._values.plain)
        if self._direct:
            request.update_proxy(None, None, None)
        return await handler(request)
