"""The sources of a validator's keys: their interface, and the one whose keys never change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Protocol, runtime_checkable

from ..errors import InvalidTokenError, Reason
from ..protocol.arguments import expect_kind
from ..protocol.jwk import KeySet, VerificationKey, read_jwks
from ..protocol.secret import Secret


class KeySource(Protocol):
    """A source of keys: selects the key that a token's header names."""

    @property
    def generation(self) -> int:
        """A number that changes whenever the set of keys does."""
        ...

    async def select(self, *, alg: str, kid: str | None) -> VerificationKey:
        """The one key for this header. Raises `InvalidTokenError` if there is none, `KeysUnavailableError` if unknown."""
        ...

    def contains(self, key: VerificationKey) -> bool:
        """Return whether the key is still one of the set."""
        ...

    async def warm(self) -> None:
        """Get the keys, so that the first token need not wait. Never raises for a failing fetch."""
        ...

    async def aclose(self) -> None:
        """Close the source's connections."""
        ...


@runtime_checkable
class ChangingKeys(KeySource, Protocol):
    """A source of keys that change, so that a key may have been replaced under its id."""

    @property
    def fetches(self) -> int:
        """The number of times the keys were fetched."""
        ...

    async def select(self, *, alg: str, kid: str | None, issued: bool = False) -> VerificationKey:
        """As for any source; `issued`: for a token that this client was just granted."""
        ...

    async def fetch_again(self, fetches: int, *, issued: bool = False) -> None:
        """Fetch the keys once more, unless they were since their number was `fetches`, or the source's rules forbid it."""
        ...


class SigningKeys:
    """Finds the key that made a signature. `issued`: the tokens are those that this client was just granted."""

    def __init__(self, keys: KeySource, *, issued: bool = False) -> None:
        self._issued = issued
        self._changing = keys if isinstance(keys, ChangingKeys) else None  # once: it is slow
        self._select = partial(keys.select, issued=issued) if isinstance(keys, ChangingKeys) else keys.select

    async def find(
        self, algorithm: str, kid: str | None, signing_input: Secret[bytes], signature: bytes
    ) -> VerificationKey | None:
        """The key; `None` if neither the one that the header names nor one that has replaced it made the signature.

        Raises the errors of the source's `select`.
        """
        changing = self._changing
        fetches = 0 if changing is None else changing.fetches
        key = await self._select(alg=algorithm, kid=kid)
        if key.verify(algorithm, signing_input.plain, signature):
            return key
        if changing is None:
            return None
        # A server may put a new key under an old id, so one more look is due before the signature counts as forged.
        await changing.fetch_again(fetches, issued=self._issued)
        other = await self._select(alg=algorithm, kid=kid)
        return other if other != key and other.verify(algorithm, signing_input.plain, signature) else None


class StaticKeys:
    """The keys of a JWKS that is at hand: for tests, and for services without a network.

    A key that may not verify (malformed, private, of another use) is left out; `skipped` lists them with reasons. Raises
    `ValueError` when `jwks` is no JWKS at all.
    """

    generation = 0

    def __init__(self, jwks: Mapping[str, object] | str | bytes) -> None:
        document = Secret(jwks)  # by mistake it may hold private keys
        del jwks
        expect_kind(type(document.plain), "jwks", "a mapping, a str or bytes", Mapping, str, bytes)
        keys = _read(document)
        if keys is None:
            raise ValueError('jwks must be {"keys": [...]} with at most 64 keys (RFC 7517 section 5).')
        self._keys = keys
        self.skipped = keys.skipped

    async def select(self, *, alg: str, kid: str | None) -> VerificationKey:
        """The one key for this header. Raises `InvalidTokenError`."""
        key = self._keys.select(alg, kid)
        if isinstance(key, Reason):
            raise InvalidTokenError(key)
        return key

    def contains(self, key: VerificationKey) -> bool:
        """Return whether the key is one of the set."""
        return key in self._keys.keys

    async def warm(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do."""


def _read(jwks: Secret[Mapping[str, object] | str | bytes]) -> KeySet | None:
    document = jwks.plain
    text = document if isinstance(document, str | bytes) else json.dumps(document)
    return read_jwks(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
