"""Validation of the access tokens that a service receives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .introspection import IntrospectionCache as IntrospectionCache
    from .jwks import JWKSCache as JWKSCache
    from .validator import TokenValidator as TokenValidator


def __getattr__(name: str) -> object:
    """Load a name that other packages use only in annotations, when a tool evaluates those (PEP 562)."""
    match name:
        case "IntrospectionCache":
            from .introspection import IntrospectionCache

            return IntrospectionCache
        case "JWKSCache":
            from .jwks import JWKSCache

            return JWKSCache
        case "TokenValidator":
            from .validator import TokenValidator

            return TokenValidator
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
