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
from .attempt import Attempt, Issued
from .drain import run_to_end
from .events import Announcer, IssuedUnverified, OutcomeUnknown, ReauthenticationRequired
from .persistence import LockLostError, LockOutcome, Persistence
from .sources import RefreshToken, TokenSource
from .stores.base import Intent, StoredGrant, TokenStore, is_shared
from .stores.memory import MemoryStore

_NOT_NOW = ("server_error", "slow_down", "temporarily_unavailable")


def is_unknown(error: TelnyxError) -> bool:
    """Return whether this error leaves open if the server has used the refresh token or code."""
    if isinstance(error, APIConnectionError):
        return error.sent
    if isinstance(error, APIStatusError):
        status = error.status_code
        return status == 408 or (status >= 500 and not (status == 503 and error.retry_after is not None))
    return isinstance(error, APIResponseValidationError)


def is_refusal(error: TelnyxError) -> bool:
    """Return whether the token endpoint itself refused the request, for good: with an OAuth error other than "not now"."""
    return isinstance(error, TokenEndpointError) and error.code not in _NOT_NOW


def is_terminal(error: Exception) -> bool:
    """Return whether the same request, sent again soon, would fail in the same way."""
    if isinstance(error, APIStatusError):
        return 300 <= error.status_code < 500 and error.status_code not in (408, 409, 425, 429)
    return isinstance(error, (ReauthenticationRequiredError, ForkedGrantError, TokenVerificationError))


def code_of(error: BaseException) -> str:
    """A stable name for an error."""
    code = error.code if isinstance(error, TelnyxError) else None
    return code or type(error).__name__


class IssuedVerifier(Protocol):
    """Verifies a token before it is used. Safe to call for any token, opaque ones included."""

    async def prepare(self) -> None:
        """Fetch the keys. Runs beside the token request; must not raise."""
        ...

    async def __call__(self, access_token: str, /) -> str | None:
        """`None` when verified, else a short reason why the token cannot be checked. Raises `TokenVerificationError` for
        a token that is wrong.
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


class Verification:
    """Verifies the tokens that a refresh brings or adopts. Without a verifier, every token will do."""

    def __init__(self, verifier: IssuedVerifier | None, clock: Clock, announce: Announcer, *, required: bool) -> None:
        self._verifier = verifier
        self._clock = clock
        self._announce = announce
        self._required = required

    async def beside_keys(self, attempt: Attempt, request: Awaitable[TokenGrant]) -> TokenGrant:
        """The answer to a token request. The keys to verify it are fetched at the same time, and not waited for here: a
        new refresh token in the answer must be stored first.
        """
        if self._verifier is not None and attempt.keys is None:
            attempt.keys = asyncio.ensure_future(self._verifier.prepare())
        return await request

    async def problem(self, attempt: Attempt, grant: TokenGrant, boot: float) -> TokenError | None:
        """The reason why a token that was granted must not be used."""
        if grant.expires_in and self._clock.boot() - boot >= grant.expires_in:
            return TokenError("The token had expired before its answer was there.")
        if attempt.keys is not None:
            await asyncio.wait({attempt.keys})
        try:
            if self._verifier is not None:
                self._check(attempt, await verdict(self._verifier, grant))
        except TokenVerificationError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - a verifier may be the user's own
            return TokenError(f"The verifier failed ({type(exc).__name__}).")
        return None

    async def verify(self, attempt: Attempt, access_token: Secret[str], *, server_time: float | None) -> None:
        """Raise `TokenVerificationError` for a token that is wrong, or that cannot be checked where that is required.

        `server_time` is the time by the server's clock, which set the token's times; `None` where that is unknown.
        """
        if self._verifier is None:
            return
        self._check(attempt, await _verdict_at(self._verifier, access_token, server_time))

    def _check(self, attempt: Attempt, reason: str | None) -> None:
        if reason is None:
            return
        if self._required:
            raise TokenVerificationError(
                f"The issued token cannot be verified ({reason}), and verification is demanded."
            )
        self._announce(IssuedUnverified(attempt.key, self._clock.wall(), attempt.number, reason))


_REPLAYS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each sending of the same refresh token after one whose outcome is unknown."""
_TICK: Final = 0.001
_ROUNDS: Final = 4
_FIRST_WAIT: Final = 0.5
"""Seconds to wait for the lock before the record is read again, doubled each time."""


