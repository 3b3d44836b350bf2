"""The issuer's key set: which of its keys are usable, and which one a token means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, cast

import attrs

from ..errors import Reason
from .jose import parse_document
from .jwk import UnusableKeyError, VerificationKey, import_key

_MAX_BRACKETS = 2048


_Index: TypeAlias = Mapping[tuple[str, str | None], VerificationKey | None]


def _indexed(keys: KeySet) -> _Index:
    """By algorithm and id. None marks two keys where one must be: neither is usable, as they cannot be told apart."""
    index: dict[tuple[str, str | None], VerificationKey | None] = {}
    for key in keys.keys:
        for name in key.algorithms:
            for kid in {key.kid, None}:  # a token without `kid` means the only key there is for its algorithm
                index[name, kid] = None if (name, kid) in index else key
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

    A key that is malformed or not for verifying is left out and takes no other with it.
    """
    document = parse_document(data, max_brackets=_MAX_BRACKETS)
    listed = None if document is None else document.get("keys")
    if not isinstance(listed, tuple):
        return None
    jwks = cast("tuple[object, ...]", listed)
    if len(jwks) > max_keys:
        return None
    keys: dict[VerificationKey, None] = {}
    skipped: list[str] = []
    for place, jwk in enumerate(jwks):
        try:
            keys[import_key(jwk)] = None
        except UnusableKeyError as error:
            skipped.append(f"keys[{place}]: {error}")
    return KeySet(tuple(keys), tuple(skipped))
