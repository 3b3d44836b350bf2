"""Verdicts on tokens, and the bounded caches that keep them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import TypeVar

import attrs

_K = TypeVar("_K")
_V = TypeVar("_V")


class LRU(OrderedDict[_K, _V]):
    """A mapping of at most `most` items, from which the least recently used go first.

    Safe for threads without a lock: each step is one operation of the dictionary. Another thread may act between two steps,
    so an item that is there in one may be gone in the next.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def touch(self, key: _K) -> bool:
        """Count the item as used now. Return `False` if another thread has dropped it."""
        try:
            self.move_to_end(key)
        except KeyError:
            return False
        return True

    def put(self, key: _K, value: _V) -> None:
        """Keep the item, as the one used last."""
        self[key] = value
        self.touch(key)
        while len(self) > self._most:
            with suppress(KeyError):  # another thread has dropped the last one
                self.popitem(last=False)


@attrs.frozen(eq=False)
class IntrospectionResult:
    """The server's answer about a token, received at `answered_at` (Unix seconds).

    `claims` is the whole answer without its null and empty members (an empty `scope` is kept); empty when inactive.
    """

    active: bool
    claims: Mapping[str, object] = attrs.field(repr=False, factory=dict[str, object])
    answered_at: float = 0.0


@attrs.define
class _Item:
    result: IntrospectionResult
    since: float
    used: float


class Verdicts:
    """Introspection results by the token's digest. One is fresh for `ttl` seconds, and stale for `stale` more."""

    def __init__(self, ttl: float, most: int, stale: float = 0.0) -> None:
        self._ttl = ttl
        self._longest = ttl + stale
        self._items: LRU[bytes, _Item] = LRU(most)

    def get(self, digest: bytes, boot: float, wall: float, *, stale: bool = False) -> IntrospectionResult | None:
        """The result, if it is fresh, or with `stale` may still be used, and its token has not expired."""
        item = self._items.get(digest)
        if item is None or boot >= item.since + (self._longest if stale else self._ttl):
            return None
        expires_at = item.result.claims.get("exp")
        if isinstance(expires_at, int | float) and wall >= expires_at:
            self._items.pop(digest, None)
            return None
        if stale:
            item.used = boot
        return item.result if self._items.touch(digest) else None

    def ends_within(self, seconds: float, digest: bytes, boot: float) -> bool:
        """Return whether a result that may be used now, stale ones included, ends within so many seconds."""
        item = self._items.get(digest)
        return item is not None and self._ends(item, boot, seconds)

    def count_ending(self, seconds: float, boot: float) -> int:
        """Count the results that end within so many seconds and were used while stale within as many before."""
        items = list(self._items.values())
        return sum(item.used > boot - seconds and self._ends(item, boot, seconds) for item in items)

    def _ends(self, item: _Item, boot: float, seconds: float) -> bool:
        return boot < item.since + self._longest <= boot + seconds

    def put(self, digest: bytes, result: IntrospectionResult, boot: float) -> None:
        """Keep the result, from now on."""
        self._items.put(digest, _Item(result, boot, boot))

    def pop(self, digest: bytes) -> None:
        """Forget the result."""
        self._items.pop(digest, None)

    def clear(self) -> None:
        """Forget all results."""
        self._items.clear()

    def __contains__(self, digest: bytes) -> bool:
        """Return whether there is a result, however old."""
        return digest in self._items
