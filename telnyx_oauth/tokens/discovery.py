"""Asking servers what they are: metadata from an issuer's address, or from a resource that said 401."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import DiscoveryError
from ..messages import Response, Send
from ..protocol.discovery import (
    AuthorizationServer,
    ProtectedResource,
    is_missing,
    metadata_request,
    metadata_urls,
    resource_from,
    resource_urls,
    server_from,
)
from ..transport.again import asked_again


async def discover(send: Send, issuer: str) -> AuthorizationServer:
    """The authorization server that calls itself `issuer` (RFC 8414).

    Its metadata is looked for at RFC 8414's place, and when there is none, where OpenID Connect has it. Raises
    `DiscoveryError` when it is another's or lacks what is needed, `APIConnectionError` when it cannot be had,
    `ValueError` for an issuer that is not https (http: only on this machine).
    """
    return server_from(await _first(send, metadata_urls(issuer)), issuer)


async def discover_resource(send: Send, url: str, www_authenticate: Iterable[str] = ()) -> ProtectedResource:
    """Who issues tokens for the resource at `url` (RFC 9728). `www_authenticate`: the headers of its 401, if there was one.

    The metadata is looked for where the 401 says, or at the place of the resource's path and then at the root's.
    Raises as `discover` does. Go on with `discover(send, found.authorization_servers[0])`, and ask for tokens with
    `resource=found.resource`.
    """
    return resource_from(await _first(send, resource_urls(url, www_authenticate)), url)


async def _first(send: Send, urls: tuple[str, ...]) -> Response:
    """The answer of the first place that has a document; the first place's, when none has."""
    first = None
    for url in urls:
        response = await asked_again(send, metadata_request(url))
        if not is_missing(response):
            return response
        first = first or response
    assert first is not None
    if len(urls) == 1:
        return first
    raise DiscoveryError(
        f"{first.request} gave no metadata (status {first.status_code}), and neither did {' and '.join(urls[1:])}."
    )
