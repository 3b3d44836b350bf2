"""When a key set is fetched, and what a fetch comes to."""

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
_KEPT: Final = 3  # times `negative_ttl` for which an id that nobody asks for stays in memory


@attrs.frozen(kw_only=True)
class FetchPolicy:
    """How keys are kept and fetched. All in seconds, but for `refresh_ahead`, a fraction of the lifetime.

    `ttl` is how long keys are fresh when the answer does not say; what it says is held between `min_ttl` and `max_ttl`.
    From `refresh_ahead` before the end on, the next caller has them fetched in the background. After a failure the old
    keys serve until `stale_if_error` after their fetch; attempts are `backoff` apart, the first wait to the longest.
    An unknown key id costs a fetch, at most `miss_burst` at once and one per `miss_interval` in the long run; whether one
    beyond that exists cannot be known for now. As a key may be published late, its id is looked for again after a second,
    and then whenever it has been unknown for as long again, up to `negative_ttl`. That is also how long after each look
    the id is refused, and so what an attacker gains who asks for an id before it is published. At most `negative_kids`
    are remembered. As a key may be replaced under its id, a signature that it did not make costs a fetch, too, at most
    one per `replaced_interval`. A set of more than `max_keys` is refused.
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
    """A key id that was not there at `since`, nor at `looked_at`, when it was last looked for."""

    since: float
    looked_at: float


@attrs.frozen(kw_only=True)
class FetchState:
    """What is known: the keys, how old they are, and how the last attempts went."""

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
    """Use this key; with `refresh`, have the set fetched in the background as well."""

    key: VerificationKey
    refresh: bool


@attrs.frozen
class Fetch:
    """Wait for one fetch, then ask again. `miss` is the unknown key id that it is for, if it is for one."""

    miss: str | None = None


@attrs.frozen
class Refuse:
    """There is no such key."""

    reason: Reason


@attrs.frozen
class Unavailable:
    """Whether there is such a key cannot be known before `retry_after` seconds have passed."""

    retry_after: float


Decision: TypeAlias = Use | Fetch | Refuse | Unavailable


def decide(
    policy: FetchPolicy,
    state: FetchState,
    *,
    algorithm: str,
    kid: str | None,
    now: float,
    asked: int,
    issued: bool = False,
) -> Decision:
    """What a caller does that asked for a key when `asked` attempts had begun.

    An attempt that has begun since and ended is as good as another; the answer to an older one may have been made before
    the token was. A token that the issuer itself has just `issued` is no attacker's, so an unknown key id of its always
    costs a fetch.
    """
    may_fetch = state.sequence <= asked and now >= state.retry_at
    unavailable = Unavailable(max(state.retry_at - now, 1.0))
    if now >= state.usable_until:
        return Fetch() if may_fetch else unavailable
    if now >= state.expires_at and may_fetch and not state.failures:
        return Fetch()
    found = state.keys.select(algorithm, kid)
    if isinstance(found, VerificationKey):
        return Use(found, now >= state.ahead_at and now >= state.retry_at)
    # A kid that another key bears, or a token without one, is not the sign of a rotation that a new kid is.
    if found is Reason.KID_AMBIGUOUS or kid is None or state.keys.knows(kid):
        return Refuse(found)
    if state.failures or issued or not may_fetch:
        refusal = unavailable if state.failures else Refuse(found)
        return Fetch() if may_fetch else refusal
    return _missing(policy, state, kid, now)


def _missing(policy: FetchPolicy, state: FetchState, kid: str, now: float) -> Decision:
    """What a caller does whose key id is not among the keys, when it may fetch but for what others have fetched."""
    known = state.unknown.get(kid)
    if known is not None and now < known.looked_at + _pause(policy, known):
        return Refuse(Reason.KID_UNKNOWN)
    wait = state.next_miss_at - (policy.miss_burst - 1) * policy.miss_interval - now
    if wait <= 0:
        return Fetch(kid)
    if known is not None and now < known.looked_at + policy.negative_ttl:
        return Refuse(Reason.KID_UNKNOWN)
    return Unavailable(max(wait, 1.0))


def _pause(policy: FetchPolicy, missing: Missed) -> float:
    return min(max(missing.looked_at - missing.since, _SECOND_LOOK), policy.negative_ttl)


def missed(policy: FetchPolicy, state: FetchState, now: float) -> FetchState:
    """The state once a fetch for an unknown key id has begun: it took one of the few that may begin."""
    return attrs.evolve(state, next_miss_at=max(state.next_miss_at, now) + policy.miss_interval)


def may_be_replaced(state: FetchState, now: float, *, asked: int, issued: bool = False) -> bool:
    """Tell if a signature that its key did not make costs a fetch, in case the key was replaced under its id.

    Not if the keys were fetched since the caller asked, when `asked` attempts had begun; nor in a back-off, nor too soon
    after another such fetch, except for an `issued` token.
    """
    return state.sequence <= asked and now >= state.retry_at and (issued or now >= state.next_replaced_at)


def replaced(policy: FetchPolicy, state: FetchState, now: float) -> FetchState:
    """The state once such a fetch has begun."""
    return attrs.evolve(state, next_replaced_at=now + policy.replaced_interval)


@attrs.frozen
class Answer:
    """An answer that has keys. `lifetime`: seconds for which it is fresh, from when it was asked for."""

    keys: KeySet
    etag: str | None
    lifetime: float


def read_answer(policy: FetchPolicy, state: FetchState, response: Response) -> Answer | str:
    """The keys in an answer, or what is wrong with it, in words of ours alone."""
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
    """The state after an answer with keys; unchanged if a later request has been answered already.

    `jitter`, uniform in 0..1, spreads the early refresh of many processes over 5 % to either side. `miss` is the unknown
    key id that the request was for.
    """
    if sequence <= state.sequence:
        return state
    changed = frozenset(answer.keys.keys) != frozenset(state.keys.keys)
    unknown = {
        kid: each
        for kid, each in state.unknown.items()
        if not changed and now < each.looked_at + _KEPT * policy.negative_ttl
    }
    if miss is not None and not answer.keys.knows(miss):
        since = unknown[miss].since if miss in unknown else sent_at
        if miss not in unknown and len(unknown) >= policy.negative_kids:
            # Not the oldest: whoever could foretell which goes could have one's own asked for again.
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

    The wait doubles per attempt, give or take 20 % by `jitter` (0..1); a server's wish of up to a minute is granted.
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
    """How long an answer with these headers is fresh (RFC 9111 section 4.2), within the policy's bounds."""
    directives = [part.strip().lower() for part in headers.get("Cache-Control", "").split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return policy.min_ttl
    for directive in directives:
        if match := _MAX_AGE.fullmatch(directive):
            age = headers.get("Age", "")
            spent = int(age) if re.fullmatch(r"\d{1,10}", age, re.ASCII) else 0
            return min(max(float(int(match[1]) - spent), policy.min_ttl), policy.max_ttl)
    return policy.ttl
