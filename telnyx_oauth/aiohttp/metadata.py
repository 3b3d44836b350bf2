"""This service's own metadata document (RFC 9728): what it is, and who issues tokens for it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from ..protocol.challenges import metadata_path
from .routes import public

_HEADERS: Final = {"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}


def protected_resource(
    resource: str,
    *,
    authorization_servers: Iterable[str] = ("https://api.telnyx.com",),
    scopes_supported: Iterable[str] = (),
    resource_name: str | None = None,
    resource_documentation: str | None = None,
) -> web.RouteDef:
    """A public route that serves the metadata of `resource`, this service's identifier, an https address.

    Add it with `app.add_routes([protected_resource(...)])`. It is where RFC 9728 section 3.1 has clients look, the
    well-known segment before the identifier's path; `resource_metadata_url` gives the address for `BearerAuth`.
    """
    document: dict[str, object] = {
        "resource": resource,
        "authorization_servers": list(authorization_servers),
        "bearer_methods_supported": ["header"],
    }
    scopes = list(scopes_supported)
    if scopes:
        document["scopes_supported"] = scopes
    if resource_name is not None:
        document["resource_name"] = resource_name
    if resource_documentation is not None:
        document["resource_documentation"] = resource_documentation
    body = json.dumps(document).encode()

    @public
    async def serve(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json", headers=_HEADERS)

    return web.get(metadata_path(resource), serve)


def resource_metadata_url(resource: str) -> str:
    """The address of the metadata of `resource`, for `BearerAuth(resource_metadata=...)`."""
    scheme, _, rest = resource.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}{metadata_path(resource)}"