class Refresher:
    """Gets the next token from a source and, where there is one, a store. Keeps the one grant of a refresh token source."""

    def __init__(
        self,
        source: TokenSource,
        store: TokenStore | None,
        policy: RefreshPolicy,
        clock: Clock,
        announce: Announcer,
        verification: Verification,
    ) -> None:
        self._source = source
        self._rotating = source if isinstance(source, RefreshToken) else None
        self._persistence: Persistence | None = None
        if store is None and self._rotating is not None:
            store = MemoryStore()
        if store is not None:
            self._persistence = Persistence(store, policy, clock, announce, single_grant=self._rotating is not None)
        self._shared = store is not None and is_shared(store)
        self._policy = policy
        self._clock = clock
        self._announce = announce
        self._verification = verification
        self._is_parents_grant = False
        self._sending = ("", 0.0)  # the attempt whose refresh token was sent last, and when that was first
        self._anchor = clock.wall() - clock.boot()
        self._server_anchor: float | None = None  # the same by the server's clock, of its last answer with a date

    @property
    def single_grant(self) -> bool:
        """True if one grant serves all scopes and resources."""
        return self._rotating is not None

    def reset_after_fork(self) -> None:
        """Start over in a forked child: the grant is the parent's, unless both share a store."""
        self._is_parents_grant = not self._shared

    def leave_loop(self) -> None:
        """Give up the store's locks: the loop that held them has ended."""
        if self._persistence is not None:
            self._persistence.forget_locks()

    async def run(self, attempt: Attempt) -> Issued:
        """Return the next token: another process's from the store, or a new one. Raises the source's errors,
        `TimeoutError` after the policy's `flight_timeout`, or a `TokenError`.
        """
        try:
            if self._persistence is None:
                async with asyncio.timeout(self._policy.flight_timeout):
                    return await self._fetch(attempt, None)
            if self._rotating is not None and self._is_parents_grant:
                raise ForkedGrantError
            # Of thousands of keys that share a store, some wait long for a slot. That is no refresh that hangs, so the time
            # limit begins after it.
            async with self._persistence.slot(), asyncio.timeout(self._policy.flight_timeout):
                lost = 0
                while True:
                    try:
                        return await self._adopt_or_refresh(attempt, self._persistence)
                    except LockLostError:  # nothing was sent
                        lost += 1
                        if lost == _ROUNDS:
                            raise
        finally:
            if attempt.keys is not None:
                attempt.keys.cancel()

    async def accept(self, attempt: Attempt, grant: TokenGrant, age: float) -> Issued:
        """Take over a grant that was obtained elsewhere `age` seconds ago, in the place of any before it.

        It runs to its end even if the caller is cancelled: the code that it came from cannot be used again.
        """
        return await run_to_end(self._accept(attempt, grant, age))

    async def _accept(self, attempt: Attempt, grant: TokenGrant, age: float) -> Issued:
        since = (self._clock.boot() - age, self._clock.wall() - age)
        self._is_parents_grant = False
        if self._persistence is None:
            return await self._store_and_verify(attempt, grant, since, None)
        # A refresh of the old grant that has the lock ends first. It would write its result over this grant.
        async with self._persistence.lock(attempt, self._policy.lock_timeout, in_turn=False):
            self._persistence.drop(attempt.key)
            stored = await self._persistence.load(attempt, lenient=True)
            # `began` orders the grants of one name: a record of an earlier sign-in never replaces one of a later sign-in. By
            # a clock that went wrong this sign-in may seem to be before the last one, so it gets a time just after that.
            if stored is None:
                earliest = await self._persistence.earliest_start(attempt.key)
            else:
                earliest = stored.began + _TICK
            issued = await self._store_and_verify(attempt, grant, since, stored, began=max(since[1], earliest))
            if stored is None and earliest and issued.durable:
                await self._persistence.clear_mark(attempt.key)
            return issued

    async def forget(self, key: TokenKey) -> None:
        """Delete the record, for all processes. Raises `TokenPersistenceError` when the store fails."""
        if self._persistence is not None:
            await self._persistence.delete(key)

    def is_saved(self, key: TokenKey) -> bool:
        """Return whether nothing is left to be saved."""
        return self._persistence is None or self._persistence.is_saved(key)

    async def save(self, attempt: Attempt, *, last: bool = False) -> bool:
        """Try again to store what could not be stored. True when nothing is left to be saved."""
        return self._persistence is None or await self._persistence.save(attempt, last=last)

    # -- any source

    async def _adopt_or_refresh(self, attempt: Attempt, persistence: Persistence) -> Issued:
        patience = self._policy.lock_timeout
        wait = _FIRST_WAIT
        while True:
            # Read without the lock: a fleet that wants the token which one machine has just stored need not queue for it.
            issued = await self._adoptable(attempt, await persistence.peek(attempt))
            if issued is not None:
                return issued
            async with persistence.lock(attempt, min(wait, patience)) as lock:
                if lock.kind != "busy" or wait >= patience:
                    return await self._refresh(attempt, persistence, lock)
            patience -= wait
            wait *= 2

    async def _refresh(self, attempt: Attempt, persistence: Persistence, lock: LockOutcome) -> Issued:
        if self._rotating is not None and lock.error is not None:
            raise lock.error
        stored = await persistence.load(attempt)
        issued = await self._adoptable(attempt, stored)
        if issued is not None:
            return issued
        if self._rotating is None:
            return await self._fetch(attempt, stored)
        if lock.kind == "busy":
            # The holder may have been stopped after it sent the refresh token, so its lock is never ignored.
            raise TokenError("Another process is refreshing this grant and holds its lock. Try again.")
        return await self._rotate(attempt, self._rotating, persistence, stored, lock)

    async def _fetch(self, attempt: Attempt, stored: StoredGrant | None) -> Issued:
        since = (self._clock.boot(), self._clock.wall())
        grant = await self._verification.beside_keys(attempt, self._source(attempt.key))
        self._note_server_time(grant, since[0])
        return await self._store_and_verify(attempt, grant, since, stored)

    async def _store_and_verify(
        self,
        attempt: Attempt,
        grant: TokenGrant,
        since: tuple[float, float],
        stored: StoredGrant | None,
        *,
        refreshed: bool = False,
        began: float = 0.0,
    ) -> Issued:
        """Store the grant, verify its token, and only then return the token.

        A new refresh token is stored before the rest of the answer is judged: the old one may be used up. `refreshed`:
        the grant comes from `stored`, by its refresh token.
        """
        boot, wall = since
        lifetime = grant.expires_in
        previous = stored.scopes if stored is not None and refreshed else attempt.key.scopes
        record = StoredGrant(
            attempt.key.token_endpoint,
            attempt.key.client_id,
            attempt.key.store_key,
            None if grant.refused else grant.access_token,
            previous if grant.scopes is None else grant.scopes,
            wall,
            None if lifetime is None else wall + lifetime,
            attempt.next_generation(0 if stored is None else stored.generation),
            grant.refresh_token or (stored.refresh_token if stored is not None and refreshed else None),
            began=stored.began if stored is not None and refreshed else began,
            version=None if stored is None else stored.version,
        )
        if self._rotating is None:
            problem = grant.refused or await self._verification.problem(attempt, grant, boot)
            durable = problem is not None or await self._persist(attempt, record) is not None
        else:
            written = await self._persist(attempt, record)
            durable = written is not None
            problem = grant.refused or await self._verification.problem(attempt, grant, boot)
            if problem is not None and grant.refused is None and (written is None or written == record):
                # No other process may adopt this access token.
                await self._persist(attempt, attrs.evolve(written or record, access_token=None))
        if problem is not None:
            raise problem
        return Issued(grant.access_token, record.scopes, lifetime, boot, wall, record.generation, durable=durable)

    async def _persist(self, attempt: Attempt, record: StoredGrant) -> StoredGrant | None:
        """Write the record. Return it as the store has it, unchanged without a store, `None` when the store fails."""
        if self._persistence is None or attempt.forgotten:
            return record
        return await self._persistence.persist(attempt, record)

    # -- refresh tokens

    async def _rotate(
        self,
        attempt: Attempt,
        source: RefreshToken,
        persistence: Persistence,
        stored: StoredGrant | None,
        lock: LockOutcome,
    ) -> Issued:
        # A lease, unlike a file lock, can be lost by a holder that lives: the server was restarted, or failed for a while.
        # Where that may have happened, or another process has left an intent, this one waits for as long as a lease lasts
        # and reads again: the other has that time to store the answer to a refresh token that is on the wire.
        lease = lock.lease
        intent = None if stored is None else stored.intent
        is_others_intent = intent is not None and intent.attempt != self._sending[0]
        wait_for_others = lease is not None and (lease.may_have_been_anothers() or is_others_intent)
        for _ in range(_ROUNDS):
            record = stored or StoredGrant(
                attempt.key.token_endpoint,
                attempt.key.client_id,
                scopes=attempt.key.scopes,
                refresh_token=source.seed,
            )
            if record.tombstone is not None:
                raise ReauthenticationRequiredError(record.tombstone)
            if record.refresh_token is None:
                return await run_to_end(self._first_grant(attempt, source, record))
            refused: InvalidGrantError | None = None
            try:
                if persistence.store_went_back(record):
                    record = await persistence.swap(attempt, record, "restore")
                    wait_for_others = True
                if wait_for_others and lease is not None:
                    wait_for_others = False
                    await self._clock.sleep(lease.seconds)
                    stored = await persistence.load(attempt)
                else:
                    record = await self._record_intent(attempt, persistence, record)
                    # Not cancelled from here to the storing of the answer: the server may have replaced the refresh token,
                    # and the only copy of the new one is in that answer.
                    return await run_to_end(self._exchange(attempt, source, persistence, record, lock))
            except StoreConflictError:
                stored = await persistence.load(attempt)
            except InvalidGrantError as exc:
                refused, stored = exc, await persistence.load(attempt)
            issued = await self._adoptable(attempt, stored)
            if issued is not None:
                return issued
            # The refusal is final only if no other process has stored a newer refresh token meanwhile.
            if refused is not None and (stored is None or stored.refresh_token in (None, record.refresh_token)):
                raise await self._grant_ended(attempt, persistence, record, refused) from refused
        raise TokenError("The stored grant kept changing while it was being refreshed.")

    async def _first_grant(self, attempt: Attempt, source: RefreshToken, record: StoredGrant) -> Issued:
        """Get the first grant, from the source that makes it."""
        if source.first is None:
            raise ReauthenticationRequiredError("no_refresh_token")
        since = (self._clock.boot(), self._clock.wall())
        attempt.on_wire = True
        try:
            async with asyncio.timeout(self._policy.flight_timeout):
                grant = await self._verification.beside_keys(attempt, source.first(attempt.key))
                self._note_server_time(grant, since[0])
                return await self._store_and_verify(attempt, grant, since, record, began=since[1])
        finally:
            attempt.on_wire = False

    async def _record_intent(self, attempt: Attempt, persistence: Persistence, record: StoredGrant) -> StoredGrant:
        """Store that the refresh token is about to be sent, so that a crash leaves a trace."""
        if record.intent is None:
            record = attrs.evolve(record, intent=Intent(self._clock.wall(), secrets.token_hex(8)))
        else:
            attempt.resolving = True  # the intent is an earlier attempt's, whose outcome is unknown
            if record.version is not None:
                return record
        return await persistence.swap(attempt, record, "intent")

    async def _exchange(
        self, attempt: Attempt, source: RefreshToken, persistence: Persistence, record: StoredGrant, lock: LockOutcome
    ) -> Issued:
        """Send the refresh token and store its successor, with nothing in between."""
        attempt.on_wire = True
        try:
            async with asyncio.timeout(self._policy.flight_timeout):
                grant, since = await self._send_refresh_token(attempt, source, persistence, record, lock)
                self._note_server_time(grant, since[0])
                return await self._store_and_verify(attempt, grant, since, record, refreshed=True)
        finally:
            attempt.on_wire = False

    async def _send_refresh_token(
        self, attempt: Attempt, source: RefreshToken, persistence: Persistence, record: StoredGrant, lock: LockOutcome
    ) -> tuple[TokenGrant, tuple[float, float]]:
        """Send the refresh token, and the same one again for as long as its outcome is unknown.

        Only success or a refusal by the token endpoint itself ends that: a server that is busy or cannot be reached now
        does not say what became of the request before.
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
                # The lock is checked at the last moment: a machine that was suspended has lost its lease.
                response = source.spend(attempt.key, record.refresh_token, check=lock.check)
                return await self._verification.beside_keys(attempt, response), since
            except (APIConnectionError, APIStatusError, APIResponseValidationError) as exc:
                if is_unknown(exc):
                    attempt.resolving = True
                    code = exc.code or type(exc).__name__
                    self._announce(OutcomeUnknown(attempt.key, self._clock.wall(), attempt.number, code))
                elif not attempt.resolving:
                    if not isinstance(exc, InvalidGrantError):
                        # The refresh token was certainly not used, so the intent is withdrawn. If that fails, the next
                        # attempt finds the intent and resolves it.
                        with suppress(TokenPersistenceError):
                            await persistence.swap(attempt, attrs.evolve(record, intent=None), "intent")
                    raise
                elif is_refusal(exc):
                    raise
                pause = self._pause(next(pauses, None), exc.retry_after, deadline)
                if pause is None:
                    raise
            await self._clock.sleep(pause)

    def _pause(self, pause: float | None, retry_after: float | None, deadline: float) -> float | None:
        """Seconds until the refresh token is sent again, `None` when that is left to the next refresh.

        A server that asks for more time gets half of the time left at most: its grace for a repeated refresh token ends.
        """
        left = deadline - self._clock.boot()
        if pause is None or left <= pause:
            return None
        return max(pause, min(retry_after or 0.0, left / 2))

    async def _grant_ended(
        self, attempt: Attempt, persistence: Persistence, record: StoredGrant, error: InvalidGrantError
    ) -> ReauthenticationRequiredError:
        """Mark the record and return the error. The refresh token stays in the record, so that it can be looked into."""
        reason = "refresh_token_lost" if attempt.resolving else error.code or "invalid_grant"
        with suppress(TokenPersistenceError):
            await persistence.swap(attempt, attrs.evolve(record, tombstone=reason), "tombstone")
        self._announce(ReauthenticationRequired(attempt.key, self._clock.wall(), attempt.number, reason))
        return ReauthenticationRequiredError(reason)

    # -- adopting a stored token

    def _note_server_time(self, grant: TokenGrant, sent: float) -> None:
        """Note the time by the server's clock. The server answered between `sent` and now: the middle is the best guess."""
        if grant.server_time is not None:
            self._server_anchor = grant.server_time - (sent + self._clock.boot()) / 2

    async def _adoptable(self, attempt: Attempt, stored: StoredGrant | None) -> Issued | None:
        """Return another process's token, if it will do. One that is due for a refresh itself is published and not
        returned: it serves callers until the refresh is done.
        """
        candidate = None if stored is None else self._candidate(attempt, stored)
        if candidate is None:
            return None
        anchor = self._server_anchor
        server_time = None if anchor is None else self._clock.boot() + anchor
        try:
            await self._verification.verify(attempt, Secret(candidate.access_token), server_time=server_time)
        except TokenVerificationError:
            return None
        _, mandatory, end = freshness.windows(candidate.lifetime, 0.0, self._policy)
        age = self._clock.boot() - candidate.since_boot
        if age < mandatory and not end - age < attempt.min_ttl < end:
            return candidate
        attempt.publish(candidate)
        return None

    def _candidate(self, attempt: Attempt, stored: StoredGrant) -> Issued | None:
        """Return the stored token, if it is not this manager's own, was not refused, and lives longer."""
        if stored.request != attempt.key.store_key or not is_bearer(stored.access_token):
            return None
        # A wall clock that was set back since this process began would give an expired token new life.
        boot = self._clock.boot()
        state, wall = attempt.snapshot(), max(self._clock.wall(), boot + self._anchor)
        age = max(0.0, wall - stored.issued_at)
        lifetime = None if stored.expires_at is None else stored.expires_at - stored.issued_at
        left = lifetime if lifetime is None else lifetime - age
        is_own = state.token is not None and state.token.access_token == stored.access_token
        is_refused = freshness.digest_of(stored.access_token) in state.refused
        is_gain = freshness.is_gain(state, stored.access_token, boot=boot, wall=wall, lifetime=left)
        if is_own or is_refused or not is_gain or (left is not None and left <= 0):
            return None
        # The stored generation, unless this process has used that number already: a generation never goes back.
        generation = attempt.next_generation(stored.generation - 1)
        return Issued(stored.access_token, stored.scopes, lifetime, boot - age, wall - age, generation, adopted=True)
