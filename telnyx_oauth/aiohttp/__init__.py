"""aiohttp on both sides of a call: demand a token of those who call you, attach one to the calls you make."""

from .client import BearerTokenMiddleware
from .metadata import protected_resource, resource_metadata_url
from .routes import TOKEN, current_token, public, require_scopes
from .server import VALIDATOR, BearerAuth

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
