"""The validator: is this access token good, here and now? One answer for every framework."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from hashlib import sha256

import attrs

from ..errors import InsufficientScopeError, InvalidTokenError, Reason
from ..protocol.jwk import VerificationKey
from ..protocol.jwt import TokenPolicy, check_addressee, check_claims, read_token
from ..transport.clock import Clock, SystemClock
from .access import AccessToken
from .keys import KeySource


class TokenValidator:
    """Judges access tokens by a policy, with keys from a source. Safe for any number of tasks, loops and threads.

    What was found good is remembered for `cache_ttl` seconds, at most `cache_size` tokens (0: none), by the token's
    hash; a verdict dies with its token, and with its key as soon as that is no longer published.
    """

    def __init__(
        self,
        policy: TokenPolicy,
        keys: KeySource,
        *,
        cache_size: int = 1024,
        cache_ttl: float = 300.0,
        clock: Clock | None = None,
    ) -> None:
        self.policy = policy
        self.keys = keys
        self._longest = policy.max_token_bytes
        self._size = cache_size
        self._ttl = cache_ttl
        self._now = (clock or SystemClock()).wall
        self._verdicts: OrderedDict[bytes, _Verdict] = OrderedDict()

    async def validate(self, token: str, /, *, scopes: Collection[str] = ()) -> AccessToken:
        """The verified token, which carries all of `scopes`.

        Raises `InvalidTokenError` (`ExpiredTokenError` among them), `InsufficientScopeError`, and
        `ValidationUnavailableError` when it cannot be known; each is a `TokenValidationError`.
        """
        access = self.cached(token)
        if access is None:
            access = await self._verify(token)
        if scopes:
            required = frozenset(scopes.split() if isinstance(scopes, str) else scopes)
            if not access.scopes >= required:
                raise InsufficientScopeError(required)
        return access

    def cached(self, token: str, /) -> AccessToken | None:
        """The verdict on a token that was found good lately and still is; None is no verdict. Never waits."""
        if len(token) > self._longest or not token.isascii():
            return None
        digest = sha256(token.encode()).digest()
        verdict = self._verdicts.get(digest)
        if verdict is None:
            return None
        # A verdict from the future does not count: the clock has been set back, and says nothing about `until`.
        if not verdict.since <= self._now() < verdict.until or (
            verdict.generation != self.keys.generation and not self.keys.contains(verdict.key)
        ):
            self._verdicts.pop(digest, None)
            return None
        try:
            self._verdicts.move_to_end(digest)
        except KeyError:  # another thread has dropped it meanwhile
            return None
        return verdict.access

    def revoke_cached(self, *, subject: str | None = None, token_id: str | None = None) -> int:
        """Forget the verdicts on a subject's tokens, on one token by its `jti`, or with neither, on all; how many."""
        doomed = [
            digest
            for digest, verdict in list(self._verdicts.items())
            if subject in (None, verdict.access.subject) and token_id in (None, verdict.access.token_id)
        ]
        return sum(self._verdicts.pop(digest, None) is not None for digest in doomed)

    async def warm(self) -> None:
        """Have the keys ready before the first token comes."""
        await self.keys.warm()

    async def aclose(self) -> None:
        """Close the source of keys, and forget every verdict."""
        self._verdicts.clear()
        await self.keys.aclose()

    async def _verify(self, token: str) -> AccessToken:
        unverified = read_token(self.policy, token)
        check_addressee(self.policy, unverified.claims, self._now())
        key = await self.keys.select(alg=unverified.algorithm, kid=unverified.key_id)
        if not key.verify(unverified.algorithm, unverified.signing_input, unverified.signature):
            raise InvalidTokenError(Reason.SIGNATURE_INVALID)
        now = self._now()
        check_claims(self.policy, unverified.claims, now, required=self.policy.required)
        access = AccessToken.from_claims(
            unverified.claims,
            issuer=self.policy.issuer,
            source="jwt",
            key_id=unverified.key_id,
            algorithm=unverified.algorithm,
        )
        self._remember(token, access, key, now)
        return access

    def _remember(self, token: str, access: AccessToken, key: VerificationKey, now: float) -> None:
        policy, issued_at = self.policy, access.issued_at
        until = min(now + self._ttl, access.expires_at + policy.leeway)
        if policy.max_age is not None and issued_at is not None:
            until = min(until, issued_at + policy.max_age + policy.leeway)
        generation = (
            self.keys.generation
        )  # read before `contains`, so that a change in between is noticed at the next hit
        if self._size > 0 and self.keys.contains(key):
            self._verdicts[sha256(token.encode()).digest()] = _Verdict(access, key, generation, now, until)
            while len(self._verdicts) > self._size:
                self._verdicts.popitem(last=False)


@attrs.frozen
class _Verdict:
    access: AccessToken
    key: VerificationKey
    generation: int
    since: float
    until: float
