"""The options of a client: their checks, the environment's part in them, and the defaults of every call."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, TypeVar

import aiohttp
import attrs

from . import tokens as _tokens  # its classes are loaded when they are looked up
from ._version import __version__
from .messages import Timeout
from .protocol.arguments import expect_mapping, expect_text
from .protocol.auth_headers import bearer
from .protocol.requests import Defaults, HeaderValues, QueryValues, check_query, merged
from .protocol.secret import Secret
from .protocol.urls import QueryValue, check_base_url, origin

BASE_URL: Final = "https://api.telnyx.com/v2"
ISSUER: Final = "https://api.telnyx.com"
_HEADERS: Final = {
    "Accept": "application/json",
    "User-Agent": f"telnyx-oauth/{__version__} python/{platform.python_version()} aiohttp/{aiohttp.__version__}",
    "X-Stainless-Lang": "python",  # the official package sends it too, and its tests look for it
}
_T = TypeVar("_T")
VerifyIssued: TypeAlias = Literal["auto"] | bool


# Nothing is validated in this class: the traceback of an error would show a frame with all of the secrets.
@attrs.frozen
class Options:
    """The options of one client."""

    api_key: str | None = attrs.field(repr=False)
    client_id: str | None
    client_secret: str | None = attrs.field(repr=False)
    base_url: str
    timeout: Timeout
    max_retries: int
    default_headers: HeaderValues = attrs.field(repr=False)
    default_query: QueryValues = attrs.field(repr=False)
    scopes: tuple[str, ...]
    resource: str | None
    token_store: _tokens.TokenStore | None = attrs.field(repr=False)
    token_hooks: tuple[_tokens.TokenHook, ...] = attrs.field(repr=False)
    verify_issued: VerifyIssued
    audience: tuple[str, ...]
    issuer: str | None
    allow_insecure: bool

    def has_tokens_of(self, other: Options) -> bool:
        """Return whether clients with these options may share their tokens."""
        return (
            self.api_key == other.api_key
            and self.client_id == other.client_id
            and self.client_secret == other.client_secret
            and self.base_url == other.base_url
        )

    def credentials_of_copy(self, api_key: str | None, client_id: str | None, client_secret: str | None) -> Credentials:
        """The credentials of a copy. An API key without client credentials takes their place."""
        if api_key is not None and client_id is None and client_secret is None:
            return Secret((api_key, None, None))
        return Secret((api_key or self.api_key, client_id or self.client_id, client_secret or self.client_secret))

    def base_address_of_copy(self, base_url: Secret[str | None], *, allow_insecure: bool) -> tuple[str, bool]:
        """The base address of a copy, with whether plain http to another machine is allowed there.

        The permission is for one origin. Raises `ValueError` for a bad address, and for one that is not allowed.
        """
        if base_url.plain is None:
            return self.base_url, allow_insecure or self.allow_insecure
        base = check_base_url(base_url.plain or "", allow_insecure=True)  # a bad address has no origin to compare
        allowed = allow_insecure or (self.allow_insecure and origin(base) == origin(self.base_url))
        return check_base_url(base, allow_insecure=allowed), allowed


Credentials: TypeAlias = Secret[tuple[str | None, str | None, str | None]]
"""An API key, a client's id and its secret."""


def complete(credentials: Credentials) -> Credentials:
    """Fill in what is missing from the environment, which adds no second kind of credentials to those that are passed.

    Raises `ValueError` for an empty string, for a secret without its client's id, and for a key that no header can carry.
    """
    check_credentials(credentials)
    completed = Secret(_with_environment(*credentials.plain))
    if credentials.plain[2] and not completed.plain[1]:
        raise ValueError("`client_secret` needs the `client_id` that it belongs to (environment: TELNYX_CLIENT_ID)")
    check_api_key(completed)
    return completed


def check_credentials(credentials: Credentials) -> None:
    """Raise `ValueError` for an empty string, which is a credential that the caller lacks; `TypeError` for other types."""
    for name, value in zip(("api_key", "client_id", "client_secret"), map(Secret, credentials.plain), strict=True):
        if value.plain is not None:
            expect_text(type(value.plain), name)
        if value.plain is not None and not value.plain:
            raise ValueError(
                f"`{name}` is an empty string. Give a value, or leave it out and set TELNYX_{name.upper()}."
            )


