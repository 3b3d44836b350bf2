"""Dynamic client registration (RFC 7591)."""

from __future__ import annotations

from typing import Any

from ..messages import Response
from .answers import oauth_refused, secret_answer
from .calls import Call, Check, one_of, problems, redirect_uris, scope_of, some_of, text, web_uri
from .clients import GRANT_TYPES, new_client
from .state import State


def register(state: State, call: Call) -> Response:
    """A new client for whoever asks. No field is required; unknown ones are refused, as the API's schema says."""
    schema: dict[str, Check] = {
        "client_name": text,
        "grant_types": some_of(GRANT_TYPES),
        "redirect_uris": redirect_uris,
        "response_types": some_of(("code",)),
        "scope": scope_of(state.settings.scopes),
        "token_endpoint_auth_method": one_of("none", "client_secret_basic", "client_secret_post"),
        "logo_uri": web_uri,
        "policy_uri": web_uri,
        "tos_uri": web_uri,
    }
    try:
        body: dict[str, Any] = call.json_object()
    except ValueError as error:
        raise oauth_refused("invalid_client_metadata", str(error)) from None
    wrong = problems(body, schema)
    if wrong:
        code = "invalid_redirect_uri" if "redirect_uris" in wrong else "invalid_client_metadata"
        fields = {name: [why] for name, why in wrong.items()}
        raise oauth_refused(code, "The client metadata was invalid.", more={"invalid_fields": fields})
    return secret_answer(_registered(state, body), 201)


def _registered(state: State, body: dict[str, Any]) -> dict[str, object]:
    grant_types = body.get("grant_types", ["authorization_code"])
    method = body.get("token_endpoint_auth_method", "client_secret_basic")
    scope = body.get("scope", " ".join(state.settings.scopes))
    client = new_client(
        state,
        confidential=method != "none",
        name=body.get("client_name", ""),
        grant_types=tuple(grant_types),
        scopes=tuple(scope.split()),
        redirect_uris=tuple(body.get("redirect_uris", ())),
        **{name: body[name] for name in ("logo_uri", "policy_uri", "tos_uri") if name in body},
    )
    defaults = {
        "grant_types": grant_types,
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "scope": scope,
    }
    issued: dict[str, object] = {"client_id": client.client_id, "client_id_issued_at": int(client.created_at)}
    return issued | ({"client_secret": client.secret} if client.secret else {}) | defaults | body
