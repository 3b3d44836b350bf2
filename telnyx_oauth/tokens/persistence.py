"""A manager's grants in a store: read, written and locked within time limits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

import attrs

from ..errors import StoreConflictError, TelnyxError, TokenPersistenceError
from ..protocol.freshness import RefreshPolicy
from ..protocol.token import TokenKey
from ..transport.clock import Clock
from .attempt import Attempt
from .events import Announcer, PersistenceDegraded, RecordSetAside
from .stores.base import FORGOTTEN, FORGOTTEN_KEPT, QUARANTINE, Intent, Lease, StoredGrant, TokenStore, is_shared
from .stores.memory import MemoryStore

T = TypeVar("T")
_STEPS = 7.5
_REFRESHES = 128
"""Refreshes that use a store at the same time: each holds a lock, which may have to be extended."""
_CALLS = 16
"""Calls that ask the store for a lock at the same time, and other calls: each takes a thread, or a connection."""
_REHEARSAL = ".rehearsal"
_REHEARSED = 60.0


class Access:
    """Calls a store for one manager. The managers of one store share its slots, and the knowledge that it hangs."""

    def __init__(self, store: TokenStore, policy: RefreshPolicy, clock: Clock) -> None:
        self._limited = is_shared(store)
        try:
            self._usage = _usages.setdefault(store, _Usage())
        except TypeError:  # a user's store without weak references, or without a hash
            self._usage = _Usage()
        self._store = store
        self._policy = policy
        self._clock = clock

    @property
    def hangs(self) -> bool:
        """True if the store gave no answer lately."""
        return self._clock.boot() < self._usage.hung_until

    async def answer(self, call: Coroutine[Any, Any, T], longer: float = 0.0, *, insist: bool = False) -> T:
        """The store's answer, within its time limit and the `longer` that the call itself may wait.

        Raises `TimeoutError` for a store that gave no answer lately, and asks nothing: a time limit at each step of a refresh
        would be longer than the refresh may take. With `insist` it is asked all the same: to store a new refresh token, to
        release a lock.
        """
        loop = asyncio.get_running_loop()
        limit = self._policy.store_timeout + longer
        step = limit / _STEPS
        timer: asyncio.TimerHandle

        def look(due: float) -> None:
            nonlocal timer
            late = loop.time() - due
            if late > step and not bound.expired() and (end := bound.when()) is not None:
                # A process that was stopped finds every time limit over, though the store had no time to answer.
                bound.reschedule(end + late)
            timer = loop.call_later(step, look, loop.time() + step)

        async with AsyncExitStack() as stack:
            stack.callback(call.close)  # where it is not even begun
            if self._limited:  # the wait for a slot is not the store's time
                await stack.enter_async_context(self._usage.slots("lock" if longer else "step", _CALLS))
            if self.hangs and not insist:
                raise TimeoutError
            timer = loop.call_later(step, look, loop.time() + step)
            bound = asyncio.timeout(limit)
            try:
                async with bound:
                    return await call
            finally:
                timer.cancel()
                if bound.expired():
                    self._usage.hung_until = self._clock.boot() + self._policy.lock_timeout

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """Wait for a slot among the refreshes that use the store. That wait counts for no time limit of the store."""
        if not self._limited:
            yield
            return
        async with self._usage.slots("refresh", _REFRESHES):
            yield

    async def rehearse(self, name: str, token_endpoint: str = "", client_id: str = "") -> None:
        """Write and remove a record without a token, as long as a grant may be. Raises `TokenPersistenceError`.

        For a person's first grant, whose code can be used only once.
        """
        name += _REHEARSAL
        now = self._clock.wall()
        intent = Intent(now, "rehearsal")
        record = StoredGrant(token_endpoint, client_id, issued_at=now, expires_at=now + _REHEARSED, intent=intent)
        try:
            left = await self.answer(self._store.load(name), insist=True)
            await self.answer(self._store.compare_and_swap(name, None if left is None else left.version, record))
            await self.answer(self._store.delete(name))
        except StoreConflictError:  # another process rehearses
            return
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            reason = self.reason("rehearsal", exc)
        else:
            return
        raise TokenPersistenceError(f"The token store fails, so nothing was sent. {reason}")

    def reason(self, operation: str, exc: Exception) -> str:
        """One sentence about a failure of the store."""
        # In the words of this package and of the system only: those of a database's driver may hold its password.
        if isinstance(exc, TelnyxError):
            return exc.message
        if isinstance(exc, TimeoutError):
            return f"It gave no answer at `{operation}` within {self._policy.store_timeout:g} s."
        why = os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else ""
        return f"{type(exc).__name__} at `{operation}`{': ' if why else ''}{why}."


class _Usage:
    """The state that all managers of one store share: its slots on each event loop, and the end of the time for which it
    counts as hung.
    """

    def __init__(self) -> None:
        self.hung_until = float("-inf")
        self._slots: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Semaphore] = {}

    def slots(self, kind: str, most: int) -> asyncio.Semaphore:
        """The slots of a kind on the running loop."""
        here = asyncio.get_running_loop()
        slots = self._slots.get((here, kind))
        if slots is None:
            for each in [each for each in list(self._slots) if each[0].is_closed()]:
                self._slots.pop(each, None)
            slots = self._slots[here, kind] = asyncio.Semaphore(most)
        return slots


_usages: WeakKeyDictionary[object, _Usage] = WeakKeyDictionary()
_ROUNDS = 4
_CLOCK_SKEW = 300.0


class ForgottenMarks:
    """Marks in a store, each beside a record and without a token. A mark ends every grant of that name that began before
    it, and is valid for 30 days.
    """

    def __init__(self, access: Access, store: TokenStore, clock: Clock) -> None:
        self._access = access
        self._store = store
        self._clock = clock

    async def write(self, name: str, key: TokenKey, began: float) -> None:
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
            except StoreConflictError:  # another process forgets it
                continue
            return
        raise StoreConflictError

    async def read(self, name: str) -> StoredGrant | None:
        """The mark; `None` if there is none, or it has ended."""
        mark = await self._load(name)
        return None if mark is None or (mark.expires_at or 0.0) < self._clock.wall() else mark

    async def covers(self, name: str, grant: StoredGrant) -> bool:
        """Return whether a grant that is missing from the store was forgotten."""
        mark = await self.read(name)
        if mark is None or grant.began > mark.began:
            return False
        # `began` is unknown (0) for a refresh token that a user passed in, and that token may be passed in again.
        return grant.began > 0 or grant.issued_at <= mark.issued_at + _CLOCK_SKEW

    async def delete(self, name: str) -> None:
        """Remove the mark."""
        await self._access.answer(self._store.delete(name + FORGOTTEN))

    async def _load(self, name: str) -> StoredGrant | None:
        return await self._access.answer(self._store.load(name + FORGOTTEN))


_TICK = 0.001
_FOREIGN = "it belongs to another issuer or client"
_AHEAD = "it is dated in the future"


class LockLostError(TokenPersistenceError):
    """Another process may have the lock by now, so nothing was sent."""


@attrs.frozen
class LockOutcome:
    """The outcome of taking a record's lock: `acquired`, `busy` (another process has it), or `failed` with the store."""

    kind: Literal["acquired", "busy", "failed"]
    lease: Lease | None = None
    error: TokenPersistenceError | None = None

    def is_held(self) -> bool:
        """Return whether no other process can have the lock now."""
        return self.kind == "acquired" and (self.lease is None or self.lease.is_held())

    def check(self) -> None:
        """Raise `LockLostError` when another process may have the lock: this machine was suspended, or the server lost it.

        Called at the last moment before a refresh token is sent.
        """
        if not self.is_held():
            raise LockLostError("The store's lock was lost before the refresh token was sent.")


