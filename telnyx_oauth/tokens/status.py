"""What a manager says of one key to people and programs that watch it."""

from __future__ import annotations

import attrs

from ..protocol.freshness import Phase
from ..protocol.token import TokenKey


@attrs.frozen
class TokenStatus:
    """What is served for a key, and why. Holds no secret; times are Unix seconds, durations seconds."""

    key: TokenKey
    phase: Phase
    generation: int | None
    scopes: frozenset[str]
    expires_at: float | None
    expires_in: float
    renewing: bool
    waiters: int
    failures: int
    retry_in: float
    last_error: str | None
    durable: bool
