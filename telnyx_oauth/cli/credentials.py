"""Credentials of a command: the profile that it acts for, and that profile's store, client secret and token manager."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Coroutine
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..errors import TokenPersistenceError
from .failures import AuthenticationNeeded, WrongUsage
from .profiles import DEFAULT, Profile, check_shape, folder, load, usable

if TYPE_CHECKING:
    from ..protocol.registration import RegisteredClient
    from ..protocol.token import Token
    from ..tokens.authorization_code import AuthorizationFlow
    from ..tokens.manager import TokenManager
    from ..tokens.sources import ClientSecret
    from ..tokens.stores.base import StoredGrant, TokenStore

STORE_TIMEOUT: Final = 10.0
"""Seconds for one answer of the token store. A keyring may ask for a password, and hang where it cannot."""
_T = TypeVar("_T")
_CLIENT_SECRET: Final = "client_secret"


# --- which credentials a command uses


def environment_has_credentials() -> bool:
    """Tell if the environment holds an API key, or a client's id and secret."""
    variables = {name for name in ("API_KEY", "CLIENT_ID", "CLIENT_SECRET") if os.environ.get(f"TELNYX_{name}")}
    return "API_KEY" in variables or variables == {"CLIENT_ID", "CLIENT_SECRET"}


def calling_profile(name: str | None, base_url: str | None) -> Profile | None:
    """The profile that a command acts for; `None` where it uses the environment's credentials, or none.

    Without a `name` this is the default profile, unless the environment has credentials or the command goes to another
    address: tokens are sent to the service that issued them, and to no other.
    """
    if name is None:
        address = base_url or os.environ.get("TELNYX_BASE_URL")
        profile = None if environment_has_credentials() else load(DEFAULT)
        if profile is None or (address and check_shape(address) != profile.base_url):
            return None
        return usable(profile)
    profile = load(name)
    if profile is None:
        hint = f"Sign in: telnyx-oauth login --profile {name}"
        raise AuthenticationNeeded(f"There is no profile {name}.", hint, code="no_profile")
    if base_url and check_shape(base_url) != profile.base_url:
        raise WrongUsage(
            f"The profile {profile.name} is for {profile.base_url}, and for no other address.", code="usage"
        )
    return usable(profile)


# --- what a profile's credentials are made of


def token_store(profile: Profile) -> TokenStore:
    """The store that holds the profile's tokens."""
    if profile.store == "keyring":
        from ..tokens.stores.keyring import KeyringStore

        return KeyringStore(folder=folder() / "locks")
    from ..tokens.stores.file import FileStore

    return FileStore(folder() / "tokens")


def authorization_flow(profile: Profile, *, sends: bool = True) -> AuthorizationFlow:
    """The profile's sign-in. Without `sends` it may be for any address, as nothing is sent there."""
    from ..tokens.authorization_code import AuthorizationFlow

    # A profile holds no secret. The user's own client has it in the environment, beside its id. A client that `login`
    # registered has it in the token store.
    secret: ClientSecret | None = None
    if profile.client_id and os.environ.get("TELNYX_CLIENT_ID") == profile.client_id:
        secret = os.environ.get("TELNYX_CLIENT_SECRET")
    method = None
    if secret is None and profile.has_secret:
        secret, method = partial(_client_secret, profile), profile.auth_method or None
    return AuthorizationFlow(
        client_id=profile.client_id or None,
        client_secret=secret,
        auth_method=method,
        base_url=profile.base_url,
        resource=profile.resource,
        store=token_store(profile),
        allow_insecure=profile.allow_insecure or not sends,
    )


def token_manager(profile: Profile) -> TokenManager:
    """The manager of the profile's tokens. Its connections end with the loop that it is used on."""
    asyncio.run(_check_store(profile))
    return authorization_flow(profile).tokens(account=profile.name)


def access_token(profile: Profile, **options: Any) -> Token:
    """An access token of the profile, refreshed if necessary. Takes what `TokenManager.get` takes."""

    async def get() -> Token:
        await _check_store(profile)
        async with authorization_flow(profile) as flow:
            return await flow.tokens(account=profile.name).get(**options)

    return asyncio.run(get())


