"""Sign-in from a terminal: a receiver on this machine for the browser's answer (RFC 8252 section 7.3)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from html import escape
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from ..errors import InvalidCallbackError, LoopbackPortError, SignInTimeoutError, StateMismatchError, TelnyxError
from ..messages import check_number
from ..protocol.arguments import expect, expect_function
from ..protocol.authorization_code import LONGEST_ANSWER, PendingAuthorization, check_state, read_callback
from ..protocol.secret import Secret
from .authorization_code import AuthorizationFlow
from .manager import TokenManager

_PATH: Final = "/callback"
_HOST: Final = "127.0.0.1"  # not localhost, which may be another interface (RFC 8252 section 8.3)
_MOST_CONNECTIONS: Final = 32
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
# aiohttp logs a request that it cannot read, with its address, which may hold a code.
_quiet: Final = logging.getLogger(__name__)
_quiet.setLevel(logging.CRITICAL)

Show = Callable[[str], Awaitable[None]]
"""Brings a person to an address: opens a browser, prints it."""
Paste = Callable[[str | None], Awaitable[str | None]]
"""Asks for the address that the browser ended at, first with `None`, then with the problem of the one before.

Returns `None` if no address will be pasted.
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
    extra: Mapping[str, str] | None = None,
) -> TokenManager:
    """Sign in the person at this machine. Return the manager of their grant.

    `show` gets the address once the receiver listens on `port` of 127.0.0.1 (0: any free one). The browser's request or an
    address from `paste`, whichever comes first, completes the sign-in, and the browser shows the result. Only an answer with
    the state of this sign-in counts; every other request gets an error page and is ignored. `timeout` is seconds. `extra`
    are further parameters for the address, such as `login_hint`.

    Raises the errors of `begin_authorization` and `complete_authorization`, `LoopbackPortError`, `SignInTimeoutError`.
    """
    expect(flow, "flow", "an AuthorizationFlow, such as AsyncTelnyx(...).authorization", "begin_authorization")
    expect_function(show, "show", "an async function of an address")
    check_number(timeout, "timeout")
    async with LoopbackReceiver(port) as receiver:
        pending = await flow.begin_authorization(
            redirect_uri=receiver.redirect_uri, scopes=scopes, resource=resource, extra=extra
        )
        receiver.expect(pending)
        callback_url = await _first_of(timeout, receiver.wait(), _show_and_paste(pending, show, paste))
        if callback_url is None:
            raise receiver.too_late(timeout)
        try:
            manager = await flow.complete_authorization(callback_url.plain, pending=pending, account=account)
        except TelnyxError as exc:
            receiver.tell(exc.message)
            raise
        receiver.tell(None)
        return manager


async def _first_of(timeout: float, *sources: Coroutine[Any, Any, Secret[str] | None]) -> Secret[str] | None:
    """The first result that is not `None`; `None` when time is up."""
    waits = {asyncio.ensure_future(source) for source in sources}
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        while True:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            done, waits = await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return None
            for one in done:
                if (result := one.result()) is not None:
                    return result
    finally:
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _show_and_paste(pending: PendingAuthorization, show: Show, paste: Paste | None) -> Secret[str] | None:
    """Show the address, and let the person paste the one of the answer, until it is right."""
    await show(pending.url)  # this may last as long as the browser is open
    problem = None
    while paste is not None and (text := Secret(await paste(problem))).plain is not None:
        pasted = Secret(text.plain or "")
        try:
            check_state(pending, read_callback(pasted))
        except (InvalidCallbackError, StateMismatchError) as exc:
            problem = exc.message
        else:
            return pasted
    return None


