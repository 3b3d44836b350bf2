"""What introspection said of tokens, by the token's hash."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import attrs


@attrs.frozen(eq=False)
class IntrospectionResult:
    """What the server said of a token, at `answered_at` (Unix seconds).

    `claims` is its whole answer but for what it left null or empty (an empty `scope` is kept); empty when inactive.
    """

    active: bool
    claims: Mapping[str, object] = attrs.field(repr=False, factory=dict[str, object])
    answered_at: float = 0.0


@attrs.define
class _Kept:
    result: IntrospectionResult
    since: float
    used: float


class Verdicts:
    """Results, the least recently used going first. One is fresh for `ttl` seconds and stale for `stale` more."""

    def __init__(self, ttl: float, most: int, stale: float = 0.0) -> None:
        self._ttl = ttl
        self._longest = ttl + stale
        self._most = most
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def get(self, digest: bytes, boot: float, wall: float, *, stale: bool = False) -> IntrospectionResult | None:
        """The result, if it is fresh, or with `stale` may still be used, and its token has not expired."""
        kept = self._kept.get(digest)
        if kept is None or boot >= kept.since + (self._longest if stale else self._ttl):
            return None
        expires_at = kept.result.claims.get("exp")
        if isinstance(expires_at, int | float) and wall >= expires_at:
            self._kept.pop(digest, None)
            return None
        if stale:
            kept.used = boot
        try:
            self._kept.move_to_end(digest)
        except KeyError:  # another thread has dropped it meanwhile
            return None
        return kept.result

    def ends_within(self, seconds: float, digest: bytes, boot: float) -> bool:
        """Tell if a result that may still be used now may not be any more after so many seconds."""
        kept = self._kept.get(digest)
        return kept is not None and self._ends(kept, boot, seconds)

    def wanted(self, seconds: float, boot: float) -> int:
        """How many results end within so many seconds, and were used when stale as lately."""
        every = list(self._kept.values())
        return sum(kept.used > boot - seconds and self._ends(kept, boot, seconds) for kept in every)

    def _ends(self, kept: _Kept, boot: float, seconds: float) -> bool:
        return boot < kept.since + self._longest <= boot + seconds

    def put(self, digest: bytes, result: IntrospectionResult, boot: float) -> None:
        """Keep the result, from now on."""
        self._kept[digest] = _Kept(result, boot, boot)
        self._kept.move_to_end(digest)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def pop(self, digest: bytes) -> None:
        """Forget it."""
        self._kept.pop(digest, None)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def __contains__(self, digest: bytes) -> bool:
        """Tell if there is a result, however old."""
        return digest in self._kept
