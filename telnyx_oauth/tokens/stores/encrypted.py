"""A store whose records cannot be read without the key."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import attrs
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ...errors import TokenPersistenceError
from ...protocol.arguments import expect
from ...protocol.secret import Secret
from .base import STORE, STORE_METHODS, Lease, StoredGrant, TokenStore, Version, is_shared


class EncryptedStore:
    """Encrypts whole records before they reach another store; only the server, the client and the times stay legible.

    `keys` are Fernet keys (`cryptography.fernet.Fernet.generate_key()`): the first encrypts, all decrypt. To replace
    a key, add the new one at the end everywhere, then move it to the front, then drop the old one. A record that no
    key fits is left alone, and loading it fails: most likely it is the key that is missing.
    """

    def __init__(self, inner: TokenStore, keys: Iterable[str | bytes]) -> None:
        expect(inner, "inner", STORE, *STORE_METHODS)
        self._inner = inner
        secret_keys = Secret(keys)
        del keys
        fernets = _fernets(secret_keys)
        if not fernets:
            raise ValueError(
                "`keys` must be a list of one or more keys, each as cryptography.fernet.Fernet.generate_key() gives it: "
                "32 bytes, written as 44 characters of URL-safe Base64."
            )
        self._fernet = MultiFernet(fernets)
        self.shared = is_shared(inner)

    async def load(self, key: str) -> StoredGrant | None:
        """The record, decrypted."""
        sealed = await self._inner.load(key)
        if sealed is None:
            return None
        grant = self._decrypted(key, sealed.refresh_token or sealed.access_token or "")
        if grant is None:
            raise TokenPersistenceError("A stored record cannot be decrypted with any of the given keys.")
        return attrs.evolve(grant, version=sealed.version)

    async def compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        """Encrypt and write `new` in the place of `expected`, and give its version."""
        # The record's name is encrypted with it, so that a record copied to another name is noticed.
        text = self._fernet.encrypt(key.encode() + b"\n" + new.encode()).decode("ascii")
        sealed = attrs.evolve(new, request="", scopes=frozenset(), generation=0, intent=None, tombstone=None)
        # In the refresh token's place if there is one, since a store may drop records without a refresh token.
        if new.refresh_token is None:
            sealed = attrs.evolve(sealed, access_token=text)
        else:
            sealed = attrs.evolve(sealed, access_token=None, refresh_token=text)
        return await self._inner.compare_and_swap(key, expected, sealed)

    async def delete(self, key: str) -> None:
        """Remove the record, if there is one."""
        await self._inner.delete(key)

    def lock(self, key: str, *, timeout: float) -> AbstractAsyncContextManager[Lease | None]:
        """Lock the grant against other refreshes."""
        return self._inner.lock(key, timeout=timeout)

    def _decrypted(self, key: str, text: str) -> StoredGrant | None:
        try:
            name, _, data = self._fernet.decrypt(text).partition(b"\n")
            return StoredGrant.decode(data) if name == key.encode() else None
        except (InvalidToken, ValueError):
            return None


def _fernets(keys: Secret[Iterable[str | bytes]]) -> list[Fernet]:
    """Make the ciphers. The list is empty if one key is wrong, so that no error passes a frame that holds it."""
    if isinstance(keys.plain, (str, bytes)):  # a single key would be read as a list of letters
        return []
    try:
        return [Fernet(key.plain) for key in map(Secret, keys.plain)]
    except (TypeError, ValueError):
        return []
