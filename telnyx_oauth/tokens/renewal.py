"""One renewal from end to end: the store's lock, what others have left there, the request, the proof, the record."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Final

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
from ..protocol.freshness import RefreshPolicy
from ..protocol.grants import TokenGrant, is_bearer
from ..protocol.token import TokenKey
from ..transport.clock import Clock
from .events import Announcer, OutcomeUnknown, ReauthenticationRequired
from .flight import Job, Renewed
from .outcomes import is_unknown
from .proof import Proof
from .records import Hold, Records
from .sources import RefreshToken, TokenSource
from .stores.memory import MemoryStore
from .stores.record import Intent, StoredGrant, TokenStore, is_shared

_REPLAYS: Final = (0.0, 0.25, 0.5, 1.0)
_ROUNDS: Final = 4
_FIRST_LOOK: Final = 0.5
"""Seconds at the lock before the record is looked at again, doubled each time."""


class Renewal:
    """Renews through a source and, where there is one, a store. Keeps the one grant that a refresh token source has."""

    def __init__(
        self,
        source: TokenSource,
        store: TokenStore | None,
        policy: RefreshPolicy,
        clock: Clock,
        announce: Announcer,
        proof: Proof,
    ) -> None:
        self._source = source
        self._spender = source if isinstance(source, RefreshToken) else None
        self._records: Records | None = None
        if store is None and self._spender is not None:
            store = MemoryStore()
        if store is not None:
            self._records = Records(store, policy, clock, announce, one_for_all=self._spender is not None)
        self._shared = store is not None and is_shared(store)
        self._policy = policy
        self._clock = clock
        self._announce = announce
        self._proof = proof
        self._inherited = False
        self._anchor = clock.wall() - clock.boot()

    @property
    def one_for_all(self) -> bool:
        """Whether one grant serves all scopes and resources."""
        return self._spender is not None

    def inherit(self) -> None:
        """This is a forked child now: the grant is the parent's, unless a store is between them."""
        self._inherited = not self._shared

    async def run(self, job: Job) -> Renewed:
        """The next token: somebody else's from the store, or a new one. Raises what the source raises, or a
        `TokenError`.
        """
        records = self._records
        if records is None:
            return await self._fetch(job, None)
        if self._spender is not None and self._inherited:
            raise ForkedGrantError
        patience = self._policy.lock_timeout
        look = _FIRST_LOOK
        while True:
            # What others have left is there for all, without the lock: a fleet would queue for it, one after the other.
            found = await self._adoptable(job, await records.glance(job))
            if found is not None:
                return found
            async with records.held(job, min(look, patience)) as hold:
                if hold is not Hold.THEIRS or look >= patience:
                    return await self._renew(job, records, locked=hold is Hold.OURS)
            patience -= look
            look *= 2

    async def _renew(self, job: Job, records: Records, *, locked: bool) -> Renewed:
        stored = await records.load(job)
        found = await self._adoptable(job, stored)
        if found is not None:
            return found
        if self._spender is None:
            return await self._fetch(job, stored)
        return await self._refresh(job, self._spender, records, stored, locked=locked)

    async def accept(self, job: Job, grant: TokenGrant, age: float) -> Renewed:
        """Take over a grant that was obtained elsewhere `age` seconds ago, in the place of whatever was there."""
        since = (self._clock.boot() - age, self._clock.wall() - age)
        self._inherited = False
        if self._records is None:
            return await self._keep(job, grant, since, None)
        # Whoever renews the old grant right now ends first, or would write what came of it over this one.
        async with self._records.held(job, self._policy.lock_timeout, in_turn=False):
            self._records.drop(job.key)
            return await self._keep(job, grant, since, await self._records.load(job))

    async def forget(self, key: TokenKey) -> None:
        """Delete the record. A store that fails raises."""
        if self._records is not None:
            await self._records.delete(key)

    async def save(self, job: Job) -> bool:
        """Try again to store what could not be stored. True when nothing is left to be saved."""
        return self._records is None or await self._records.save(job)

    # -- plain sources

    async def _fetch(self, job: Job, stored: StoredGrant | None) -> Renewed:
        since = (self._clock.boot(), self._clock.wall())
        grant = await self._proof.beside_keys(self._source(job.key))
        return await self._keep(job, grant, since, stored)

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
        lifetime = grant.expires_in
        previous = stored.scopes if stored is not None and spent is not None else job.key.scopes
        record = StoredGrant(
            job.key.token_endpoint,
            job.key.client_id,
            job.key.store_key,
            None,
            previous if grant.scopes is None else grant.scopes,
            wall,
            None if lifetime is None else wall + lifetime,
            job.number(0 if stored is None else stored.generation),
            grant.refresh_token or spent,
            version=None if stored is None else stored.version,
        )
        durable = True
        if self._records is not None and not job.forgotten and self._spender is not None:
            self._records.expect(job.key, record)
        fault = await self._proof.fault(job, grant, boot)
        if fault is None:
            record = attrs.evolve(record, access_token=grant.access_token)
        if self._records is not None and not job.forgotten and (fault is None or self._spender):
            durable = await self._records.persist(job, record)
        if fault is not None:
            raise fault
        return Renewed(grant.access_token, record.scopes, lifetime, boot, wall, record.generation, durable=durable)

    # -- refresh tokens

    async def _refresh(
        self, job: Job, spender: RefreshToken, records: Records, stored: StoredGrant | None, *, locked: bool
    ) -> Renewed:
        for _ in range(_ROUNDS):
            record = stored or self._seeded(job, spender)
            if record.refresh_token is None:
                return await self._begin(job, spender, record)
            self._check_spendable(record, locked=locked)
            refused: InvalidGrantError | None = None
            try:
                record = await self._intend(job, records, record)
                grant, since = await self._spend(job, spender, records, record)
            except StoreConflictError:
                stored = await records.load(job)
            except InvalidGrantError as exc:
                refused, stored = exc, await records.load(job)
            else:
                return await self._keep(job, grant, since, record, record.refresh_token)
            found = await self._adoptable(job, stored)
            if found is not None:
                return found
            if refused is not None and (stored is None or stored.refresh_token in (None, record.refresh_token)):
                raise await self._buried(job, records, record, refused) from refused
        raise TokenError("The stored grant kept changing while it was being renewed.")

    def _seeded(self, job: Job, spender: RefreshToken) -> StoredGrant:
        return StoredGrant(job.key.token_endpoint, job.key.client_id, scopes=job.key.scopes, refresh_token=spender.seed)

    async def _begin(self, job: Job, spender: RefreshToken, record: StoredGrant) -> Renewed:
        """The first grant, from the source that makes it."""
        if spender.first is None:
            raise ReauthenticationRequiredError(record.tombstone or "no_refresh_token")
        since = (self._clock.boot(), self._clock.wall())
        grant = await self._proof.beside_keys(spender.first(job.key))
        return await self._keep(job, grant, since, record)

    def _check_spendable(self, record: StoredGrant, *, locked: bool) -> None:
        if record.tombstone is not None:
            raise ReauthenticationRequiredError(record.tombstone)
        # Without the lock, someone may be spending this token right now: their intent protects it for as long as they
        # may take.
        age = 0.0 if record.intent is None else self._clock.wall() - record.intent.at
        if record.intent is not None and not locked and 0 <= age < self._policy.flight_timeout:
            raise TokenError("Another process is renewing this grant and holds its lock.")

    async def _intend(self, job: Job, records: Records, record: StoredGrant) -> StoredGrant:
        """Write down that the refresh token is about to be spent, so that a crash leaves a trace."""
        if record.intent is None:
            record = attrs.evolve(record, intent=Intent(self._clock.wall(), secrets.token_hex(8)))
        else:
            job.resolving = True  # an earlier attempt's: this one resolves it
            if record.version is not None:
                return record
        return await records.swap(job, record, "intent")

    async def _spend(
        self, job: Job, spender: RefreshToken, records: Records, record: StoredGrant
    ) -> tuple[TokenGrant, tuple[float, float]]:
        """Send the refresh token, and the same one again while nobody knows what became of it."""
        assert record.refresh_token is not None
        first = self._clock.boot()
        unknown: TelnyxError | None = None
        for delay in (0.0, *_REPLAYS):
            if delay:
                await self._clock.sleep(delay)
            since = (self._clock.boot(), self._clock.wall())
            if unknown is not None and since[0] - first >= self._policy.replay_window:
                break
            try:
                return await self._proof.beside_keys(spender.spend(job.key, record.refresh_token)), since
            except (APIConnectionError, APIStatusError, APIResponseValidationError) as exc:
                if is_unknown(exc):
                    unknown = exc
                    job.resolving = True
                    code = exc.code or type(exc).__name__
                    self._announce(OutcomeUnknown(job.key, self._clock.wall(), job.flight, code))
                    continue
                if not job.resolving and not isinstance(exc, InvalidGrantError):
                    await self._withdraw(job, records, record)
                raise
        assert unknown is not None
        raise unknown

    async def _withdraw(self, job: Job, records: Records, record: StoredGrant) -> None:
        """Take the intent back: it is certain that the refresh token was not spent."""
        with suppress(StoreConflictError):  # someone else goes on from there
            await records.swap(job, attrs.evolve(record, intent=None), "intent")

    async def _buried(
        self, job: Job, records: Records, record: StoredGrant, error: InvalidGrantError
    ) -> ReauthenticationRequiredError:
        """The end of a grant. The refresh token stays in the record, marked: what is deleted cannot be looked into."""
        reason = "refresh_token_lost" if job.resolving else error.code or "invalid_grant"
        with suppress(StoreConflictError):
            await records.swap(job, attrs.evolve(record, tombstone=reason), "tombstone")
        self._announce(ReauthenticationRequired(job.key, self._clock.wall(), job.flight, reason))
        return ReauthenticationRequiredError(reason)

    async def _adoptable(self, job: Job, stored: StoredGrant | None) -> Renewed | None:
        """Somebody else's token, if it will do; one that will do only for want of a better is offered, not returned."""
        found = None if stored is None else self._candidate(job, stored)
        if found is None:
            return None
        try:
            await self._proof.judge(job, found.access_token)
        except TokenVerificationError:
            return None
        _, mandatory, end = freshness.windows(found.lifetime, 0.0, self._policy)
        age = self._clock.boot() - found.since_boot
        if age < mandatory and not end - age < job.min_ttl < end:
            return found
        job.offer(found)
        return None

    def _candidate(self, job: Job, stored: StoredGrant) -> Renewed | None:
        """The stored token, if it is another than this manager's, was not refused, and lives longer."""
        if stored.request != job.key.store_key or not is_bearer(stored.access_token):
            return None
        # A wall clock that was set back since this process began would give an expired token new life.
        boot = self._clock.boot()
        state, wall = job.state(), max(self._clock.wall(), boot + self._anchor)
        age = max(0.0, wall - stored.issued_at)
        lifetime = None if stored.expires_at is None else stored.expires_at - stored.issued_at
        left = lifetime if lifetime is None else lifetime - age
        known = state.token is not None and state.token.access_token == stored.access_token
        refused = freshness.digest_of(stored.access_token) in state.refused
        gain = freshness.is_gain(state, stored.access_token, boot=boot, wall=wall, lifetime=left)
        if known or refused or not gain or (left is not None and left <= 0):
            return None
        number = job.number(stored.generation - 1)
        return Renewed(stored.access_token, stored.scopes, lifetime, boot - age, wall - age, number, adopted=True)
