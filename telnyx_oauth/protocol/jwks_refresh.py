"""Fetching of key sets: when to fetch, and the state after each fetch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from ..errors import Reason
from ..messages import Response
from .json_body import as_utf8
from .jwk import KeySet, VerificationKey, read_jwks
from .retry import LONGEST_RETRY_AFTER, backoff

NEVER: Final = float("-inf")
_SECOND_LOOK: Final = 1.0
_KEPT: Final = 3  # times `negative_ttl` for which an unknown id stays in memory after it was last looked for


@attrs.frozen(kw_only=True)
class FetchPolicy:
    """Times and limits of caching and fetching keys. All times are seconds; `refresh_ahead` is a fraction of the lifetime.

    `ttl` is the lifetime of keys if the response names none; one that it names is limited to `min_ttl` to `max_ttl`. In the
    last `refresh_ahead` of it, the next caller starts a fetch in the background. After a failure the old keys serve until
    `stale_if_error` after their fetch; the pause between attempts grows from the first to the second value of `backoff`.

    An unknown key id costs a fetch: at most `miss_burst` at once, and one per `miss_interval` in the long run. Beyond that,
    the key counts as unavailable. Since a key may be published late, its id is looked for again after a second, and then each
    time that it has been unknown for twice as long, with pauses of up to `negative_ttl`. Between these looks the id is
    refused; an attacker who asks for an id before it is published gains no more than that. At most `negative_kids` unknown
    ids are remembered. Since a key may be replaced under its id, an invalid signature costs a fetch too, at most one per
    `replaced_interval`. A set of more than `max_keys` is refused.
    """

    ttl: float = 300.0
    min_ttl: float = 60.0
    max_ttl: float = 3600.0
    refresh_ahead: float = 0.2
    stale_if_error: float = 3600.0
    miss_burst: int = 2
    miss_interval: float = 10.0
    negative_kids: int = 128
    negative_ttl: float = 10.0
    replaced_interval: float = 30.0
    backoff: tuple[float, float] = (1.0, 30.0)
    max_keys: int = 64


@attrs.frozen
class Missed:
    """A key id that is missing since `since`, and was last looked for at `looked_at`."""

    since: float
    looked_at: float


@attrs.frozen(kw_only=True)
class FetchState:
    """The state of the cache: the keys, their age, and the outcome of the last attempts."""

    keys: KeySet = attrs.field(factory=KeySet)
    generation: int = 0
    sequence: int = 0
    fetched_at: float = NEVER
    ahead_at: float = NEVER
    expires_at: float = NEVER
    usable_until: float = NEVER
    etag: str | None = None
    tried_at: float = NEVER
    failures: int = 0
    retry_at: float = NEVER
    last_error: str | None = None
    next_miss_at: float = NEVER
    next_replaced_at: float = NEVER
    unknown: Mapping[str, Missed] = attrs.field(factory=dict[str, Missed])


@attrs.frozen
class Use:
    """Use this key; with `refresh`, also fetch the set in the background."""

    key: VerificationKey
    refresh: bool


@attrs.frozen
class Fetch:
    """Wait for one fetch, then decide again. `miss` is the unknown key id that the fetch is for, if any."""

    miss: str | None = None


@attrs.frozen
class Refuse:
    """There is no such key."""

    reason: Reason


@attrs.frozen
class Unavailable:
    """The key may exist, but the set must not be fetched before `retry_after` seconds have passed."""

    retry_after: float


Decision: TypeAlias = Use | Fetch | Refuse | Unavailable


def decide(
    policy: FetchPolicy,
    state: FetchState,
    *,
    algorithm: str,
    kid: str | None,
    now: float,
    attempts: int,
    issued: bool = False,
) -> Decision:
    """Decide what a caller does that asked for a key when `attempts` had begun.

    An attempt that began after that and has ended is as good as another one. The response to an older one may be older than
    the token. A token that the issuer itself has just `issued` is not an attacker's, so its unknown key id always costs a
    fetch.
    """
    may_fetch = state.sequence <= attempts and now >= state.retry_at
    unavailable = Unavailable(max(state.retry_at - now, 1.0))
    if now >= state.usable_until:
        return Fetch() if may_fetch else unavailable
    if now >= state.expires_at and may_fetch and not state.failures:
        return Fetch()
    key = state.keys.select(algorithm, kid)
    if isinstance(key, VerificationKey):
        return Use(key, now >= state.ahead_at and now >= state.retry_at)
    # Only a new `kid` is a sign of a rotation: not one that another key has, nor its absence.
    if key is Reason.KID_AMBIGUOUS or kid is None or state.keys.knows(kid):
        return Refuse(key)
    if state.failures or issued or not may_fetch:
        refusal = unavailable if state.failures else Refuse(key)
        return Fetch() if may_fetch else refusal
    return _missing(policy, state, kid, now)


def _missing(policy: FetchPolicy, state: FetchState, kid: str, now: float) -> Decision:
    """Decide for a key id that is not in the set. A fetch is allowed, within the limits for unknown ids."""
    entry = state.unknown.get(kid)
    if entry is not None and now < entry.looked_at + _pause(policy, entry):
        return Refuse(Reason.KID_UNKNOWN)
    wait = state.next_miss_at - (policy.miss_burst - 1) * policy.miss_interval - now
    if wait <= 0:
        return Fetch(kid)
    if entry is not None and now < entry.looked_at + policy.negative_ttl:
        return Refuse(Reason.KID_UNKNOWN)
    return Unavailable(max(wait, 1.0))


def _pause(policy: FetchPolicy, missing: Missed) -> float:
    return min(max(missing.looked_at - missing.since, _SECOND_LOOK), policy.negative_ttl)


def missed(policy: FetchPolicy, state: FetchState, now: float) -> FetchState:
    """The state once a fetch for an unknown key id has begun, which counts against `miss_interval`."""
    return attrs.evolve(state, next_miss_at=max(state.next_miss_at, now) + policy.miss_interval)


def may_be_replaced(state: FetchState, now: float, *, attempts: int, issued: bool = False) -> bool:
    """Return whether an invalid signature costs a fetch, in case the key was replaced under its id.

    Not if the keys were fetched since the caller asked, when `attempts` had begun; nor in a back-off; nor too soon
    after another such fetch, except for an `issued` token.
    """
    return state.sequence <= attempts and now >= state.retry_at and (issued or now >= state.next_replaced_at)


def replaced(policy: FetchPolicy, state: FetchState, now: float) -> FetchState:
    """The state once such a fetch has begun."""
    return attrs.evolve(state, next_replaced_at=now + policy.replaced_interval)


@attrs.frozen
class Answer:
    """A response that has keys. `lifetime` is the seconds for which it is fresh, from when the request was sent."""

    keys: KeySet
    etag: str | None
    lifetime: float


def read_answer(policy: FetchPolicy, state: FetchState, response: Response) -> Answer | str:
    """The keys in a response, or what is wrong with it, quoting nothing."""
    if response.status_code == 304 and state.keys.keys:
        return Answer(state.keys, state.etag, lifetime(policy, response.headers))
    if response.status_code != 200:
        return f"status {response.status_code}"
    if response.fault:
        return response.fault
    keys = read_jwks(as_utf8(response), max_keys=policy.max_keys)
    if keys is None:
        return f"no JWKS, or one with more than {policy.max_keys} keys"
    if not keys.keys:
        return "no usable key"
    return Answer(keys, response.headers.get("ETag"), lifetime(policy, response.headers))


def succeeded(
    policy: FetchPolicy,
    state: FetchState,
    answer: Answer,
    *,
    sequence: int,
    sent_at: float,
    now: float,
    jitter: float,
    miss: str | None = None,
) -> FetchState:
    """The state after a response with keys; unchanged if a later request has been answered already.

    `jitter`, uniform in 0..1, spreads the early refresh of many processes over 5 % to either side. `miss` is the unknown
    key id that the request was for.
    """
    if sequence <= state.sequence:
        return state
    changed = frozenset(answer.keys.keys) != frozenset(state.keys.keys)
    # A changed set forgets the missing ids, so that they are looked for anew.
    unknown = {
        kid: each
        for kid, each in state.unknown.items()
        if not changed and now < each.looked_at + _KEPT * policy.negative_ttl
    }
    if miss is not None and not answer.keys.knows(miss):
        since = unknown[miss].since if miss in unknown else sent_at
        if miss not in unknown and len(unknown) >= policy.negative_kids:
            # A random one: an attacker who could predict which is forgotten could have it looked for again and again.
            del unknown[list(unknown)[int(jitter * len(unknown)) % len(unknown)]]
        unknown[miss] = Missed(since, sent_at)
    return attrs.evolve(
        state,
        keys=answer.keys,
        generation=state.generation + changed,
        sequence=sequence,
        fetched_at=sent_at,
        ahead_at=sent_at + answer.lifetime * (1 - policy.refresh_ahead) * (0.95 + 0.1 * jitter),
        expires_at=sent_at + answer.lifetime,
        usable_until=sent_at + max(answer.lifetime, policy.stale_if_error),
        etag=answer.etag,
        tried_at=now,
        failures=0,
        retry_at=NEVER,
        last_error=None,
        unknown=unknown,
    )


def failed(
    policy: FetchPolicy,
    state: FetchState,
    *,
    sequence: int,
    error: str,
    retry_after: float | None,
    now: float,
    jitter: float,
) -> FetchState:
    """The state after an attempt that brought no keys: the old ones stay, and the next attempt is put off.

    The wait doubles per attempt, plus or minus 20 % by `jitter` (0..1). A `Retry-After` of up to a minute is obeyed.
    """
    if sequence <= state.sequence:
        return state
    first, longest = policy.backoff
    wait = backoff(state.failures, first, longest) * (0.8 + 0.4 * jitter)
    if retry_after is not None:
        wait = max(wait, min(retry_after, LONGEST_RETRY_AFTER))
    return attrs.evolve(
        state, sequence=sequence, tried_at=now, failures=state.failures + 1, retry_at=now + wait, last_error=error
    )


_MAX_AGE = re.compile(r'max-age="?(\d{1,10})"?')


def lifetime(policy: FetchPolicy, headers: Mapping[str, str]) -> float:
    """Seconds for which a response with these headers is fresh (RFC 9111 section 4.2), within the policy's bounds."""
    directives = [part.strip().lower() for part in headers.get("Cache-Control", "").split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return policy.min_ttl
    for directive in directives:
        if match := _MAX_AGE.fullmatch(directive):
            age = headers.get("Age", "")
            spent = int(age) if re.fullmatch(r"\d{1,10}", age, re.ASCII) else 0
            return min(max(float(int(match[1]) - spent), policy.min_ttl), policy.max_ttl)
    return policy.ttl
