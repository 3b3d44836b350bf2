"""What the store knows of a grant: read, written and locked within time limits."""

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
from .events import Announcer, PersistenceDegraded, RecordSetAside
from .flight import Job
from .stores.base import ASIDE, FORGOTTEN, FORGOTTEN_KEPT, Intent, Lease, StoredGrant, TokenStore, is_shared
from .stores.memory import MemoryStore

T = TypeVar("T")
_STEPS = 7.5
_RENEWALS = 128
"""How many renewals that share a store are under way at the same time: each holds a lock, which may have to be extended."""
_STEPS_AT_ONCE = 16
"""How many ask the store for a lock, and how many for anything else: each takes a thread, or a connection."""
_REHEARSAL = ".rehearsal"
_REHEARSED = 60.0


class Access:
    """Asks a store on behalf of one manager. All managers of one store share the places, and know when it hangs."""

    def __init__(self, store: TokenStore, policy: RefreshPolicy, clock: Clock) -> None:
        self._limited = is_shared(store)
        self._usage = _usage_of(store)
        self._store = store
        self._policy = policy
        self._clock = clock

    @property
    def hangs(self) -> bool:
        """Tell if the store gave no answer lately."""
        return self._clock.boot() < self._usage.hung_until

    async def answer(self, call: Coroutine[Any, Any, T], longer: float = 0.0, *, insist: bool = False) -> T:
        """The store's answer, within its time limit and the `longer` that the call itself may wait.

        Raises `TimeoutError` for a store that gave no answer lately, and asks nothing, since waiting again at each of a
        renewal's steps would outlast the renewal. With `insist` it is asked all the same: to store a new refresh token, to
        let go of a lock.
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

        async with AsyncExitStack() as place:
            place.callback(call.close)  # where it is not even begun
            if self._limited:  # this waiting is not counted as the store's time
                await place.enter_async_context(self._usage.places("lock" if longer else "step", _STEPS_AT_ONCE))
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
    async def in_turn(self) -> AsyncGenerator[None]:
        """A place among the renewals that use the store now. Waiting for one counts for no time limit of the store."""
        if not self._limited:
            yield
            return
        async with self._usage.places("renewal", _RENEWALS):
            yield

    async def rehearse(self, name: str, token_endpoint: str = "", client_id: str = "") -> None:
        """Write and remove a record without a token, as long as a grant may be. Raises `TokenPersistenceError`.

        For a person's first grant: what they are about to give is good for one use.
        """
        name += _REHEARSAL
        now = self._clock.wall()
        intent = Intent(now, "rehearsal")
        record = StoredGrant(token_endpoint, client_id, issued_at=now, expires_at=now + _REHEARSED, intent=intent)
        try:
            left = await self.answer(self._store.load(name), insist=True)
            await self.answer(self._store.compare_and_swap(name, None if left is None else left.version, record))
            await self.answer(self._store.delete(name))
        except StoreConflictError:  # of another who rehearses
            return
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            words = self.said("rehearsal", exc)
        else:
            return
        raise TokenPersistenceError(f"The token store fails, so nothing was sent. {words}")

    def said(self, operation: str, exc: Exception) -> str:
        """What a failing store says."""
        # Only our own words and the system's: those of a database's driver may hold its password.
        if isinstance(exc, TelnyxError):
            return exc.message
        if isinstance(exc, TimeoutError):
            return f"It gave no answer at `{operation}` within {self._policy.store_timeout:g} s."
        why = os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else ""
        return f"{type(exc).__name__} at `{operation}`{': ' if why else ''}{why}."


class _Usage:
    """The state that all managers of one store share: places on each event loop, and until when the store counts as hung."""

    def __init__(self) -> None:
        self.hung_until = float("-inf")
        self._places: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Semaphore] = {}

    def places(self, kind: str, most: int) -> asyncio.Semaphore:
        """The places of a kind on the running loop."""
        here = asyncio.get_running_loop()
        found = self._places.get((here, kind))
        if found is None:
            for each in [each for each in list(self._places) if each[0].is_closed()]:
                self._places.pop(each, None)
            found = self._places[here, kind] = asyncio.Semaphore(most)
        return found


_usages: WeakKeyDictionary[object, _Usage] = WeakKeyDictionary()


def _usage_of(store: TokenStore) -> _Usage:
    try:
        return _usages.setdefault(store, _Usage())
    except TypeError:  # a store of somebody's own that cannot be referred to weakly, or has no hash
        return _Usage()


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


_TICK = 0.001
_FOREIGN = "it belongs to another issuer or client"
_AHEAD = "it is dated in the future"


class LockLostError(TokenPersistenceError):
    """Another process may have the lock by now, so nothing was sent."""


@attrs.frozen
class Hold:
    """A record's lock: had (`ours`), another's (`theirs`), or not to be had because the store fails (`failed`)."""

    kind: Literal["ours", "theirs", "failed"]
    lease: Lease | None = None
    error: TokenPersistenceError | None = None

    def is_safe(self) -> bool:
        """Tell if nobody else can have the lock now."""
        return self.kind == "ours" and (self.lease is None or self.lease.is_held())

    def check(self) -> None:
        """Raise `LockLostError` when another process may have the lock: this machine was suspended, or the server lost it.

        Asked at the last moment before a refresh token leaves.
        """
        if not self.is_safe():
            raise LockLostError("The store's lock was lost before the refresh token was sent.")


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
        self._access = Access(store, policy, clock)
        self._forgotten = Forgotten(self._access, store, clock)
        self._over = False  # the one grant was forgotten in another process
        self.in_turn = self._access.in_turn
        self._turns = MemoryStore()
        self._kept: dict[str, tuple[Hold, AsyncExitStack]] = {}
        self._inherited: list[object] = []

    def name(self, key: TokenKey) -> str:
        """The name of the record for a key."""
        return key.family_key if self._one_for_all else key.store_key

    def note(self, record: StoredGrant) -> None:
        """Know the one grant, whatever becomes of the store."""
        if self._one_for_all and (self._family is None or not self._family.is_newer(record)):
            self._family = record
            self._over = False

    def drop(self, key: TokenKey) -> None:
        """Know nothing of it any more."""
        self._family = None
        self._over = False
        self._unsaved.pop(self.name(key), None)

    async def delete(self, key: TokenKey) -> None:
        """Remove the record, and what was set aside of it, for all processes. Raises `TokenPersistenceError`."""
        name = self.name(key)
        known = self._unsaved.get(name) or self._family
        self.drop(key)
        await self._let_go(name)
        error = await self._mark(key, known)
        try:
            # Of a store that has just hung, once is enough.
            await self._access.answer(self._store.delete(name), insist=error is None)
            await self._access.answer(self._store.delete(name + ASIDE), insist=error is None)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            error = exc
        else:
            error = error and await self._mark(key, known)  # a disk that was full may have room now
        self.drop(key)  # a renewal under way may have found it again
        if error is not None:
            raise TokenPersistenceError(
                "The token store fails, so the grant may be in it still, or another process may put it there again. Forget it "
                f"once more when the store works. {self._access.said('delete', error)}"
            )

    async def _mark(self, key: TokenKey, known: StoredGrant | None) -> Exception | None:
        """Write down that the grant was forgotten, or say why that failed."""
        if not self._one_for_all:
            return None
        name = self.name(key)
        try:
            with suppress(TokenPersistenceError, ValueError):  # one that cannot be read can be forgotten all the same
                stored = await self._access.answer(self._store.load(name), insist=True)
                known = stored if stored is not None and (known is None or stored.is_newer(known)) else known
            await self._forgotten.mark(name, key, 0.0 if known is None else known.began)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            return exc
        return None

    async def earliest(self, key: TokenKey) -> float:
        """When a grant that comes in the place of one that was forgotten can have begun; 0 where none was."""
        with suppress(Exception):  # a store that fails tells nothing
            mark = await self._forgotten.mark_of(self.name(key))
            return 0.0 if mark is None else mark.began + _TICK
        return 0.0

    async def settle(self, key: TokenKey) -> None:
        """Know that another grant is in the place of what was forgotten."""
        with suppress(Exception):  # then the mark ends by itself
            await self._forgotten.clear(self.name(key))

    async def _is_forgotten(self, name: str) -> bool:
        """Tell if the store has no record because the grant that is known here was forgotten in another process. Then it is
        known no more.
        """
        known = self._unsaved.get(name) or self._family
        if not self._one_for_all or known is None or not await self._forgotten.covers(name, known):
            return False
        self._family = None
        self._over = True
        self._unsaved.pop(name, None)
        return True

    async def save(self, job: Job, *, last: bool = False) -> bool:
        """Try again to store what could not be stored. True when nothing is left to be saved. For the `last` time, a store
        that gave no answer lately is asked all the same, and other processes are held off no longer.
        """
        name = self.name(job.key)
        unsaved = self._unsaved.get(name)
        if unsaved is not None and (last or not self._access.hangs):
            await self.persist(job, unsaved, announce=False)
        if self.is_saved(job.key) or last:
            await self._let_go(name)
        return self.is_saved(job.key)

    def is_saved(self, key: TokenKey) -> bool:
        """Tell if nothing is left to be saved."""
        return self.name(key) not in self._unsaved

    async def _let_go(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            await kept[1].aclose()

    def forget_locks(self) -> None:
        """Let go of nothing, but know of no lock any more: they are the parent process's, or ended with their loop."""
        self._inherited.append(self._kept)
        self._kept = {}

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
        async def begun(lock: AbstractAsyncContextManager[Lease | None]) -> Lease | None:
            return await lock.__aenter__()

        async def ended(lock: AbstractAsyncContextManager[Lease | None]) -> None:
            await lock.__aexit__(None, None, None)

        async def release(*_: object) -> None:
            try:
                await self._access.answer(ended(lock), insist=True)
            except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
                self._degraded(job, "unlock", exc)

        try:
            lock = self._store.lock(self.name(job.key), timeout=patience)
            lease = await self._access.answer(begun(lock), patience)
        except Exception as exc:  # noqa: BLE001 - as above
            if isinstance(exc, TimeoutError) and not self._access.hangs:
                return Hold("theirs")
            return Hold("failed", error=self._degraded(job, "lock", exc))
        locks.push_async_exit(release)
        return Hold("ours", lease)

    async def glance(self, job: Job) -> StoredGrant | None:
        """The store's record, if it is in order, read without the lock."""
        if self.name(job.key) in self._unsaved:
            return None
        try:
            stored = await self._access.answer(self._store.load(self.name(job.key)))
        except Exception:  # noqa: BLE001 - the lock is tried next, and fails for the same reason
            return None
        if stored is not None and self._flaw(job, stored):
            return None
        known = self._family
        if known is not None and known.version is not None and (stored is None or known.is_newer(stored)):
            # The store went back in time. Others may know less: they must find this before they renew what is over.
            with suppress(Exception):
                if stored is None and await self._is_forgotten(self.name(job.key)):
                    return None
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
        try:
            stored = await self._access.answer(self._store.load(name))
            stored = None if stored is None else await self._vetted(job, stored)
            if stored is None:
                await self._is_forgotten(name)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            error = self._degraded(job, "load", exc)
            if self._one_for_all and not lenient:
                raise error from None
            return self._unsaved.get(name) or self._family
        mine = self._unsaved.get(name) or self._family
        if mine is None and stored is None and self._over:
            return StoredGrant(job.key.token_endpoint, job.key.client_id, tombstone="no_refresh_token")
        if mine is not None and (stored is None or mine.is_newer(stored)):
            return attrs.evolve(mine, version=None if stored is None else stored.version)
        if stored is not None:
            self.note(stored)
        return stored

    def is_ahead(self, record: StoredGrant) -> bool:
        """Tell if the store once held this record, and now holds an older one, or none: it went back in time."""
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
        before = await self._access.answer(self._store.load(name + ASIDE))
        version = None if before is None else before.version
        await self._access.answer(self._store.compare_and_swap(name + ASIDE, version, stored))
        self._announce(RecordSetAside(job.key, self._clock.wall(), job.flight, reason))
        if reason == _FOREIGN:
            await self._access.answer(self._store.delete(name))
            return None
        # A wrong clock spoils the lifetime, not the grant.
        kept = attrs.evolve(stored, access_token=None, issued_at=self._clock.wall())
        version = await self._access.answer(self._store.compare_and_swap(name, stored.version, kept))
        return attrs.evolve(kept, version=version)

    async def swap(self, job: Job, record: StoredGrant, operation: str) -> StoredGrant:
        """Write the record over the version it came from. Raises `TokenPersistenceError` when the store fails, and
        `StoreConflictError` when the record was changed meanwhile.
        """
        if job.forgotten:
            return record
        try:
            version = await self._access.answer(
                self._store.compare_and_swap(self.name(job.key), record.version, record)
            )
        except StoreConflictError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            raise self._degraded(job, operation, exc) from None
        record = attrs.evolve(record, version=version)
        if not job.forgotten:
            self.note(record)
        return record

    async def persist(self, job: Job, record: StoredGrant, *, announce: bool = True) -> StoredGrant | None:
        """Store a new grant, over whatever is older. `None` when it could not be: it is tried again later."""
        name = self.name(job.key)
        self._unsaved[name] = record
        try:
            if not announce and record.version is None and await self._is_forgotten(name):
                return None
            written = await self._write(job, name, record)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            if announce:
                self._degraded(job, "persist", exc)
            return None
        if not self._is_dropped(job, name):
            self.note(written)
        # A later renewal may have put its own in the place of what was to be saved here.
        if name in self._unsaved and not self._unsaved[name].is_newer(record):
            del self._unsaved[name]
        return written

    async def _write(self, job: Job, name: str, record: StoredGrant) -> StoredGrant:
        """Write the record over whatever is older. Return what the store holds then: this one, or another process's newer one."""
        for _ in range(_ROUNDS):
            try:
                swap = self._store.compare_and_swap(name, record.version, record)
                # A refresh token is worth another wait.
                version = await self._access.answer(swap, insist=self._one_for_all)
            except StoreConflictError:
                if self._is_dropped(job, name):
                    return record
                theirs = await self._access.answer(self._store.load(name))
                if theirs is None and await self._is_forgotten(name):
                    return record
                if theirs is not None and _was_later(theirs, record):
                    return theirs
                record = attrs.evolve(record, version=None if theirs is None else theirs.version)
            else:
                if self._is_dropped(job, name):  # what was just written must not bring it back
                    await self._access.answer(self._store.delete(name), insist=True)
                return attrs.evolve(record, version=version)
        raise StoreConflictError

    def _is_dropped(self, job: Job, name: str) -> bool:
        """Tell if the grant was forgotten meanwhile, or another was accepted in its place."""
        return job.forgotten or name not in self._unsaved

    def _degraded(self, job: Job, operation: str, exc: Exception) -> TokenPersistenceError:
        said = self._access.said(operation, exc)
        event = PersistenceDegraded(job.key, self._clock.wall(), job.flight, operation, type(exc).__name__, said)
        self._announce(event)
        return TokenPersistenceError(
            f"The token store fails, so the refresh token was not used. It is kept, and tried again. {said}"
        )


def _was_later(theirs: StoredGrant, ours: StoredGrant) -> bool:
    """Tell if another's record stays where ours was to be written. Two of the same rank: the later token."""
    return theirs.is_newer(ours) or (not ours.is_newer(theirs) and theirs.issued_at > ours.issued_at)