def check_api_key(credentials: Credentials) -> None:
    """Raise `ValueError` for an API key that no header can carry."""
    if credentials.plain[0] is None:
        return
    name = "`api_key` (environment: TELNYX_API_KEY)"
    key = Secret(credentials.plain[0] or "")
    try:
        bearer(key, spaced=True)
    except ValueError:
        pass
    else:
        return
    if key.plain != key.plain.strip():
        raise ValueError(f"{name} begins or ends with a space or a line break: remove it")
    if len(key.plain.splitlines()) > 1:
        raise ValueError(f"{name} holds a line break: give the key alone")
    raise ValueError(f"{name} must be visible ASCII characters, with spaces between them at most")


def _with_environment(
    api_key: str | None, client_id: str | None, client_secret: str | None
) -> tuple[str | None, str | None, str | None]:
    is_client = client_id is not None or client_secret is not None
    if api_key is None or is_client:
        environment_id = os.environ.get("TELNYX_CLIENT_ID")
        # A secret belongs to one client: the environment's secret is not sent for another id.
        if client_secret is None and (not client_id or not environment_id or client_id == environment_id):
            client_secret = os.environ.get("TELNYX_CLIENT_SECRET")
        client_id = environment_id if client_id is None else client_id
    # A client id without a secret does not fall back to the key: the caller chose to call as that client.
    if api_key is None and (client_secret or not is_client):
        api_key = os.environ.get("TELNYX_API_KEY")
    return api_key or None, client_id or None, client_secret or None


def base_address(base_url: Secret[str | None], *, allow_insecure: bool) -> tuple[str, bool]:
    """The base address, passed or the environment's, with whether plain http to another machine is allowed there.

    Raises `ValueError` for a bad address, and for plain http to another machine that is not allowed.
    `TELNYX_ALLOW_INSECURE=1` allows it for `TELNYX_BASE_URL` only, and never for an address that a program passes.
    """
    if base_url.plain is not None:
        return check_base_url(base_url.plain or "", allow_insecure=allow_insecure), allow_insecure
    allow_insecure = allow_insecure or environment_allows_insecure()
    checked = check_base_url(
        os.environ.get("TELNYX_BASE_URL") or BASE_URL,
        allow_insecure=allow_insecure,
        name="TELNYX_BASE_URL",
        word="TELNYX_ALLOW_INSECURE=1",
    )
    return checked, allow_insecure


def environment_allows_insecure() -> bool:
    """Return whether `TELNYX_ALLOW_INSECURE` is `1` or `true`, which allows plain http to another machine."""
    return os.environ.get("TELNYX_ALLOW_INSECURE", "").strip().lower() in ("1", "true")


def check_verify_issued(verify_issued: VerifyIssued) -> VerifyIssued:
    """The setting. Raises `ValueError` for another text than "auto", and `TypeError` for another type than a bool."""
    if isinstance(verify_issued, bool) or verify_issued == "auto":
        return verify_issued
    kind = ValueError if isinstance(verify_issued, str) else TypeError  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller is type-checked
    raise kind('`verify_issued` must be True, False or "auto"')


def as_dict(values: Secret[Mapping[str, _T] | None], name: str) -> dict[str, _T]:
    """A copy of the values, empty for `None`. Raises `TypeError`, with the parameter's name, unless it is a mapping."""
    if values.plain is None:
        return {}
    expect_mapping(type(values.plain), name)
    return dict(values.plain)


def defaults(options: Options) -> Defaults:
    """The defaults of every call. Raises `ValueError` or `TypeError` for headers and parameters that cannot be sent."""
    headers = Secret(merged(_HEADERS, Secret(options.default_headers)))
    query: Secret[dict[str, QueryValue]] = Secret(dict(options.default_query))
    check_query(query)
    return Defaults(options.base_url, options.timeout, headers.plain, query.plain, options.max_retries)


def changed(
    name: str, values: Secret[tuple[Mapping[str, _T], Mapping[str, _T] | None, Mapping[str, _T] | None]]
) -> dict[str, _T]:
    """Merge new values into the old, or replace the old. Raises `ValueError` for both at once.

    `values` are the old ones, those to merge, and those that replace all.
    """
    if values.plain[1] is not None and values.plain[2] is not None:
        raise ValueError(f"`default_{name}` and `set_default_{name}` exclude each other")
    if values.plain[2] is not None:
        return as_dict(Secret(values.plain[2]), f"set_default_{name}")
    return {**values.plain[0], **as_dict(Secret(values.plain[1]), f"default_{name}")}
