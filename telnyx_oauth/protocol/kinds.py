"""What kind of token its claims, or an introspection answer, say that it is: a bearer access token, or something else."""

from __future__ import annotations

import re
from collections.abc import Mapping

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
_MARKS = re.compile(r"[^a-z0-9]")
# A bare "JWT" says nothing about its purpose; these claims say that it is an ID token or a logout token.
_NOT_ACCESS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})


def check_kind(claims: Mapping[str, object]) -> None:
    """Refuse a token that is said to be another thing than a bearer access token. Raises `InvalidTokenError`."""
    if "cnf" in claims:  # RFC 7800: good only together with a key that its bearer proves, so it is no bearer token
        raise InvalidTokenError(Reason.SENDER_CONSTRAINED)
    for name, value in claims.items():
        if value is None or not _is_kind(name):
            continue
        kind = _plain(value) if isinstance(value, str) else ""
        if kind not in _BEARER:
            raise InvalidTokenError(Reason.SENDER_CONSTRAINED if kind in _KEY_BOUND else Reason.NOT_AN_ACCESS_TOKEN)


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
