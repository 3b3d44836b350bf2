"""What a protected resource reads and says of bearer tokens: the request's credentials, and the challenge (RFC 6750)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from ..errors import (
    InsufficientScopeError,
    MalformedCredentialsError,
    MissingTokenError,
    TokenValidationError,
)
from .expected import expect_text, expect_texts

_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_SCOPE_TOKEN: Final = re.compile(r"[!#-\[\]-~]+")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")


def bearer_token(authorization: Sequence[str], *, token_in_query: bool = False) -> str:
    """The token in a request's `Authorization` headers. All of them are given, since two would be read differently.

    A token in the query is not taken (RFC 9700 section 4.3.2). Raises `MissingTokenError` without bearer credentials, and
    `MalformedCredentialsError` for several, for a token in the query beside the header, and for what is no `b64token`.
    """
    found = _credentials(authorization, token_in_query=token_in_query)
    del authorization
    if not isinstance(found, str):
        raise found
    return found


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
    """The `WWW-Authenticate` value that tells the client what it lacks, or None where there is nothing to tell.

    `scopes` are those that the place demands; `resource_metadata` is RFC 9728's address, for 401 and 403. All values
    must have passed `check_quotable` or `check_scopes`.
    """
    if error.status >= 500:
        return None
    params = {} if realm is None else {"realm": realm}
    if error.error is not None:
        params["error"] = error.error
    if error.status == 401 and error.error is not None:
        params["error_description"] = error.description
    wanted = sorted(error.required) if isinstance(error, InsufficientScopeError) else sorted(scopes)
    if wanted and (error.error is None or error.status == 403):
        params["scope"] = " ".join(wanted)
    if resource_metadata is not None and error.status != 400:
        params["resource_metadata"] = resource_metadata
    return " ".join(("Bearer", ", ".join(f"{name}={_quoted(value)}" for name, value in params.items()))).rstrip()


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def check_quotable(value: str, name: str) -> str:
    """The value, fit for a quoted string. Raises `TypeError` or `ValueError`, naming the parameter, for all but printable
    ASCII.
    """
    expect_text(type(value), name)
    if not _PRINTABLE.fullmatch(value):
        raise ValueError(f"{name} must be printable ASCII: it goes into a header.")
    return value


def check_scopes(scopes: Iterable[str], name: str) -> frozenset[str]:
    """The scopes as a set. Raises `TypeError` for what is no text, and `ValueError` for what RFC 6749 section 3.3 does not
    know as a scope.
    """
    given = expect_texts(scopes, name)
    found = frozenset(scopes.split() if isinstance(scopes, str) else given)
    if not all(_SCOPE_TOKEN.fullmatch(scope) for scope in found):
        raise ValueError(f"{name} must be scopes: printable ASCII without space, quote or backslash.")
    return found


def metadata_path(resource: str) -> str:
    """Where a resource's own metadata is: the well-known segment comes before its path (RFC 9728 section 3.1)."""
    return "/.well-known/oauth-protected-resource" + urlsplit(resource).path.rstrip("/")
