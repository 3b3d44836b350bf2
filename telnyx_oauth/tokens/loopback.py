"""Signing in from a terminal: a receiver on this machine for the browser's answer (RFC 8252 section 7.3)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from html import escape
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from ..errors import InvalidCallbackError, LoopbackPortError, SignInTimeoutError, StateMismatchError, TelnyxError
from ..protocol.authorization import PendingAuthorization, check_state, read_callback
from ..protocol.secret import Secret
from .flow import AuthorizationFlow
from .manager import TokenManager

_PATH: Final = "/callback"
_HOST: Final = "127.0.0.1"  # not localhost, which may be another interface (RFC 8252 section 8.3)
_STYLE: Final = """
:root { color-scheme: light dark; --page: #f3f5f4; --ink: #10201a; --soft: #50625a; }
@media (prefers-color-scheme: dark) { :root { --page: #0e1512; --ink: #eaf2ee; --soft: #a6b8b0; } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 32rem; padding: 2rem; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; }
p { margin: .75rem 0 0; color: var(--soft); }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Connection": "close",
}

Show = Callable[[str], Awaitable[None]]
"""Brings a person to an address: opens a browser, prints it."""
Paste = Callable[[str | None], Awaitable[str | None]]
"""Asks for the address that the browser ended at, first with `None` and then with what is wrong with the one before.

`None` for an answer: nobody will paste anything.
"""


async def sign_in(
    flow: AuthorizationFlow,
    *,
    show: Show,
    scopes: Iterable[str] | str = (),
    resource: str | None = None,
    account: str = "",
    port: int = 0,
    timeout: float = 300.0,
    paste: Paste | None = None,
) -> TokenManager:
    """Sign the person at this machine in: the manager of what they granted.

    `show` gets the address once the receiver listens on `port` of 127.0.0.1 (0: any free one). Whatever comes first,
    the browser or an address from `paste`, completes it, and the browser is told how it went. `timeout` is seconds.

    Raises what `begin_authorization` and `complete_authorization` raise, `LoopbackPortError`, `SignInTimeoutError`.
    """
    async with LoopbackReceiver(port) as receiver:
        pending = await flow.begin_authorization(redirect_uri=receiver.redirect_uri, scopes=scopes, resource=resource)
        callback_url = await _first(timeout, receiver.wait(), _by_hand(pending, show, paste))
        try:
            manager = await flow.complete_authorization(callback_url.reveal(), pending=pending, account=account)
        except TelnyxError as exc:
            receiver.tell(exc.message)
            raise
        receiver.tell(None)
        return manager


async def _first(timeout: float, *sources: Coroutine[Any, Any, Secret[str] | None]) -> Secret[str]:
    """What the first source gives that gives something."""
    waits = {asyncio.ensure_future(source) for source in sources}
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        while True:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            done, waits = await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise SignInTimeoutError(timeout)
            for one in done:
                if (found := one.result()) is not None:
                    return found
    finally:
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _by_hand(pending: PendingAuthorization, show: Show, paste: Paste | None) -> Secret[str] | None:
    """Bring the person to the server, and take the address of the answer from them; a wrong one is asked for again."""
    await show(pending.url)  # which may last as long as the browser does
    problem = None
    while paste is not None and (text := Secret(await paste(problem))).reveal() is not None:
        pasted = Secret(text.reveal() or "")
        try:
            check_state(pending, read_callback(pasted))
        except (InvalidCallbackError, StateMismatchError) as exc:
            problem = exc.message
        else:
            return pasted
    return None


class LoopbackReceiver:
    """Listens on 127.0.0.1 for the one request that the browser brings the answer with. Use it with `async with`."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._connections = web.Server(self._respond, access_log=None)

    @property
    def redirect_uri(self) -> str:
        """What to have the browser sent back to."""
        return f"http://{_HOST}:{self._port}{_PATH}"

    async def wait(self) -> Secret[str] | None:
        """The address with the answer. The browser waits until `tell` is called."""
        return await asyncio.shield(self._answered)

    def tell(self, problem: str | None) -> None:
        """Tell the person at the browser how it went: `None`, or why it did not work."""
        if not self._outcome.done():
            self._outcome.set_result(problem)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[Secret[str] | None] = loop.create_future()
        self._outcome: asyncio.Future[str | None] = loop.create_future()
        try:
            self._server: asyncio.Server = await loop.create_server(self._connections, _HOST, self._port)
        except OSError as exc:
            reason = exc.strerror or type(exc).__name__
        else:
            self._port = self._server.sockets[0].getsockname()[1]
            return self
        raise LoopbackPortError(
            f"Nobody can listen on port {self._port} of {_HOST} ({reason}). Another sign-in may be waiting there: end it, or "
            "choose another port."
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.tell("It was ended before it was complete.")
        self._answered.cancel()
        self._server.close()
        self._connections.pre_shutdown()
        await self._connections.shutdown(2.0)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        # A page elsewhere may have its own name for this address (DNS rebinding).
        if request.host not in (f"{_HOST}:{self._port}", f"localhost:{self._port}"):
            return _page(421, "This is not the place", "Nothing is served here under this name.")
        if request.method != "GET" or request.path != _PATH:
            return _page(404, "There is nothing here", "Go back to the terminal.")
        came_back = Secret(f"{self.redirect_uri}?{request.rel_url.raw_query_string}")
        try:
            read_callback(came_back)
        except InvalidCallbackError as exc:
            return _page(400, "This is not an answer to a sign-in", exc.message)
        if self._answered.done():
            return _page(409, "This sign-in was answered already", "Go back to the terminal.")
        self._answered.set_result(came_back)
        problem = await asyncio.shield(self._outcome)
        if problem is not None:
            return _page(400, "Signing in did not work", problem)
        return _page(200, "You are signed in", "You can close this window and go back to the terminal.")


def _page(status: int, title: str, text: str) -> web.Response:
    html = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n</head>\n'
        f'<body>\n<main role="status">\n<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>\n</main>\n</body>\n</html>\n'
    )
    return web.Response(status=status, text=html, content_type="text/html", charset="utf-8", headers=_HEADERS)
