"""The record of a grant, the interface of a store, and the quarantine for records that cannot be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable  # noqa: F401  # pyright: ignore[reportUnusedImport]  # in the constructor that attrs writes
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from math import isfinite
from typing import Final, Protocol, TypeAlias, TypedDict, cast

import attrs

from ...protocol.token import scope_set
from ..events import logger

Version: TypeAlias = str
FORMAT: Final = 1
QUARANTINE: Final = ".aside-latest"
"""The end of the name of a quarantined record: one that cannot be used. Each key has one, the latest."""
QUARANTINE_KEPT: Final = 30 * 86400
"""Seconds for which a quarantined record is kept."""
FORGOTTEN: Final = ".forgotten"
"""The end of the name of the mark that a grant was forgotten."""
FORGOTTEN_KEPT: Final = 30 * 86400
"""Seconds for which the mark is kept."""
ROOM: Final = 4096
"""Bytes of a record that is about to get its first access token."""


@attrs.frozen
class Intent:
    """A note that a refresh token is being spent since `at` (Unix seconds). Until it is cleared, the outcome is unknown."""

    at: float
    attempt: str


class Lease(Protocol):
    """A lock that a server gives for `seconds` at a time, and that its holder keeps extending."""

    @property
    def seconds(self) -> float:
        """Seconds for which the lock outlives its holder."""
        ...

    def is_held(self) -> bool:
        """Return whether this holder has had the lock without a gap, by this machine's clocks. Never waits."""
        ...

    def may_have_been_anothers(self) -> bool:
        """Return whether the server started only just before it gave the lock, and may have lost it for another holder."""
        ...


@attrs.frozen
class StoredGrant:
    """One grant: the last access token, and the refresh token with its state.

    `request` names the scopes and the resource of the access token (`TokenKey.store_key`). Times are Unix seconds; `began`
    is the time of the sign-in, 0 if unknown. `tombstone` is the reason why the refresh token cannot be used any more; the
    token is kept all the same. `version` is the store's name for this state of the record.
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
        """Return whether this record was made after `other`: by a later sign-in, or by a later refresh after the same one.

        Stores go back in time (a replica is promoted, a backup restored), so a record in the store may be the older one.
        """
        return (self.began, self.generation) > (other.began, other.generation)

    def encode(self) -> bytes:
        """The record as JSON, without its `version`.

        A record that waits for its first access token is filled up with spaces to 4,096 bytes, so that a store that is too
        small for the answer fails before the refresh token is sent.
        """
        fields = attrs.asdict(self, filter=attrs.filters.exclude("version"))
        text = json.dumps({"format": FORMAT, **fields, "scopes": sorted(self.scopes)}, sort_keys=True)
        waits = self.intent is not None and self.access_token is None
        return text.ljust(ROOM if waits else 0).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> StoredGrant:
        """The record that `encode` wrote; `version` is a digest of the bytes. Raises `ValueError`, which quotes nothing, for
        other bytes.
        """
        record = _read(data)
        del data  # it holds secrets, which a traceback would show
        if isinstance(record, str):
            raise ValueError(record)  # noqa: TRY004 - it is the data that is wrong
        return record


def _read(data: bytes) -> StoredGrant | str:
    """The record, or a description of the problem."""
    try:
        body: object = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    # `began` came later than the format.
    fields = {"began": 0.0, **cast("dict[str, object]", body)} if isinstance(body, dict) else {}
    problem = _problem(fields)
    if problem:
        return problem
    plain = cast("_Fields", {name: fields[name] for name in _KINDS if name != "intent"})
    intent = cast("_IntentFields | None", fields["intent"])
    return StoredGrant(**plain, intent=None if intent is None else Intent(**intent), version=version_of(data))


class TokenStore(Protocol):
    """Keeps grants. Methods may be called from any event loop; any exception counts as a failing store.

    `compare_and_swap` writes only if the record's version is still `expected` (`None`: there is no record), else it
    raises `StoreConflictError`. `lock` waits at most `timeout` seconds, then raises `TimeoutError`. It must not outlive
    its holder: the operating system ends it with the process, and it gives `None`; or a server ends it after a few
    seconds unless it is extended, and it gives a `Lease`. A store that several processes see sets `shared` to true;
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
        """Lock the grant against other refreshes."""
        ...


STORE: Final = "a token store, such as FileStore(...), RedisStore(...) or MemoryStore()"
STORE_METHODS: Final = ("load", "compare_and_swap", "delete", "lock")


def is_shared(store: TokenStore) -> bool:
    """Return whether other processes see the same records."""
    return bool(getattr(store, "shared", False))


def load_or_quarantine(
    name: object,
    read: Callable[[], StoredGrant | None],
    move: Callable[[], object],
    write_lock: Callable[[], AbstractContextManager[object]],
) -> StoredGrant | None:
    """Read a record. One that cannot be read (`ValueError`) is moved to the quarantine, and the loss is logged.

    `move` returns the new name. It runs under `write_lock`, after another look: another process may have written a good
    record in the meantime, which must stay.
    """
    try:
        return read()
    except ValueError:
        pass
    with write_lock():
        try:
            return read()
        except ValueError as exc:
            problem = str(exc)
        place = move()
    log_quarantine(name, problem, place)
    return None


def log_quarantine(name: object, problem: str, place: object) -> None:
    """Log that the record `name` was moved to `place`, and why."""
    logger.warning("the token record %s cannot be used (%s); it was moved to %s", name, problem, place)


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
    # JSON as Python reads it has NaN, infinities, and booleans that are integers.
    return (
        isinstance(value, kinds) and not isinstance(value, bool) and (not isinstance(value, float) or isfinite(value))
    )
