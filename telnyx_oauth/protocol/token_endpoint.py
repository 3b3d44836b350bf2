"""Requests to the token endpoint, and its responses (RFC 6749)."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias, TypeGuard, cast
from urllib.parse import urlencode, urlsplit

import attrs

from ..errors import APIError, APIResponseValidationError
from ..messages import Request, Response, Timeout
from .arguments import expect_mapping
from .auth_headers import basic_credentials
from .error_responses import broken, error_from
from .json_body import json_object
from .retry import http_date
from .secret import Secret
from .token import valid_scopes
from .urls import QueryValue, query

AuthMethod: TypeAlias = Literal["client_secret_basic", "client_secret_post", "none"]
Form: TypeAlias = Secret[tuple[tuple[str, str], ...]]
"""The fields of a form, in their order."""

LONGEST_LIFETIME: Final = 10 * 365 * 86400.0
NO_SECRETS: Final[Secret[tuple[str, ...]]] = Secret(())
# The limits of all requests to an authorization server: for tokens, registration and metadata.
LARGEST_ANSWER: Final = 1024 * 1024
TOKEN_TIMEOUT: Final = Timeout(total=30.0, connect=5.0)
_SAYS_NOTHING: Final[tuple[object, ...]] = (None, "", [], {})
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")


def client_credentials_form(scopes: Iterable[str], resource: str | None = None) -> Form:
    """RFC 6749 section 4.4.2."""
    return Secret((("grant_type", "client_credentials"), *_options(scopes, resource)))


def authorization_code_form(
    code: Secret[str],
    *,
    redirect_uri: str | None,
    code_verifier: Secret[str] | None,
    resource: str | None = None,
) -> Form:
    """RFC 6749 section 4.1.3, RFC 7636 section 4.5."""
    return Secret(
        (
            ("grant_type", "authorization_code"),
            ("code", code.plain),
            *((("redirect_uri", redirect_uri),) if redirect_uri is not None else ()),
            *((("code_verifier", code_verifier.plain),) if code_verifier is not None else ()),
            *_options((), resource),
        )
    )


def refresh_token_form(refresh_token: Secret[str], scopes: Iterable[str] = (), resource: str | None = None) -> Form:
    """RFC 6749 section 6."""
    options = _options(scopes, resource)
    return Secret((("grant_type", "refresh_token"), ("refresh_token", refresh_token.plain), *options))


def _options(scopes: Iterable[str], resource: str | None) -> tuple[tuple[str, str], ...]:
    scope = " ".join(sorted(scopes))
    return (*((("scope", scope),) if scope else ()), *((("resource", resource),) if resource is not None else ()))


# Without attrs' own `__init__`, whose frame would show the secret if the method is wrong.
@attrs.frozen(init=False)
class ClientAuthentication:
    """Client authentication. Without a `method` it is Basic if there is a secret, else only the id (`none`).

    Raises `ValueError` for an unknown method, and for one that needs a secret if there is none.
    """

    client_id: str
    client_secret: str | None = attrs.field(default=None, repr=False)
    method: AuthMethod | None = None

    def __init__(self, client_id: str, client_secret: str | None = None, method: AuthMethod | None = None) -> None:
        self.__attrs_init__(client_id, client_secret, method)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # attrs makes it
        del client_secret
        if method not in (None, "client_secret_basic", "client_secret_post", "none"):
            raise ValueError("`auth_method` must be client_secret_basic, client_secret_post or none.")
        if method in ("client_secret_basic", "client_secret_post") and not self.client_secret:
            raise ValueError(f"`auth_method` {method} needs a client_secret.")

    def apply(self) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
        """The headers and the form fields to add. Never both kinds of credentials: servers refuse two at once."""
        method = self.method or ("client_secret_basic" if self.client_secret else "none")
        if method == "client_secret_basic":
            credentials = basic_credentials(self.client_id, Secret(self.client_secret or ""))
            return {"Authorization": credentials.plain}, ()
        if method == "client_secret_post":
            return {}, (("client_id", self.client_id), ("client_secret", self.client_secret or ""))
        return {}, (("client_id", self.client_id),)


_SECRET_FIELDS: Final = frozenset({"client_secret", "refresh_token", "code", "code_verifier", "token"})
_TOKEN_FIELDS: Final = ("access_token", "refresh_token", "id_token")


def token_request(
    token_endpoint: str, form: Form, client: ClientAuthentication, *, timeout: Timeout = TOKEN_TIMEOUT
) -> Request:
    """The token request, form-encoded as RFC 6749 appendix B requires. Its response is limited to 1 MiB."""
    return authenticated_request(token_endpoint, form, client, timeout=timeout, max_bytes=LARGEST_ANSWER)


def authenticated_request(
    endpoint: str, form: Form, client: ClientAuthentication, *, timeout: Timeout, max_bytes: int
) -> Request:
    """A form for an endpoint where clients authenticate. Its response is limited to `max_bytes`.

    Raises `ValueError`, quoting nothing, for a lone surrogate in a parameter.
    """
    applied = Secret(client.apply())
    whole: Form = Secret((*form.plain, *applied.plain[1]))
    content = _encoded(whole)
    if content is None:
        raise ValueError("A parameter holds half a character (a lone surrogate), which cannot be sent.")
    return Request(
        "POST",
        endpoint,
        headers={
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            **applied.plain[0],
        },
        content=content.plain,
        timeout=timeout,
        max_bytes=max_bytes,
        secrets=_secrets(whole.plain, applied.plain[0], client),
    )


def _encoded(form: Form) -> Secret[bytes] | None:
    try:
        return Secret(urlencode(form.plain).encode("ascii"))
    except UnicodeEncodeError:  # it holds the text, which may be a secret
        return None


def _secrets(
    form: tuple[tuple[str, str], ...], headers: Mapping[str, str], client: ClientAuthentication
) -> tuple[str, ...]:
    """The secrets of a request, the longest first."""
    secrets = {value for name, value in form if name in _SECRET_FIELDS} | {client.client_secret or ""}
    secrets |= {header.partition(" ")[2] for header in headers.values()}
    return tuple(sorted(secrets - {""}, key=len, reverse=True))


@attrs.frozen
class TokenGrant:
    """A token response. `expires_in` is seconds: `None` if the response names none, 0 if the value makes no sense."""

    access_token: str = attrs.field(repr=False)
    token_type: str = "Bearer"
    expires_in: float | None = None
    refresh_token: str | None = attrs.field(default=None, repr=False)
    scopes: frozenset[str] | None = None
    """`None` if the response names none: they are the requested ones (RFC 6749 section 5.1)."""
    refused: APIError | None = attrs.field(default=None, repr=False, eq=False)
    """The reason why the response is not used. Its refresh token may still be the only valid one."""
    server_time: float | None = attrs.field(default=None, eq=False)
    """Unix seconds by the server's clock when it answered, from the `Date` header."""


