"""The well-known documents."""

from __future__ import annotations

import hashlib

from ..messages import Response, headers
from .requests import Call, json_response, not_found
from .state import State


def authorization_server(state: State, call: Call) -> Response:  # noqa: ARG001 - every handler takes both
    """RFC 8414 metadata, shaped like the live document."""
    root, oauth = state.root_url, f"{state.root_url}/v2/oauth"
    document: dict[str, object] = {
        "issuer": root,
        "agent_auth": {
            "anonymous": {"credential_types_supported": ["bearer_api_key", "oauth_pkce"]},
            "grants_supported": ["authorization_code", "client_credentials", "refresh_token"],
            "identity_assertion_supported": False,
            "identity_types_supported": ["anonymous"],
            "protected_resource_metadata_uri": f"{root}/.well-known/oauth-protected-resource",
        },
        "authorization_endpoint": f"{oauth}/authorize",
        "code_challenge_methods_supported": state.settings.pkce_methods,
        "grant_types_supported": ["client_credentials", "authorization_code", "refresh_token"],
        "introspection_endpoint": f"{oauth}/introspect",
        "jwks_uri": f"{oauth}/jwks",
        "protected_resources": state.resources,
        "registration_endpoint": f"{oauth}/register",
        "response_types_supported": ["code"],
        "scopes_supported": state.settings.scopes,
        "token_endpoint": f"{oauth}/token",
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
    }
    if state.settings.issuer_in_redirect:
        document["authorization_response_iss_parameter_supported"] = True
    return json_response(document)


def protected_resource(state: State, call: Call) -> Response:
    """RFC 9728 metadata of the API, or of the MCP server when the path ends in `mcp`."""
    mcp = call.argument == "mcp"
    if call.argument not in ("", "mcp"):
        raise not_found()
    return json_response({
        "resource": state.resources[mcp],
        "resource_name": "Telnyx MCP" if mcp else "Telnyx API",
        "authorization_servers": [state.root_url],
        "bearer_methods_supported": ["header"],
        "scopes_supported": state.settings.scopes,
    })  # fmt: skip


def key_set(state: State, call: Call) -> Response:
    """The JWK Set. It has an `ETag`; a request with `If-None-Match` gets a 304."""
    response = json_response(state.keys.key_set())
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:16]}"'
    pairs = [("ETag", etag)]
    if state.settings.jwks_max_age is not None:
        pairs.append(("Cache-Control", f"public, max-age={state.settings.jwks_max_age}"))
    if call.headers.get("If-None-Match") == etag:
        return Response(304, headers(*pairs))
    return Response(200, headers(*response.headers.items(), *pairs), response.content)
