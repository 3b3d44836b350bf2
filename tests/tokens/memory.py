"""Records of a `MemoryStore` that change behind its managers' backs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from telnyx_oauth.tokens.stores.base import StoredGrant
from telnyx_oauth.tokens.stores.memory import MemoryStore


def put_records(store: MemoryStore, records: Mapping[str, StoredGrant]) -> None:
    """Put these records in the place of all others, each under a new version, as a restored backup does."""

    async def put() -> None:
        for key in store.records:
            await MemoryStore.delete(store, key)
        for key, record in records.items():
            await MemoryStore.compare_and_swap(store, key, None, record)

    with suppress(StopIteration):  # a store in memory waits for nothing, so this needs no event loop
        put().send(None)
