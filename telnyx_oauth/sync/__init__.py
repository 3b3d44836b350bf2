"""`Telnyx`, the blocking twin of `AsyncTelnyx`, and the twins of its members, each loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .authorization import Authorization as Authorization
    from .tokens import Tokens as Tokens
    from .validator import Validator as Validator

_PLACES: Final = {"Authorization": "authorization", "Tokens": "tokens", "Validator": "validator"}


def __getattr__(name: str) -> object:
    """Load a twin when an annotation with its name is evaluated (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    return value
