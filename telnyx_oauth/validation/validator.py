"""The validator of access tokens, and the verified token."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from hashlib import sha256
from math import inf
from typing import Any, Final, Literal, Self, TypeAlias, get_args

import attrs

from .. import validation as _validation
from ..errors import ExpiredTokenError, InsufficientScopeError, InvalidTokenError, Reason
from ..protocol.arguments import expect, expect_a, expect_numbers
from ..protocol.jwk import VerificationKey
from ..protocol.jws import looks_like_jwt
from ..protocol.jwt import (
    TokenPolicy,
    check_answer,
    check_both,
    check_claims,
    check_expiry,
    dated,
    expiry,
    numeric_date,
    read_token,
    says_it_has_expired,
)
from ..protocol.secret import Secret, Uncopied
from ..transport.clock import CLOCK, CLOCK_METHODS, Clock, SystemClock
from .keys import KeySource, SigningKeys, StaticKeys
from .verdicts import LRU, IntrospectionResult

_CLOCK = SystemClock()


@attrs.frozen(kw_only=True, repr=False)
class AccessToken:
    """A verified access token. It cannot be changed, `claims` included, so one value serves many requests.

    Times are Unix seconds. `expires_at` is the earliest end in the token, the introspection answer and the policy, infinite
    for a token that never ends.
    `claims` are all claims of the token, or the introspection answer for one that is judged by that alone; arrays are
    tuples. The repr shows the subject, the client, the scopes and the expiry.
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
        values: Mapping[str, Any] = claims
        audience, stated = values.get("aud", ()), numeric_date(claims, "exp")
        return cls(
            subject=values.get("sub"),
            client_id=values.get("client_id"),
            issuer=values.get("iss", issuer),
            audience=(audience,) if isinstance(audience, str) else audience,
            scopes=frozenset(values.get("scope", "").split()),
            expires_at=next((end for end in (stated, expires_at) if end is not None), inf),
            issued_at=numeric_date(claims, "iat"),
            token_id=values.get("jti"),
            key_id=key_id,
            algorithm=algorithm,
            source=source,
            claims=claims,
        )

    def has(self, *scopes: str) -> bool:
        """Return whether the token carries every one of these scopes."""
        return self.scopes.issuperset(scopes)

    def remaining(self, now: float | None = None) -> float:
        """Seconds until it expires, negative afterwards: for websockets and streams that outlive a request."""
        return self.expires_at - (_CLOCK.wall() if now is None else now)

    def __repr__(self) -> str:
        return (
            f"AccessToken(subject={self.subject!r}, client_id={self.client_id!r}, "
            f"scopes={sorted(self.scopes)!r}, expires_at={self.expires_at!r})"
        )


Mode: TypeAlias = Literal["jwt", "introspect", "jwt_then_introspect", "jwt_or_opaque_then_introspect"]
_ALWAYS_SIGNED: Final = ("jwt", "jwt_then_introspect")
_SIGNED: Final = (*_ALWAYS_SIGNED, "jwt_or_opaque_then_introspect")
# https://www.rfc-editor.org/rfc/rfc6750#section-2.1
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


