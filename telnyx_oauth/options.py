"""What a client is made of: its options, who it is, and what it adds to every call."""

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


# Nothing is checked here: an error would pass a frame that holds all of it.
@attrs.frozen
class Options:
    """What a client is made of. A copy is a client made of the same, but for what is given."""

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

    @property
    def who(self) -> tuple[object, ...]:
        """What decides which tokens the client carries: clients that agree in it can share them."""
        return (self.api_key, self.client_id, self.client_secret, self.base_url)

    def identity_with(self, api_key: str | None, client_id: str | None, client_secret: str | None) -> Who:
        """The identity of a copy. An API key that is given alone takes the place of client credentials."""
        if api_key is not None and client_id is None and client_secret is None:
            return Secret((api_key, None, None))
        return Secret((api_key or self.api_key, client_id or self.client_id, client_secret or self.client_secret))

    def moved(self, base_url: Secret[str | None], *, allow_insecure: bool) -> tuple[str, bool]:
        """The base address of a copy, and if plain http to another machine is allowed there.

        It was allowed for one origin. Raises `ValueError` for an address that is none, or that is not allowed.
        """
        if base_url.plain is None:
            return self.base_url, allow_insecure or self.allow_insecure
        base = check_base_url(base_url.plain or "", allow_insecure=True)  # its shape first, or it has no origin
        allowed = allow_insecure or (self.allow_insecure and origin(base) == origin(self.base_url))
        return check_base_url(base, allow_insecure=allowed), allowed


Who: TypeAlias = Secret[tuple[str | None, str | None, str | None]]
"""An API key, a client's id and its secret."""


def identity(given: Who) -> Who:
    """Who the client is. The environment fills the gaps of one identity, and never adds a second that was not asked for.

    Raises `ValueError` for an empty string, for a secret without its client's id, and for a key that no header can carry.
    """
    check_given(given)
    who = Secret(_filled(*given.plain))
    if given.plain[2] and not who.plain[1]:
        raise ValueError("`client_secret` needs the `client_id` that it belongs to (environment: TELNYX_CLIENT_ID)")
    check_key(who)
    return who


def check_given(given: Who) -> None:
    """Raises `ValueError` for an empty string: a credential that its caller does not have; `TypeError` for what is no text."""
    for name, value in zip(("api_key", "client_id", "client_secret"), map(Secret, given.plain), strict=True):
        if value.plain is not None:
            expect_text(type(value.plain), name)
        if value.plain is not None and not value.plain:
            raise ValueError(
                f"`{name}` is an empty string. Give a value, or leave it out and set TELNYX_{name.upper()}."
            )


def check_key(who: Who) -> None:
    """Raises `ValueError` for a key that no header can carry."""
    if who.plain[0] is None:
        return
    named = "`api_key` (environment: TELNYX_API_KEY)"
    key = Secret(who.plain[0] or "")
    try:
        bearer(key, spaced=True)
    except ValueError:
        pass
    else:
        return
    if key.plain != key.plain.strip():
        raise ValueError(f"{named} begins or ends with a space or a line break: remove it")
    if len(key.plain.splitlines()) > 1:
        raise ValueError(f"{named} holds a line break: give the key alone")
    raise ValueError(f"{named} must be visible ASCII characters, with spaces between them at most")


def _filled(
    api_key: str | None, client_id: str | None, client_secret: str | None
) -> tuple[str | None, str | None, str | None]:
    asked = client_id is not None or client_secret is not None
    if api_key is None or asked:
        named = os.environ.get("TELNYX_CLIENT_ID")
        # A secret belongs to one client: the environment's is not sent for another.
        if client_secret is None and (not client_id or not named or client_id == named):
            client_secret = os.environ.get("TELNYX_CLIENT_SECRET")
        client_id = named if client_id is None else client_id
    if api_key is None and (client_secret or not asked):  # half an identity is no reason to call as another
        api_key = os.environ.get("TELNYX_API_KEY")
    api_key = api_key or None
    return api_key, client_id or None, client_secret or None


def address(base_url: Secret[str | None], *, allow_insecure: bool) -> tuple[str, bool]:
    """The base address, given or the environment's, and if plain http to another machine is allowed there.

    Raises `ValueError` for an address that is none, or that is plain http to another machine without being allowed:
    `TELNYX_ALLOW_INSECURE=1` is the word for `TELNYX_BASE_URL`, and for no address that a program gives.
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
    """Tell if the environment allows plain http to another machine: `TELNYX_ALLOW_INSECURE` is `1` or `true`."""
    return os.environ.get("TELNYX_ALLOW_INSECURE", "").strip().lower() in ("1", "true")


def check_verify_issued(verify_issued: VerifyIssued) -> VerifyIssued:
    """The setting. Raises `ValueError`, or `TypeError` for another type, unless it is True, False or "auto"."""
    if isinstance(verify_issued, bool) or verify_issued == "auto":
        return verify_issued
    kind = ValueError if isinstance(verify_issued, str) else TypeError  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller is type-checked
    raise kind('`verify_issued` must be True, False or "auto"')


def as_dict(values: Secret[Mapping[str, _T] | None], name: str) -> dict[str, _T]:
    """A copy of the values, none for `None`. Raises `TypeError`, naming the parameter, for what is no mapping."""
    if values.plain is None:
        return {}
    expect_mapping(type(values.plain), name)
    return dict(values.plain)


def defaults(options: Options) -> Defaults:
    """What the client adds to every call. Raises `ValueError` or `TypeError` for what could not be sent."""
    headers = Secret(merged(_HEADERS, Secret(options.default_headers)))
    query: Secret[dict[str, QueryValue]] = Secret(dict(options.default_query))
    check_query(query)
    return Defaults(options.base_url, options.timeout, headers.plain, query.plain, options.max_retries)


def changed(
    name: str, values: Secret[tuple[Mapping[str, _T], Mapping[str, _T] | None, Mapping[str, _T] | None]]
) -> dict[str, _T]:
    """The old values with the new ones laid over them, or what replaces them. Raises `ValueError` for both at once."""
    if values.plain[1] is not None and values.plain[2] is not None:
        raise ValueError(f"`default_{name}` and `set_default_{name}` exclude each other")
    if values.plain[2] is not None:
        return as_dict(Secret(values.plain[2]), f"set_default_{name}")
    return {**values.plain[0], **as_dict(Secret(values.plain[1]), f"default_{name}")}
