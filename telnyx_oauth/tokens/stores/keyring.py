"""The store in the desktop's own keyring."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final

from ...errors import StoreConflictError, TokenPersistenceError
from ...protocol.secret import Secret
from ...protocol.uncopied import Uncopied
from ...transport.threads import Threads
from ..events import logger
from .file import FileStore
from .record import ASIDE, StoredGrant, Version, version_of

_WRITING: Final = 10.0


class KeyringStore(Uncopied):
    """Keeps grants in the system's keyring. Needs the extra `keyring`, and a backend: on a headless machine there is
    none.

    Keyrings know no locks, so those are files in `folder` (by default under `~/.cache`), which hold no secret.
    """

    shared = True

    def __init__(self, service: str = "telnyx-oauth", *, folder: str | os.PathLike[str] | None = None) -> None:
        self._service = service
        self._files = FileStore(folder or Path.home() / ".cache" / "telnyx-oauth" / "locks")
        self._threads = Threads()
        _package()

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

    def _load(self, key: str) -> StoredGrant | None:
        backend = _backend()
        text: Secret[str | None] = Secret(backend.get_password(self._service, key))
        if not text:
            return None
        try:
            return StoredGrant.decode((text.plain or "").encode())
        except ValueError as exc:
            problem = str(exc)
        aside = key + ASIDE
        backend.set_password(self._service, aside, text.plain)
        backend.delete_password(self._service, key)
        self._files.note_aside(key)
        logger.warning("the token record %s cannot be used (%s); it was renamed to %s", key, problem, aside)
        return None

    def _compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        data = Secret(new.encode())
        with self._files.file_lock(key, "write").acquire(timeout=_WRITING):
            now = self._load(key)
            if (None if now is None else now.version) != expected:
                raise StoreConflictError
            if self._files.end_aside(key):
                self._delete(key + ASIDE)
            _backend().set_password(self._service, key, data.plain.decode("ascii"))
        return version_of(data.plain)

    def _delete(self, key: str) -> None:
        backend = _backend()
        if backend.get_password(self._service, key) is not None:
            backend.delete_password(self._service, key)


def _backend() -> Any:
    backend = _package().get_keyring()
    if getattr(backend, "priority", 0) <= 0:
        raise TokenPersistenceError(
            "There is no keyring on this machine. Use a FileStore, or install a backend (see the docs of `keyring`)."
        )
    return backend


def _package() -> Any:
    try:
        import keyring
    except ImportError:
        pass
    else:
        return keyring
    raise TokenPersistenceError("KeyringStore needs the package keyring: pip install 'telnyx-oauth[keyring]'")
