"""Folders and files that only their owner can use, whatever the umask."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_FOLDER: Final = 0o700
_FILE: Final = 0o600
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def make_private(folder: Path) -> None:
    """Make a folder and its missing parents, each only for its owner (0700).

    A folder that is there already keeps its mode. Raises `OSError` when one cannot be made, or is no folder.
    """
    missing: list[Path] = []
    for each in (folder, *folder.parents):
        if each.is_dir():
            break
        missing.append(each)
    for each in reversed(missing):
        try:
            each.mkdir(mode=_FOLDER)
        except FileExistsError:
            if not each.is_dir():  # "file exists" would not say what is wrong with it
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(each)) from None
            continue  # another process has just made it, and sets its mode
        # The umask can only take rights away, the owner's among them.
        if os.name == "posix" and stat.S_IMODE(each.lstat().st_mode) & 0o777 != _FOLDER:
            each.chmod(_FOLDER)


def create_private(path: Path) -> int:
    """Create a file only for its owner (0600) and open it for writing. Return the file descriptor.

    Raises `FileExistsError` when the name exists, even as a broken link, and `OSError` when the file cannot be made.
    """
    handle = os.open(path, _NEW | _NO_FOLLOW, _FILE)
    if os.name == "posix" and stat.S_IMODE(os.fstat(handle).st_mode) != _FILE:
        os.fchmod(handle, _FILE)
    return handle
