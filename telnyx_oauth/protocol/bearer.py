"""The `Authorization` and `WWW-Authenticate` headers: making the one, reading the other."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_plus

import attrs

from .secret import Secret


def bearer(token: Secret[str], *, spaced: bool = False) -> Secret[str]:
    """The `Authorization` value for a bearer token (RFC 6750 section 2.1). With `spaced` it may hold spaces, as an API key may.

    Raises `ValueError` when the token cannot be part of a header; the message does not quote it.
    """
    # Line breaks would start a header of their own; the rest of RFC 6750's b64token is the server's to judge.
    if not (_SPACED if spaced else _VISIBLE).fullmatch(token.plain):
        raise ValueError("A bearer token must be one or more visible ASCII characters.")
    return Secret(f"Bearer {token.plain}")


def basic_credentials(client_id: str, client_secret: Secret[str]) -> Secret[str]:
    """The `Authorization` value for a client's id and secret, form-urlencoded first (RFC 6749 section 2.3.1).

    Only what must be encoded is: at least one real server does not decode, so `-._~` stay as they are.
    Raises `ValueError`, quoting nothing, for a lone surrogate.
    """
    encoded = _encoded_pair(client_id, client_secret)
    if encoded is None:
        raise ValueError("A client's id and secret must not hold half a character (a lone surrogate).")
    return Secret("Basic " + base64.b64encode(encoded.plain).decode("ascii"))


def _encoded_pair(client_id: str, client_secret: Secret[str]) -> Secret[bytes] | None:
    try:
        return Secret(f"{quote(client_id, safe='')}:{quote(client_secret.plain, safe='')}".encode("ascii"))
    except UnicodeEncodeError:  # Python's own error holds the secret.
        return None


def secrets_in(authorization: str) -> tuple[str, ...]:
    """What must not come back from the server in an error: the credentials, and the secret inside Basic's. Never raises."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return (credentials or scheme,)
    try:
        secret = base64.b64decode(credentials).decode().partition(":")[2]
    except ValueError:
        return (credentials,)
    return credentials, secret, unquote_plus(secret)


@attrs.frozen
class Challenge:
    """One challenge of a `WWW-Authenticate` header: the scheme and the parameters' names are lower-case."""

    scheme: str
    params: Mapping[str, str] = attrs.field(factory=dict[str, str])

    @property
    def error(self) -> str | None:
        """RFC 6750's error code: `invalid_request`, `invalid_token` or `insufficient_scope`."""
        return self.params.get("error")


_VISIBLE = re.compile(r"[\x21-\x7e]+")
_SPACED = re.compile(r"[\x21-\x7e]+(?: +[\x21-\x7e]+)*")
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_GAP = re.compile(r"[\s,]*")
# A value without quotes, or in single ones, may be anything up to a comma or a space: servers write addresses so. The last
# value's closing quote may be missing.
_PARAM = re.compile(
    rf"""({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*+)(?:"|$)|'([^\s,"']+)'(?=[\s,]|$)|([^\s,"]+))""", re.DOTALL
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMMA = re.compile(r"\s*,")
_SCHEME = re.compile(rf"({_TOKEN})(?:[ ]+[A-Za-z0-9\-._~+/]+=*(?=\s*(?:,|$)))?(?=[\s,]|$)")
_ODD = re.compile(r"""(?:"(?:[^"\\]|\\.)*+(?:"|\\?$)|[^\s,"])+""", re.DOTALL)


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of all `WWW-Authenticate` headers of one answer (RFC 9110 section 11.6.1).

    Never raises: these are a stranger's words. What cannot be read costs nothing that stands beside it.
    """
    found: list[Challenge] = []
    for value in values:
        found += _challenges(value)
    return tuple(found)


def _challenges(header: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    params: dict[str, str] = {}
    position, after_comma = 0, True
    while gap := _GAP.match(header, position):
        after_comma = after_comma or "," in gap[0]
        position = gap.end()
        if position == len(header):
            break
        if found and (param := _PARAM.match(header, position)):
            name, quoted, *plain = param.groups()
            told = next(filter(None, plain), "") if quoted is None else _ESCAPED.sub(r"\1", quoted)
            params.setdefault(name.lower(), told)
            position = param.end()
        elif after_comma and (scheme := _SCHEME.match(header, position)):  # without a comma it is a word of a value
            found.append((scheme[1].lower(), {}))
            position = scheme.end()
            if len(found) == 1 or not _COMMA.match(header, position):  # what follows a comma is still the one's before
                params = found[-1][1]
        elif odd := _ODD.match(header, position):
            position = odd.end()
        after_comma = False
    return [Challenge(scheme, given) for scheme, given in found]


_NOT_THE_TOKEN = frozenset({"insufficient_scope", "invalid_request"})


def another_token_helps(www_authenticate: Iterable[str]) -> bool:
    """Tell if another token could mend a 401 with these `WWW-Authenticate` headers (RFC 6750 section 3).

    It could where there is no challenge, or a Bearer one that blames the token or nothing. It could not where only another
    scheme is asked for, or where a Bearer challenge misses a scope or blames the request.
    """
    challenges = parse_challenges(www_authenticate)
    errors = [(each.error or "").lower() for each in challenges if each.scheme == "bearer"]
    return not challenges or (bool(errors) and _NOT_THE_TOKEN.isdisjoint(errors))
