"""Texts in the system's keyring: in parts where one entry is too short, and with every failure told in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import attrs

from ...errors import TokenPersistenceError
from ...protocol.secret import Secret
from .record import version_of

T = TypeVar("T")
_PART: Final = 1000
"""Characters of a part. The Windows Credential Manager takes 2,560 bytes for an entry, and writes two for each character."""
_MOST: Final = 1000
_PLACES: Final = ("a", "b")
_LOOKS: Final = 3
_ELSEWHERE: Final = "Use a FileStore if it stays so."


@attrs.frozen
class _Head:
    """What stands in a text's own entry where its parts are in others."""

    place: str
    count: int
    digest: str

    def written(self) -> str:
        return json.dumps({"format": "parts", **attrs.asdict(self)})


class Entries:
    """The texts of one service in the keyring. A text that one entry does not hold is written in parts, which count from
    the moment that their head is written: of a text that is replaced there is always the old or the new one.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        _package()

    def read(self, name: str) -> Secret[str] | None:
        """The text. One whose parts are not whole is given as it is, and is no record."""
        return _told(lambda: self._read(_backend(), name))

    def write(self, name: str, text: Secret[str]) -> None:
        """Write the text in the place of any before it. Raises `TokenPersistenceError` when the keyring does not keep it."""
        _told(lambda: self._write(_backend(), name, text))

    def delete(self, name: str) -> None:
        """Remove the text, if there is one, and parts that a process left that was killed."""
        _told(lambda: self._delete(_backend(), name))

    def _entry(self, backend: Any, name: str) -> Secret[str | None]:
        return Secret(backend.get_password(self._service, name) or None)

    def _read(self, backend: Any, name: str) -> Secret[str] | None:
        seen: Secret[str] | None = None
        for _ in range(_LOOKS):  # another process may be writing
            first = self._entry(backend, name)
            head = _head(first)
            if head is None:
                return Secret(first.plain) if first.plain is not None else None
            parts = [self._entry(backend, _part(name, head.place, number)) for number in range(head.count)]
            whole = Secret("".join(part.plain or "" for part in parts))
            if version_of(whole.plain.encode()) == head.digest:
                return whole
            seen = Secret(f"{first.plain}\n{whole.plain}")
        return seen

    def _write(self, backend: Any, name: str, text: Secret[str]) -> None:
        before = self._entry(backend, name)
        head = _head(before)
        failed = self._put(backend, name, text)
        if failed is not None:
            self._put_back(backend, name, before)
            if not _PART < len(text.plain) <= _PART * _MOST:
                raise failed
            self._write_parts(backend, name, text, "b" if head is not None and head.place == "a" else "a")
        elif head is not None:
            self._sweep(backend, name, *_PLACES)

    def _write_parts(self, backend: Any, name: str, text: Secret[str], place: str) -> None:
        before = self._entry(backend, name)
        pieces = [Secret(text.plain[start : start + _PART]) for start in range(0, len(text.plain), _PART)]
        head = Secret(_Head(place, len(pieces), version_of(text.plain.encode())).written())
        names = [_part(name, place, number) for number in range(len(pieces))]
        for each, piece in [*zip(names, pieces, strict=True), (name, head)]:
            failed = self._put(backend, each, piece)
            if failed is not None:
                self._put_back(backend, name, before)
                self._sweep(backend, name, place)
                raise failed
        self._sweep(backend, name, *(each for each in _PLACES if each != place))
        self._sweep(backend, name, place, first=len(pieces))

    def _put_back(self, backend: Any, name: str, before: Secret[str | None]) -> None:
        """See to it that what was there is there still: a keyring may have kept half of what it refused."""
        if self._entry(backend, name) == before:
            return
        if before.plain is None:
            self._remove(backend, name)
        else:
            self._put(backend, name, Secret(before.plain))

    def _put(self, backend: Any, name: str, text: Secret[str]) -> TokenPersistenceError | None:
        """Write one entry, and say why the keyring does not keep it. Raises when it keeps nothing at all now."""
        why = "it was not there afterwards"
        try:
            backend.set_password(self._service, name, text.plain)
        except Exception as exc:  # each keyring has errors of its own
            if _is_shut(exc):
                raise
            why = type(exc).__name__
        else:
            if self._entry(backend, name) == text:
                return None
        return TokenPersistenceError(
            f"The keyring does not take an entry of {len(text.plain)} characters ({why}). {_ELSEWHERE}"
        )

    def _delete(self, backend: Any, name: str) -> None:
        head = _head(self._entry(backend, name))
        self._remove(backend, name)
        self._sweep(backend, name, *_PLACES, known=0 if head is None else head.count)

    def _sweep(self, backend: Any, name: str, *places: str, first: int = 0, known: int = 0) -> None:
        """Delete the parts in these places from the last one on, so that those that are left are found again. The first
        `known` may have gaps between them.
        """
        for place in places:
            count = max(first, known)
            while self._entry(backend, _part(name, place, count)):
                count += 1
            for number in reversed(range(first, count)):
                self._remove(backend, _part(name, place, number))

    def _remove(self, backend: Any, name: str) -> None:
        if self._entry(backend, name):
            backend.delete_password(self._service, name)


def _part(name: str, place: str, number: int) -> str:
    return f"{name}.part-{place}-{number}"


def _head(entry: Secret[str | None]) -> _Head | None:
    """What an entry says of the parts of its text; `None` where it is the text itself."""
    try:
        body: object = json.loads(entry.plain or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    fields = cast("dict[str, object]", body)
    place, count, digest = fields.get("place"), fields.get("count"), fields.get("digest")
    if fields.get("format") != "parts" or place not in _PLACES or not isinstance(count, int):
        return None
    return _Head(str(place), min(count, _MOST), str(digest))


def _told(call: Callable[[], T]) -> T:
    """What `call` gives. Its failure in words: those of a keyring may quote what it was given."""
    try:
        return call()
    except TokenPersistenceError:
        raise
    except Exception as exc:  # noqa: BLE001 - each keyring has errors of its own
        error = _words(exc)
    raise error


def _words(exc: Exception) -> TokenPersistenceError:
    errors = _package().errors
    if isinstance(exc, errors.NoKeyringError):
        return _nothing()
    if isinstance(exc, errors.KeyringLocked):
        return TokenPersistenceError("The keyring is locked. Unlock it and try again, or use a FileStore.")
    return TokenPersistenceError(f"The keyring cannot be used now ({type(exc).__name__}). {_ELSEWHERE}")


def _is_shut(exc: Exception) -> bool:
    errors = _package().errors
    return isinstance(exc, (errors.KeyringLocked, errors.InitError, errors.NoKeyringError))


def _nothing() -> TokenPersistenceError:
    return TokenPersistenceError(
        "There is no keyring on this machine. Use a FileStore, or install a backend (see the docs of `keyring`)."
    )


def _backend() -> Any:
    backend = _package().get_keyring()
    if getattr(backend, "priority", 0) <= 0:
        raise _nothing()
    return backend


def _package() -> Any:
    try:
        import keyring
        import keyring.errors  # pyright: ignore[reportUnusedImport]  # an attribute of the package by this
    except ImportError:
        pass
    else:
        return keyring
    raise TokenPersistenceError("KeyringStore needs the package keyring: pip install 'telnyx-oauth[keyring]'")