class Persistence:
    """A manager's grants in its store. With `single_grant`, one record serves all scopes and resources.

    Stores go back in time: a replica is promoted, a backup is restored. So what this process knows of its one grant is
    kept beside what the store says, and the newer of the two is used (`StoredGrant.is_newer`).
    """

    def __init__(
        self, store: TokenStore, policy: RefreshPolicy, clock: Clock, announce: Announcer, *, single_grant: bool
    ) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._announce = announce
        self._single_grant = single_grant
        self._newest: StoredGrant | None = None  # of the one grant, as far as this process knows
        self._unsaved: dict[str, StoredGrant] = {}
        self._access = Access(store, policy, clock)
        self._marks = ForgottenMarks(self._access, store, clock)
        self._was_forgotten = False  # the one grant, by another process
        self.slot = self._access.slot
        self._turns = MemoryStore()
        self._kept_locks: dict[str, tuple[LockOutcome, AsyncExitStack]] = {}
        self._lost_locks: list[object] = []

    def name(self, key: TokenKey) -> str:
        """The name of the record for a key."""
        return key.family_key if self._single_grant else key.store_key

    def remember(self, record: StoredGrant) -> None:
        """Remember the record as the newest of the one grant, unless a newer one is known."""
        if self._single_grant and (self._newest is None or not self._newest.is_newer(record)):
            self._newest = record
            self._was_forgotten = False

    def drop(self, key: TokenKey) -> None:
        """Forget what this process knows of the grant."""
        self._newest = None
        self._was_forgotten = False
        self._unsaved.pop(self.name(key), None)

    async def delete(self, key: TokenKey) -> None:
        """Remove the record, and a quarantined one, for all processes. Raises `TokenPersistenceError`."""
        name = self.name(key)
        grant = self._unsaved.get(name) or self._newest
        self.drop(key)
        await self._release(name)
        error = await self._mark(key, grant)
        try:
            # Of a store that has just hung, once is enough.
            await self._access.answer(self._store.delete(name), insist=error is None)
            await self._access.answer(self._store.delete(name + QUARANTINE), insist=error is None)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            error = exc
        else:
            error = error and await self._mark(key, grant)  # a disk that was full may have room now
        self.drop(key)  # a refresh in flight may have read it again
        if error is not None:
            raise TokenPersistenceError(
                "The token store fails, so the grant may be in it still, or another process may put it there again. Forget it "
                f"once more when the store works. {self._access.reason('delete', error)}"
            )

    async def _mark(self, key: TokenKey, grant: StoredGrant | None) -> Exception | None:
        """Mark the grant as forgotten. Return the error if that fails."""
        if not self._single_grant:
            return None
        name = self.name(key)
        try:
            with suppress(
                TokenPersistenceError, ValueError
            ):  # a record that cannot be read can be forgotten all the same
                stored = await self._access.answer(self._store.load(name), insist=True)
                grant = stored if stored is not None and (grant is None or stored.is_newer(grant)) else grant
            await self._marks.write(name, key, 0.0 if grant is None else grant.began)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            return exc
        return None

    async def earliest_start(self, key: TokenKey) -> float:
        """The earliest `began` of a grant in the place of a forgotten one; 0 if none was forgotten."""
        with suppress(Exception):  # a store that fails has no answer
            mark = await self._marks.read(self.name(key))
            return 0.0 if mark is None else mark.began + _TICK
        return 0.0

    async def clear_mark(self, key: TokenKey) -> None:
        """Remove the mark of a forgotten grant: there is another grant in its place."""
        with suppress(Exception):  # then the mark ends by itself
            await self._marks.delete(self.name(key))

    async def _is_forgotten(self, name: str) -> bool:
        """Return whether the store has no record because another process has forgotten the grant. Then drop it here, too."""
        grant = self._unsaved.get(name) or self._newest
        if not self._single_grant or grant is None or not await self._marks.covers(name, grant):
            return False
        self._newest = None
        self._was_forgotten = True
        self._unsaved.pop(name, None)
        return True

    # -- locks

    @asynccontextmanager
    async def lock(self, attempt: Attempt, patience: float, *, in_turn: bool = True) -> AsyncGenerator[LockOutcome]:
        """Take the record's lock, waiting for `patience` seconds at most."""
        name = self.name(attempt.key)
        async with AsyncExitStack() as turn:
            if self._single_grant and in_turn:
                # Whatever the store can do, this process spends the one refresh token for one key after the other.
                await turn.enter_async_context(self._turns.lock("", timeout=self._policy.flight_timeout))
            outcome, stack = self._kept_locks.pop(name, (None, AsyncExitStack()))
            if outcome is None or not outcome.is_held():
                await stack.aclose()
                outcome = await self._acquire(attempt, stack, patience)
            try:
                yield outcome
            finally:
                if self._single_grant and name in self._unsaved:
                    # Only this process has the new refresh token. Another would find the old one, and send it again. So the
                    # lock is kept until the new one is saved.
                    self._kept_locks[name] = (outcome, stack)
                else:
                    await stack.aclose()

    async def _acquire(self, attempt: Attempt, stack: AsyncExitStack, patience: float) -> LockOutcome:
        async def enter(lock: AbstractAsyncContextManager[Lease | None]) -> Lease | None:
            return await lock.__aenter__()

        async def leave(lock: AbstractAsyncContextManager[Lease | None]) -> None:
            await lock.__aexit__(None, None, None)

        async def release(*_: object) -> None:
            try:
                await self._access.answer(leave(lock), insist=True)
            except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
                self._degraded(attempt, "unlock", exc)

        try:
            lock = self._store.lock(self.name(attempt.key), timeout=patience)
            lease = await self._access.answer(enter(lock), patience)
        except Exception as exc:  # noqa: BLE001 - as above
            if isinstance(exc, TimeoutError) and not self._access.hangs:
                return LockOutcome("busy")
            return LockOutcome("failed", error=self._degraded(attempt, "lock", exc))
        stack.push_async_exit(release)
        return LockOutcome("acquired", lease)

    async def _release(self, name: str) -> None:
        kept = self._kept_locks.pop(name, None)
        if kept is not None:
            await kept[1].aclose()

    def forget_locks(self) -> None:
        """Forget the kept locks without releasing them: they are the parent process's, or ended with their loop."""
        self._lost_locks.append(self._kept_locks)  # kept alive, since collecting one would release it
        self._kept_locks = {}

    # -- reading

    async def peek(self, attempt: Attempt) -> StoredGrant | None:
        """Read the store's record without the lock. `None` unless it can be used as it is."""
        if self.name(attempt.key) in self._unsaved:
            return None
        try:
            stored = await self._access.answer(self._store.load(self.name(attempt.key)))
        except Exception:  # noqa: BLE001 - the lock is tried next, and fails for the same reason
            return None
        if stored is not None and self._defect(attempt, stored):
            return None
        newest = self._newest
        if newest is not None and newest.version is not None and (stored is None or newest.is_newer(stored)):
            # The store went back in time. Other processes may know less, and must read this record before they send a refresh
            # token that was used already.
            with suppress(Exception):
                if stored is None and await self._is_forgotten(self.name(attempt.key)):
                    return None
                record = attrs.evolve(newest, version=None if stored is None else stored.version)
                await self.swap(attempt, record, "restore")
            return None
        if stored is not None:
            self.remember(stored)
        return stored

    async def load(self, attempt: Attempt, *, lenient: bool = False) -> StoredGrant | None:
        """The newest known record: the store's, or this manager's where the store has lost it or gone back in time (see
        `store_went_back`). That one is written back with the next swap.

        Raises `TokenPersistenceError` when the store cannot be read, since its record may be newer than anything known here;
        not if `lenient`, nor for grants that can simply be requested again.
        """
        name = self.name(attempt.key)
        try:
            stored = await self._access.answer(self._store.load(name))
            stored = None if stored is None else await self._usable(attempt, stored)
            if stored is None:
                await self._is_forgotten(name)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            error = self._degraded(attempt, "load", exc)
            if self._single_grant and not lenient:
                raise error from None
            return self._unsaved.get(name) or self._newest
        mine = self._unsaved.get(name) or self._newest
        if mine is None and stored is None and self._was_forgotten:
            return StoredGrant(attempt.key.token_endpoint, attempt.key.client_id, tombstone="no_refresh_token")
        if mine is not None and (stored is None or mine.is_newer(stored)):
            return attrs.evolve(mine, version=None if stored is None else stored.version)
        if stored is not None:
            self.remember(stored)
        return stored

    def store_went_back(self, record: StoredGrant) -> bool:
        """Return whether the store once had this record, and now has an older one, or none."""
        newest = self._newest
        return (
            newest is not None and newest.version is not None and newest == record and newest.version != record.version
        )

    def _defect(self, attempt: Attempt, stored: StoredGrant) -> str:
        """The reason why a record cannot be used as it is: another issuer's or client's, or dated in the future."""
        if (stored.token_endpoint, stored.client_id) != (attempt.key.token_endpoint, attempt.key.client_id):
            return _FOREIGN
        return _AHEAD if stored.issued_at > self._clock.wall() + _CLOCK_SKEW else ""

    async def _usable(self, attempt: Attempt, stored: StoredGrant) -> StoredGrant | None:
        """The record if it can be used. Quarantine one that cannot, and return what remains of it."""
        name = self.name(attempt.key)
        reason = self._defect(attempt, stored)
        if not reason:
            return stored
        before = await self._access.answer(self._store.load(name + QUARANTINE))
        version = None if before is None else before.version
        await self._access.answer(self._store.compare_and_swap(name + QUARANTINE, version, stored))
        self._announce(RecordSetAside(attempt.key, self._clock.wall(), attempt.number, reason))
        if reason == _FOREIGN:
            await self._access.answer(self._store.delete(name))
            return None
        # A wrong clock makes the lifetime useless, but not the grant.
        remains = attrs.evolve(stored, access_token=None, issued_at=self._clock.wall())
        version = await self._access.answer(self._store.compare_and_swap(name, stored.version, remains))
        return attrs.evolve(remains, version=version)

    # -- writing

    async def swap(self, attempt: Attempt, record: StoredGrant, operation: str) -> StoredGrant:
        """Write the record over the version it came from. Raises `TokenPersistenceError` when the store fails, and
        `StoreConflictError` when the record was changed meanwhile.
        """
        if attempt.forgotten:
            return record
        try:
            version = await self._access.answer(
                self._store.compare_and_swap(self.name(attempt.key), record.version, record)
            )
        except StoreConflictError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            raise self._degraded(attempt, operation, exc) from None
        record = attrs.evolve(record, version=version)
        if not attempt.forgotten:
            self.remember(record)
        return record

    async def persist(self, attempt: Attempt, record: StoredGrant, *, announce: bool = True) -> StoredGrant | None:
        """Store a new grant, over any older one. `None` when that failed: it is tried again later."""
        name = self.name(attempt.key)
        self._unsaved[name] = record
        try:
            if not announce and record.version is None and await self._is_forgotten(name):
                return None
            written = await self._write(attempt, name, record)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            if announce:
                self._degraded(attempt, "persist", exc)
            return None
        if not self._is_dropped(attempt, name):
            self.remember(written)
        # A later refresh may have put its own record in the place of this one, which then is still to be saved.
        if name in self._unsaved and not self._unsaved[name].is_newer(record):
            del self._unsaved[name]
        return written

    async def _write(self, attempt: Attempt, name: str, record: StoredGrant) -> StoredGrant:
        """Write the record over any older one. Return the record in the store: this one, or another process's newer one."""
        for _ in range(_ROUNDS):
            try:
                swap = self._store.compare_and_swap(name, record.version, record)
                # A refresh token is worth another wait.
                version = await self._access.answer(swap, insist=self._single_grant)
            except StoreConflictError:
                if self._is_dropped(attempt, name):
                    return record
                theirs = await self._access.answer(self._store.load(name))
                if theirs is None and await self._is_forgotten(name):
                    return record
                if theirs is not None and (
                    theirs.is_newer(record)
                    # Of two records of the same rank, the one with the later token stays.
                    or (not record.is_newer(theirs) and theirs.issued_at > record.issued_at)
                ):
                    return theirs
                record = attrs.evolve(record, version=None if theirs is None else theirs.version)
            else:
                if self._is_dropped(attempt, name):  # it was forgotten during the write, which must not bring it back
                    await self._access.answer(self._store.delete(name), insist=True)
                return attrs.evolve(record, version=version)
        raise StoreConflictError

    def _is_dropped(self, attempt: Attempt, name: str) -> bool:
        """Return whether the grant was forgotten meanwhile, or another was accepted in its place."""
        return attempt.forgotten or name not in self._unsaved

    async def save(self, attempt: Attempt, *, last: bool = False) -> bool:
        """Try again to store what could not be stored. True when nothing is left to be saved. The `last` time, a store
        that gave no answer lately is asked all the same, and the lock is released in any case.
        """
        name = self.name(attempt.key)
        unsaved = self._unsaved.get(name)
        if unsaved is not None and (last or not self._access.hangs):
            await self.persist(attempt, unsaved, announce=False)
        if self.is_saved(attempt.key) or last:
            await self._release(name)
        return self.is_saved(attempt.key)

    def is_saved(self, key: TokenKey) -> bool:
        """Return whether nothing is left to be saved."""
        return self.name(key) not in self._unsaved

    def _degraded(self, attempt: Attempt, operation: str, exc: Exception) -> TokenPersistenceError:
        """Announce a failure of the store. Return the error for callers."""
        reason = self._access.reason(operation, exc)
        kind = type(exc).__name__
        self._announce(PersistenceDegraded(attempt.key, self._clock.wall(), attempt.number, operation, kind, reason))
        return TokenPersistenceError(
            f"The token store fails, so the refresh token was not used. It is kept, and tried again. {reason}"
        )
