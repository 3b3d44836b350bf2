"""The access token as its users see it, and the value that says which token is meant."""

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
    """The same scopes as a value that can be read again, and does not change."""
    # Of the usual kinds `scope_set` looks at what is in them.
    return tuple(scopes) if isinstance(scopes, (list, tuple, set, frozenset)) else expect_texts(scopes, "scopes")


def said_scopes(scopes: Iterable[str] | str) -> frozenset[str]:
    """The scopes among a server's words: what RFC 6749 section 3.3 knows as one, and no terminal obeys."""
    return frozenset(scope for scope in scope_set(scopes) if _SCOPE_TOKEN.fullmatch(scope))


@attrs.frozen(cache_hash=True)
class TokenKey:
    """Which token is meant: what is asked of the token endpoint, and by whom.

    One value is both the request and the cache's key, so nothing can reach the wire without parting the cache. It holds
    no secret. `account` tells the grants of different people apart.
    """

    token_endpoint: str = ""
    client_id: str = ""
    grant: str = ""
    scopes: frozenset[str] = attrs.field(default=frozenset(), converter=scope_set)
    resource: str | None = None
    account: str = ""

    def narrowed(self, scopes: Iterable[str] | str | None, resource: str | None) -> TokenKey:
        """This key with other scopes or another resource; `None` keeps what there is."""
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
        return self._named(sorted(self.scopes), self.resource)

    @property
    def family_key(self) -> str:
        """As `store_key`, for grants whose one refresh token serves all scopes and resources."""
        return self._named(None, None)

    def _named(self, scopes: list[str] | None, resource: str | None) -> str:
        parts = json.dumps([self.token_endpoint, self.client_id, self.grant, scopes, resource, self.account])
        return f"{self.grant.replace('_', '-') or 'token'}-{hashlib.sha256(parts.encode()).hexdigest()[:32]}"


# Without attrs' own `__init__`, whose frame would show the text of a token that is refused.
@attrs.frozen(eq=False, init=False)
class Token:
    """An access token. It never shows itself: not in its repr, and so in no log.

    `expires_at` is Unix seconds and for information (`None`: the server did not say); the manager goes by clocks that
    survive suspends and jumps. `generation` rises with every new token. `key` says which token it is. Raises
    `ValueError`, quoting nothing, for a token that no header can carry.
    """

    access_token: str = attrs.field(repr=False)
    token_type: str = "Bearer"
    scopes: frozenset[str] = attrs.field(default=frozenset(), converter=scope_set)
    expires_at: float | None = None
    generation: int = 0
    key: TokenKey = attrs.field(default=TokenKey(), repr=False)
    wall: Callable[[], float] | None = attrs.field(default=None, repr=False)
    authorization: str = attrs.field(init=False, repr=False)
    """The `Authorization` header's value, made once."""

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
        scopes = scope_set(scopes)  # what fails must fail here
        self.__attrs_init__(text.plain, token_type, scopes, expires_at, generation, key, wall)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # attrs makes it
        object.__setattr__(self, "authorization", bearer(text, spaced=key.grant == "api_key").plain)

    def remaining(self, now: float | None = None) -> float:
        """Seconds left, 0 when expired, `inf` when the server named no lifetime.

        `now` is Unix seconds; without it the clock of the manager that gave the token is read.
        """
        if self.expires_at is None:
            return float("inf")
        if now is None:
            if self.wall is None:
                raise ValueError("This token came from no manager, so `now` (Unix seconds) is needed.")
            now = self.wall()
        return max(0.0, self.expires_at - now)
