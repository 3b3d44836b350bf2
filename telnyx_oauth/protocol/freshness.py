"""Freshness of cached tokens: when one is served, when it is refreshed, and back-off, as values and pure functions.

Times called `boot` are seconds of a clock that never decreases, times called `wall` Unix seconds; ages and lifetimes are
seconds. `jitter` is uniform in 0..1.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from math import inf
from typing import Final, TypeAlias

import attrs

from ..errors import ReauthenticationRequiredError
from .retry import backoff
from .token import Token


@attrs.frozen
class RefreshPolicy:
    """Times of refresh and back-off, in seconds.

    The margins before the end of a lifetime are a fraction of it with a floor and a cap, so that no lifetime can turn
    the cache off. From the advisory margin on, the old token is served while one refresh runs in the background; from
    the mandatory margin on, callers wait for the refresh.
    """

    advisory_fraction: float = 0.20
    advisory_floor: float = 5.0
    advisory_cap: float = 3600.0
    mandatory_fraction: float = 0.05
    mandatory_floor: float = 1.0
    mandatory_cap: float = 60.0
    recheck: float = 3600.0
    """A token without a lifetime is refreshed this often, and served meanwhile."""
    backoff_first: float = 1.0
    backoff_cap: float = 60.0
    """The longest back-off while there is a valid token."""
    backoff_cap_expired: float = 10.0
    retry_after_cap: float = 300.0
    rejection_window: float = 5.0
    """If a token that replaced a rejected one is itself rejected within this time, it is not replaced again."""
    flight_timeout: float = 60.0
    """The time limit of one refresh, whatever its callers' own timeouts are."""
    lock_timeout: float = 10.0
    """The longest wait of a refresh for the store's lock while another process holds it."""
    store_timeout: float = 2.0
    """The time limit of one store operation. A store that took longer is not used again for `lock_timeout`."""
    replay_window: float = 10.0
    """After a refresh with an unknown outcome, the same refresh token may be sent again for this long."""
    max_keys: int = 1024


DEFAULT_POLICY: Final = RefreshPolicy()
POLICY: Final = "a RefreshPolicy, such as RefreshPolicy(lock_timeout=...)"
LEAST_DELAY: Final = 0.1
REMEMBERED: Final = 8


@attrs.frozen
class Snapshot:
    """The state of one key, replaced as a whole by one assignment.

    `token` was issued when the clocks stood at `since_boot` and `since_wall`, read before the request was sent;
    `advisory`, `mandatory` and `lifetime` are ages. After a failure or a refresh that gave nothing better, nothing is sent
    before `retry_boot`, or before `urgent_boot` once no usable token is left. `error` is the last failure. A `terminal` one
    is raised to callers until then, and came `repeats` times more in a row.
    """

    token: Token | None = None
    since_boot: float = 0.0
    since_wall: float = 0.0
    lifetime: float = 0.0
    advisory: float = 0.0
    mandatory: float = 0.0
    rejected: bool = False
    forced: bool = False
    durable: bool = True
    renewing: bool = False
    failures: int = 0
    repeats: int = 0
    retry_boot: float = -inf
    urgent_boot: float = -inf
    error: Exception | None = attrs.field(default=None, eq=False)
    terminal: bool = False
    refused: tuple[str, ...] = attrs.field(default=(), repr=False)
    """Digests of the tokens that the server rejected lately. They are not served again, even if a store or server offers them."""
    serve_until: float = attrs.field(init=False, repr=False)
    """The boot clock's time until which the token may be served with nothing else to do.

    Serving a cached token costs one reading of one clock. The boot clock suffices, as it counts suspended time.
    """

    def __attrs_post_init__(self) -> None:
        serve_until = -inf
        if self.token is not None and not self.rejected:
            # Until a refresh is due, or while one runs until callers must wait for it. During a back-off nothing is due.
            quiet = self.mandatory if self.renewing else self.advisory
            serve_until = self.since_boot + min(max(quiet, self.retry_boot - self.since_boot), self.lifetime)
        object.__setattr__(self, "serve_until", serve_until)

    def age(self, boot: float, wall: float) -> float:
        """Seconds since issue by the clock that says more: the one may have stopped in a suspend, the other been set back."""
        return max(boot - self.since_boot, wall - self.since_wall)

    def remaining(self, boot: float, wall: float) -> float:
        """Seconds for which the token may still be served; 0 without a usable one."""
        if self.token is None or self.rejected:
            return 0.0
        return max(0.0, self.lifetime - self.age(boot, wall))


