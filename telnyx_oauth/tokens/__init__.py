"""Access tokens: where they come from, how they are kept fresh, and where they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .authorization_code import AuthorizationFlow as AuthorizationFlow
    from .events import TokenHook as TokenHook
    from .manager import TokenManager as TokenManager
    from .refresh import IssuedVerifier as IssuedVerifier
    from .stores.base import TokenStore as TokenStore


def __getattr__(name: str) -> object:
    """Load a name that other packages use only in annotations, when a tool evaluates those (PEP 562)."""
    match name:
        case "TokenHook":
            from .events import TokenHook

            return TokenHook
        case "AuthorizationFlow":
            from .authorization_code import AuthorizationFlow

            return AuthorizationFlow
        case "TokenManager":
            from .manager import TokenManager

            return TokenManager
        case "IssuedVerifier":
            from .refresh import IssuedVerifier

            return IssuedVerifier
        case "TokenStore":
            from .stores.base import TokenStore

            return TokenStore
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
