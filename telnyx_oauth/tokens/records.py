"""The manager's records in a store: read with care, written over nothing newer, and gone without when the store
fails.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum, auto
from math import inf
from typing import TypeVar

import attrs

from ..errors import StoreConflictError
from ..protocol.freshness import RefreshPolicy
from ..protocol.token import TokenKey
from ..transport.clock import Clock
from .events import Announcer, PersistenceDegraded, RecordSetAside
from .flight import Job
from .stores.memory import MemoryStore
from .stores.record import StoredGrant, TokenStore

T = TypeVar("T")
_CLOCK_SKEW = 300.0
_ROUNDS = 4
_GRACE = 1.0  # for a store's lock to give up by itself
_FOREIGN = "it belongs to another issuer or client"
_AHEAD = "it is dated in the future"


class Hold(Enum):
    """Who has a record's lock. Without it, compare-and-swap alone protects."""

    OURS = auto()
    THEIRS = auto()
    FAILED = auto()
    """The store cannot say."""


class Records:
    """What a store holds of this manager's grants. With `one_for_all`, one record serves all scopes and resources."""

    def __init__(
        self, store: TokenStore, policy: RefreshPolicy, clock: Clock, announce: Announcer, *, one_for_all: bool
    ) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._announce = announce
        self._one_for_all = one_for_all
        self.family: StoredGrant | None = None
        """The one grant, as last seen: a store that fails or forgets does not lose it."""
        self._unsaved: dict[str, StoredGrant] = {}
        self._hung_until = -inf
        self._turns = MemoryStore()

    def name(self, key: TokenKey) -> str:
        """The name of the record for a key."""
        return key.family_key if self._one_for_all else key.store_key

    def note(self, record: StoredGrant) -> None:
        """Know the one grant, whatever becomes of the store."""
        if self._one_for_all:
            self.family = record

    def expect(self, key: TokenKey, record: StoredGrant) -> None:
        """Know what is about to be stored, should that be cut short."""
        self._unsaved[self.name(key)] = record

    def drop(self, key: TokenKey) -> None:
        """Know nothing of it any more."""
        self.family = None
        self._unsaved.pop(self.name(key), None)

    async def delete(self, key: TokenKey) -> None:
        """Remove the record. A store that fails raises."""
        self.drop(key)
        await self._bounded(self._store.delete(self.name(key)))

    async def save(self, job: Job) -> bool:
        """Try again to store what could not be stored. True when nothing is left to be saved."""
        unsaved = self._unsaved.get(self.name(job.key))
        return unsaved is None or (not self._hangs and await self.persist(job, unsaved, announce=False))

    @asynccontextmanager
    async def held(self, job: Job, patience: float, *, in_turn: bool = True) -> AsyncGenerator[Hold]:
        """The record's lock, waited for `patience` seconds at most."""
        async with AsyncExitStack() as locks:
            if self._one_for_all and in_turn:
                # Whatever the store can do, this process spends the one refresh token for one key after the other.
                await locks.enter_async_context(self._turns.lock("", timeout=self._policy.flight_timeout))
            yield await self._lock(job, locks, patience)

    async def _lock(self, job: Job, locks: AsyncExitStack, patience: float) -> Hold:
        async def release(*_: object) -> None:
            try:
                await self._bounded(lock.__aexit__(None, None, None))
            except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
                self._degraded(job, "unlock", exc)

        try:
            self._check_awake()
            lock = self._store.lock(self.name(job.key), timeout=patience)
            await self._bounded(lock.__aenter__(), _GRACE)
        except Exception as exc:  # noqa: BLE001 - as above
            if isinstance(exc, TimeoutError) and not self._hangs:
                return Hold.THEIRS
            self._degraded(job, "lock", exc)
            return Hold.FAILED
        locks.push_async_exit(release)
        return Hold.OURS

    async def glance(self, job: Job) -> StoredGrant | None:
        """What the store holds, if it is in order: for those who hold no lock, and so must change nothing."""
        if self.name(job.key) in self._unsaved:
            return None
        try:
            self._check_awake()
            stored = await self._bounded(self._store.load(self.name(job.key)))
        except Exception:  # noqa: BLE001 - whoever goes on to the lock will meet the same there, and tell of it
            return None
        if stored is None or self._flaw(job, stored):
            return None
        self.note(stored)
        return stored

    async def load(self, job: Job) -> StoredGrant | None:
        """What the store holds, or what is known without it."""
        name = self.name(job.key)
        mine = self._unsaved.get(name) or self.family
        try:
            self._check_awake()
            stored = await self._bounded(self._store.load(name))
            stored = None if stored is None else await self._vetted(job, stored)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            self._degraded(job, "load", exc)
            return mine
        if stored is None:
            return None if mine is None else attrs.evolve(mine, version=None)
        if name in self._unsaved and mine is not None and stored.issued_at <= mine.issued_at:
            return attrs.evolve(mine, version=stored.version)
        self.note(stored)
        return stored

    def _flaw(self, job: Job, stored: StoredGrant) -> str:
        """Why a record cannot be used as it is: it is not ours, or not of this time."""
        if (stored.token_endpoint, stored.client_id) != (job.key.token_endpoint, job.key.client_id):
            return _FOREIGN
        return _AHEAD if stored.issued_at > self._clock.wall() + _CLOCK_SKEW else ""

    async def _vetted(self, job: Job, stored: StoredGrant) -> StoredGrant | None:
        """The record, if it is in order; else it is moved out of the way."""
        name = self.name(job.key)
        reason = self._flaw(job, stored)
        if not reason:
            return stored
        await self._bounded(self._store.compare_and_swap(f"{name}.aside-{secrets.token_hex(4)}", None, stored))
        self._announce(RecordSetAside(job.key, self._clock.wall(), job.flight, reason))
        if reason == _FOREIGN:
            await self._bounded(self._store.delete(name))
            return None
        # A wrong clock spoils the lifetime, not the grant.
        kept = attrs.evolve(stored, access_token=None, issued_at=self._clock.wall())
        version = await self._bounded(self._store.compare_and_swap(name, stored.version, kept))
        return attrs.evolve(kept, version=version)

    async def swap(self, job: Job, record: StoredGrant, operation: str) -> StoredGrant:
        """Write the record over the version it came from. A failing store is told of and gone without; a conflict
        raises.
        """
        if job.forgotten:
            return record
        try:
            self._check_awake()
            version = await self._bounded(self._store.compare_and_swap(self.name(job.key), record.version, record))
        except StoreConflictError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            self._degraded(job, operation, exc)
        else:
            record = attrs.evolve(record, version=version)
        self.note(record)
        return record

    async def persist(self, job: Job, record: StoredGrant, *, announce: bool = True) -> bool:
        """Store a new grant, over whatever is older. False when it could not be: it is tried again later."""
        name = self.name(job.key)
        self._unsaved[name] = record
        try:
            for _ in range(_ROUNDS):
                try:
                    version = await self._bounded(self._store.compare_and_swap(name, record.version, record))
                except StoreConflictError:
                    if job.forgotten:
                        break
                    theirs = await self._bounded(self._store.load(name))
                    if theirs is not None and theirs.issued_at > record.issued_at:
                        record = theirs  # someone has renewed later than this; theirs stays
                        break
                    record = attrs.evolve(record, version=None if theirs is None else theirs.version)
                else:
                    record = attrs.evolve(record, version=version)
                    break
            else:
                raise StoreConflictError
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            if announce:
                self._degraded(job, "persist", exc)
            return False
        self._unsaved.pop(name, None)
        self.note(record)
        return True

    @property
    def _hangs(self) -> bool:
        return self._clock.boot() < self._hung_until

    def _check_awake(self) -> None:
        """Raise after an answer that never came: waiting again at each of a renewal's steps would outlast the renewal.
        What must be tried at any rate (to store a new grant, to let go of a lock) does not ask.
        """
        if self._hangs:
            raise TimeoutError

    async def _bounded(self, call: Awaitable[T], grace: float = 0.0) -> T:
        bound = asyncio.timeout(self._policy.lock_timeout + grace)
        try:
            async with bound:
                return await call
        finally:
            if bound.expired():
                self._hung_until = self._clock.boot() + self._policy.lock_timeout

    def _degraded(self, job: Job, operation: str, exc: Exception) -> None:
        event = PersistenceDegraded(job.key, self._clock.wall(), job.flight, operation, type(exc).__name__)
        self._announce(event)
