"""How a store is asked: a few at a time, within a time limit, and with what goes wrong told in words."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from ..errors import StoreConflictError, TelnyxError, TokenPersistenceError
from ..protocol.freshness import RefreshPolicy
from ..transport.clock import Clock
from .stores.record import Intent, StoredGrant, TokenStore, is_shared

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
