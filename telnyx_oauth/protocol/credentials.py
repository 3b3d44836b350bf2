"""Credentials of a client, and the rule for which of them signs a call."""

from __future__ import annotations

from collections.abc import Awaitable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from ..errors import MissingCredentialsError
from .requests import Auth, Call, Extras, names

if TYPE_CHECKING:
    from ..messages import Response
    from .token import Token

_API_KEY: Final = ("api_key", "TELNYX_API_KEY")
_SECRET: Final = ("client_secret", "TELNYX_CLIENT_SECRET")
_CLIENT: Final = ("client_id and client_secret", "TELNYX_CLIENT_ID and TELNYX_CLIENT_SECRET")
_CLIENT_FIELDS: Final = frozenset({"client_id", "client_secret", "client_assertion"})


class Tokens(Protocol):
    """The part of a token manager that signs calls."""

    @property
    def renewable(self) -> bool:
        """`True` if a refused token can be replaced by another."""
        ...

    def peek(self) -> Token | None:
        """Return a token that is good now, without waiting."""
        ...

    async def get(self, *, timeout: float | None) -> Token:
        """Return a token that is good now."""
        ...

    async def replace(self, rejected: Token, *, timeout: float | None, response: Response | None = None) -> Token:
        """Return another token than the one that was refused with `response`."""
        ...


class Ask(Protocol):
    """A request for a token that waits no longer than `timeout`."""

    def __call__(self, *, timeout: float | None) -> Awaitable[Token]:
        """Ask."""
        ...


@attrs.frozen
class Credentials:
    """A client's credentials. Those of an OAuth client win over an API key, and neither stands in for the other."""

    api_key: str | None = attrs.field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = attrs.field(default=None, repr=False)
    tokens: Tokens | None = attrs.field(default=None, repr=False)

    @property
    def has_client(self) -> bool:
        """`True` if an OAuth client can authenticate with them."""
        return bool(self.client_id and self.client_secret)


class Signer(Enum):
    """The credentials that sign one call."""

    NONE = auto()
    """No `Authorization` header."""
    HEADER = auto()
    """The user's own `Authorization` header, or none where the user removed it."""
    TOKEN = auto()
    """A token of the manager, as Bearer."""
    KEY = auto()
    """The API key, as Bearer."""
    BASIC = auto()
    """The OAuth client's id and secret, as Basic."""
    CLIENT_ID = auto()
    """`client_id` in the form, as a public client sends it (RFC 6749 section 3.2.1)."""


def signer(call: Call, extras: Extras, credentials: Credentials, *, own_header: bool = False) -> Signer:
    """Return who signs a call; `own_header` says that the client's default headers hold an `Authorization`.

    Raises `MissingCredentialsError` where a call needs credentials and there are none that it may carry.
    """
    if own_header or (extras.headers is not None and names(extras.headers, "authorization")):
        return Signer.HEADER
    if call.auth is Auth.NONE:
        return Signer.NONE
    client = None if call.auth is Auth.BEARER else _client_signer(call, extras, credentials)
    if client is not None:
        return client
    if credentials.tokens is not None:
        return Signer.TOKEN
    if credentials.api_key and not credentials.has_client:
        return Signer.KEY
    # The better choice first: for a client's endpoint a client, elsewhere a key, and the secret where there is an id.
    missing = [_API_KEY, _CLIENT] if credentials.client_id is None else [_SECRET, _API_KEY]
    if call.auth is Auth.CLIENT and credentials.client_id is None:
        missing.reverse()
    raise MissingCredentialsError(f"{call.method} {call.shown or call.path}", *missing)


def _client_signer(call: Call, extras: Extras, credentials: Credentials) -> Signer | None:
    """Return who signs a call to an endpoint where clients authenticate; `None` leaves it to the token or the key."""
    in_form = Signer.CLIENT_ID if credentials.client_id and call.form is not None else Signer.NONE
    if call.form is not None and not _CLIENT_FIELDS.isdisjoint([*call.form, *(extras.body or ())]):
        # A client must not authenticate in two ways at once (RFC 6749 section 2.3).
        return in_form
    if credentials.has_client:
        return Signer.BASIC
    return in_form if call.auth is Auth.TOKEN else None
