"""What kind of token its claims, or an introspection answer, say that it is: a bearer access token, or something else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

from ..errors import InvalidTokenError, Reason

# Members that say what kind of token it is, and the kinds that are bearer access tokens, whatever their case and marks:
# servers write `token_type`, `tokenType`, `Refresh` and `refresh_token`. A bare `JWT` says nothing of the purpose.
_KIND = re.compile(r"[\W_]*(?:token[\W_]*(?:type|use)|typ)[\W_]*", re.ASCII | re.IGNORECASE)
# A name may have its owner before it: `https://login.example/token_use`.
_OWNED = re.compile(r"[/:#.]_*token[-_]*(?:type|use)_*\Z", re.ASCII | re.IGNORECASE)
_BEARER = frozenset(
    {"bearer", "bearertoken", "access", "accesstoken", "atjwt", "applicationatjwt", "jwt"}
    | {"urnietfparamsoauthtokentypeaccesstoken", "urnietfparamsoauthtokentypejwt"}
)
_KEY_BOUND = frozenset({"dpop", "pop", "mac"})
# Names that may say what kind of token it is, or something else (`use` of a key, `type` of an account): of these only a value
# counts that is plainly another kind of token.
_MAY_SAY = frozenset(
    before + word
    for before in ("", "token", "jwt")
    for word in ("kind", "use", "usage", "type", "typ", "purpose", "class", "category")
)
_OTHER = frozenset(
    kind + after
    for kind in (
        "id",
        "refresh",
        "offline",
        "logout",
        "urnietfparamsoauthtokentypeid",
        "urnietfparamsoauthtokentyperefresh",
    )
    for after in ("", "token", "jwt", "tokenjwt")
)
_NOT_BEARER = _OTHER | _KEY_BOUND
_LONGEST_KIND = 64
_MARKS = re.compile(r"[^a-z0-9]")
# A bare "JWT" says nothing about its purpose; these claims say that it is an ID token or a logout token.
_NOT_ACCESS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})


def check_kind(claims: Mapping[str, object]) -> None:
    """Refuse a token that is said to be another thing than a bearer access token. Raises `InvalidTokenError`."""
    if "cnf" in claims:  # RFC 7800: good only together with a key that its bearer proves, so it is no bearer token
        raise InvalidTokenError(Reason.SENDER_CONSTRAINED)
    for name, value in claims.items():
        if value is None:
            continue
        if not _is_kind(name):
            _check_doubtful(name, value)
            continue
        kind = _plain(value) if isinstance(value, str) else ""
        if kind not in _BEARER:
            raise InvalidTokenError(Reason.SENDER_CONSTRAINED if kind in _KEY_BOUND else Reason.NOT_AN_ACCESS_TOKEN)


def _check_doubtful(name: str, value: object) -> None:
    """Refuse a claim whose name may say the kind of token, and whose value plainly says that it is another."""
    words = cast("Iterable[object]", value) if isinstance(value, (list, tuple)) else (value,)
    kinds = {_plain(word) for word in words if isinstance(word, str) and len(word) <= _LONGEST_KIND}
    if kinds.isdisjoint(_NOT_BEARER) or _plain(name[_owner_ends(name) :]) not in _MAY_SAY:
        return
    raise InvalidTokenError(Reason.NOT_AN_ACCESS_TOKEN if kinds & _OTHER else Reason.SENDER_CONSTRAINED)


def _owner_ends(name: str) -> int:
    return max(name.rfind(mark) for mark in "/:#.") + 1


def names_kind(claims: Mapping[str, object]) -> bool:
    """Tell if a claim says what kind of token it is."""
    return any(value is not None and _is_kind(name) for name, value in claims.items())


def _is_kind(name: str) -> bool:
    return _KIND.fullmatch(name) is not None or _OWNED.search(name) is not None


def is_for_something_else(claims: Mapping[str, object]) -> bool:
    """Tell if there are claims that only ID tokens and logout tokens have."""
    return not _NOT_ACCESS.isdisjoint(claims) or ("sid" in claims and "sub" not in claims)


def _plain(name: str) -> str:
    return _MARKS.sub("", name.lower())
