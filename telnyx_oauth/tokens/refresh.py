"""One refresh from end to end: adopt a stored token, or ask the source, verify and store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final, Protocol, runtime_checkable

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
    TokenEndpointError,
    TokenError,
    TokenPersistenceError,
    TokenVerificationError,
)
from ..protocol import freshness
from ..protocol.freshness import RefreshPolicy
from ..protocol.secret import Secret
from ..protocol.token import TokenKey
from ..protocol.token_endpoint import TokenGrant, is_bearer
from ..transport.clock import Clock
from .drain import run_to_end
from .events import Announcer, IssuedUnverified, OutcomeUnknown, ReauthenticationRequired
from .flight import Job, Renewed
from .persistence import Hold, LockLostError, Records
from .sources import RefreshToken, TokenSource
from .stores.base import Intent, StoredGrant, TokenStore, is_shared
from .stores.memory import MemoryStore

_NOT_NOW = ("server_error", "slow_down", "temporarily_unavailable")


def is_unknown(error: TelnyxError) -> bool:
    """Whether, after this error, nobody can say if the server has spent the refresh token."""
    if isinstance(error, APIConnectionError):
        return error.sent
    if isinstance(error, APIStatusError):
        status = error.status_code
        return status == 408 or (status >= 500 and not (status == 503 and error.retry_after is not None))
    return isinstance(error, APIResponseValidationError)


def is_refusal(error: TelnyxError) -> bool:
    """Tell if the token endpoint itself refused what was sent, for good: with an OAuth error other than "not now"."""
    return isinstance(error, TokenEndpointError) and error.code not in _NOT_NOW


def is_terminal(error: Exception) -> bool:
    """Whether sending the same again soon would come to the same."""
    if isinstance(error, APIStatusError):
        return 300 <= error.status_code < 500 and error.status_code not in (408, 409, 425, 429)
    return isinstance(error, (ReauthenticationRequiredError, ForkedGrantError, TokenVerificationError))


def code_of(error: BaseException) -> str:
    """A stable name for an error."""
    code = error.code if isinstance(error, TelnyxError) else None
    return code or type(error).__name__


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


@runtime_checkable
class DatedVerifier(Protocol):
    """A verifier that can tell an expired token from a wrong clock here: it also takes the server's time."""

    async def verify_at(self, access_token: str, /, *, server_time: float | None) -> str | None:
        """The same verdict, for a token from an answer that was sent at `server_time`: Unix seconds by the server's clock."""
        ...


async def verdict(verifier: IssuedVerifier, grant: TokenGrant) -> str | None:
    """A verifier's verdict on a token that was just granted."""
    return await _verdict_at(verifier, Secret(grant.access_token), grant.server_time)


async def _verdict_at(verifier: IssuedVerifier, token: Secret[str], server_time: float | None) -> str | None:
    if isinstance(verifier, DatedVerifier):
        return await verifier.verify_at(token.plain, server_time=server_time)
    return await verifier(token.plain)


class Proof:
    """What a renewal asks of a verifier; without one, every token will do."""

    def __init__(self, verifier: IssuedVerifier | None, clock: Clock, announce: Announcer, *, demanded: bool) -> None:
        self._verifier = verifier
        self._clock = clock
        self._announce = announce
        self._demanded = demanded

    async def beside_keys(self, job: Job, request: Awaitable[TokenGrant]) -> TokenGrant:
        """The answer to a token request. The keys for its proof are fetched at the same time, and not waited for here: what
        the answer brings may have to be stored first.
        """
        if self._verifier is not None and job.keys is None:
            job.keys = asyncio.ensure_future(self._verifier.prepare())
        return await request

    async def fault(self, job: Job, grant: TokenGrant, boot: float) -> TokenError | None:
        """Why a token that was granted must not be used."""
        if grant.expires_in and self._clock.boot() - boot >= grant.expires_in:
            return TokenError("The token had expired before its answer was there.")
        if job.keys is not None:
            await asyncio.wait({job.keys})
        try:
            if self._verifier is not None:
                self._accept(job, await verdict(self._verifier, grant))
        except TokenVerificationError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - a verifier may be the user's own
            return TokenError(f"The verifier failed ({type(exc).__name__}).")
        return None

    async def judge(self, job: Job, access_token: Secret[str], *, server_time: float | None) -> None:
        """Raise `TokenVerificationError` for a token that is proven wrong, or not proven where that is demanded.

        `server_time` is what time it is by the server's clock, which the token's times are by; None where that is not known.
        """
        if self._verifier is None:
            return
        self._accept(job, await _verdict_at(self._verifier, access_token, server_time))

    def _accept(self, job: Job, reason: str | None) -> None:
        if reason is None:
            return
        if self._demanded:
            raise TokenVerificationError(
                f"The issued token cannot be verified ({reason}), and verification is demanded."
            )
        self._announce(IssuedUnverified(job.key, self._clock.wall(), job.flight, reason))


