"""`login` and `logout`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import webbrowser
from typing import Any, Final, get_args

import attrs

from ..errors import TelnyxError
from ..protocol.secret import Secret
from ..protocol.urls import is_insecure
from .command import command, several
from .credentials import (
    authorization_flow,
    environment_has_credentials,
    forget,
    has_valid_client_secret,
    rehearse,
    save_client_secret,
)
from .failures import AuthenticationNeeded, Failure, failure_of
from .output import Lines, Output, click, is_typed, keep_stdout, whole_lines
from .profiles import DEFAULT, Profile, Store, folder, load, prepare, save
from .session import Session

CLIENT_NAME: Final = "telnyx-oauth command line"


@command("login")
@click.option("--client-id", help="Your OAuth client; without it one is registered.  [environment: TELNYX_CLIENT_ID]")
@several("--scope", "scopes", "A scope to ask for.")
@click.option("--resource", metavar="URI", help="The API that the tokens are for (RFC 8707).")
@click.option("--port", type=click.IntRange(0, 65535), help="The port on 127.0.0.1 that the browser returns to.")
@click.option("--timeout", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Seconds to wait.")
@click.option("--browser/--no-browser", default=True, help="Open a browser, or only print the address.")
@click.option("--store", type=click.Choice(get_args(Store)), help="Where tokens are kept.  [default: file]")
def login(session: Session, *, timeout: float, browser: bool, **options: Any) -> None:
    """Sign in with a browser. Later commands then act for you, and refresh your tokens themselves.

    An OAuth client of your own has to allow the redirect URI http://127.0.0.1/callback.
    """
    keep_stdout()  # a browser that is started inherits it
    prepare()
    # Not `session.profile`: a login may replace a profile that cannot be used.
    name = session.profile_name or DEFAULT
    old = load(name)
    profile = _new_profile(session, name, old, **options)
    profile, scopes = asyncio.run(_sign_in(session.out, profile, timeout, browser=browser))
    save(profile)
    if old is not None and any(getattr(old, it) != getattr(profile, it) for it in ("base_url", "client_id", "store")):
        try:
            # The new profile is the only way to a store, so nothing would find these tokens any more.
            asyncio.run(forget(old, client=old.client_id != profile.client_id))
        except (TelnyxError, OSError) as exc:
            session.out.note(f"The tokens of the sign-in before are still where they were. {failure_of(exc).message}")
    session.done(f"Signed in: profile {name}, for {' '.join(scopes) or 'no scope'}.", profile=name, scopes=scopes)
    if session.profile_name is None and environment_has_credentials():
        session.out.note("The environment's credentials still win over this: unset them, or give --profile default.")


@command("logout")
def logout(session: Session) -> None:
    """Delete your tokens from this machine. Your consent stands until you revoke it: see `grants`."""
    name = session.profile_name or DEFAULT
    profile = load(name)
    if profile is None:
        raise AuthenticationNeeded(f"You are not signed in: there is no profile {name}.", code="no_profile")
    asyncio.run(forget(profile))
    session.done(f"Signed out: profile {name}.", profile=name)


def _new_profile(session: Session, name: str, old: Profile | None, **options: Any) -> Profile:
    """The profile to sign in with: from the options, else the environment, else the last sign-in.

    Its `client_id` is empty where a client has to be registered first.
    """
    own_id = options["client_id"] or os.environ.get("TELNYX_CLIENT_ID") or ""
    address = session.address_for(old)
    allowed = is_insecure(address)  # or `address_for` would have refused
    again = old if old is not None and old.base_url == address and own_id in ("", old.client_id) else None
    profile = again or Profile(name, address, own_id)
    if options["port"] is not None and not own_id and options["port"] != profile.port:
        profile = attrs.evolve(profile, client_id="")  # its redirect URI holds the old port
    profile = attrs.evolve(profile, allow_insecure=allowed)
    changes = {name: value for name, value in options.items() if name != "client_id" and value not in (None, [])}
    return attrs.evolve(profile, **changes)


async def _sign_in(out: Output, profile: Profile, timeout: float, *, browser: bool) -> tuple[Profile, list[str]]:
    from ..tokens.loopback import sign_in

    async def show(url: str) -> None:
        out.note("To sign in, open this address in a browser:")
        out.errors.print(url, soft_wrap=True)
        if browser and _has_browser():
            # `webbrowser.open` may wait for the browser to end, and the callback is awaited on this thread.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    await rehearse(profile)  # a store that fails is better known before the browser opens
    if profile.has_secret and not await has_valid_client_secret(profile):
        profile = attrs.evolve(profile, client_id="", auth_method="")  # register another client
    registered = None
    async with authorization_flow(profile) as flow:
        if not profile.client_id:
            port = profile.port or _free_port()
            redirects = [f"http://127.0.0.1:{port}/callback", "http://127.0.0.1/callback"]
            # This asks for a client without a secret. The server may issue one all the same (RFC 7591 section 3.2.1).
            client = await flow.register(redirect_uris=redirects, client_name=CLIENT_NAME, scopes=profile.scopes)
            profile = attrs.evolve(profile, client_id=client.client_id, port=port, auth_method=client.auth_method)
            registered = client
        manager = await sign_in(
            flow,
            show=show,
            scopes=profile.scopes,
            resource=profile.resource,
            account=profile.name,
            port=profile.port,
            timeout=timeout,
            paste=_Paste(out) if is_typed() else None,
        )
        state = manager.status()
        if registered is not None and profile.has_secret:
            await save_client_secret(profile, registered)
    if not state.durable:
        raise Failure("You are signed in, but the tokens could not be stored.", f"Look at {folder()}.", code="not_kept")
    return profile, sorted(state.scopes)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _has_browser() -> bool:
    """Tell if there is a browser with a window. One in this terminal would take the terminal from the command."""
    windows = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(windows or os.environ.get("BROWSER"))


class _Paste:
    """A question at the terminal: the address that the browser ended at."""

    def __init__(self, out: Output) -> None:
        self._out = out
        # Not through sys.stdin: the thread that reads cannot be ended, and its lock on sys.stdin would spoil the exit.
        self._descriptor = sys.stdin.fileno()
        self._lines = Lines(self._descriptor)

    async def __call__(self, problem: str | None) -> str | None:
        if problem:
            self._out.note(problem)
        loop = asyncio.get_running_loop()
        line: asyncio.Future[Secret[bytearray]] = loop.create_future()

        # The sign-in may be over, and this future cancelled, before the user has typed a line.
        def finish(typed: Secret[bytearray]) -> None:
            if not line.done():
                line.set_result(typed)

        def read() -> None:
            loop.call_soon_threadsafe(finish, self._lines.read())

        with whole_lines(self._descriptor):
            click.echo("Or paste the address that it ended at: ", nl=False, err=True)
            threading.Thread(target=read, daemon=True).start()
            return (await line).plain.decode(errors="replace").strip() or None
