"""Middlewares for aiohttp: demand a token from the callers of a server, and attach one to the requests of a client."""

from typing import TYPE_CHECKING

from ..hints import no_such_name
from .client import BearerTokenMiddleware
from .server import (
    TOKEN,
    VALIDATOR,
    BearerAuth,
    current_token,
    protected_resource,
    public,
    require_scopes,
    resource_metadata_url,
)

__all__ = [
    "TOKEN",
    "VALIDATOR",
    "BearerAuth",
    "BearerTokenMiddleware",
    "current_token",
    "protected_resource",
    "public",
    "require_scopes",
    "resource_metadata_url",
]

if not TYPE_CHECKING:  # or type checkers would take any name

    def __getattr__(name: str) -> object:
        """Raise an error that suggests another name."""
        raise no_such_name(__name__, name, __all__)
