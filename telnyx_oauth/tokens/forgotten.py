"""Marks of forgotten grants, so that a process that still knows such a grant does not store it again."""

from __future__ import annotations

from ..errors import StoreConflictError
from ..protocol.token import TokenKey
from ..transport.clock import Clock
from .access import Access
from .stores.record import FORGOTTEN, FORGOTTEN_KEPT, StoredGrant, TokenStore

_ROUNDS = 4
_CLOCK_SKEW = 300.0


class Forgotten:
    """Marks in a store, each beside the place of the record and without a token. A mark ends every grant of that name that
    began before it, and is valid for 30 days.
    """

    def __init__(self, access: Access, store: TokenStore, clock: Clock) -> None:
        self._access = access
        self._store = store
        self._clock = clock

    async def mark(self, name: str, key: TokenKey, began: float) -> None:
        """Write the mark. It ends what began up to now, or up to `began` where another machine's clock is ahead."""
        now = self._clock.wall()
        for _ in range(_ROUNDS):
            before = await self._load(name)
            began = max(began, now, 0.0 if before is None else before.began)
            mark = StoredGrant(
                key.token_endpoint,
                key.client_id,
                issued_at=now,
                expires_at=now + FORGOTTEN_KEPT,
                tombstone="no_refresh_token",
                began=began,
            )
            version = None if before is None else before.version
            try:
                await self._access.answer(self._store.compare_and_swap(name + FORGOTTEN, version, mark))
            except StoreConflictError:  # of another who forgets it
                continue
            return
        raise StoreConflictError

    async def mark_of(self, name: str) -> StoredGrant | None:
        """The mark; `None` where there is none, or it has ended."""
        mark = await self._load(name)
        return None if mark is None or (mark.expires_at or 0.0) < self._clock.wall() else mark

    async def covers(self, name: str, grant: StoredGrant) -> bool:
        """Tell if a grant that the store has no more was forgotten."""
        mark = await self.mark_of(name)
        if mark is None or grant.began > mark.began:
            return False
        # When a refresh token of somebody's own began is not known, and it may be given again.
        return grant.began > 0 or grant.issued_at <= mark.issued_at + _CLOCK_SKEW

    async def clear(self, name: str) -> None:
        """Remove the mark."""
        await self._access.answer(self._store.delete(name + FORGOTTEN))

    async def _load(self, name: str) -> StoredGrant | None:
        return await self._access.answer(self._store.load(name + FORGOTTEN))
