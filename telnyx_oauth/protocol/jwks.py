"""The issuer's key set: which of its keys are usable, and which one a token means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from ..errors import Reason
from .jose import parse_object, read_entries
from .jwk import UnusableKeyError, VerificationKey, import_key

_Index: TypeAlias = Mapping[tuple[str, str | None], VerificationKey | None]


def _indexed(keys: KeySet) -> _Index:
    """By algorithm and id. None marks two keys where one must be: neither is usable, as they cannot be told apart.

    Keys are the same by their material: one may be listed twice, with and without the algorithm that it is for.
    """
    index: dict[tuple[str, str | None], VerificationKey | None] = {}
    for key in keys.keys:
        for name in key.algorithms:
            for kid in {key.kid, None}:  # a token without `kid` means the only key there is for its algorithm
                known = index.get((name, kid), key)
                index[name, kid] = known if known is not None and known.thumbprint == key.thumbprint else None
    return index


@attrs.frozen
class KeySet:
    """The usable keys of one JWKS, and per key that is not why not: `keys[2]: use is not sig`."""

    keys: tuple[VerificationKey, ...] = ()
    skipped: tuple[str, ...] = ()
    _index: _Index = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_indexed, takes_self=True))

    def select(self, algorithm: str, kid: str | None) -> VerificationKey | Reason:
        """The one key that a token with this header means, or why there is none."""
        found = self._index.get((algorithm, kid), Reason.KID_UNKNOWN)
        return Reason.KID_AMBIGUOUS if found is None else found

    def knows(self, kid: str | None) -> bool:
        """Whether a key has this id, be it for other algorithms."""
        return any(key.kid == kid for key in self.keys)


def read_jwks(data: bytes, *, max_keys: int = 64) -> KeySet | None:
    """The keys of a JWKS document (RFC 7517 section 5), or None when it is none, or longer than `max_keys`.

    A key that is malformed or not for verifying is left out and takes no other with it, even if it cannot be read.
    """
    entries = read_entries(data, "keys")
    if entries is None or len(entries) > max_keys:
        return None
    keys: dict[VerificationKey, None] = {}
    skipped: list[str] = []
    for place, entry in enumerate(entries):
        try:
            keys[_read(entry)] = None
        except UnusableKeyError as error:
            skipped.append(f"keys[{place}]: {error}")
    return KeySet(tuple(keys), tuple(skipped))


def _read(entry: bytes) -> VerificationKey:
    jwk = parse_object(entry)
    if jwk is None and entry.startswith(b"{"):
        raise UnusableKeyError("it cannot be read")
    return import_key(jwk)
