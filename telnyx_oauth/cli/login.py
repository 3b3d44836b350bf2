"""`login` and `logout`, and the tokens of a profile."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Coroutine
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

import attrs

from ..errors import TelnyxError, TokenPersistenceError
from ..protocol.secret import Secret
from ..protocol.urls import is_insecure
from .command import command, several
from .extra import click
from .failures import AuthenticationNeeded, Failure, failure_of
from .output import Lines, Output, is_typed, keep_stdout, whole_lines
from .profiles import DEFAULT, Profile, Store, folder, load, prepare, save
from .session import Session

if TYPE_CHECKING:
    from ..protocol.registration import RegisteredClient
    from ..protocol.token import Token
    from ..tokens.authorization_code import AuthorizationFlow
    from ..tokens.manager import TokenManager
    from ..tokens.sources import ClientSecret
    from ..tokens.stores.base import StoredGrant, TokenStore


CLIENT_NAME = "telnyx-oauth command line"
_CLIENT_SECRET = "client_secret"
T = TypeVar("T")
_PATIENCE: Final = 10.0
"""Seconds for an answer of the store of tokens. A keyring may ask a person for a password, and hang without one."""


@command("login")
@click.option("--client-id", help="Your OAuth client; without it one is registered.  [environment: TELNYX_CLIENT_ID]")
@several("--scope", "scopes", "What you will be asked to allow.")
@click.option("--resource", metavar="URI", help="The API that the tokens shall be for (RFC 8707).")
@click.option("--port", type=click.IntRange(0, 65535), help="Where the browser's answer is awaited, on 127.0.0.1.")
@click.option("--timeout", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Seconds to wait.")
@click.option("--browser/--no-browser", default=True, help="Open a browser, or only print the address.")
@click.option("--store", type=click.Choice(get_args(Store)), help="Where tokens are kept.  [default: file]")
def login(session: Session, *, timeout: float, browser: bool, **given: Any) -> None:
    """Sign in in a browser. From then on, commands act for you, with tokens that renew themselves.

    An OAuth client of your own has to allow the redirect URI http://127.0.0.1/callback.
    """
    keep_stdout()  # of which a browser takes a copy
    prepare()
    name = session.profile_name or DEFAULT
    old = load(name)
    profile = _wanted(session, name, old, **given)
    profile, scopes = asyncio.run(_sign_in(session.out, profile, timeout, browser=browser))
    save(profile)
    if old is not None and any(getattr(old, it) != getattr(profile, it) for it in ("base_url", "client_id", "store")):
        try:
            # Nothing would find its tokens any more.
            asyncio.run(_forget(old, client=old.client_id != profile.client_id))
        except (TelnyxError, OSError) as exc:
            session.out.note(f"The tokens of the sign-in before are still where they were. {failure_of(exc).message}")
    session.done(f"Signed in: profile {name}, for {' '.join(scopes) or 'no scope'}.", profile=name, scopes=scopes)
    if session.profile_name is None and session.environment_identity:
        session.out.note("The environment's credentials still win over this: unset them, or give --profile default.")


@command("logout")
def logout(session: Session) -> None:
    """Forget your tokens here. What you allowed stands until it is revoked: see `grants`."""
    name = session.profile_name or DEFAULT
    profile = load(name)
    if profile is None:
        raise AuthenticationNeeded(f"Nobody is signed in: there is no profile {name}.", code="no_profile")
    asyncio.run(_forget(profile))
    session.done(f"Signed out: profile {name}.", profile=name)


def manager_of(profile: Profile) -> TokenManager:
    """The manager of the tokens of whoever is signed in there. Its connections end with the loop that it is used on."""
    asyncio.run(_look_at_secrets(profile))
    return _flow(profile).tokens(account=profile.name)


def token_of(profile: Profile, **wanted: Any) -> Token:
    """A token of whoever is signed in there, renewed if it has to be."""

    async def get() -> Token:
        await _look_at_secrets(profile)
        async with _flow(profile) as flow:
            return await flow.tokens(account=profile.name).get(**wanted)

    return asyncio.run(get())


def grant_of(profile: Profile) -> StoredGrant | None:
    """What is stored of whoever is signed in there; `None` when nothing is that could still be used."""

    async def look() -> StoredGrant | None:
        async with _flow(profile) as flow:
            key = flow.tokens(account=profile.name).status().key
            found = await _asked(profile, _store(profile).load(key.family_key))
        return found if found and found.refresh_token and not found.tombstone else None

    return asyncio.run(look())


def _wanted(session: Session, name: str, old: Profile | None, **given: Any) -> Profile:
    """What to sign in with: what is given, else the environment's, else as last time. An empty id is to be registered."""
    own_id = given["client_id"] or os.environ.get("TELNYX_CLIENT_ID") or ""
    address = session.address_for(old)
    allowed = is_insecure(address)  # or `address_for` would have refused
    again = old if old is not None and old.base_url == address and own_id in ("", old.client_id) else None
    profile = again or Profile(name, address, own_id)
    if given["port"] is not None and not own_id and given["port"] != profile.port:
        profile = attrs.evolve(profile, client_id="")  # the one that is registered is registered for another port
    profile = attrs.evolve(profile, allow_insecure=allowed)
    changes = {name: value for name, value in given.items() if name != "client_id" and value not in (None, [])}
    return attrs.evolve(profile, **changes)


