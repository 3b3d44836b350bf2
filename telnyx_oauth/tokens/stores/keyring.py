"""Grants in the keyring of the operating system. A long record takes several entries."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import attrs

from ...errors import StoreConflictError, TokenPersistenceError
from ...protocol.arguments import expect_text
from ...protocol.secret import Secret, Uncopied
from ...transport.threads import Threads
from .base import QUARANTINE, StoredGrant, Version, load_or_quarantine, version_of
from .file import FileStore

T = TypeVar("T")
_PART: Final = 1000
"""Characters of a part. The Windows Credential Manager takes 2,560 bytes for an entry, and writes two for each character."""
_MOST: Final = 1000
_PLACES: Final = ("a", "b")
_LOOKS: Final = 3
_ELSEWHERE: Final = "Use a FileStore if it stays so."


@attrs.frozen
class _Head:
    """The content of a text's main entry when the text is in parts: their place, count and digest."""

    place: str
    count: int
    digest: str

    def written(self) -> str:
        return json.dumps({"format": "parts", **attrs.asdict(self)})


class Entries:
    """The texts of one service in the keyring. A text that is too long for one entry is written in parts, into the place
    ("a" or "b") that the text before it does not use, and then the head that names them. So a crash leaves the old text
    or the new one.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        _package()

    def read(self, name: str) -> Secret[str] | None:
        """The text. If its parts do not match their digest, the pieces as they are, which are no record."""
        return _in_words(lambda: self._read(_backend(), name))

    def write(self, name: str, text: Secret[str]) -> None:
        """Write the text in the place of any before it. Raises `TokenPersistenceError` when the keyring does not keep it."""
        _in_words(lambda: self._write(_backend(), name, text))

    def delete(self, name: str) -> None:
        """Remove the text, if there is one, and parts left by a process that was killed."""
        _in_words(lambda: self._delete(_backend(), name))

    def _entry(self, backend: Any, name: str) -> Secret[str | None]:
        return Secret(backend.get_password(self._service, name) or None)

    def _read(self, backend: Any, name: str) -> Secret[str] | None:
        pieces: Secret[str] | None = None
        for _ in range(_LOOKS):  # another process may be writing
            first = self._entry(backend, name)
            head = _head(first)
            if head is None:
                return Secret(first.plain) if first.plain is not None else None
            parts = [self._entry(backend, _part(name, head.place, number)) for number in range(head.count)]
            whole = Secret("".join(part.plain or "" for part in parts))
            if version_of(whole.plain.encode()) == head.digest:
                return whole
            pieces = Secret(f"{first.plain}\n{whole.plain}")
        return pieces

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
        """Restore the entry if it changed: a keyring may have kept half of a text that it refused."""
        if self._entry(backend, name) == before:
            return
        if before.plain is None:
            self._remove(backend, name)
        else:
            self._put(backend, name, Secret(before.plain))

    def _put(self, backend: Any, name: str, text: Secret[str]) -> TokenPersistenceError | None:
        """Write one entry. Return the error if the keyring does not keep it, and raise it if the keyring keeps nothing now."""
        why = "it was not there afterwards"
        try:
            backend.set_password(self._service, name, text.plain)
        except Exception as exc:  # each keyring has errors of its own
            errors = _package().errors
            if isinstance(exc, (errors.KeyringLocked, errors.InitError, errors.NoKeyringError)):
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
        self._sweep(backend, name, *_PLACES, least=0 if head is None else head.count)

    def _sweep(self, backend: Any, name: str, *places: str, first: int = 0, least: int = 0) -> None:
        """Delete the parts in these places from number `first` on.

        A keyring cannot list its entries, so the parts are counted until one is missing; the first `least` may have gaps.
        The last part goes first, so that a sweep that is cut short leaves parts which the next one finds.
        """
        for place in places:
            count = max(first, least)
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
    """Read the head of a text in parts; `None` if the entry is the text itself."""
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


def _in_words(call: Callable[[], T]) -> T:
    """Call. An error is replaced by one in this package's words: a keyring's error may quote its arguments."""
    try:
        return call()
    except TokenPersistenceError:
        raise
    except Exception as exc:  # noqa: BLE001 - each keyring has errors of its own
        errors = _package().errors
        if isinstance(exc, errors.NoKeyringError):
            error = _no_keyring()
        elif isinstance(exc, errors.KeyringLocked):
            error = TokenPersistenceError("The keyring is locked. Unlock it and try again, or use a FileStore.")
        else:
            error = TokenPersistenceError(f"The keyring cannot be used now ({type(exc).__name__}). {_ELSEWHERE}")
    raise error


def _no_keyring() -> TokenPersistenceError:
    return TokenPersistenceError(
        "There is no keyring on this machine. Use a FileStore, or install a backend (see the docs of `keyring`)."
    )


def _backend() -> Any:
    backend = _package().get_keyring()
    if getattr(backend, "priority", 0) <= 0:
        raise _no_keyring()
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


_WRITING: Final = 10.0


class KeyringStore(Uncopied):
    """Keeps grants in the system's keyring. Needs the extra `keyring`, and a backend: on a headless machine there is
    none.

    Keyrings know no locks, so those are files in `folder` (by default under `~/.cache`), which hold no secret. A record that
    the keyring does not take as one entry is kept in several.
    """

    shared = True

    def __init__(self, service: str = "telnyx-oauth", *, folder: str | os.PathLike[str] | None = None) -> None:
        expect_text(type(service), "service")
        self._entries = Entries(service)
        self._files = FileStore(folder if folder is not None else Path.home() / ".cache" / "telnyx-oauth" / "locks")
        self._threads = Threads()

    async def load(self, key: str) -> StoredGrant | None:
        """The record, with its version. One that cannot be read is quarantined, with a warning."""
        return await self._threads.run(partial(self._load, key))

    async def compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        """Write `new` in the place of `expected` and give its version."""
        return await self._threads.run(partial(self._compare_and_swap, key, expected, new))

    async def delete(self, key: str) -> None:
        """Remove the record, if there is one."""
        await self._threads.run(partial(self._delete, key))

    def lock(self, key: str, *, timeout: float) -> AbstractAsyncContextManager[None]:
        """Lock the grant against refreshes in other processes and threads."""
        return self._files.lock(key, timeout=timeout)

    def _load(self, key: str, *, locked: bool = False) -> StoredGrant | None:
        text: Secret[str] | None = None

        def read() -> StoredGrant | None:
            nonlocal text
            text = self._entries.read(key)
            return None if text is None else StoredGrant.decode(text.plain.encode())

        def move() -> str:
            place = key + QUARANTINE
            if text is not None:
                self._entries.write(place, text)
            self._entries.delete(key)
            self._files.note_quarantined(key)
            return place

        return load_or_quarantine(key, read, move, nullcontext if locked else partial(self._writing, key))

    def _compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        data = Secret(new.encode())
        with self._writing(key):
            now = self._load(key, locked=True)
            if (None if now is None else now.version) != expected:
                raise StoreConflictError
            if self._files.expire_quarantined(key):
                self._entries.delete(key + QUARANTINE)
            self._entries.write(key, Secret(data.plain.decode("ascii")))
        return version_of(data.plain)

    def _delete(self, key: str) -> None:
        with self._writing(key):
            self._entries.delete(key)
            if key.endswith(QUARANTINE):
                self._files.drop_quarantined(key.removesuffix(QUARANTINE))

    @contextmanager
    def _writing(self, key: str) -> Generator[None]:
        # One writer at a time for all keys: to write one entry, the Windows backend moves another out of its way. The second
        # lock is the one that version 0.1 takes.
        with (
            self._files.file_lock("keyring", "write").acquire(timeout=_WRITING),
            self._files.file_lock(key, "write").acquire(timeout=_WRITING),
        ):
            yield