def parse_token_response(
    response: Response,
    *,
    secrets: Secret[tuple[str, ...]] = NO_SECRETS,
    now: float = 0.0,
) -> TokenGrant:
    """Read the response of a token endpoint (RFC 6749 section 5.1).

    Raises `APIStatusError` (a `TokenEndpointError` if the response names an OAuth error, even with status 200, as some
    servers do), `APIConnectionError` if the response broke off, and `APIResponseValidationError` for any other response
    without a token. No bytes raise anything else.
    """
    grant = read_token_response(response, secrets=secrets, now=now)
    if grant.refused is not None:
        raise grant.refused
    return grant


def read_token_response(
    response: Response, *, secrets: Secret[tuple[str, ...]] = NO_SECRETS, now: float = 0.0
) -> TokenGrant:
    """As `parse_token_response`, but an unusable response that carries a refresh token becomes a grant with only that, and the
    error as `refused`: the refresh token that was sent may be used up.
    """
    try:
        return _granted(response, secrets, now)
    except APIError as exc:
        error = exc
    grant = _refused(response, error)
    if grant is None:
        raise error
    return grant


def _refused(response: Response, error: APIError) -> TokenGrant | None:
    fields = json_object(response) if 200 <= response.status_code < 300 and not response.fault else None
    refresh_token = None if fields is None else fields.get("refresh_token")
    return TokenGrant("", refresh_token=refresh_token, refused=error) if is_refresh_token(refresh_token) else None


def _granted(response: Response, secrets: Secret[tuple[str, ...]], now: float) -> TokenGrant:
    broke = broken(response)
    if not 200 <= response.status_code < 300:
        # An error response that broke off lacks its OAuth error code. 408, 429 and 5xx do not need one.
        if broke is not None and response.status_code not in (408, 429) and response.status_code < 500:
            raise broke
        raise error_from(response, token_endpoint=True, secrets=secrets.plain, now=now)
    if broke is not None:
        raise broke
    fields = Secret(json_object(response))
    error = (fields.plain or {}).get("error")
    if error and isinstance(error, str):
        redacted = Secret((*secrets.plain, *_tokens_in(fields.plain or {})))
        raise error_from(response, token_endpoint=True, secrets=redacted.plain, now=now)
    problems = tuple(_problems(fields.plain))
    if response.fault:
        problems = (response.fault,)
    if problems:
        raise APIResponseValidationError(problems, response=response)
    return _grant(fields.plain or {}, http_date(response.headers.get("Date", "")))


def _tokens_in(fields: Mapping[str, object]) -> Iterable[str]:
    return [text for name in _TOKEN_FIELDS if isinstance(text := fields.get(name), str) and text]


