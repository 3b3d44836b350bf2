"""What a service learns of a token that was found good."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Literal, Self

import attrs

from ..protocol.jwt import numeric_date
from ..transport.clock import SystemClock

_CLOCK = SystemClock()


@attrs.frozen(kw_only=True, repr=False)
class AccessToken:
    """A verified access token. It cannot be changed, `claims` included, so one value serves many requests.

    Times are Unix seconds. `expires_at` is the earliest end that the token, an introspection answer or the policy names,
    infinite for a token that never ends.
    `claims` is all that the token says, or the introspection answer for one that is judged by that alone; arrays are
    tuples. The repr shows who, what for and until when.
    """

    subject: str | None
    client_id: str | None
    issuer: str
    audience: tuple[str, ...]
    scopes: frozenset[str]
    expires_at: float
    issued_at: float | None
    token_id: str | None
    key_id: str | None
    algorithm: str | None
    source: Literal["jwt", "introspection"]
    claims: Mapping[str, object]

    @classmethod
    def from_claims(
        cls,
        claims: Mapping[str, object],
        *,
        issuer: str,
        source: Literal["jwt", "introspection"],
        key_id: str | None = None,
        algorithm: str | None = None,
        expires_at: float | None = None,
    ) -> Self:
        """The token with these claims, whose types must have been checked.

        `issuer` and `expires_at` are for claims that name none; without either the token has no end.
        """
        said: Mapping[str, Any] = claims
        audience, named = said.get("aud", ()), numeric_date(claims, "exp")
        return cls(
            subject=said.get("sub"),
            client_id=said.get("client_id"),
            issuer=said.get("iss", issuer),
            audience=(audience,) if isinstance(audience, str) else audience,
            scopes=frozenset(said.get("scope", "").split()),
            expires_at=next((end for end in (named, expires_at) if end is not None), inf),
            issued_at=numeric_date(claims, "iat"),
            token_id=said.get("jti"),
            key_id=key_id,
            algorithm=algorithm,
            source=source,
            claims=claims,
        )

    def has(self, *scopes: str) -> bool:
        """Whether the token carries every one of these scopes."""
        return self.scopes.issuperset(scopes)

    def remaining(self, now: float | None = None) -> float:
        """Seconds until it expires, negative afterwards: for websockets and streams that outlive a request."""
        return self.expires_at - (_CLOCK.wall() if now is None else now)

    def __repr__(self) -> str:
        return (
            f"AccessToken(subject={self.subject!r}, client_id={self.client_id!r}, "
            f"scopes={sorted(self.scopes)!r}, expires_at={self.expires_at!r})"
        )
