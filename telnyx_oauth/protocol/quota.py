"""A server's rate limit, learnt from its refusals, and the time of the next request under it.

The state is one frozen value. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

NEVER: Final = float("-inf")
LONGEST_WINDOW: Final = 60.0
_COUNTED: Final = 240  # requests that are remembered; a higher limit is left to the server
_TRIES_MORE: Final = 5.0  # windows without a refusal, after which one more request is tried
_WINDOW: Final = re.compile(r";\s*w=(\d{1,5})\b")


@attrs.frozen
class Quota:
    """The known rate limit: at most `limit` requests in any `window` seconds, `None` as long as none is known.

    `sent` are the times of the requests that count. Until `held_until` the server accepts none.
    """

    limit: int | None = None
    window: float = LONGEST_WINDOW
    learned_at: float = NEVER
    held_until: float = NEVER
    sent: tuple[float, ...] = ()

    def allowed(self, now: float) -> int | None:
        """The assumed limit at `now`. It grows slowly, since the server's limit may have been raised."""
        if self.limit is None:
            return None
        return self.limit + int((now - self.learned_at) / (_TRIES_MORE * self.window))

    def wait(self, now: float, *, keep: int = 0) -> float:
        """Seconds until a request may be sent that leaves room for `keep` more at once; 0 is now."""
        held, limit = max(self.held_until - now, 0.0), self.allowed(now)
        if limit is None:
            return held
        recent = [at for at in self.sent if at > now - self.window]
        over = len(recent) - max(limit - keep, 1)
        return held if over < 0 else max(recent[over] + self.window - now, held)


def asked(quota: Quota, now: float) -> Quota:
    """The state once a request has been sent."""
    recent = tuple(at for at in quota.sent[1 - _COUNTED :] if at > now - LONGEST_WINDOW)
    return attrs.evolve(quota, sent=(*recent, now))


def answered(quota: Quota, now: float, *, sent_at: float) -> Quota:
    """The state once the request was answered: the server has counted it by now at the latest."""
    return attrs.evolve(quota, sent=(*_without(quota.sent, sent_at), now))


def refused(
    quota: Quota, now: float, *, sent_at: float, wait: float, stated: bool, headers: Mapping[str, str]
) -> Quota:
    """The state once the server has refused the request for its limit: the number of recent answers is the limit.

    `wait` is the time until the next request; if `stated`, the server named it, which reveals the length of its window.
    Several processes may share a limit; each then learns its part.
    """
    others = tuple(at for at in _without(quota.sent, sent_at) if at > now - LONGEST_WINDOW)
    quota = attrs.evolve(quota, sent=others, held_until=max(quota.held_until, now + wait))
    if not others:  # other processes may have used up the limit, so it cannot be learnt from this refusal
        return quota
    match = _WINDOW.search(headers.get("RateLimit-Policy", "") or headers.get("RateLimit-Limit", ""))
    window = LONGEST_WINDOW
    if match:
        window = min(max(float(match[1]), 1.0), LONGEST_WINDOW)
    elif stated:
        # The oldest counted request leaves the window when the wait ends.
        window = min(max(now + wait - others[0], 1.0), LONGEST_WINDOW)
    count = sum(at > now - window for at in others)
    limit = None if count >= _COUNTED - 1 else max(count, 1)
    return attrs.evolve(quota, limit=limit, window=window, learned_at=now)


def _without(times: tuple[float, ...], one: float) -> tuple[float, ...]:
    if one not in times:
        return times
    place = times.index(one)
    return times[:place] + times[place + 1 :]
