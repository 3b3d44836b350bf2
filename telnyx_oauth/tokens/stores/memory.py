"""The store that ends with the process; managers that share it share its tokens."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import attrs

from ...errors import StoreConflictError
from .base import StoredGrant, Version

_POLL = 0.01


class MemoryStore:
    """Keeps grants in this process. Safe for any number of loops and threads: nothing waits, and of several writes of
    one record at the same moment, one succeeds.
    """

    shared = False

    def __init__(self) -> None:
        self._records: dict[str, StoredGrant] = {}
        self._holders: dict[str, _Holder] = {}
        self._writers: dict[str, tuple[int, object]] = {}

    @property
    def records(self) -> Mapping[str, StoredGrant]:
        """The records of this moment by key, for tests: a read-only copy. Its `repr` shows no token."""
        return MappingProxyType(dict(self._records))

    async def load(self, key: str) -> StoredGrant | None:
        """The record, with its version."""
        return self._records.get(key)

    async def compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        """Write `new` in the place of `expected` and give its version."""
        # `setdefault` is atomic, so it decides between threads without a lock that a fork could leave locked in the child.
        mine = (os.getpid(), object())
        while (writer := self._writers.setdefault(key, mine)) is not mine:
            if writer[0] == mine[0]:
                raise StoreConflictError  # a thread is between comparing and swapping
            self._writers.pop(key, None)  # it was, as this process was forked
        try:
            now = self._records.get(key)
            if (None if now is None else now.version) != expected:
                raise StoreConflictError
            version = secrets.token_hex(8)
            self._records[key] = attrs.evolve(new, version=version)
        finally:
            del self._writers[key]
        return version

    async def delete(self, key: str) -> None:
        """Remove the record, if there is one."""
        self._records.pop(key, None)

    @asynccontextmanager
    async def lock(self, key: str, *, timeout: float) -> AsyncGenerator[None]:
        """Lock the grant against other refreshes. A holder that a fork or a closed loop left behind is passed over."""
        mine = _Holder(os.getpid(), asyncio.get_running_loop())
        deadline = asyncio.get_running_loop().time() + timeout
        while (holder := self._holders.setdefault(key, mine)) is not mine:
            if holder.is_gone():
                self._holders.pop(key, None)
                continue
            if asyncio.get_running_loop().time() >= deadline:
                raise TimeoutError
            await asyncio.sleep(_POLL)
        try:
            yield
        finally:
            if self._holders.get(key) is mine:
                del self._holders[key]


@attrs.frozen(eq=False)
class _Holder:
    pid: int
    loop: asyncio.AbstractEventLoop

    def is_gone(self) -> bool:
        return self.pid != os.getpid() or self.loop.is_closed()
