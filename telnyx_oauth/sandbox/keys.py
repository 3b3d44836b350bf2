"""The service's signing keys: RS256 access tokens and the key set that proves them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from joserfc import jws
from joserfc.jwk import RSAKey

_pool: list[RSAKey] = []
"""Keys of this process. Making one costs 60 ms, so every sandbox begins with the same first key: a process of a
thousand sandboxes makes one. What sets their tokens apart is the issuer."""


def pooled_key(index: int) -> RSAKey:
    """The process's `index`-th key, made when first asked for."""
    while len(_pool) <= index:
        key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"})
        key.ensure_kid()
        _pool.append(key)
    return _pool[index]


class KeyRing:
    """One service's keys: the newest signs, the published ones prove."""

    def __init__(self) -> None:
        self._newest = 1
        self._published = [1]

    @property
    def kid(self) -> str:
        """The name of the key that signs."""
        return str(pooled_key(self._newest).kid)

    def rotate(self, *, overlap: bool) -> None:
        """Sign with a new key. With `overlap` the older ones stay published."""
        self._newest += 1
        self._published = [*self._published, self._newest] if overlap else [self._newest]

    def retire(self) -> None:
        """Publish only the key that signs."""
        self._published = [self._newest]

    def key_set(self) -> dict[str, object]:
        """The JWK Set (RFC 7517) of the published keys, newest first."""
        return {"keys": [dict(pooled_key(index).as_dict(private=False)) for index in reversed(self._published)]}

    def sign(
        self, claims: Mapping[str, object], *, header: Mapping[str, object] | None = None, forged: bool = False
    ) -> str:
        """A JWS of the claims, `typ` `at+jwt` (RFC 9068). `header` overrides members, None leaves one out.

        `forged` signs with a key that is never published, under the name of the one that is.
        """
        key = pooled_key(0 if forged else self._newest)
        full = {"alg": "RS256", "typ": "at+jwt", "kid": self.kid, **(header or {})}
        protected = {name: value for name, value in full.items() if value is not None}
        return jws.serialize_compact(protected, json.dumps(claims, separators=(",", ":")), key, algorithms=["RS256"])
