"""The manager's records in a store: read with care, never written over anything newer, and what to do when the store fails.

An access token of the client's own can be had again, so a store that fails is gone without. A refresh token cannot: it
is sent only once the store has taken down that it will be.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Literal, TypeVar
from weakref import WeakKeyDictionary

import attrs

from ..errors import StoreConflictError, TelnyxError, TokenPersistenceError
from ..protocol.freshness import RefreshPolicy
from ..protocol.token import TokenKey
from ..transport.clock import Clock
from .events import Announcer, PersistenceDegraded, RecordSetAside
from .flight import Job
from .stores.memory import MemoryStore
from .stores.record import ASIDE, Lease, StoredGrant, TokenStore, is_shared

T = TypeVar("T")
_CLOCK_SKEW = 300.0
_ROUNDS = 4
_STEPS = 7.5
_AT_ONCE = 16
"""How many renewals use one store at the same time: each takes a thread, or a connection, for each step."""
_FOREIGN = "it belongs to another issuer or client"
_AHEAD = "it is dated in the future"


@attrs.frozen
class Hold:
    """A record's lock: had (`ours`), another's (`theirs`), or not to be had because the store fails (`failed`)."""

    kind: Literal["ours", "theirs", "failed"]
    lease: Lease | None = None
    error: TokenPersistenceError | None = None

    def is_safe(self) -> bool:
        """Whether nobody else can have the lock now."""
        return self.kind == "ours" and (self.lease is None or self.lease.is_held())


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
        self._family: StoredGrant | None = None
        self._unsaved: dict[str, StoredGrant] = {}
        self._usage = _usage_of(store)
        self._limited = is_shared(store)
        self._turns = MemoryStore()
        self._kept: dict[str, tuple[Hold, AsyncExitStack]] = {}
        self._inherited: list[object] = []

    def name(self, key: TokenKey) -> str:
        """The name of the record for a key."""
        return key.family_key if self._one_for_all else key.store_key

    def note(self, record: StoredGrant) -> None:
        """Know the one grant, whatever becomes of the store."""
        if self._one_for_all:
            self._family = record

    def expect(self, key: TokenKey, record: StoredGrant) -> None:
        """Know what is about to be stored, should that be cut short."""
        self._unsaved[self.name(key)] = record

    def drop(self, key: TokenKey) -> None:
        """Know nothing of it any more."""
        self._family = None
        self._unsaved.pop(self.name(key), None)

    async def delete(self, key: TokenKey) -> None:
        """Remove the record, and what was set aside of it. A store that fails raises."""
        self.drop(key)
        await self._let_go(self.name(key))
        await self._answer(self._store.delete(self.name(key)))
        await self._answer(self._store.delete(self.name(key) + ASIDE))

    async def save(self, job: Job, *, last: bool = False) -> bool:
        """Try again to store what could not be stored. True when nothing is left to be saved. For the `last` time, a store
        that gave no answer lately is asked all the same, and other processes are held off no longer.
        """
        name = self.name(job.key)
        unsaved = self._unsaved.get(name)
        saved = unsaved is None
        if unsaved is not None and (last or not self._hangs):
            saved = await self.persist(job, unsaved, announce=False) is not None
        if saved or last:
            await self._let_go(name)
        return saved

    def is_saved(self, key: TokenKey) -> bool:
        """Whether nothing is left to be saved."""
        return self.name(key) not in self._unsaved

    async def _let_go(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            await kept[1].aclose()

    def forget_locks(self) -> None:
        """Let go of nothing, but know of no lock any more: they are the parent process's."""
        self._inherited.append(self._kept)
        self._kept = {}

    @asynccontextmanager
    async def in_turn(self) -> AsyncGenerator[None]:
        """A place among the renewals that use the store now. Waiting for one counts for no time limit of the store."""
        if not self._limited:
            yield
            return
        async with self._usage.slots():
            yield

    @asynccontextmanager
    async def held(self, job: Job, patience: float, *, in_turn: bool = True) -> AsyncGenerator[Hold]:
        """The record's lock, waited for `patience` seconds at most."""
        name = self.name(job.key)
        async with AsyncExitStack() as turn:
            if self._one_for_all and in_turn:
                # Whatever the store can do, this process spends the one refresh token for one key after the other.
                await turn.enter_async_context(self._turns.lock("", timeout=self._policy.flight_timeout))
            hold, locks = self._kept.pop(name, (None, AsyncExitStack()))
            if hold is None or not hold.is_safe():
                await locks.aclose()
                hold = await self._lock(job, locks, patience)
            try:
                yield hold
            finally:
                if self._one_for_all and name in self._unsaved:
                    # Only this process knows the new refresh token. Another would find the old one, and send it again.
                    self._kept[name] = (hold, locks)
                else:
                    await locks.aclose()

    async def _lock(self, job: Job, locks: AsyncExitStack, patience: float) -> Hold:
        async def release(*_: object) -> None:
            try:
                await self._answer(lock.__aexit__(None, None, None))
            except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
                self._degraded(job, "unlock", exc)

        try:
            self._check_awake()
            lock = self._store.lock(self.name(job.key), timeout=patience)
            lease = await self._answer(lock.__aenter__(), patience)
        except Exception as exc:  # noqa: BLE001 - as above
            if isinstance(exc, TimeoutError) and not self._hangs:
                return Hold("theirs")
            return Hold("failed", error=self._degraded(job, "lock", exc))
        locks.push_async_exit(release)
        return Hold("ours", lease)

    async def glance(self, job: Job) -> StoredGrant | None:
        """What the store holds, if it is in order: for those who hold no lock."""
        if self.name(job.key) in self._unsaved:
            return None
        try:
            self._check_awake()
            stored = await self._answer(self._store.load(self.name(job.key)))
        except Exception:  # noqa: BLE001 - the lock is tried next, and fails for the same reason
            return None
        if stored is not None and self._flaw(job, stored):
            return None
        known = self._family
        if known is not None and known.version is not None and (stored is None or known.is_newer(stored)):
            # The store went back in time. Others may know less: they must find this before they renew what is over.
            with suppress(TokenPersistenceError):
                await self.swap(job, attrs.evolve(known, version=None if stored is None else stored.version), "restore")
            return None
        if stored is not None:
            self.note(stored)
        return stored

    async def load(self, job: Job, *, lenient: bool = False) -> StoredGrant | None:
        """The newest record that is known: the store's, or this manager's where the store has lost it or gone back in
        time (see `is_ahead`). That one is written back with the next swap.

        Raises `TokenPersistenceError` when the store cannot be read, unless `lenient`, or all that it keeps can be had
        again: what it holds may be newer than anything known here.
        """
        name = self.name(job.key)
        mine = self._unsaved.get(name) or self._family
        try:
            self._check_awake()
            stored = await self._answer(self._store.load(name))
            stored = None if stored is None else await self._vetted(job, stored)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            error = self._degraded(job, "load", exc)
            if self._one_for_all and not lenient:
                raise error from None
            return mine
        if mine is not None and (stored is None or mine.is_newer(stored)):
            return attrs.evolve(mine, version=None if stored is None else stored.version)
        if stored is not None:
            self.note(stored)
        return stored

    def is_ahead(self, record: StoredGrant) -> bool:
        """Whether the store once held this record, and now holds an older one, or none: it went back in time."""
        known = self._family
        return known is not None and known.version is not None and known == record and known.version != record.version

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
        before = await self._answer(self._store.load(name + ASIDE))
        version = None if before is None else before.version
        await self._answer(self._store.compare_and_swap(name + ASIDE, version, stored))
        self._announce(RecordSetAside(job.key, self._clock.wall(), job.flight, reason))
        if reason == _FOREIGN:
            await self._answer(self._store.delete(name))
            return None
        # A wrong clock spoils the lifetime, not the grant.
        kept = attrs.evolve(stored, access_token=None, issued_at=self._clock.wall())
        version = await self._answer(self._store.compare_and_swap(name, stored.version, kept))
        return attrs.evolve(kept, version=version)

    async def swap(self, job: Job, record: StoredGrant, operation: str) -> StoredGrant:
        """Write the record over the version it came from. Raises `TokenPersistenceError` when the store fails, and
        `StoreConflictError` when the record was changed meanwhile.
        """
        if job.forgotten:
            return record
        try:
            self._check_awake()
            version = await self._answer(self._store.compare_and_swap(self.name(job.key), record.version, record))
        except StoreConflictError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            raise self._degraded(job, operation, exc) from None
        record = attrs.evolve(record, version=version)
        self.note(record)
        return record

    async def persist(self, job: Job, record: StoredGrant, *, announce: bool = True) -> StoredGrant | None:
        """Store a new grant, over whatever is older. `None` when it could not be: it is tried again later."""
        name = self.name(job.key)
        self._unsaved[name] = record
        try:
            if not self._one_for_all:  # a refresh token is worth another wait
                self._check_awake()
            for _ in range(_ROUNDS):
                try:
                    version = await self._answer(self._store.compare_and_swap(name, record.version, record))
                except StoreConflictError:
                    if job.forgotten:
                        break
                    theirs = await self._answer(self._store.load(name))
                    if theirs is not None and _was_later(theirs, record):
                        record = theirs
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
            return None
        self._unsaved.pop(name, None)
        self.note(record)
        return record

    @property
    def _hangs(self) -> bool:
        return self._clock.boot() < self._usage.hung_until

    def _check_awake(self) -> None:
        """Raise after an answer that never came: waiting again at each of a renewal's steps would outlast the renewal.
        What must be tried at any rate (to store a new refresh token, to let go of a lock) does not ask.
        """
        if self._hangs:
            raise TimeoutError

    async def _answer(self, call: Awaitable[T], longer: float = 0.0) -> T:
        """What the store answers, within its time limit and the `longer` that the call itself may wait."""
        loop = asyncio.get_running_loop()
        limit = self._policy.store_timeout + longer
        step = limit / _STEPS
        timer: asyncio.TimerHandle

        def look(due: float) -> None:
            nonlocal timer
            late = loop.time() - due
            if late > step and (end := bound.when()) is not None:
                # A process that was stopped finds every time limit over, though the store had no time to answer.
                bound.reschedule(end + late)
            timer = loop.call_later(step, look, loop.time() + step)

        timer = loop.call_later(step, look, loop.time() + step)
        bound = asyncio.timeout(limit)
        try:
            async with bound:
                return await call
        finally:
            timer.cancel()
            if bound.expired():
                self._usage.hung_until = self._clock.boot() + self._policy.lock_timeout

    def _degraded(self, job: Job, operation: str, exc: Exception) -> TokenPersistenceError:
        said = self._said(operation, exc)
        event = PersistenceDegraded(job.key, self._clock.wall(), job.flight, operation, type(exc).__name__, said)
        self._announce(event)
        return TokenPersistenceError(
            f"The token store fails, so the refresh token was not used. It is kept, and tried again. {said}"
        )

    def _said(self, operation: str, exc: Exception) -> str:
        # Only our own words and the system's: those of a database's driver may hold its password.
        if isinstance(exc, TelnyxError):
            return exc.message
        if isinstance(exc, TimeoutError):
            return f"It gave no answer at `{operation}` within {self._policy.store_timeout:g} s."
        why = os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else ""
        return f"{type(exc).__name__} at `{operation}`{': ' if why else ''}{why}."


def _was_later(theirs: StoredGrant, ours: StoredGrant) -> bool:
    """Whether another's record stays where ours was to be written. Two of the same rank: the later token."""
    return theirs.is_newer(ours) or (not ours.is_newer(theirs) and theirs.issued_at > ours.issued_at)


class _Usage:
    """What all managers of one store share: their places on each event loop, and until when the store counts as hung."""

    def __init__(self) -> None:
        self.hung_until = float("-inf")
        self._slots: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    def slots(self) -> asyncio.Semaphore:
        """The places on the running loop."""
        here = asyncio.get_running_loop()
        slots = self._slots.get(here)
        if slots is None:
            for loop in [loop for loop in list(self._slots) if loop.is_closed()]:
                self._slots.pop(loop, None)
            slots = self._slots[here] = asyncio.Semaphore(_AT_ONCE)
        return slots


_usages: WeakKeyDictionary[object, _Usage] = WeakKeyDictionary()


def _usage_of(store: TokenStore) -> _Usage:
    try:
        return _usages.setdefault(store, _Usage())
    except TypeError:  # a store of somebody's own that cannot be referred to weakly, or has no hash
        return _Usage()
