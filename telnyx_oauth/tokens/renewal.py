"""One renewal from end to end: the store's lock, what others have left there, the request, the proof, the record."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeVar

import attrs

from ..errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    ForkedGrantError,
    InvalidGrantError,
    ReauthenticationRequiredError,
    StoreConflictError,
    TelnyxError,
    TokenError,
    TokenVerificationError,
)
from ..protocol import freshness
from ..protocol.freshness import RefreshPolicy, Snapshot
from ..protocol.grants import TokenGrant, is_bearer
from ..protocol.token import TokenKey
from ..transport.clock import Clock
from .events import (
    Announcer,
    IssuedUnverified,
    OutcomeUnknown,
    PersistenceDegraded,
    ReauthenticationRequired,
    RecordSetAside,
)
from .sources import RefreshToken, TokenSource
from .stores.memory import MemoryStore
from .stores.record import Intent, StoredGrant, TokenStore, is_shared

T = TypeVar("T")
_REPLAYS = (0.0, 0.25, 0.5, 1.0)
_CLOCK_SKEW = 300.0
_ROUNDS = 4


class IssuedVerifier(Protocol):
    """Proves a token before anyone gets to use it. Safe to call for any token, opaque ones included."""

    async def prepare(self) -> None:
        """Fetch what a proof needs. Runs beside the token request; must not raise."""
        ...

    async def __call__(self, access_token: str, /) -> str | None:
        """`None` when proven, else a short reason why it cannot be. Raises `TokenVerificationError` when it is proven
        wrong.
        """
        ...


@attrs.frozen
class Renewed:
    """A token that a renewal has come to. Its lifetime began when the clocks stood at `since_boot` and `since_wall`."""

    access_token: str = attrs.field(repr=False)
    scopes: frozenset[str]
    lifetime: float | None
    since_boot: float
    since_wall: float
    generation: int
    adopted: bool = False
    durable: bool = True


@attrs.define
class Job:
    """What a renewal is told, and what it tells while it runs."""

    key: TokenKey
    flight: int
    state: Callable[[], Snapshot]
    offer: Callable[[Renewed], None]
    number: Callable[[int], int]
    min_ttl: float = 0.0
    resolving: bool = False
    forgotten: bool = False


class Renewal:
    """Renews through a source and, where there is one, a store. Keeps the one grant that a refresh token source has."""

    def __init__(
        self,
        source: TokenSource,
        store: TokenStore | None,
        policy: RefreshPolicy,
        clock: Clock,
        announce: Announcer,
        *,
        verifier: IssuedVerifier | None = None,
        demand_proof: bool = False,
    ) -> None:
        self._source = source
        self._spender = source if isinstance(source, RefreshToken) else None
        self._store = MemoryStore() if store is None and self._spender else store
        self._policy = policy
        self._clock = clock
        self._announce = announce
        self._verifier = verifier
        self._demand_proof = demand_proof
        self._family: StoredGrant | None = None
        self._unsaved: dict[str, StoredGrant] = {}
        self._inherited = False

    def inherit(self) -> None:
        """This is a forked child now: the grant is the parent's, unless a store is between them."""
        self._inherited = self._store is None or not is_shared(self._store)

    def record_key(self, key: TokenKey) -> str:
        """The name of the record: one refresh token serves all scopes and resources, other sources have a record for
        each.
        """
        return key.family_key if self._spender else key.store_key

    async def run(self, job: Job) -> Renewed:
        """The next token: somebody else's from the store, or a new one. Raises what the source raises, or a
        `TokenError`.
        """
        if self._store is None:
            return await self._fetch(job, None)
        async with self._held(job) as locked:
            stored = await self._load(job)
            found = await self._adoptable(job, stored)
            if found is not None:
                return found
            if self._spender is None:
                return await self._fetch(job, stored)
            return await self._refresh(job, self._spender, stored, locked=locked)

    async def accept(self, job: Job, grant: TokenGrant, age: float) -> Renewed:
        """Take over a grant that was obtained elsewhere `age` seconds ago, in the place of whatever was there."""
        since = (self._clock.boot() - age, self._clock.wall() - age)
        self._inherited = False
        self._family = None
        self._unsaved.pop(self.record_key(job.key), None)
        stored = None if self._store is None else await self._load(job)
        return await self._keep(job, grant, since, stored)

    async def forget(self, key: TokenKey) -> None:
        """Delete the record. A store that fails raises."""
        self._family = None
        self._unsaved.pop(self.record_key(key), None)
        if self._store is not None:
            await self._bounded(self._store.delete(self.record_key(key)))

    async def save(self, job: Job) -> bool:
        """Try again to store what could not be stored. True when nothing is left to be saved."""
        unsaved = self._unsaved.get(self.record_key(job.key))
        return unsaved is None or await self._persist(job, unsaved, announce=False)

    # -- plain sources

    async def _fetch(self, job: Job, stored: StoredGrant | None) -> Renewed:
        since = (self._clock.boot(), self._clock.wall())
        grant = await self._beside_keys(self._source(job.key))
        return await self._keep(job, grant, since, stored)

    async def _beside_keys(self, request: Awaitable[TokenGrant]) -> TokenGrant:
        """The answer to a token request, with the keys for its proof fetched at the same time."""
        if self._verifier is None:
            return await request
        keys = asyncio.ensure_future(self._verifier.prepare())
        try:
            grant = await request
            await asyncio.wait({keys})
        finally:
            keys.cancel()
        return grant

    async def _keep(
        self,
        job: Job,
        grant: TokenGrant,
        since: tuple[float, float],
        stored: StoredGrant | None,
        spent: str | None = None,
    ) -> Renewed:
        """Prove, store, and only then give the token. A new refresh token is stored even when the access token is no
        good.
        """
        boot, wall = since
        fault = await self._fault(job, grant, boot)
        lifetime = grant.expires_in
        previous = stored.scopes if stored is not None and spent is not None else job.key.scopes
        record = StoredGrant(
            job.key.token_endpoint,
            job.key.client_id,
            job.key.store_key,
            None if fault else grant.access_token,
            previous if grant.scopes is None else grant.scopes,
            wall,
            None if lifetime is None else wall + lifetime,
            job.number(0 if stored is None else stored.generation),
            grant.refresh_token or spent,
            version=None if stored is None else stored.version,
        )
        if self._spender and not job.forgotten:
            self._family = record
        durable = True
        if self._store is not None and not job.forgotten and (fault is None or self._spender):
            durable = await self._persist(job, record)
        if fault is not None:
            raise fault
        return Renewed(grant.access_token, record.scopes, lifetime, boot, wall, record.generation, durable=durable)

    async def _fault(self, job: Job, grant: TokenGrant, boot: float) -> TokenError | None:
        """Why a token that was granted must not be used."""
        if grant.expires_in and self._clock.boot() - boot >= grant.expires_in:
            return TokenError("The token had expired before its answer was there.")
        try:
            await self._prove(job, grant.access_token)
        except TokenVerificationError as exc:
            return exc
        return None

    async def _prove(self, job: Job, access_token: str) -> None:
        if self._verifier is None:
            return
        reason = await self._verifier(access_token)
        if reason is None:
            return
        if self._demand_proof:
            raise TokenVerificationError(
                f"The issued token cannot be verified ({reason}), and verification is demanded."
            )
        self._announce(IssuedUnverified(job.key, self._clock.wall(), job.flight, reason))

    # -- refresh tokens

    async def _refresh(self, job: Job, spender: RefreshToken, stored: StoredGrant | None, *, locked: bool) -> Renewed:
        for _ in range(_ROUNDS):
            record = stored or self._seeded(job, spender)
            if record.refresh_token is None:
                return await self._begin(job, spender, record)
            self._check_spendable(record, locked=locked)
            refused: InvalidGrantError | None = None
            try:
                record = await self._intend(job, record)
                grant, since = await self._spend(job, spender, record)
            except StoreConflictError:
                stored = await self._load(job)
            except InvalidGrantError as exc:
                refused, stored = exc, await self._load(job)
            else:
                return await self._keep(job, grant, since, record, record.refresh_token)
            found = await self._adoptable(job, stored)
            if found is not None:
                return found
            if refused is not None and (stored is None or stored.refresh_token in (None, record.refresh_token)):
                raise await self._buried(job, record, refused) from refused
        raise TokenError("The stored grant kept changing while it was being renewed.")

    def _seeded(self, job: Job, spender: RefreshToken) -> StoredGrant:
        return StoredGrant(job.key.token_endpoint, job.key.client_id, scopes=job.key.scopes, refresh_token=spender.seed)

    async def _begin(self, job: Job, spender: RefreshToken, record: StoredGrant) -> Renewed:
        """The first grant, from the source that makes it."""
        if spender.first is None:
            raise ReauthenticationRequiredError(record.tombstone or "no_refresh_token")
        if self._inherited:
            raise ForkedGrantError
        since = (self._clock.boot(), self._clock.wall())
        grant = await self._beside_keys(spender.first(job.key))
        return await self._keep(job, grant, since, record)

    def _check_spendable(self, record: StoredGrant, *, locked: bool) -> None:
        if record.tombstone is not None:
            raise ReauthenticationRequiredError(record.tombstone)
        if self._inherited:
            raise ForkedGrantError
        # Without the lock, someone may be spending this token right now: their intent protects it for as long as they
        # may take.
        age = 0.0 if record.intent is None else self._clock.wall() - record.intent.at
        if record.intent is not None and not locked and 0 <= age < self._policy.flight_timeout:
            raise TokenError("Another process is renewing this grant and holds its lock.")

    async def _intend(self, job: Job, record: StoredGrant) -> StoredGrant:
        """Write down that the refresh token is about to be spent, so that a crash leaves a trace."""
        if record.intent is None:
            record = attrs.evolve(record, intent=Intent(self._clock.wall(), secrets.token_hex(8)))
        else:
            job.resolving = True  # an earlier attempt's: this one resolves it
            if record.version is not None:
                return record
        return await self._swap(job, record, "intent")

    async def _spend(
        self, job: Job, spender: RefreshToken, record: StoredGrant
    ) -> tuple[TokenGrant, tuple[float, float]]:
        """Send the refresh token, and the same one again while nobody knows what became of it."""
        assert record.refresh_token is not None
        first = self._clock.boot()
        unknown: TelnyxError | None = None
        for delay in (0.0, *_REPLAYS):
            if unknown is not None and delay:
                await self._clock.sleep(delay)
            since = (self._clock.boot(), self._clock.wall())
            if unknown is not None and since[0] - first >= self._policy.replay_window:
                break
            try:
                return await self._beside_keys(spender.spend(job.key, record.refresh_token)), since
            except (APIConnectionError, APIStatusError, APIResponseValidationError) as exc:
                if is_unknown(exc):
                    unknown = exc
                    job.resolving = True
                    code = exc.code or type(exc).__name__
                    self._announce(OutcomeUnknown(job.key, self._clock.wall(), job.flight, code))
                    continue
                if not job.resolving and not isinstance(exc, InvalidGrantError):
                    await self._withdraw(job, record)
                raise
        assert unknown is not None
        raise unknown

    async def _withdraw(self, job: Job, record: StoredGrant) -> None:
        """Take the intent back: it is certain that the refresh token was not spent."""
        with suppress(StoreConflictError):  # someone else goes on from there
            await self._swap(job, attrs.evolve(record, intent=None), "intent")

    async def _buried(self, job: Job, record: StoredGrant, error: InvalidGrantError) -> ReauthenticationRequiredError:
        """The end of a grant. The refresh token stays in the record, marked: what is deleted cannot be looked into."""
        reason = "refresh_token_lost" if job.resolving else error.code or "invalid_grant"
        with suppress(StoreConflictError):
            await self._swap(job, attrs.evolve(record, tombstone=reason), "tombstone")
        self._announce(ReauthenticationRequired(job.key, self._clock.wall(), job.flight, reason))
        return ReauthenticationRequiredError(reason)

    # -- the store

    @asynccontextmanager
    async def _held(self, job: Job) -> AsyncGenerator[bool]:
        """The store's lock, or False where it cannot be had in time: then compare-and-swap alone protects."""
        assert self._store is not None
        lock = self._store.lock(self.record_key(job.key), timeout=self._policy.lock_timeout)
        locked = False
        try:
            await lock.__aenter__()
            locked = True
        except TimeoutError:
            pass
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            self._degraded(job, "lock", exc)
        try:
            yield locked
        finally:
            if locked:
                try:
                    await lock.__aexit__(None, None, None)
                except Exception as exc:  # noqa: BLE001 - as above
                    self._degraded(job, "unlock", exc)

    async def _load(self, job: Job) -> StoredGrant | None:
        """What the store holds, or what is known without it."""
        assert self._store is not None
        name = self.record_key(job.key)
        mine = self._unsaved.get(name) or self._family
        try:
            stored = await self._bounded(self._store.load(name))
            stored = None if stored is None else await self._vetted(job, stored)
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            self._degraded(job, "load", exc)
            return mine
        if stored is None:
            return None if mine is None else attrs.evolve(mine, version=None)
        if name in self._unsaved and mine is not None and stored.issued_at <= mine.issued_at:
            return attrs.evolve(mine, version=stored.version)
        if self._spender:
            self._family = stored
        return stored

    async def _vetted(self, job: Job, stored: StoredGrant) -> StoredGrant | None:
        """The record, if it is ours and of this time; else it is moved out of the way."""
        assert self._store is not None
        name = self.record_key(job.key)
        foreign = (stored.token_endpoint, stored.client_id) != (job.key.token_endpoint, job.key.client_id)
        ahead = stored.issued_at > self._clock.wall() + _CLOCK_SKEW
        if not foreign and not ahead:
            return stored
        reason = "it belongs to another issuer or client" if foreign else "it is dated in the future"
        await self._bounded(self._store.compare_and_swap(f"{name}.aside-{secrets.token_hex(4)}", None, stored))
        self._announce(RecordSetAside(job.key, self._clock.wall(), job.flight, reason))
        if foreign:
            await self._bounded(self._store.delete(name))
            return None
        # A wrong clock spoils the lifetime, not the grant.
        return attrs.evolve(stored, access_token=None, issued_at=self._clock.wall())

    async def _adoptable(self, job: Job, stored: StoredGrant | None) -> Renewed | None:
        """Somebody else's token, if it will do; one that will do only for want of a better is offered and not
        returned.
        """
        state, boot, wall = job.state(), self._clock.boot(), self._clock.wall()
        if stored is None or stored.request != job.key.store_key or not is_bearer(stored.access_token):
            return None
        age = max(0.0, wall - stored.issued_at)
        lifetime = None if stored.expires_at is None else stored.expires_at - stored.issued_at
        left = lifetime if lifetime is None else lifetime - age
        if left is not None and left <= 0:
            return None
        digest = freshness.digest_of(stored.access_token)
        if digest in state.refused or not freshness.is_gain(
            state, stored.access_token, boot=boot, wall=wall, lifetime=left
        ):
            return None
        try:
            await self._prove(job, stored.access_token)
        except TokenVerificationError:
            return None
        number = job.number(stored.generation - 1)
        since = (boot - age, wall - age)
        found = Renewed(stored.access_token, stored.scopes, lifetime, *since, number, adopted=True)
        _, mandatory, end = freshness.windows(lifetime, 0.0, self._policy)
        scarce = left is not None and left < job.min_ttl < end
        if age < mandatory and not scarce:
            return found
        job.offer(found)
        return None

    async def _swap(self, job: Job, record: StoredGrant, operation: str) -> StoredGrant:
        """Write the record over the version it came from. A failing store is told of and gone without; a conflict
        raises.
        """
        assert self._store is not None
        if job.forgotten:
            return record
        try:
            version = await self._bounded(
                self._store.compare_and_swap(self.record_key(job.key), record.version, record)
            )
        except StoreConflictError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, it has failed
            self._degraded(job, operation, exc)
        else:
            record = attrs.evolve(record, version=version)
        if self._spender:
            self._family = record
        return record

    async def _persist(self, job: Job, record: StoredGrant, *, announce: bool = True) -> bool:
        """Store a new grant, over whatever is older. False when it could not be: it is tried again later."""
        assert self._store is not None
        name = self.record_key(job.key)
        try:
            for _ in range(_ROUNDS):
                try:
                    version = await self._bounded(self._store.compare_and_swap(name, record.version, record))
                except StoreConflictError:
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
            self._unsaved[name] = record
            return False
        self._unsaved.pop(name, None)
        if self._spender:
            self._family = record
        return True

    async def _bounded(self, call: Awaitable[T]) -> T:
        async with asyncio.timeout(self._policy.lock_timeout):
            return await call

    def _degraded(self, job: Job, operation: str, exc: Exception) -> None:
        event = PersistenceDegraded(job.key, self._clock.wall(), job.flight, operation, type(exc).__name__)
        self._announce(event)


def is_unknown(error: TelnyxError) -> bool:
    """Whether, after this error, nobody can say if the server has spent the refresh token."""
    if isinstance(error, APIConnectionError):
        return error.sent
    if isinstance(error, APIStatusError):
        status = error.status_code
        return status == 408 or (status >= 500 and not (status == 503 and error.retry_after is not None))
    return isinstance(error, APIResponseValidationError)


def is_terminal(error: Exception) -> bool:
    """Whether sending the same again soon would come to the same."""
    if isinstance(error, APIStatusError):
        return 300 <= error.status_code < 500 and error.status_code not in (408, 409, 425, 429)
    return isinstance(error, (ReauthenticationRequiredError, ForkedGrantError, TokenVerificationError))