_REPLAYS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each sending of the same refresh token after one whose outcome is unknown."""
_TICK: Final = 0.001
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
        self._sending = ("", 0.0)  # the attempt whose refresh token was sent last, and when that was first
        self._anchor = clock.wall() - clock.boot()
        self._server_anchor: float | None = None  # the same by the server's clock, of its last answer with a date

    @property
    def one_for_all(self) -> bool:
        """Whether one grant serves all scopes and resources."""
        return self._spender is not None

    def inherit(self) -> None:
        """This is a forked child now: the grant is the parent's, unless a store is between them."""
        self._inherited = not self._shared

    async def run(self, job: Job) -> Renewed:
        """The next token: somebody else's from the store, or a new one. Raises what the source raises, `TimeoutError` after
        the policy's `flight_timeout`, or a `TokenError`.
        """
        try:
            if self._records is None:
                async with asyncio.timeout(self._policy.flight_timeout):
                    return await self._fetch(job, None)
            if self._spender is not None and self._inherited:
                raise ForkedGrantError
            # Of thousands of keys that share a store some wait for long before their turn: that is no renewal that hangs.
            async with self._records.in_turn(), asyncio.timeout(self._policy.flight_timeout):
                return await self._with_lock(job, self._records)
        finally:
            if job.keys is not None:
                job.keys.cancel()

    async def _with_lock(self, job: Job, records: Records) -> Renewed:
        lost = 0
        while True:
            try:
                return await self._through(job, records)
            except LockLostError:
                lost += 1
                if lost == _ROUNDS:
                    raise

    async def _through(self, job: Job, records: Records) -> Renewed:
        patience = self._policy.lock_timeout
        look = _FIRST_LOOK
        while True:
            # What others have left is there for all, without the lock: a fleet would queue for it, one after the other.
            found = await self._adoptable(job, await records.glance(job))
            if found is not None:
                return found
            async with records.held(job, min(look, patience)) as hold:
                if hold.kind != "theirs" or look >= patience:
                    return await self._renew(job, records, hold)
            patience -= look
            look *= 2

    async def _renew(self, job: Job, records: Records, hold: Hold) -> Renewed:
        if self._spender is not None and hold.error is not None:
            raise hold.error
        stored = await records.load(job)
        found = await self._adoptable(job, stored)
        if found is not None:
            return found
        if self._spender is None:
            return await self._fetch(job, stored)
        if hold.kind == "theirs":
            # It may have been stopped with the refresh token in hand, so it is never overtaken.
            raise TokenError("Another process is renewing this grant and holds its lock. Try again.")
        return await self._refresh(job, self._spender, records, stored, hold)

    async def accept(self, job: Job, grant: TokenGrant, age: float) -> Renewed:
        """Take over a grant that was obtained elsewhere `age` seconds ago, in the place of whatever was there."""
        return await run_to_end(self._accepted(job, grant, age))

    async def _accepted(self, job: Job, grant: TokenGrant, age: float) -> Renewed:
        since = (self._clock.boot() - age, self._clock.wall() - age)
        self._inherited = False
        if self._records is None:
            return await self._keep(job, grant, since, None)
        # Whoever renews the old grant right now ends first, or would write what came of it over this one.
        async with self._records.held(job, self._policy.lock_timeout, in_turn=False):
            self._records.drop(job.key)
            stored = await self._records.load(job, lenient=True)
            # By a clock that went wrong, this sign-in may have been before the last one.
            earliest = await self._records.earliest(job.key) if stored is None else stored.began + _TICK
            renewed = await self._keep(job, grant, since, stored, began=max(since[1], earliest))
            if stored is None and earliest and renewed.durable:
                await self._records.settle(job.key)
            return renewed

    async def forget(self, key: TokenKey) -> None:
        """Delete the record, for all processes. Raises `TokenPersistenceError` when the store fails."""
        if self._records is not None:
            await self._records.delete(key)

    def leave_loop(self) -> None:
        """The loop that held the store's locks has ended, and they with it."""
        if self._records is not None:
            self._records.forget_locks()

    def is_saved(self, key: TokenKey) -> bool:
        """Tell if nothing is left to be saved."""
        return self._records is None or self._records.is_saved(key)

    async def save(self, job: Job, *, last: bool = False) -> bool:
        """Try again to store what could not be stored. True when nothing is left to be saved."""
        return self._records is None or await self._records.save(job, last=last)

    # -- plain sources

    async def _fetch(self, job: Job, stored: StoredGrant | None) -> Renewed:
        since = (self._clock.boot(), self._clock.wall())
        grant = await self._proof.beside_keys(job, self._source(job.key))
        self._learn(grant, since[0])
        return await self._keep(job, grant, since, stored)

    async def _keep(
        self,
        job: Job,
        grant: TokenGrant,
        since: tuple[float, float],
        stored: StoredGrant | None,
        *,
        renewed: bool = False,
        began: float = 0.0,
    ) -> Renewed:
        """Store, prove, and only then give the token.

        The new refresh token is stored before anything else of the answer is judged: the old one may be used up.
        `renewed` says that `stored` is the grant that this one came of.
        """
        boot, wall = since
        lifetime = grant.expires_in
        previous = stored.scopes if stored is not None and renewed else job.key.scopes
        record = StoredGrant(
            job.key.token_endpoint,
            job.key.client_id,
            job.key.store_key,
            None if grant.refused else grant.access_token,
            previous if grant.scopes is None else grant.scopes,
            wall,
            None if lifetime is None else wall + lifetime,
            job.number(0 if stored is None else stored.generation),
            grant.refresh_token or (stored.refresh_token if stored is not None and renewed else None),
            began=stored.began if stored is not None and renewed else began,
            version=None if stored is None else stored.version,
        )
        if self._spender is None:
            fault = grant.refused or await self._proof.fault(job, grant, boot)
            durable = fault is not None or await self._stored(job, record) is not None
        else:
            kept = await self._stored(job, record)
            durable = kept is not None
            fault = grant.refused or await self._proof.fault(job, grant, boot)
            if fault is not None and grant.refused is None and (kept is None or kept == record):
                await self._stored(job, attrs.evolve(kept or record, access_token=None))
        if fault is not None:
            raise fault
        return Renewed(grant.access_token, record.scopes, lifetime, boot, wall, record.generation, durable=durable)

    async def _stored(self, job: Job, record: StoredGrant) -> StoredGrant | None:
        """The record as the store has it, or as it is where there is no store for it. `None` when the store fails."""
        if self._records is None or job.forgotten:
            return record
        return await self._records.persist(job, record)

    # -- refresh tokens

    async def _refresh(
        self, job: Job, spender: RefreshToken, records: Records, stored: StoredGrant | None, hold: Hold
    ) -> Renewed:
        # A lease may have been lost by a process that lives: the server was restarted, or failed for a while. That process
        # is given time to store what it has on the wire.
        lease = hold.lease
        settle = lease is not None and (lease.may_have_been_anothers() or self._is_anothers(stored))
        for _ in range(_ROUNDS):
            record = stored or self._seeded(job, spender)
            if record.tombstone is not None:
                raise ReauthenticationRequiredError(record.tombstone)
            if record.refresh_token is None:
                return await run_to_end(self._begin(job, spender, record))
            refused: InvalidGrantError | None = None
            try:
                if records.is_ahead(record):
                    record = await records.swap(job, record, "restore")
                    settle = True
                if settle and lease is not None:
                    settle = False
                    await self._clock.sleep(lease.seconds)
                    stored = await records.load(job)
                else:
                    record = await self._intend(job, records, record)
                    return await run_to_end(self._exchange(job, spender, records, record, hold))
            except StoreConflictError:
                stored = await records.load(job)
            except InvalidGrantError as exc:
                refused, stored = exc, await records.load(job)
            found = await self._adoptable(job, stored)
            if found is not None:
                return found
            if refused is not None and (stored is None or stored.refresh_token in (None, record.refresh_token)):
                raise await self._buried(job, records, record, refused) from refused
        raise TokenError("The stored grant kept changing while it was being renewed.")

    def _is_anothers(self, record: StoredGrant | None) -> bool:
        """Tell if another process has left an intent: it was killed, or cannot reach the store."""
        return record is not None and record.intent is not None and record.intent.attempt != self._sending[0]

    def _seeded(self, job: Job, spender: RefreshToken) -> StoredGrant:
        return StoredGrant(job.key.token_endpoint, job.key.client_id, scopes=job.key.scopes, refresh_token=spender.seed)

    async def _begin(self, job: Job, spender: RefreshToken, record: StoredGrant) -> Renewed:
        """The first grant, from the source that makes it."""
        if spender.first is None:
            raise ReauthenticationRequiredError("no_refresh_token")
        since = (self._clock.boot(), self._clock.wall())
        job.on_wire = True
        try:
            async with asyncio.timeout(self._policy.flight_timeout):
                grant = await self._proof.beside_keys(job, spender.first(job.key))
                self._learn(grant, since[0])
                return await self._keep(job, grant, since, record, began=since[1])
        finally:
            job.on_wire = False

    async def _intend(self, job: Job, records: Records, record: StoredGrant) -> StoredGrant:
        """Write down that the refresh token is about to be sent, so that a crash leaves a trace."""
        if record.intent is None:
            record = attrs.evolve(record, intent=Intent(self._clock.wall(), secrets.token_hex(8)))
        else:
            job.resolving = True  # an earlier attempt's: this one resolves it
            if record.version is not None:
                return record
        return await records.swap(job, record, "intent")

    async def _exchange(
        self, job: Job, spender: RefreshToken, records: Records, record: StoredGrant, hold: Hold
    ) -> Renewed:
        """From the sending of the refresh token to the storing of its successor: nothing may come between."""
        job.on_wire = True
        try:
            async with asyncio.timeout(self._policy.flight_timeout):
                grant, since = await self._spend(job, spender, records, record, hold)
                self._learn(grant, since[0])
                return await self._keep(job, grant, since, record, renewed=True)
        finally:
            job.on_wire = False

    async def _spend(
        self, job: Job, spender: RefreshToken, records: Records, record: StoredGrant, hold: Hold
    ) -> tuple[TokenGrant, tuple[float, float]]:
        """Send the refresh token, and the same one again for as long as its outcome is unknown.

        Only success or a refusal by the token endpoint itself ends that: a server that is busy or cannot be reached now
        says nothing of what became of the attempt before.
        """
        assert record.refresh_token is not None
        assert record.intent is not None
        if self._sending[0] != record.intent.attempt:
            self._sending = (record.intent.attempt, self._clock.boot())
        deadline = self._sending[1] + self._policy.replay_window
        pauses = iter(_REPLAYS)
        while True:
            since = (self._clock.boot(), self._clock.wall())
            try:
                sending = spender.spend(job.key, record.refresh_token, check=hold.check)
                return await self._proof.beside_keys(job, sending), since
            except (APIConnectionError, APIStatusError, APIResponseValidationError) as exc:
                if is_unknown(exc):
                    job.resolving = True
                    code = exc.code or type(exc).__name__
                    self._announce(OutcomeUnknown(job.key, self._clock.wall(), job.flight, code))
                elif not job.resolving:
                    if not isinstance(exc, InvalidGrantError):
                        await self._withdraw(job, records, record)
                    raise
                elif is_refusal(exc):
                    raise
                pause = self._pause(next(pauses, None), exc.retry_after, deadline)
                if pause is None:
                    raise
            await self._clock.sleep(pause)

    def _pause(self, pause: float | None, retry_after: float | None, deadline: float) -> float | None:
        """Seconds until the refresh token is sent again, `None` when that is up to the next renewal.

        A server that asks for more time gets half of what is left at most: its grace for a repeated refresh token ends.
        """
        left = deadline - self._clock.boot()
        if pause is None or left <= pause:
            return None
        return max(pause, min(retry_after or 0.0, left / 2))

    async def _withdraw(self, job: Job, records: Records, record: StoredGrant) -> None:
        """Take the intent back: it is certain that the refresh token was not spent."""
        with suppress(TokenPersistenceError):  # another goes on from there, or the intent stays, and is resolved
            await records.swap(job, attrs.evolve(record, intent=None), "intent")

    async def _buried(
        self, job: Job, records: Records, record: StoredGrant, error: InvalidGrantError
    ) -> ReauthenticationRequiredError:
        """The end of a grant. The refresh token stays in the record, marked: what is deleted cannot be looked into."""
        reason = "refresh_token_lost" if job.resolving else error.code or "invalid_grant"
        with suppress(TokenPersistenceError):
            await records.swap(job, attrs.evolve(record, tombstone=reason), "tombstone")
        self._announce(ReauthenticationRequired(job.key, self._clock.wall(), job.flight, reason))
        return ReauthenticationRequiredError(reason)

    def _learn(self, grant: TokenGrant, sent: float) -> None:
        """Note what time it is by the server's clock. It answered somewhere between `sent` and now."""
        if grant.server_time is not None:
            self._server_anchor = grant.server_time - (sent + self._clock.boot()) / 2

    def _server_time(self) -> float | None:
        """Unix seconds by the server's clock, as far as it is known here."""
        return None if self._server_anchor is None else self._clock.boot() + self._server_anchor

    async def _adoptable(self, job: Job, stored: StoredGrant | None) -> Renewed | None:
        """Somebody else's token, if it will do; one that will do only for want of a better is offered, not returned."""
        found = None if stored is None else self._candidate(job, stored)
        if found is None:
            return None
        try:
            await self._proof.judge(job, Secret(found.access_token), server_time=self._server_time())
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