EMPTY: Final = Snapshot()


@attrs.frozen
class Use:
    """Serve `token`."""

    token: Token


@attrs.frozen
class UseAndRenew:
    """Serve `token`, and refresh in the background."""

    token: Token


@attrs.frozen
class Renew:
    """Wait for a refresh; if it fails, serve a token that is still valid."""


@attrs.frozen
class HoldOff:
    """Send nothing before `until` (boot clock)."""

    until: float


@attrs.frozen
class Refuse:
    """Raise the error of the last attempt; another one now would fail in the same way."""

    error: Exception


Decision: TypeAlias = Use | UseAndRenew | Renew | HoldOff | Refuse
_RENEW: Final = Renew()


def decide(state: Snapshot, *, boot: float, wall: float, min_ttl: float = 0.0) -> Decision:
    """Decide what a caller gets that asks for a token with at least `min_ttl` seconds left."""
    remaining = state.remaining(boot, wall)
    if state.token is None or remaining <= 0:
        if boot >= state.urgent_boot:
            return _RENEW
        return Refuse(state.error) if state.terminal and state.error is not None else HoldOff(state.urgent_boot)
    age = state.age(boot, wall)
    scarce = _is_scarce(state, age, remaining, min_ttl)
    if (age < state.advisory and not scarce) or boot < state.retry_boot:
        return Use(state.token)
    return _RENEW if scarce or age >= state.mandatory else UseAndRenew(state.token)


def _is_scarce(state: Snapshot, age: float, remaining: float, min_ttl: float) -> bool:
    """Return whether less is left than the caller asks for and a refresh could help.

    It cannot if tokens never live that long, and a token that was issued only just now is as good as a new one.
    """
    return remaining < min_ttl < state.lifetime and age >= min(1.0, state.lifetime / 4)


def windows(
    lifetime: float | None, jitter: float, policy: RefreshPolicy = DEFAULT_POLICY
) -> tuple[float, float, float]:
    """The ages at which a token becomes advisory, mandatory and expired. `None` is an unknown lifetime."""
    if lifetime is None:
        return policy.recheck, inf, inf
    advisory = min(max(policy.advisory_fraction * lifetime, policy.advisory_floor), policy.advisory_cap)
    # Jitter spreads the refreshes of many processes. At most half of a short lifetime, or the cache would never be used.
    advisory = min(advisory * (1 + 0.25 * jitter), lifetime / 2)
    mandatory = min(
        max(policy.mandatory_fraction * lifetime, policy.mandatory_floor), lifetime / 4, policy.mandatory_cap
    )
    return lifetime - advisory, lifetime - mandatory, lifetime


def issued(
    state: Snapshot,
    token: Token,
    *,
    since_boot: float,
    since_wall: float,
    lifetime: float | None,
    jitter: float,
    policy: RefreshPolicy = DEFAULT_POLICY,
    durable: bool = True,
) -> Snapshot:
    """The state after a refresh gave `token`, whose lifetime began at these times."""
    advisory, mandatory, end = windows(lifetime, jitter, policy)
    return Snapshot(
        token,
        since_boot,
        since_wall,
        end,
        advisory,
        mandatory,
        forced=state.rejected,
        durable=durable,
        # If each new token is rejected too, the back-off must keep growing: a success does not reset it then.
        failures=state.failures if state.rejected else 0,
        refused=state.refused,
    )


def is_gain(state: Snapshot, access_token: str, *, boot: float, wall: float, lifetime: float | None) -> bool:
    """Return whether a new token is worth publishing: it is another one, and does not end before the cached one."""
    remaining = state.remaining(boot, wall)
    if state.token is None or remaining <= 0:
        return True
    if access_token == state.token.access_token:
        return False
    return lifetime is None or state.lifetime == inf or remaining < lifetime


