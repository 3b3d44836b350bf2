"""Resets after `os.fork`: a child inherits locks, tasks and connections that belong to its parent."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")
_resets: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def on_fork(owner: _T, reset: Callable[[_T], None]) -> None:
    """Have `reset(owner)` called in each child that is forked while `owner` lives.

    `reset` runs before anything else in the child, where other threads of the parent do not exist. So it must replace the
    locks that they may have held, and must take none. Give a function, not a bound method, which would keep `owner` alive.
    """
    _resets[owner] = reset


def _after_fork_in_child() -> None:
    # A copy: an owner may be collected meanwhile.
    for owner, reset in list(_resets.items()):
        reset(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
