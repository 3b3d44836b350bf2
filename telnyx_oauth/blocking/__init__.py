"""Running the async core for callers that block: a private event loop, and rows that carry each method over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .authorization import Authorization as Authorization
    from .tokens import Tokens as Tokens
    from .validator import Validator as Validator


def __getattr__(name: str) -> object:
    """Load what other packages name in their annotations when somebody looks at these (PEP 562)."""
    match name:
        case "Authorization":
            from .authorization import Authorization

            return Authorization
        case "Tokens":
            from .tokens import Tokens

            return Tokens
        case "Validator":
            from .validator import Validator

            return Validator
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
