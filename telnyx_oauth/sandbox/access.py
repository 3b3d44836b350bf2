"""Authentication: bearer credentials at the API, client credentials at the token and introspection endpoints."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from urllib.parse import unquote_plus

from .requests import Call, api_error, error_entry, oauth_error
from .state import Client, State

READ_SCOPES = ("admin", "account_management.read", "authentication_and_access.read")
WRITE_SCOPES = ("admin", "account_management.write")


def require_bearer(state: State, call: Call, *scopes: str) -> None:
    """Accept the API key, or an access token for the API that has one of the scopes (RFC 6750)."""
    metadata = f'resource_metadata="{state.root_url}/.well-known/oauth-protected-resource"'
    # Two headers are as bad as none: which of them counts would be a guess.
    authorization = call.headers.getall("Authorization", [])
    scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise api_error(401, error_entry("10009"), pairs=(("WWW-Authenticate", f"Bearer {metadata}"),))
    if _equal(token, state.api_key):
        return
    record = state.valid_token(token)
    audience = record.claims.get("aud") if record else None
    if record is None or state.root_url not in (audience if isinstance(audience, list) else [audience]):
        challenge = f'Bearer error="invalid_token", {metadata}'
        raise api_error(401, error_entry("10009"), pairs=(("WWW-Authenticate", challenge),))
    if not set(scopes) & set(str(record.claims.get("scope", "")).split()):
        challenge = f'Bearer error="insufficient_scope", scope="{scopes[-1]}", {metadata}'
        raise api_error(403, error_entry("10010"), pairs=(("WWW-Authenticate", challenge),))


def authenticated_client(state: State, call: Call, form: Mapping[str, str]) -> Client:
    """Authenticate a client by Basic or by the body. A public client sends only its id (RFC 6749 section 2.3)."""
    # A Bearer header beside credentials in the body is ignored, as Telnyx's own packages send one.
    basic = _basic_credentials(call)
    if basic and ("client_secret" in form or form.get("client_id", basic[0]) != basic[0]):
        raise oauth_error("invalid_request", "The client must not authenticate in two ways at once.")
    client_id, secret = basic or (form.get("client_id", ""), form.get("client_secret", ""))
    client = state.clients.get(client_id)
    if client is None or not _equal(secret, client.secret or ""):
        challenge = (("WWW-Authenticate", 'Basic realm="Telnyx API"'),)
        raise oauth_error("invalid_client", "Client authentication failed.", 401, *challenge)
    return client


def _basic_credentials(call: Call) -> tuple[str, str] | None:
    scheme, _, value = call.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode()
    except ValueError:
        return "", ""
    client_id, _, secret = decoded.partition(":")
    # RFC 6749 section 2.3.1: both halves are form-urlencoded before they are joined.
    return unquote_plus(client_id), unquote_plus(secret)


def _equal(left: str, right: str) -> bool:
    # In constant time, so that the time does not tell how much of a secret was right.
    return hmac.compare_digest(left.encode("utf-8", "surrogatepass"), right.encode())
