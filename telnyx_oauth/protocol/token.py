"""The access token, and the key that identifies it in caches and stores."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import attrs

from ..hints import refused
from .arguments import expect_a, expect_texts
from .auth_headers import bearer
from .secret import Secret

_SCOPE_TOKEN = re.compile(r"[!#-\[\]-~]+")


def scope_set(scopes: Iterable[str] | str) -> frozenset[str]:
    """Scopes as a set; a `str` is split at its spaces, as on the wire (RFC 6749 section 3.3)."""
    return frozenset(word for scope in expect_texts(scopes, "scopes") for word in scope.split())


def lasting_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes as a tuple, which can be read several times and does not change."""
    # `scope_set` checks the items of the usual collections later.
    return tuple(scopes) if isinstance(scopes, (list, tuple, set, frozenset)) else expect_texts(scopes, "scopes")


def valid_scopes(scopes: Iterable[str] | str) -> frozenset[str]:
    """The valid scopes (RFC 6749 section 3.3) among a server's. A terminal obeys no character of such a scope."""
    return frozenset(scope for scope in scope_set(scopes) if _SCOPE_TOKEN.fullmatch(scope))


# Hashed in every look-up of a cached token.
@attrs.frozen(cache_hash=True)
class TokenKey:
    """The key of a token: the parameters of the token request, and the client.

    One value is both the request and the cache key, so two different requests can never share a cache entry. It holds no
    secret. `account` distinguishes the grants of different people.
    """

    token_endpoint: str = ""
    client_id: str = ""
    grant: str = ""
    scopes: frozenset[str] = attrs.field(default=frozenset(), converter=scope_set)
    resource: str | None = None
    account: str = ""

    def narrowed(self, scopes: Iterable[str] | str | None, resource: str | None) -> TokenKey:
        """This key with other scopes or another resource; `None` keeps the present ones."""
        if resource is not None:
            expect_a(resource, "resource", "a text, such as https://api.example.com", str)
        return TokenKey(
            self.token_endpoint,
            self.client_id,
            self.grant,
            self.scopes if scopes is None else scopes,
            self.resource if resource is None else resource,
            self.account,
        )

    @property
    def store_key(self) -> str:
        """The name of this key's record in a store: letters, digits and `-`, the same in every process."""
        return self._record_name(sorted(self.scopes), self.resource)

    @property
    def family_key(self) -> str:
        """As `store_key`, for grants whose one refresh token serves all scopes and resources."""
        return self._record_name(None, None)

    def _record_name(self, scopes: list[str] | None, resource: str | None) -> str:
        parts = json.dumps([self.token_endpoint, self.client_id, self.grant, scopes, resource, self.account])
        return f"{self.grant.replace('_', '-') or 'token'}-{hashlib.sha256(parts.encode()).hexdigest()[:32]}"


# Without attrs' own `__init__`, whose frame would show the text of a token that is refused.
@attrs.frozen(eq=False, init=False)
class Token:
    """An access token. Its repr hides it, so that no log contains it.

    `expires_at` is Unix seconds and for information (`None`: the server did not say); the manager uses clocks that
    survive suspends and jumps. `generation` rises with every new token. `key` identifies the token. Raises
    `ValueError`, quoting nothing, for a token that cannot be part of a header.
    """

    access_token: str = attrs.field(repr=False)
    token_type: str = "Bearer"
    scopes: frozenset[str] = attrs.field(default=frozenset(), converter=scope_set)
    expires_at: float | None = None
    generation: int = 0
    key: TokenKey = attrs.field(default=TokenKey(), repr=False)
    wall: Callable[[], float] | None = attrs.field(default=None, repr=False)
    authorization: str = attrs.field(init=False, repr=False)
    """The value of the `Authorization` header, computed once."""

    if not TYPE_CHECKING:
        __getitem__ = refused("is no dict: it has `access_token`, `authorization`, `scopes` and `expires_at`.")
        __add__ = __radd__ = refused(
            "is no text: `authorization` is a header's value, `access_token` the token itself."
        )

    def __init__(
        self,
        access_token: str,
        token_type: str = "Bearer",
        scopes: Iterable[str] | str = frozenset(),
        expires_at: float | None = None,
        generation: int = 0,
        key: TokenKey = TokenKey(),
        wall: Callable[[], float] | None = None,
    ) -> None:
        text = Secret(access_token)
        del access_token
        scopes = scope_set(scopes)  # an error must be raised in this frame, which does not hold the token
        self.__attrs_init__(text.plain, token_type, scopes, expires_at, generation, key, wall)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # attrs makes it
        object.__setattr__(self, "authorization", bearer(text, spaced=key.grant == "api_key").plain)

    def remaining(self, now: float | None = None) -> float:
        """Seconds left, 0 when expired, `inf` when the server named no lifetime.

        `now` is Unix seconds; the default is the clock of the manager that returned the token.
        """
        if self.expires_at is None:
            return float("inf")
        if now is None:
            if self.wall is None:
                raise ValueError("This token came from no manager, so `now` (Unix seconds) is needed.")
            now = self.wall()
        return max(0.0, self.expires_at - now)
