"""aiohttp on both sides of a call: demand a token of those who call you, attach one to the calls you make."""

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
        """Say what a name is called here that is not here."""
        raise no_such_name(__name__, name, __all__)
