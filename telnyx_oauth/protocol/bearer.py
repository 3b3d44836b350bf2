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
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PART = re.compile(
    rf"""[\s,]*(?:
        (?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))(?=\s*(?:,|$))
      | (?P<scheme>{_TOKEN})(?:[ ]+(?P<token68>[A-Za-z0-9\-._~+/]+=*)(?=\s*(?:,|$)))?(?=[\s,]|$)
    )""",
    re.VERBOSE,
)


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of all `WWW-Authenticate` headers of one answer (RFC 9110 section 11.6.1).

    Never raises: what cannot be read ends its header, since these are a stranger's words.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for value in values:
        position, here = 0, len(found)
        while match := _PART.match(value, position):
            position = match.end()
            if match["scheme"]:
                found.append((match["scheme"].lower(), {}))
            elif len(found) > here:
                text = match["plain"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
                found[-1][1].setdefault(match["name"].lower(), text)
            else:
                break
    return tuple(Challenge(scheme, params) for scheme, params in found)