async def _sign_in(out: Output, profile: Profile, timeout: float, *, browser: bool) -> tuple[Profile, list[str]]:
    from ..protocol.freshness import RefreshPolicy
    from ..tokens.loopback import sign_in
    from ..tokens.persistence import Access
    from ..transport.clock import SystemClock

    async def show(url: str) -> None:
        out.note("To sign in, open this address in a browser:")
        out.errors.print(url, soft_wrap=True)
        if browser and _has_browser():
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    try:  # better known before the browser is
        await Access(_store(profile), RefreshPolicy(store_timeout=_PATIENCE), SystemClock()).rehearse("probe")
    except TokenPersistenceError as exc:
        if profile.store == "keyring":
            exc.add_note("To keep tokens in a file instead: telnyx-oauth login --store file")
        raise
    if profile.has_secret and not await _has_good_secret(profile):
        profile = attrs.evolve(profile, client_id="", auth_method="")  # of no more use, so another is registered
    registered = None
    async with _flow(profile) as flow:
        if not profile.client_id:
            port = profile.port or _free_port()
            redirects = [f"http://127.0.0.1:{port}/callback", "http://127.0.0.1/callback"]
            # A client without a secret is asked for; the server may give one all the same (RFC 7591 section 3.2.1).
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
            await _keep_secret(profile, registered)
    if not state.durable:
        raise Failure("You are signed in, and the tokens could not be kept.", f"Look at {folder()}.", code="not_kept")
    return profile, sorted(state.scopes)


async def _look_at_store(profile: Profile) -> None:
    """Raise what the store says of itself: one that cannot be read is no reason to sign in again."""
    await _asked(profile, _store(profile).load("probe"))


async def _asked(profile: Profile, call: Coroutine[Any, Any, T]) -> T:
    """The store's answer, within its time."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await call
    except TimeoutError:
        error = TokenPersistenceError(f"The {profile.store} with your tokens gave no answer within {_PATIENCE:g} s.")
        error.add_note("If it is locked, unlock it." if profile.store == "keyring" else f"Look at {folder()}.")
    raise error


async def _forget(profile: Profile, *, client: bool = False) -> None:
    async with _flow(profile, sends=False) as flow:
        await flow.tokens(account=profile.name).forget()
    if client and profile.has_secret:
        await _asked(profile, _store(profile).delete(_client_key(profile)))


async def _keep_secret(profile: Profile, client: RegisteredClient) -> None:
    """Keep a registered client's secret where the tokens are, as a record of its own."""
    from ..tokens.stores.base import StoredGrant

    store, key = _store(profile), _client_key(profile)
    old = await _asked(profile, store.load(key))
    record = StoredGrant(
        f"{profile.base_url}/oauth/token",
        profile.client_id,
        _CLIENT_SECRET,
        access_token=client.client_secret,
        expires_at=client.secret_expires_at,
    )
    await _asked(profile, store.compare_and_swap(key, None if old is None else old.version, record))


