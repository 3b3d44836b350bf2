"""The authorization code flow with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 9207), without I/O."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, Self, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

import attrs

from ..errors import (
    AccessDeniedError,
    AuthorizationExpiredError,
    AuthorizationResponseError,
    InvalidCallbackError,
    IssuerMismatchError,
    StateMismatchError,
)
from .arguments import AS_TEXT, expect_text
from .metadata import AuthorizationServer, same_issuer
from .secret import Secret
from .token import scope_set
from .token_endpoint import authorize_url, base64url, pkce
from .urls import is_loopback

LIFETIME: Final = 600.0
"""Seconds within which a sign-in must be completed."""
LONGEST_ANSWER: Final = 256 * 1024
"""The most characters of a callback address. Some servers' codes are long: tokens with all claims of a person."""
_MOST_PARAMETERS: Final = 50
_BAD_IN_URI: Final = re.compile(r"[^\x21-\x7e]")
_CODE: Final = re.compile(r"[\x20-\x7e]+")
_ERROR: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
_ANSWER: Final = ("code", "error", "error_description", "iss", "state")
Answer: TypeAlias = Secret[Mapping[str, str]]
"""The parameters of the callback address."""


@attrs.frozen
class PendingAuthorization:
    """A sign-in that has begun and is not complete: send the person to `url`.

    The state and the code verifier prove that the callback belongs to this person, so keep the value where no one else can
    read it. `to_json` is for a web application's session. `expires_at` is Unix seconds.
    """

    url: str = attrs.field(repr=False)
    issuer: str
    client_id: str
    redirect_uri: str
    scopes: frozenset[str]
    resource: str | None
    expires_at: float
    issuer_in_response: bool
    state: str = attrs.field(repr=False)
    code_verifier: str = attrs.field(repr=False)

    def to_json(self) -> str:
        """The value as text, secrets included, for a session that is encrypted or stays on the server."""
        return json.dumps(attrs.asdict(self) | {"scopes": sorted(self.scopes)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The value that `to_json` wrote. Raises `ValueError`, quoting nothing, for any other text."""
        fields = Secret(_members(text))
        del text
        if not fields:
            raise ValueError("This text is no pending authorization.")
        return cls(**(fields.plain or {}))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as _KINDS has held them to


def _members(text: str) -> dict[str, object] | None:
    try:
        fields: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.keys() != _KINDS.keys():
        return None
    members = cast("dict[str, object]", fields)
    if not all(isinstance(members[name], kind) for name, kind in _KINDS.items()):
        return None
    scopes = cast("list[object]", members["scopes"])
    if not all(isinstance(scope, str) for scope in scopes):
        return None
    return members | {"scopes": scope_set(cast("list[str]", scopes))}


_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "url": str,
    "issuer": str,
    "client_id": str,
    "redirect_uri": str,
    "scopes": list,
    "resource": (str, type(None)),
    "expires_at": (int, float),
    "issuer_in_response": bool,
    "state": str,
    "code_verifier": str,
}


def begin(
    server: AuthorizationServer,
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Iterable[str] | str = (),
    resource: str | None = None,
    extra: Mapping[str, str] | None = None,
    entropy: tuple[Secret[bytes], Secret[bytes]],
    now: float,
) -> PendingAuthorization:
    """Begin a sign-in. `entropy`: 32 random bytes each for the state and the verifier; `now`: Unix seconds.

    Raises `ValueError` for a `redirect_uri` that is not allowed, and for an `extra` that repeats a parameter.
    """
    proof = pkce(entropy[1])
    state = Secret(base64url(entropy[0].plain))
    requested = scope_set(scopes)
    url = Secret(
        authorize_url(
            server.authorization_endpoint,
            client_id=client_id,
            redirect_uri=check_redirect_uri(redirect_uri),
            scopes=requested,
            state=state,
            code_challenge=proof.challenge,
            resource=resource,
            extra=extra,
        )
    )
    return PendingAuthorization(
        url.plain,
        server.issuer,
        client_id,
        redirect_uri,
        requested,
        resource,
        now + LIFETIME,
        server.issuer_in_response,
        state.plain,
        proof.verifier,
    )


def check_redirect_uri(uri: str) -> str:
    """Return the URI. Raises `ValueError` unless it is https, http to this machine, or in a private-use scheme (RFC 8252)."""
    expect_text(type(uri), "redirect_uri", AS_TEXT)
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("`redirect_uri` is not a URL.") from None
    web = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    # A private-use scheme is a reversed domain name, so it has a dot (section 7.1); `javascript:` and `data:` have none.
    if not ((web and host) or "." in parts.scheme) or "@" in parts.netloc:
        raise ValueError("`redirect_uri` must be https, http to this machine, or have a scheme like com.example.app.")
    if _BAD_IN_URI.search(uri) or "#" in uri:
        raise ValueError("`redirect_uri` must hold only the characters of a URL, and no fragment.")
    return uri


def read_callback(callback_url: Secret[str]) -> Answer:
    """The parameters of an authorization response, from the address that the browser was redirected to.

    Raises `InvalidCallbackError` for an address without a code or an error, one that is too long, and one that has a
    parameter twice (RFC 6749 section 3.1).
    """
    if len(callback_url.plain) > LONGEST_ANSWER:
        raise InvalidCallbackError(
            f"This address has more than {LONGEST_ANSWER:,} characters, so it is not read. Take the whole address of the page "
            "that the browser ended at, and nothing else."
        )
    pairs = Secret(_parameters(callback_url.plain.strip()))
    answer: Answer = Secret(dict(pairs.plain))
    if len(answer.plain) < len(pairs.plain):
        raise InvalidCallbackError("This address has a parameter twice, so it is not what the server sent.")
    if "code" not in answer.plain and "error" not in answer.plain:
        raise InvalidCallbackError(
            "This address does not answer a sign-in: it has no code and no error. Take the whole address of the page "
            "that the browser ended at."
        )
    return answer


def _parameters(address: str) -> list[tuple[str, str]]:
    try:
        query = urlsplit(address).query
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        return []
    return [(name, value) for name, value in pairs if name in _ANSWER and value]


def check_state(pending: PendingAuthorization, answer: Answer) -> None:
    """Raise `StateMismatchError` unless the answer belongs to this sign-in (RFC 6749 section 10.12)."""
    state = Secret(answer.plain.get("state"))
    if state.plain is None:
        error = f" It says: {_words(answer.plain['error'])}." if "error" in answer.plain else ""
        raise StateMismatchError(f"The answer has no state, so it may not be to this sign-in.{error}")
    if not _is_state(state.plain or "", pending.state):
        raise StateMismatchError(
            "The answer is to another sign-in than this one: its state is not the one that was sent."
        )


def _is_state(value: str, state: str) -> bool:
    return hmac.compare_digest(value.encode("utf-8", "surrogatepass"), state.encode("utf-8", "surrogatepass"))


def code_in(pending: PendingAuthorization, answer: Answer, *, now: float) -> Secret[str]:
    """The authorization code of an answer whose state has been checked. `now`: Unix seconds.

    Raises `AuthorizationExpiredError`, `IssuerMismatchError`, `AccessDeniedError`, `AuthorizationResponseError` or
    `InvalidCallbackError`.
    """
    if not now < pending.expires_at:
        raise AuthorizationExpiredError("This sign-in began more than 10 minutes ago. Begin another.")
    # Before anything else, errors included: https://www.rfc-editor.org/rfc/rfc9207#section-2.4
    issuer = answer.plain.get("iss")
    if issuer is not None and not same_issuer(issuer, pending.issuer):
        raise IssuerMismatchError("The answer is from another authorization server than the one that was asked.")
    # An error ends the sign-in with or without `iss`, and the error is worth more to the caller than the missing `iss`.
    if "error" in answer.plain:
        raise _refusal(_words(answer.plain["error"]), _words(answer.plain.get("error_description", "")))
    if issuer is None and pending.issuer_in_response:
        raise IssuerMismatchError("The answer does not say which server it is from, though this server always does.")
    if not _CODE.fullmatch(answer.plain["code"]):
        raise InvalidCallbackError("The code in this address holds characters that a code cannot have.")
    return Secret(answer.plain["code"])


def _refusal(code: str, description: str) -> AuthorizationResponseError:
    reason = f"{code}: {description}" if description else code
    if code == "access_denied":
        return AccessDeniedError(f"The sign-in was denied ({reason}).")
    return AuthorizationResponseError(f"The authorization server refused the sign-in ({reason}).", code=code)


def _words(text: str) -> str:
    """Untrusted text in the characters that RFC 6749 allows: one line, no terminal escapes, at most 300 characters."""
    return _ERROR.sub("?", text)[:300]
