"""The store in a folder: one file per grant, private to its owner, whole after any crash, shared by the owner's
processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final

import filelock

from ...errors import StoreConflictError, TokenPersistenceError
from ...protocol.arguments import expect_a
from ...protocol.secret import Secret, Uncopied
from ...transport.threads import Threads
from ..folders import create_private, make_private
from .base import (
    FORGOTTEN,
    FORGOTTEN_KEPT,
    QUARANTINE,
    QUARANTINE_KEPT,
    ROOM,
    StoredGrant,
    Version,
    load_or_quarantine,
    version_of,
)

_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_LARGEST: Final = 4 * 1024 * 1024
_WRITING: Final = 10.0
_FIRST_POLL: Final = 0.01
_LAST_POLL: Final = 0.1
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class FileStore(Uncopied):
    """Keeps each grant in its own file, readable only by its owner (0600 in a folder of 0700).

    A crash at any moment leaves the old record or the new one. The lock is the operating system's, so it ends with its
    holder. The folder is made when needed; one that others may enter is refused.
    """

    shared = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        expect_a(folder, "folder", "a path, as a str or a pathlib.Path", str, os.PathLike)
        self._folder = Path(folder)
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

    @asynccontextmanager
    async def lock(self, key: str, *, timeout: float) -> AsyncGenerator[None]:
        """Lock the grant against refreshes in other processes and threads."""
        lock = await self._threads.run(partial(self.file_lock, key, "renew"))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = _FIRST_POLL
        while not await self._threads.run(partial(_acquired, lock), undo=lock.release):
            if loop.time() >= deadline:
                raise TimeoutError
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LAST_POLL)
        try:
            yield
        finally:
            await self._threads.run(lock.release, always=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("A store key has letters, digits, `.`, `_` and `-`, and begins with a letter or digit.")
        # A file that ends with .json may hold a token; the mark of a forgotten grant holds none.
        return self._folder / (key if key.endswith(FORGOTTEN) else f"{key}.json")

    def file_lock(self, key: str, purpose: str) -> filelock.BaseFileLock:
        """The lock file for a purpose, not yet taken."""
        self._path(key)
        self._prepare()
        return filelock.FileLock(self._folder / f"{key}.{purpose}.lock", mode=0o600, thread_local=False)

    def _write_lock(self, key: str) -> AbstractContextManager[object]:
        return self.file_lock(key, "write").acquire(timeout=_WRITING)

    def _prepare(self) -> None:
        make_private(self._folder)
        if os.name != "posix":
            return
        status = self._folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise TokenPersistenceError(
                f"The token folder {self._folder} must be a folder that belongs to you alone (chmod 700), and no link."
            )

    def _read(self, path: Path) -> Secret[bytes] | None:
        self._prepare()
        try:
            handle = os.open(path, os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("not a regular file")
            if os.name == "posix" and status.st_mode & 0o077:
                os.fchmod(handle, 0o600)
            return Secret(file.read(_LARGEST))

    def _load(self, key: str, *, locked: bool = False) -> StoredGrant | None:
        path = self._path(key)

        def read() -> StoredGrant | None:
            try:
                data = self._read(path)
            except OSError:
                if path.is_file() and not path.is_symlink():
                    raise
                raise ValueError("it is no regular file") from None
            return None if data is None else StoredGrant.decode(data.plain)

        def move() -> Path:
            place = path.replace(self._path(key + QUARANTINE))
            if not place.is_symlink():
                self.note_quarantined(key)
            return place

        return load_or_quarantine(path, read, move, nullcontext if locked else partial(self._write_lock, key))

    def _delete(self, key: str) -> None:
        path = self._path(key)
        if not self._folder.exists():
            return
        with self._write_lock(key):
            path.unlink(missing_ok=True)
            self._draft(path).unlink(missing_ok=True)  # of a process that was killed while it wrote
            self._room(path).unlink(missing_ok=True)

    def _draft(self, path: Path) -> Path:
        # The name depends on the key alone, so that a draft that was left is found. Only the holder of the write lock touches it.
        return path.with_name(f".{path.name.removesuffix('.json')}.tmp")

    def _room(self, path: Path) -> Path:
        """A file that reserves space for the answer while a refresh token is being spent: the disk may be full by then."""
        return path.with_name(f".{path.name.removesuffix('.json')}.room")

    def _compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        path = self._path(key)
        data = Secret(new.encode())
        with self._write_lock(key):
            now = self._load(key, locked=True)
            if (None if now is None else now.version) != expected:
                raise StoreConflictError
            self.expire_quarantined(key)
            self._room(path).unlink(missing_ok=True)
            if new.intent is not None:
                _write(self._room(path), Secret(bytes(max(len(data.plain), ROOM))))
            self._replace(path, data)
            if key.endswith(FORGOTTEN):  # a rare write, which also clears away the marks that have ended
                for mark in self._folder.glob(f"*{FORGOTTEN}"):
                    with contextlib.suppress(OSError):
                        if time.time() - mark.lstat().st_mtime > FORGOTTEN_KEPT:
                            mark.unlink()
        return version_of(data.plain)

    def note_quarantined(self, key: str) -> None:
        """Set the date of a quarantined record to now. Keyrings keep no dates, so theirs are empty files here."""
        self._prepare()
        self._path(key + QUARANTINE).touch(mode=0o600)

    def expire_quarantined(self, key: str) -> bool:
        """Delete a record that was quarantined more than 30 days ago. True if there was one."""
        place = self._path(key + QUARANTINE)
        try:
            old = time.time() - place.lstat().st_mtime > QUARANTINE_KEPT
        except FileNotFoundError:
            return False
        if old:
            place.unlink(missing_ok=True)
        return old

    def drop_quarantined(self, key: str) -> None:
        """Delete a quarantined record, or the note of one, if there is any."""
        self._path(key + QUARANTINE).unlink(missing_ok=True)

    def _replace(self, path: Path, data: Secret[bytes]) -> None:
        draft = self._draft(path)
        _write(draft, data)
        try:
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        if os.name == "posix":  # the name must survive a power cut as well
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _write(path: Path, data: Secret[bytes]) -> None:
    """Write a file anew, down to the disk, or leave none."""
    path.unlink(missing_ok=True)
    handle = create_private(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.plain)
            file.flush()
            os.fsync(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def _acquired(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return False
    return True