async def _has_good_secret(profile: Profile) -> bool:
    found = await _asked(profile, _store(profile).load(_client_key(profile)))
    return found is not None and bool(found.access_token) and (found.expires_at or math.inf) > time.time()


async def _look_at_secrets(profile: Profile) -> None:
    """Raise what the store says of itself, and where the client's secret is not there any more."""
    await _look_at_store(profile)
    if profile.has_secret:
        await _secret(profile)


async def _secret(profile: Profile) -> str:
    found = await _asked(profile, _store(profile).load(_client_key(profile)))
    if found is None or found.access_token is None:
        raise AuthenticationNeeded(
            f"The secret of the client of profile {profile.name} is no longer in the store.",
            f"Sign in again: telnyx-oauth login --profile {profile.name}",
            code="no_client_secret",
        )
    return found.access_token


def _client_key(profile: Profile) -> str:
    whose = f"{profile.base_url}\n{profile.client_id}\n{profile.name}"
    return f"client-{sha256(whose.encode()).hexdigest()[:40]}"


def _flow(profile: Profile, *, sends: bool = True) -> AuthorizationFlow:
    from ..tokens.authorization_code import AuthorizationFlow

    # The profile has no secret. That of a client of the user's own is where its id is, in the environment; that of a
    # client that was registered here is where the tokens are.
    secret: ClientSecret | None = None
    if profile.client_id and os.environ.get("TELNYX_CLIENT_ID") == profile.client_id:
        secret = os.environ.get("TELNYX_CLIENT_SECRET")
    method = None
    if secret is None and profile.has_secret:
        secret, method = partial(_secret, profile), profile.auth_method or None
    return AuthorizationFlow(
        client_id=profile.client_id or None,
        client_secret=secret,
        auth_method=method,
        base_url=profile.base_url,
        resource=profile.resource,
        store=_store(profile),
        allow_insecure=profile.allow_insecure or not sends,
    )


def _store(profile: Profile) -> TokenStore:
    if profile.store == "keyring":
        from ..tokens.stores.keyring import KeyringStore

        return KeyringStore(folder=folder() / "locks")
    from ..tokens.stores.file import FileStore

    return FileStore(folder() / "tokens")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _has_browser() -> bool:
    """Whether opening one opens a window. A browser in this terminal would take it away from us."""
    windows = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(windows or os.environ.get("BROWSER"))


class _Paste:
    """Asks at the terminal for the address that the browser ended at."""

    def __init__(self, out: Output) -> None:
        self._out = out
        # Not through sys.stdin: its lock, held by a thread that nobody can end, would end the process badly.
        self._descriptor = sys.stdin.fileno()
        self._lines = Lines(self._descriptor)

    async def __call__(self, problem: str | None) -> str | None:
        if problem:
            self._out.note(problem)
        loop = asyncio.get_running_loop()
        line: asyncio.Future[Secret[bytearray]] = loop.create_future()

        def finish(typed: Secret[bytearray]) -> None:
            if not line.done():
                line.set_result(typed)

        def read() -> None:
            loop.call_soon_threadsafe(finish, self._lines.read())

        with whole_lines(self._descriptor):
            click.echo("Or paste the address that it ended at: ", nl=False, err=True)
            threading.Thread(target=read, daemon=True).start()
            return (await line).plain.decode(errors="replace").strip() or None