def _grant(fields: Mapping[str, object], server_time: float | None) -> TokenGrant:
    return TokenGrant(
        cast("str", fields["access_token"]),
        "Bearer",
        lifetime(fields.get("expires_in")),
        cast("str | None", fields.get("refresh_token")) or None,
        _scopes(fields.get("scope")),
        server_time=server_time,
    )


def _problems(fields: Mapping[str, object] | None) -> Iterable[str]:
    if fields is None:
        yield "the body is no JSON object"
        return
    if not is_bearer(fields.get("access_token")):
        yield "$.access_token must be visible ASCII characters"
    # Without a type it can only be Bearer, the one type in use; another type must not be used (RFC 6749 section 7.1).
    kind = fields.get("token_type")
    if kind is not None and (not isinstance(kind, str) or kind.lower() != "bearer"):
        yield "$.token_type must be Bearer"
    refresh = fields.get("refresh_token")
    if refresh and not is_refresh_token(refresh):
        yield "$.refresh_token must be printable ASCII characters"


def is_refresh_token(token: object) -> TypeGuard[str]:
    """Return whether this is a text that can be a refresh token (RFC 6749 appendix A.17)."""
    return isinstance(token, str) and bool(_PRINTABLE.fullmatch(token))


def is_bearer(token: object) -> TypeGuard[str]:
    """Return whether this is a text that an `Authorization` header can carry."""
    return isinstance(token, str) and bool(_VISIBLE.fullmatch(token))


def lifetime(expires_in: object) -> float | None:
    """Seconds from `expires_in`, a number or a numeric string: `None` if absent or empty, 0 for invalid or negative values.

    The result is at most `LONGEST_LIFETIME`, even for an integer too large for a float.
    """
    if expires_in in _SAYS_NOTHING:
        return None
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float, str)):
        return 0.0
    try:
        seconds = float(expires_in)
    except ValueError:
        return 0.0
    except OverflowError:
        # An int that is too large for a float. A text is infinite instead, without an exception.
        return LONGEST_LIFETIME if isinstance(expires_in, int) and expires_in > 0 else 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_LIFETIME)


def _scopes(scope: object) -> frozenset[str] | None:
    if isinstance(scope, list) and scope:
        return valid_scopes([each for each in cast("list[object]", scope) if isinstance(each, str)])
    return valid_scopes(scope) if isinstance(scope, str) and scope.strip() else None


@attrs.frozen
class Pkce:
    """A code verifier and its S256 challenge (RFC 7636 section 4)."""

    verifier: str = attrs.field(repr=False)
    challenge: str


def pkce(entropy: Secret[bytes]) -> Pkce:
    """PKCE from 32 to 96 random bytes. Raises `ValueError` for fewer or more."""
    if not 32 <= len(entropy.plain) <= 96:
        raise ValueError("A code verifier is made of 32 to 96 bytes.")
    verifier = Secret(base64url(entropy.plain))
    return Pkce(verifier.plain, base64url(hashlib.sha256(verifier.plain.encode("ascii")).digest()))


def base64url(value: bytes) -> str:
    """RFC 4648 section 5, without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def authorize_url(
    authorization_endpoint: str,
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Iterable[str],
    state: Secret[str],
    code_challenge: str,
    resource: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> str:
    """The address to send the person to (RFC 6749 section 4.1.1). A query that the endpoint already has is kept.

    `extra` are further parameters; one that is `None` is left out. Raises `ValueError` if it repeats a parameter of this
    function, if the endpoint has a fragment, or if a text cannot be sent, and `TypeError` unless `extra` is a mapping of texts.
    """
    expect_mapping(dict if extra is None else type(extra), "extra")
    pairs = Secret(
        {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "state": state.plain,
            "code_challenge": code_challenge,
            "code_challenge_method": "S256",
            **dict(_options(scopes, resource)),
        }
    )
    twice = pairs.plain.keys() & (extra or {}).keys()
    if twice:
        raise ValueError(f"`extra` repeats {', '.join(sorted(twice))}.")
    if "#" in authorization_endpoint:
        raise ValueError("An authorization endpoint has no fragment (RFC 6749 section 3.1).")
    mark = "&" if urlsplit(authorization_endpoint).query else "?"
    written = _written(pairs, extra or {})
    if written is None:
        raise ValueError("A parameter holds half a character (a lone surrogate), which cannot be sent.")
    return f"{authorization_endpoint.rstrip('?&')}{mark}{written.plain}"


def _written(pairs: Secret[dict[str, str]], extra: Mapping[str, QueryValue]) -> Secret[str] | None:
    try:
        return Secret("&".join(filter(None, (urlencode(pairs.plain), query(Secret(extra))))))
    except UnicodeEncodeError:  # it holds the text
        return None