# --- what the store holds of a profile


def stored_grant(profile: Profile) -> StoredGrant | None:
    """The profile's record in the store; `None` where there is none, or none that can be refreshed."""

    async def look() -> StoredGrant | None:
        async with authorization_flow(profile) as flow:
            key = flow.tokens(account=profile.name).status().key
            record = await _in_time(profile, token_store(profile).load(key.family_key))
        return record if record and record.refresh_token and not record.tombstone else None

    return asyncio.run(look())


async def rehearse(profile: Profile) -> None:
    """Write a record to the store, read it and delete it. Raises `TokenPersistenceError` where that fails."""
    from ..protocol.freshness import RefreshPolicy
    from ..tokens.persistence import Access
    from ..transport.clock import SystemClock

    try:
        await Access(token_store(profile), RefreshPolicy(store_timeout=STORE_TIMEOUT), SystemClock()).rehearse("probe")
    except TokenPersistenceError as exc:
        if profile.store == "keyring":
            exc.add_note("To keep tokens in a file instead: telnyx-oauth login --store file")
        raise


async def forget(profile: Profile, *, client: bool = False) -> None:
    """Delete the profile's tokens from the store; with `client` also the secret of the client that was registered."""
    async with authorization_flow(profile, sends=False) as flow:
        await flow.tokens(account=profile.name).forget()
    if client and profile.has_secret:
        await _in_time(profile, token_store(profile).delete(_client_key(profile)))


async def save_client_secret(profile: Profile, client: RegisteredClient) -> None:
    """Keep the secret of a registered client in the token store, in a record of its own."""
    from ..tokens.stores.base import StoredGrant

    store, key = token_store(profile), _client_key(profile)
    old = await _in_time(profile, store.load(key))
    record = StoredGrant(
        f"{profile.base_url}/oauth/token",
        profile.client_id,
        _CLIENT_SECRET,
        access_token=client.client_secret,
        expires_at=client.secret_expires_at,
    )
    await _in_time(profile, store.compare_and_swap(key, None if old is None else old.version, record))


async def has_valid_client_secret(profile: Profile) -> bool:
    """Tell if the store holds a secret of the profile's client that has not expired."""
    record = await _in_time(profile, token_store(profile).load(_client_key(profile)))
    return record is not None and bool(record.access_token) and (record.expires_at or math.inf) > time.time()


async def _check_store(profile: Profile) -> None:
    # The manager works on with a store that fails, and would say that there is no grant. A locked keyring is no reason
    # to sign in again, so a command ends here with what the store says.
    await _in_time(profile, token_store(profile).load("probe"))
    if profile.has_secret:
        await _client_secret(profile)


async def _client_secret(profile: Profile) -> str:
    record = await _in_time(profile, token_store(profile).load(_client_key(profile)))
    if record is None or record.access_token is None:
        raise AuthenticationNeeded(
            f"The client secret of the profile {profile.name} is no longer in the store.",
            f"Sign in again: telnyx-oauth login --profile {profile.name}",
            code="no_client_secret",
        )
    return record.access_token


def _client_key(profile: Profile) -> str:
    owner = f"{profile.base_url}\n{profile.client_id}\n{profile.name}"
    return f"client-{sha256(owner.encode()).hexdigest()[:40]}"


async def _in_time(profile: Profile, call: Coroutine[Any, Any, _T]) -> _T:
    """The store's answer. Raises `TokenPersistenceError` after `STORE_TIMEOUT` seconds without one."""
    try:
        async with asyncio.timeout(STORE_TIMEOUT):
            return await call
    except TimeoutError:
        error = TokenPersistenceError(
            f"The {profile.store} with your tokens gave no answer within {STORE_TIMEOUT:g} s."
        )
        error.add_note("If it is locked, unlock it." if profile.store == "keyring" else f"Look at {folder()}.")
    raise error
