"""The store in the desktop's own keyring."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from ...errors import StoreConflictError
from ...protocol.expected import expect_text
from ...protocol.secret import Secret
from ...protocol.uncopied import Uncopied
from ...transport.threads import Threads
from ..events import logger
from .entries import Entries
from .file import FileStore
from .record import ASIDE, StoredGrant, Version, version_of

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
        """The record, with its version. One that cannot be read is renamed, with a warning."""
        return await self._threads.run(partial(self._load, key))

    async def compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        """Write `new` in the place of `expected` and give its version."""
        return await self._threads.run(partial(self._compare_and_swap, key, expected, new))

    async def delete(self, key: str) -> None:
        """Remove the record, if there is one."""
        await self._threads.run(partial(self._delete, key))

    def lock(self, key: str, *, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold off every other process and thread that renews this grant."""
        return self._files.lock(key, timeout=timeout)

    def _load(self, key: str, *, locked: bool = False) -> StoredGrant | None:
        text = self._entries.read(key)
        if text is None:
            return None
        try:
            return StoredGrant.decode(text.plain.encode())
        except ValueError as exc:
            problem = str(exc)
        if not locked:  # somebody may be writing a good one in its place
            with self._writing(key):
                return self._load(key, locked=True)
        aside = key + ASIDE
        self._entries.write(aside, text)
        self._entries.delete(key)
        self._files.note_aside(key)
        logger.warning("the token record %s cannot be used (%s); it was renamed to %s", key, problem, aside)
        return None

    def _compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        data = Secret(new.encode())
        with self._writing(key):
            now = self._load(key, locked=True)
            if (None if now is None else now.version) != expected:
                raise StoreConflictError
            if self._files.end_aside(key):
                self._entries.delete(key + ASIDE)
            self._entries.write(key, Secret(data.plain.decode("ascii")))
        return version_of(data.plain)

    def _delete(self, key: str) -> None:
        with self._writing(key):
            self._entries.delete(key)
            if key.endswith(ASIDE):
                self._files.drop_aside(key.removesuffix(ASIDE))

    @contextmanager
    def _writing(self, key: str) -> Generator[None]:
        # One after the other: to write one entry, the Windows backend moves another out of its way. The second lock is what
        # version 0.1 takes.
        with (
            self._files.file_lock("keyring", "write").acquire(timeout=_WRITING),
            self._files.file_lock(key, "write").acquire(timeout=_WRITING),
        ):
            yield