def in_vain(state: Snapshot, *, boot: float, wall: float) -> Snapshot:
    """The state after a refresh that gave nothing better: no failure, but a pause before the next attempt."""
    pause = max(1.0, min(state.remaining(boot, wall) / 4, 3600.0))
    return attrs.evolve(
        state, renewing=False, failures=0, error=None, terminal=False, retry_boot=boot + pause, urgent_boot=-inf
    )


def failed(
    state: Snapshot,
    error: Exception,
    *,
    boot: float,
    jitter: float,
    terminal: bool = False,
    retry_after: float | None = None,
    policy: RefreshPolicy = DEFAULT_POLICY,
) -> Snapshot:
    """The state after a failed refresh: back-off with full jitter from 1 s, doubling, or `Retry-After` if that is longer.

    After a `terminal` failure 1 to 5 s, doubling for as long as the same failure comes again.
    """
    least = max(LEAST_DELAY, min(retry_after or 0.0, policy.retry_after_cap))
    repeats = state.repeats + 1 if terminal and _comes_again(state, error) else 0
    if terminal:
        longest = max(policy.backoff_cap, 1.0 + 4.0 * jitter)
        calm = urgent = max(backoff(repeats, 1.0 + 4.0 * jitter, longest), least)
    else:
        calm, urgent = (
            max(jitter * backoff(state.failures, policy.backoff_first, cap), least)
            for cap in (policy.backoff_cap, policy.backoff_cap_expired)
        )
    return attrs.evolve(
        state,
        renewing=False,
        failures=state.failures + 1,
        repeats=repeats,
        retry_boot=boot + calm,
        urgent_boot=boot + urgent,
        error=error,
        terminal=terminal,
    )


def _comes_again(state: Snapshot, error: Exception) -> bool:
    """Return whether the last attempt failed in the same way.

    `ReauthenticationRequiredError` does not count: it is read from the store and costs the server nothing, and a person who
    has just signed in must not wait.
    """
    if not state.terminal or isinstance(error, ReauthenticationRequiredError):
        return False
    return type(error) is type(state.error) and getattr(error, "code", None) == getattr(state.error, "code", None)


def rejected(state: Snapshot) -> Snapshot:
    """The state after the server rejected the token: a refresh is due, and this token is never served again."""
    if state.token is None:
        return state
    digest = digest_of(state.token.access_token)
    refused = state.refused if digest in state.refused else (*state.refused, digest)[-REMEMBERED:]
    return attrs.evolve(state, rejected=True, refused=refused)


def digest_of(secret: str) -> str:
    """A digest that identifies a secret without revealing it."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()[:32]


def is_refused_anew(state: Snapshot, boot: float, policy: RefreshPolicy = DEFAULT_POLICY) -> bool:
    """Return whether the rejected token had itself just replaced a rejected one: replacing it would go on for ever."""
    return state.forced and boot - state.since_boot < policy.rejection_window


class Phase(StrEnum):
    """The phase of a key; stable names for status and metrics."""

    EMPTY = "empty"
    FETCHING = "fetching"
    RESOLVING = "resolving"
    FRESH = "fresh"
    ADVISORY = "advisory"
    MANDATORY = "mandatory"
    EXPIRED = "expired"
    REJECTED = "rejected"
    BACKOFF = "backoff"
    REAUTH_REQUIRED = "reauth_required"
    CLOSED = "closed"


def phase(state: Snapshot, *, boot: float, wall: float) -> Phase:
    """The phase of a key by its snapshot alone: FRESH, ADVISORY, MANDATORY, or why there is no usable token."""
    if state.remaining(boot, wall) > 0:
        age = state.age(boot, wall)
        return Phase.FRESH if age < state.advisory else Phase.ADVISORY if age < state.mandatory else Phase.MANDATORY
    if isinstance(state.error, ReauthenticationRequiredError) and not state.renewing:
        return Phase.REAUTH_REQUIRED
    if boot < state.urgent_boot:
        return Phase.BACKOFF
    if state.renewing:
        return Phase.FETCHING
    if state.token is None:
        return Phase.EMPTY
    return Phase.REJECTED if state.rejected else Phase.EXPIRED
