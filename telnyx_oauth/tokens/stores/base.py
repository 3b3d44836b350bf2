"""The record of a grant, and what a store must offer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable  # noqa: F401  # pyright: ignore[reportUnusedImport]  # in the constructor that attrs writes
from contextlib import AbstractAsyncContextManager
from math import isfinite
from typing import Final, Protocol, TypeAlias, TypedDict, cast

import attrs

from ...protocol.token import scope_set

Version: TypeAlias = str
FORMAT: Final = 1
ASIDE: Final = ".aside-latest"
"""Ends the name under which a record that cannot be used is kept, one to each key, in the place of any before it."""
ASIDE_KEPT: Final = 30 * 86400
"""Seconds for which such a record is kept."""
FORGOTTEN: Final = ".forgotten"
"""Ends the name under which is kept that a grant was forgotten."""
FORGOTTEN_KEPT: Final = 30 * 86400
"""Seconds for which that is kept."""
ROOM: Final = 4096
"""Bytes of a record that is about to get its first access token."""


@attrs.frozen
class Intent:
    """A refresh token is being spent since `at` (Unix seconds); until this is cleared, how that ended is unknown."""

    at: float
    attempt: str


class Lease(Protocol):
    """A lock that a server gives for so many `seconds` at a time, and that its holder keeps renewing."""

    @property
    def seconds(self) -> float:
        """How long the lock outlives its holder."""
        ...

    def is_held(self) -> bool:
        """Tell if the lock has been this holder's without a gap, by this machine's clocks. Waits for nothing."""
        ...

    def may_have_been_anothers(self) -> bool:
        """Tell if the server started only just before it gave the lock, and so may have lost it for another holder."""
        ...


@attrs.frozen
class StoredGrant:
    """One grant: the last access token, and the refresh token with what is known of its fate.

    `request` names what the access token was asked for (`TokenKey.store_key`). Times are Unix seconds; `began` is when
    the person signed in, 0 where that is unknown. `tombstone` says why the refresh token is of no more use; it is kept
    all the same. `version` is the store's name for this state of the record.
    """

    token_endpoint: str
    client_id: str
    request: str = ""
    access_token: str | None = attrs.field(default=None, repr=False)
    scopes: frozenset[str] = attrs.field(default=frozenset(), converter=scope_set)
    issued_at: float = 0.0
    expires_at: float | None = None
    generation: int = 0
    refresh_token: str | None = attrs.field(default=None, repr=False)
    intent: Intent | None = None
    tombstone: str | None = None
    began: float = 0.0
    version: Version | None = attrs.field(default=None, eq=False)

    def is_newer(self, other: StoredGrant) -> bool:
        """Tell if this record was made after `other`: from a later sign-in, or by a later renewal of the same one.

        Stores go back in time (a replica is promoted, a backup restored), so being in the store proves nothing.
        """
        return (self.began, self.generation) > (other.began, other.generation)

    def encode(self) -> bytes:
        """The record as JSON, without its `version`.

        One that waits for its first access token is filled up with spaces to 4,096 bytes: a store that is too small for the
        answer shall fail before the refresh token is sent.
        """
        fields = attrs.asdict(self, filter=attrs.filters.exclude("version"))
        text = json.dumps({"format": FORMAT, **fields, "scopes": sorted(self.scopes)}, sort_keys=True)
        waits = self.intent is not None and self.access_token is None
        return text.ljust(ROOM if waits else 0).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> StoredGrant:
        """What `encode` wrote down; `version` is a digest of it. Raises `ValueError`, quoting nothing, for other bytes."""
        record = _read(data)
        del data  # it holds secrets, and a traceback would show it
        if isinstance(record, str):
            raise ValueError(record)  # noqa: TRY004 - it is the data that is wrong
        return record


def _read(data: bytes) -> StoredGrant | str:
    """The record, or what is wrong with it."""
    try:
        body: object = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    # `began` came later than the format.
    fields = {"began": 0.0, **cast("dict[str, object]", body)} if isinstance(body, dict) else {}
    problem = _problem(fields)
    if problem:
        return problem
    known = cast("_Fields", {name: fields[name] for name in _KINDS if name != "intent"})
    intent = cast("_IntentFields | None", fields["intent"])
    return StoredGrant(**known, intent=None if intent is None else Intent(**intent), version=version_of(data))


class TokenStore(Protocol):
    """Keeps grants. Methods may be called from any event loop; whatever they raise counts as a failing store.

    `compare_and_swap` writes only if the record's version is still `expected` (`None`: there is no record), else it
    raises `StoreConflictError`. `lock` waits at most `timeout` seconds, then raises `TimeoutError`. It must not outlive
    its holder: the operating system ends it with the process, and it gives `None`; or a server ends it after a few
    seconds unless it is renewed, and it gives a `Lease`. A store that several processes see sets `shared` to true;
    without the attribute it counts as private.
    """

    async def load(self, key: str) -> StoredGrant | None:
        """The record, with its version."""
        ...

    async def compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        """Write `new` in the place of `expected` and give its version."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the record, if there is one."""
        ...

    def lock(self, key: str, *, timeout: float) -> AbstractAsyncContextManager[Lease | None]:
        """Hold off everyone else who renews this grant."""
        ...


STORE: Final = "a token store, such as FileStore(...), RedisStore(...) or MemoryStore()"
STORE_METHODS: Final = ("load", "compare_and_swap", "delete", "lock")


def is_shared(store: TokenStore) -> bool:
    """Whether other processes see the same records."""
    return bool(getattr(store, "shared", False))


def version_of(data: bytes) -> Version:
    """A version made of a record's own bytes, for stores that keep none."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


class _Fields(TypedDict):
    token_endpoint: str
    client_id: str
    request: str
    access_token: str | None
    scopes: list[str]
    issued_at: float
    expires_at: float | None
    generation: int
    refresh_token: str | None
    tombstone: str | None
    began: float


class _IntentFields(TypedDict):
    at: float
    attempt: str


_TEXT, _NUMBER, _LIST = (str,), (int, float), (list,)
_NONE = type(None)
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "token_endpoint": _TEXT,
    "client_id": _TEXT,
    "request": _TEXT,
    "access_token": (str, _NONE),
    "scopes": _LIST,
    "issued_at": _NUMBER,
    "expires_at": (int, float, _NONE),
    "generation": (int,),
    "refresh_token": (str, _NONE),
    "intent": (dict, _NONE),
    "tombstone": (str, _NONE),
    "began": _NUMBER,
}


def _problem(fields: dict[str, object]) -> str | None:
    if fields.get("format") != FORMAT:
        return "it is no record, or one of a later version of this package"
    for name, kinds in _KINDS.items():
        if not _is_a(fields.get(name, ...), kinds):
            return f"its `{name}` is missing or wrong"
    if not all(isinstance(word, str) for word in cast("list[object]", fields["scopes"])):
        return "its `scopes` are wrong"
    intent = cast("dict[str, object] | None", fields["intent"])
    if intent is not None and not (
        intent.keys() == {"at", "attempt"} and _is_a(intent["at"], _NUMBER) and _is_a(intent["attempt"], _TEXT)
    ):
        return "its `intent` is wrong"
    return None


def _is_a(value: object, kinds: tuple[type, ...]) -> bool:
    """JSON as Python reads it has NaN, infinities, and booleans that are integers."""
    return (
        isinstance(value, kinds) and not isinstance(value, bool) and (not isinstance(value, float) or isfinite(value))
    )