class TokenValidator(Uncopied):
    """Validates access tokens by a policy. Safe for any number of tasks, loops and threads.

    `mode` chooses the checks. `jwt`: the signature by one of `keys`, and the claims. `introspect`: the answer of
    `introspection`, for tokens of any form. `jwt_then_introspect`: both; a revoked token is refused as soon as the
    introspection's `ttl` and `stale` allow, forged and opaque ones cost no request, only the scopes that both name
    count, and so does the earlier expiry. `jwt_or_opaque_then_introspect`: the same, but an opaque token is accepted on
    its introspection alone.

    Verdicts on good tokens are cached for `cache_ttl` seconds, at most `cache_size` of them (0: none), by the token's hash.
    A verdict ends with its token, and with its key as soon as that is no longer published. Raises `ValueError` when the
    mode lacks keys or introspection.
    """

    def __init__(
        self,
        policy: TokenPolicy,
        keys: KeySource | None = None,
        *,
        introspection: _validation.IntrospectionCache | None = None,
        mode: Mode = "jwt",
        cache_size: int = 1024,
        cache_ttl: float = 300.0,
        clock: Clock | None = None,
    ) -> None:
        expect_a(policy, "policy", "a TokenPolicy, as in TokenValidator(TokenPolicy(...), JWKSCache(uri))", TokenPolicy)
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(map(repr, get_args(Mode)))}.")
        expect_numbers(cache_size=cache_size, cache_ttl=cache_ttl)
        if clock is not None:
            expect(clock, "clock", CLOCK, *CLOCK_METHODS)
        if keys is not None:
            expect(keys, "keys", "JWKSCache(uri) or StaticKeys(...)", "select", "contains")
        if introspection is not None:
            expect(introspection, "introspection", "an IntrospectionCache", "cached")
        if mode != "introspect" and keys is None:
            raise ValueError(f"mode {mode!r} needs keys, such as JWKSCache(uri).")
        if mode != "jwt" and introspection is None:
            raise ValueError(f"mode {mode!r} needs introspection, an IntrospectionCache.")
        self.policy = policy
        self.keys = keys or StaticKeys({"keys": []})
        self._signing = SigningKeys(self.keys)
        self._mode = mode
        self._introspection = introspection if mode != "jwt" else None
        self._longest = policy.max_token_bytes
        self._ttl = cache_ttl
        self._now = (clock or SystemClock()).wall
        self._verdicts: LRU[bytes, _Verdict] = LRU(cache_size)

    async def validate(self, token: str, /, *, scopes: Collection[str] = ()) -> AccessToken:
        """The verified token, which carries all of `scopes`.

        Raises `InvalidTokenError` (`ExpiredTokenError` among them), `InsufficientScopeError`, and
        `ValidationUnavailableError` when it cannot be known; each is a `TokenValidationError`.
        """
        access = self.cached(token)
        if access is None:
            presented = Secret(token)
            del token
            access = await self._judge(presented)
        else:
            del token
        if scopes:
            required = frozenset(scopes.split() if isinstance(scopes, str) else scopes)
            if not access.scopes >= required:
                raise InsufficientScopeError(required)
        return access

    def cached(self, token: str, /) -> AccessToken | None:
        """The cached verdict on a good token, if it still stands; `None` is no verdict. Never waits."""
        if len(token) > self._longest or not token.isascii():
            return None
        digest = sha256(token.encode()).digest()
        verdict = self._verdicts.get(digest)
        if verdict is None:
            return None
        # A verdict from the future does not count: the clock was set back, so `until` cannot be compared with it.
        if not verdict.since <= self._now() < verdict.until or (
            (verdict.generation != self.keys.generation or verdict.result is not None)
            and not self._still_backed(token, verdict)
        ):
            self._verdicts.pop(digest, None)
            return None
        return verdict.access if self._verdicts.touch(digest) else None

    def revoke_cached(self, *, subject: str | None = None, token_id: str | None = None) -> int:
        """Drop the cached verdicts on a subject's tokens, on one token by its `jti`, or with neither, on all. Return their
        number.
        """
        digests = [
            digest
            for digest, verdict in list(self._verdicts.items())
            if subject in (None, verdict.access.subject) and token_id in (None, verdict.access.token_id)
        ]
        return sum(self._verdicts.pop(digest, None) is not None for digest in digests)

    async def warm(self) -> None:
        """Get the keys before the first token comes."""
        await self.keys.warm()

    async def aclose(self) -> None:
        """Close the keys and the introspection, and forget every verdict."""
        self._verdicts.clear()
        await self.keys.aclose()
        if self._introspection is not None:
            await self._introspection.aclose()

    def _still_backed(self, token: str, verdict: _Verdict) -> bool:
        """Return whether the key and the introspection's answer, on which the verdict rests, still stand."""
        if verdict.generation != self.keys.generation and verdict.key and not self.keys.contains(verdict.key):
            return False
        return self._introspection is None or self._introspection.cached(token) is verdict.result

    async def _judge(self, token: Secret[str]) -> AccessToken:
        access, key, result = None, None, None
        if self._mode in _ALWAYS_SIGNED or (self._mode in _SIGNED and looks_like_jwt(token.plain)):
            access, key = await self._verify(token)
        if self._introspection is not None:
            result = await self._ask(token, self._introspection, proven=access is not None)
            access = self._from_answer(result) if access is None else self._narrowed(access, result)
        assert access is not None
        self._remember(token, access, key, result)
        return access

    async def _verify(self, token: Secret[str]) -> tuple[AccessToken, VerificationKey]:
        policy = self.policy
        unverified = read_token(policy, token.plain)
        check_claims(policy, unverified.claims, self._now())
        key = await self._signing.find(
            unverified.algorithm, unverified.key_id, Secret(unverified.signing_input), unverified.signature
        )
        if key is None:
            raise InvalidTokenError(Reason.SIGNATURE_INVALID)
        check_expiry(policy, unverified.claims, self._now())  # again: fetching the keys may have taken a while
        access = AccessToken.from_claims(
            unverified.claims,
            issuer=policy.issuer,
            source="jwt",
            key_id=unverified.key_id,
            algorithm=unverified.algorithm,
            expires_at=expiry(policy, unverified.claims),
        )
        return access, key

    async def _ask(
        self, token: Secret[str], introspection: _validation.IntrospectionCache, *, proven: bool
    ) -> IntrospectionResult:
        if len(token.plain) > self._longest:
            raise InvalidTokenError(Reason.TOO_LONG)
        if not _B64TOKEN.fullmatch(token.plain):
            raise InvalidTokenError(Reason.ENCODING_INVALID)
        if not proven and says_it_has_expired(self.policy, token.plain, self._now()):
            raise ExpiredTokenError  # without a request to the server
        result = await introspection.introspect(token.plain, proven=proven, max_wait=introspection.max_wait)
        if self._is_over(result):
            result = await introspection.introspect(token.plain, fresh=True)
        if not result.active:
            raise InvalidTokenError(Reason.INACTIVE)
        return result

    def _is_over(self, result: IntrospectionResult) -> bool:
        """Return whether the policy has ended the verdict, and not a time in the answer, so that a fresh one is needed."""
        claims = dated(self.policy, result.claims, result.answered_at)
        if claims is result.claims or not result.active:
            return False
        ends = expiry(self.policy, claims)
        return ends is None or not result.answered_at <= self._now() < ends

    def _from_answer(self, result: IntrospectionResult) -> AccessToken:
        """The token for an introspection answer alone."""
        policy = self.policy
        claims = dated(policy, result.claims, result.answered_at)
        check_answer(policy, claims, self._now())
        return AccessToken.from_claims(
            result.claims, issuer=policy.issuer, source="introspection", expires_at=expiry(policy, claims)
        )

    def _narrowed(self, access: AccessToken, result: IntrospectionResult) -> AccessToken:
        """The verified token, without the scopes and the time that the introspection answer takes away."""
        policy = self.policy
        check_both(policy, access.claims, result.claims, self._now())
        answer = AccessToken.from_claims(result.claims, issuer=policy.issuer, source="introspection")
        scopes = access.scopes & answer.scopes if "scope" in result.claims else access.scopes
        return attrs.evolve(access, scopes=scopes, expires_at=min(access.expires_at, answer.expires_at))

    def _remember(
        self, token: Secret[str], access: AccessToken, key: VerificationKey | None, result: IntrospectionResult | None
    ) -> None:
        policy, now = self.policy, self._now()
        until = min(now + self._ttl, access.expires_at + policy.leeway)
        if policy.max_age is not None and access.issued_at is not None:
            until = min(until, access.issued_at + policy.max_age + policy.leeway)
        # Read before `contains`, so that a change in between is noticed at the next hit.
        generation = self.keys.generation
        if key is None or self.keys.contains(key):
            digest = sha256(token.plain.encode()).digest()
            self._verdicts.put(digest, _Verdict(access, key, generation, result, now, until))


@attrs.frozen
class _Verdict:
    access: AccessToken
    key: VerificationKey | None
    generation: int
    result: IntrospectionResult | None
    since: float
    until: float
