"""The `Authorization` and `WWW-Authenticate` headers, read and written (RFC 6750, RFC 9110 section 11)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote_plus, urlsplit

import attrs

from ..errors import InsufficientScopeError, MalformedCredentialsError, MissingTokenError, TokenValidationError
from .arguments import expect_text, expect_texts
from .secret import Secret


def bearer(token: Secret[str], *, spaced: bool = False) -> Secret[str]:
    """The `Authorization` value for a bearer token (RFC 6750 section 2.1). With `spaced` it may contain spaces, as API keys may.

    Raises `ValueError` when the token cannot be part of a header; the message does not quote it.
    """
    # A line break would start another header. The server checks the rest of RFC 6750's b64token.
    if not (_SPACED if spaced else _VISIBLE).fullmatch(token.plain):
        raise ValueError("A bearer token must be one or more visible ASCII characters.")
    return Secret(f"Bearer {token.plain}")


def basic_credentials(client_id: str, client_secret: Secret[str]) -> Secret[str]:
    """The `Authorization` value for a client's id and secret, form-urlencoded first (RFC 6749 section 2.3.1).

    Only characters that must be encoded are, so `-._~` stay: at least one real server does not decode.
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
    """The secrets in an `Authorization` header: the credentials, and the secret inside Basic's. Never raises."""
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
# A value without quotes, or in single ones, may be anything up to a comma or a space: some servers write addresses that way.
# The closing quote of the last value may be missing.
_PARAM = re.compile(
    rf"""({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*+)(?:"|$)|'([^\s,"']+)'(?=[\s,]|$)|([^\s,"]+))""", re.DOTALL
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMMA = re.compile(r"\s*,")
_SCHEME = re.compile(rf"({_TOKEN})(?:[ ]+[A-Za-z0-9\-._~+/]+=*(?=\s*(?:,|$)))?(?=[\s,]|$)")
_ODD = re.compile(r"""(?:"(?:[^"\\]|\\.)*+(?:"|\\?$)|[^\s,"])+""", re.DOTALL)


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """Parse the challenges of all `WWW-Authenticate` headers of one response (RFC 9110 section 11.6.1).

    Never raises, since the headers are untrusted. A part that cannot be parsed is skipped; the parts beside it are kept.
    """
    return tuple(challenge for value in values for challenge in _challenges(value))


# A scanner, since commas separate challenges as well as the parameters of one: what follows decides which it is.
def _challenges(header: str) -> list[Challenge]:
    challenges: list[tuple[str, dict[str, str]]] = []
    params: dict[str, str] = {}
    position, after_comma = 0, True
    while gap := _GAP.match(header, position):
        after_comma = after_comma or "," in gap[0]
        position = gap.end()
        if position == len(header):
            break
        if challenges and (param := _PARAM.match(header, position)):
            name, quoted, *plain = param.groups()
            value = next(filter(None, plain), "") if quoted is None else _ESCAPED.sub(r"\1", quoted)
            params.setdefault(name.lower(), value)
            position = param.end()
        elif after_comma and (scheme := _SCHEME.match(header, position)):  # without a comma it is a word of a value
            challenges.append((scheme[1].lower(), {}))
            position = scheme.end()
            # A scheme with a comma right after it may be a stray word: parameters still belong to the challenge before.
            if len(challenges) == 1 or not _COMMA.match(header, position):
                params = challenges[-1][1]
        elif odd := _ODD.match(header, position):
            position = odd.end()
        after_comma = False
    return [Challenge(scheme, params) for scheme, params in challenges]


_NOT_THE_TOKEN = frozenset({"insufficient_scope", "invalid_request"})


def another_token_helps(www_authenticate: Iterable[str]) -> bool:
    """Return whether another token could help after a 401 with these `WWW-Authenticate` headers (RFC 6750 section 3).

    It could if there is no challenge, or a Bearer challenge that blames the token or nothing. It could not if the server asks
    for another scheme only, or if a Bearer challenge names a missing scope or blames the request.
    """
    challenges = parse_challenges(www_authenticate)
    errors = [(each.error or "").lower() for each in challenges if each.scheme == "bearer"]
    return not challenges or (bool(errors) and _NOT_THE_TOKEN.isdisjoint(errors))


_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_SCOPE_TOKEN: Final = re.compile(r"[!#-\[\]-~]+")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")


def bearer_token(authorization: Sequence[str], *, token_in_query: bool = False) -> str:
    """The token in a request's `Authorization` headers. Pass all of them: servers disagree on which of several counts.

    A token in the query is not accepted (RFC 9700 section 4.3.2). Raises `MissingTokenError` without bearer credentials, and
    `MalformedCredentialsError` for several headers, for a token in the query beside the header, and for a malformed token.
    """
    token = _credentials(authorization, token_in_query=token_in_query)
    del authorization
    if not isinstance(token, str):
        raise token
    return token


def _credentials(authorization: Sequence[str], *, token_in_query: bool) -> str | TokenValidationError:
    if not authorization:
        return MissingTokenError()
    scheme, _, token = authorization[0].partition(" ")
    if len(authorization) > 1:
        return MalformedCredentialsError()
    if scheme.lower() != "bearer":
        return MissingTokenError()
    # 1*SP stands between the two (RFC 6750 section 2.1).
    token = token.lstrip(" ")
    if token_in_query or not _B64TOKEN.fullmatch(token):
        return MalformedCredentialsError()
    return token


def challenge(
    error: TokenValidationError,
    *,
    realm: str | None = None,
    resource_metadata: str | None = None,
    scopes: Iterable[str] = (),
) -> str | None:
    """The `WWW-Authenticate` value for an error, or `None` if the error is no reason for one.

    `scopes` are those that the route requires; `resource_metadata` is RFC 9728's address, for 401 and 403. All values must
    have passed `check_quotable` or `check_scopes`.
    """
    if error.status >= 500:
        return None
    params = {} if realm is None else {"realm": realm}
    if error.error is not None:
        params["error"] = error.error
    if error.status == 401 and error.error is not None:
        params["error_description"] = error.description
    required = error.required if isinstance(error, InsufficientScopeError) else scopes
    scope = " ".join(sorted(required))
    if scope and (error.error is None or error.status == 403):
        params["scope"] = scope
    if resource_metadata is not None and error.status != 400:
        params["resource_metadata"] = resource_metadata
    return " ".join(("Bearer", ", ".join(f"{name}={_quoted(value)}" for name, value in params.items()))).rstrip()


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def check_quotable(value: str, name: str) -> str:
    """Return the value. Raises `TypeError` or `ValueError`, naming the parameter, unless it is printable ASCII."""
    expect_text(type(value), name)
    if not _PRINTABLE.fullmatch(value):
        raise ValueError(f"{name} must be printable ASCII: it goes into a header.")
    return value


def check_scopes(scopes: Iterable[str], name: str) -> frozenset[str]:
    """The scopes as a set. Raises `TypeError` unless they are texts, and `ValueError` for a text that is not a scope by
    RFC 6749 section 3.3.
    """
    texts = expect_texts(scopes, name)
    values = frozenset(scopes.split() if isinstance(scopes, str) else texts)
    if not all(_SCOPE_TOKEN.fullmatch(scope) for scope in values):
        raise ValueError(f"{name} must be scopes: printable ASCII without space, quote or backslash.")
    return values


def metadata_path(resource: str) -> str:
    """The path of a resource's metadata: the well-known segment comes before the resource's path (RFC 9728 section 3.1)."""
    return "/.well-known/oauth-protected-resource" + urlsplit(resource).path.rstrip("/")
