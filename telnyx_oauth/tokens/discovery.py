"""Asking servers what they are: metadata from an issuer's address, or from a resource that said 401."""

from __future__ import annotations

from collections.abc import Iterable

from ..messages import Send
from ..protocol.discovery import (
    AuthorizationServer,
    ProtectedResource,
    metadata_request,
    metadata_url,
    resource_from,
    resource_url,
    server_from,
)


async def discover(send: Send, issuer: str) -> AuthorizationServer:
    """The authorization server that calls itself `issuer` (RFC 8414).

    Raises `DiscoveryError` when its metadata is another's or lacks what is needed, `APIConnectionError` when it cannot be
    had, `ValueError` for an issuer that is not https (http: only on this machine).
    """
    return server_from(await send(metadata_request(metadata_url(issuer))), issuer)


async def discover_resource(send: Send, url: str, www_authenticate: Iterable[str] = ()) -> ProtectedResource:
    """Who issues tokens for the resource at `url` (RFC 9728). `www_authenticate`: the headers of its 401, if there was one.

    Raises as `discover` does. Go on with `discover(send, found.authorization_servers[0])`, and ask for tokens with
    `resource=found.resource`.
    """
    return resource_from(await send(metadata_request(resource_url(url, www_authenticate))), url)