class LoopbackReceiver:
    """Listens on 127.0.0.1 for the one request in which the browser brings the answer. Use it with `async with`.

    Any page in any browser here, and any program, can send requests to the port. A request that is not the answer to the
    expected sign-in gets an error page and changes nothing. Of too many connections the oldest is closed, so that none of
    them keeps the browser out. A connection ends with its response, at the latest with the receiver.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._pending: PendingAuthorization | None = None
        self._answering: web.RequestHandler | None = None
        self._ignored = 0
        self._connections = web.Server(
            self._respond, access_log=None, logger=_quiet, lingering_time=0, max_line_size=LONGEST_ANSWER
        )

    @property
    def redirect_uri(self) -> str:
        """The address that the server sends the browser back to."""
        return f"http://{_HOST}:{self._port}{_PATH}"

    def expect(self, pending: PendingAuthorization) -> None:
        """Expect the answer to this sign-in. Before this call every request is ignored."""
        self._pending = pending

    def too_late(self, timeout: float) -> SignInTimeoutError:
        """The error for an answer that did not come, with a note about other requests."""
        error = SignInTimeoutError(timeout)
        if self._ignored:
            error.add_note(f"Requests that came and were no answer to this sign-in: {self._ignored}.")
        return error

    async def wait(self) -> Secret[str] | None:
        """The address with the answer. The browser waits until `tell` is called."""
        return await asyncio.shield(self._answered)

    def tell(self, problem: str | None) -> None:
        """Show the result in the browser: `None` for success, or the problem."""
        if not self._outcome.done():
            self._outcome.set_result(problem)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[Secret[str] | None] = loop.create_future()
        self._outcome: asyncio.Future[str | None] = loop.create_future()
        try:
            self._server: asyncio.Server = await loop.create_server(self._connect, _HOST, self._port)
        except OSError as exc:
            reason = exc.strerror or type(exc).__name__
        else:
            self._port = self._server.sockets[0].getsockname()[1]
            return self
        raise LoopbackPortError(
            f"Cannot listen on port {self._port} of {_HOST} ({reason}). Another sign-in may be waiting there: end it, or "
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

    def _connect(self) -> asyncio.Protocol:
        idle = [each for each in self._connections.connections if each is not self._answering]
        for oldest in idle[: max(0, len(idle) - _MOST_CONNECTIONS + 1)]:
            oldest.force_close()
        return self._connections()

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        # A page elsewhere may have its own name for this address (DNS rebinding).
        if request.host not in (f"{_HOST}:{self._port}", f"localhost:{self._port}"):
            return _page(421, "This is not the place", "Nothing is served here under this name.")
        if request.method != "GET" or request.path != _PATH:
            return _page(404, "There is nothing here", "Go back to the terminal.")
        url = Secret(f"{self.redirect_uri}?{request.rel_url.raw_query_string}")
        try:
            self._check(url)
        except (InvalidCallbackError, StateMismatchError) as exc:
            self._ignored += 1
            return _page(400, "This is not the answer to the sign-in", f"{exc.message} The sign-in goes on without it.")
        if self._answered.done():
            return _page(409, "This sign-in was answered already", "Go back to the terminal.")
        self._answering = request.protocol
        self._answered.set_result(url)
        problem = await asyncio.shield(self._outcome)
        if problem is not None:
            return _page(400, "Signing in did not work", problem)
        return _page(200, "You are signed in", "You can close this window and go back to the terminal.")

    def _check(self, url: Secret[str]) -> None:
        """Raise `InvalidCallbackError` or `StateMismatchError` unless this is the answer to the expected sign-in."""
        answer = read_callback(url)
        if self._pending is None:
            raise StateMismatchError("No sign-in has begun here yet, so this cannot be its answer.")
        check_state(self._pending, answer)


def _page(status: int, title: str, text: str) -> web.Response:
    html = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n</head>\n'
        f'<body>\n<main role="status">\n<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>\n</main>\n</body>\n</html>\n'
    )
    page = web.Response(status=status, text=html, content_type="text/html", charset="utf-8", headers=_HEADERS)
    page.force_close()  # the header alone does not close the connection
    return page
