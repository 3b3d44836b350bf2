"""The token and introspection endpoints."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Mapping

import attrs

from ..messages import Response
from .access import authenticated_client
from .authorize import PKCE, default_scopes
from .requests import Call, ErrorResponse, api_error, error_entry, no_store_response, oauth_error
from .state import AccessToken, Authorization, Client, RefreshToken, State


def exchange(state: State, call: Call) -> Response:
    """Tokens for a code, a refresh token or the client's own credentials."""
    form = call.form()
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise oauth_error("invalid_request", "The grant_type is required.")
    if grant_type not in ("authorization_code", "refresh_token", "client_credentials"):
        raise oauth_error("unsupported_grant_type", "The grant_type is not one of this service's.")
    client = authenticated_client(state, call, form)
    if grant_type not in client.grant_types:
        raise oauth_error("unauthorized_client", f"The client may not use the {grant_type} grant.")
    if form.get("resource", state.root_url) not in state.resources:
        raise oauth_error("invalid_target", "No tokens are issued for this resource.")
    match grant_type:
        case "authorization_code":
            return _from_code(state, client, form)
        case "refresh_token":
            return _from_refresh_token(state, client, form)
        case _:
            return _from_credentials(state, client, form)


def issue(
    state: State, client: Client, scopes: tuple[str, ...], resource: str | None, grant_id: str | None = None
) -> dict[str, object]:
    """A new access token, registered and signed, in a token response (RFC 6749 section 5.1; claims of RFC 9068)."""
    now = int(state.clock.now())
    lifetime = int(state.settings.token_lifetime)
    claims: dict[str, object] = {
        "iss": state.root_url,
        "sub": client.client_id if grant_id is None else state.user_id,
        "aud": resource or state.root_url,
        "client_id": client.client_id,
        "iat": now,
        "exp": now + lifetime,
        "jti": str(uuid.uuid4()),
        "scope": " ".join(scopes),
    }
    token = state.keys.sign(claims)
    state.access_tokens[token] = AccessToken(claims=claims, grant_id=grant_id)
    return {"access_token": token, "token_type": "Bearer", "expires_in": lifetime, "scope": claims["scope"]}


def _from_credentials(state: State, client: Client, form: Mapping[str, str]) -> Response:
    if client.secret is None:
        raise oauth_error("unauthorized_client", "A public client has no credentials of its own.")
    scopes = _requested_scopes(form, client.scopes, default_scopes(client))
    return no_store_response(issue(state, client, scopes, form.get("resource")))


def _from_code(state: State, client: Client, form: Mapping[str, str]) -> Response:
    if "code" not in form:
        raise oauth_error("invalid_request", "The code is required.")
    code = state.codes.get(form["code"])
    if code is None or code.authorization.client_id != client.client_id:
        raise _invalid_grant("The code is not one that was issued to this client.")
    if code.spent:
        # RFC 6749 section 4.1.2: whoever has used it before may be a thief, so nothing issued for it may live on.
        state.grants.pop(code.grant_id, None)
        raise _invalid_grant("The code has been used before.")
    asked = code.authorization
    if code.expires_at <= state.clock.now() or code.grant_id not in state.grants:
        raise _invalid_grant("The code has expired or its grant was revoked.")
    if form.get("redirect_uri") != asked.redirect_uri:
        raise _invalid_grant("The redirect_uri is not the one of the authorization request.")
    if not _pkce_matches(asked, form.get("code_verifier")):
        raise _invalid_grant("The code_verifier does not match the code_challenge.")
    resource = _same_resource(form, asked.resource)
    state.codes[form["code"]] = attrs.evolve(code, spent=True)
    return _grant_response(state, client, code.grant_id, asked.scopes, resource)


def _from_refresh_token(state: State, client: Client, form: Mapping[str, str]) -> Response:
    if "refresh_token" not in form:
        raise oauth_error("invalid_request", "The refresh_token is required.")
    known = state.refresh_tokens.get(form["refresh_token"])
    now = state.clock.now()
    if known is None or known.client_id != client.client_id or known.grant_id not in state.grants:
        raise _invalid_grant("The refresh token is not one of this client's, or was revoked.")
    if known.expires_at <= now:
        raise _invalid_grant("The refresh token has expired.")
    forgiven = state.settings.grace_period if state.settings.rotation == "grace" else 0
    if known.spent_at is not None and now >= known.spent_at + forgiven:
        # RFC 9700 section 4.14.2: two holders of one token, one of them a thief; end the grant for both.
        del state.grants[known.grant_id]
        raise _invalid_grant("The refresh token has been used before.")
    scopes = _requested_scopes(form, known.scopes, known.scopes)
    resource = _same_resource(form, known.resource)
    if state.settings.rotation == "none":
        return _grant_response(state, client, known.grant_id, scopes, resource, rotate=False)
    if known.spent_at is None:
        state.refresh_tokens[form["refresh_token"]] = attrs.evolve(known, spent_at=now)
    return _grant_response(state, client, known.grant_id, scopes, resource, lasting=known.scopes)


def _grant_response(
    state: State,
    client: Client,
    grant_id: str,
    scopes: tuple[str, ...],
    resource: str | None,
    *,
    rotate: bool = True,
    lasting: tuple[str, ...] | None = None,
) -> Response:
    """Tokens under a grant. `lasting` are the refresh token's scopes where the access token has fewer."""
    now = state.clock.now()
    state.grants[grant_id] = attrs.evolve(state.grants[grant_id], last_used_at=now)
    body = issue(state, client, scopes, resource, grant_id)
    if rotate and "refresh_token" in client.grant_types:
        token = secrets.token_urlsafe(32)
        state.refresh_tokens[token] = RefreshToken(
            grant_id=grant_id,
            client_id=client.client_id,
            scopes=lasting or scopes,
            resource=resource,
            expires_at=now + state.settings.refresh_lifetime,
        )
        body["refresh_token"] = token
    return no_store_response(body)


def _requested_scopes(form: Mapping[str, str], allowed: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(form.get("scope", "").split())) or default
    if not set(asked) <= set(allowed):
        raise oauth_error("invalid_scope", "The scope is unknown or more than the client may have.")
    return asked


def _same_resource(form: Mapping[str, str], granted: str | None) -> str | None:
    resource = form.get("resource", granted)
    if granted is not None and resource != granted:
        raise oauth_error("invalid_target", "The grant is for another resource.")
    return resource


def _pkce_matches(asked: Authorization, verifier: str | None) -> bool:
    """Whether the verifier proves who began (RFC 7636 section 4.6)."""
    if asked.code_challenge is None or verifier is None:
        return asked.code_challenge is verifier
    if not re.fullmatch(PKCE, verifier):
        return False
    hashed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(hashed if asked.code_challenge_method == "S256" else verifier, asked.code_challenge)


def _invalid_grant(description: str) -> ErrorResponse:
    return oauth_error("invalid_grant", description)


_WINDOW = 60.0
_SHOWN = ("aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub")


def introspect(state: State, call: Call) -> Response:
    """What an access token is worth. Anything that is not a live one, an API key too, is just not active."""
    form = call.form()
    client = authenticated_client(state, call, form)
    if client.secret is None:
        raise oauth_error("invalid_client", "A public client cannot introspect.", 401)
    _check_rate(state, client.client_id)
    if "token" not in form:
        raise oauth_error("invalid_request", "The token is required.")
    known = state.valid_token(form["token"])
    if known is None:
        return no_store_response({"active": False})
    return no_store_response(
        {"active": True, "token_type": "Bearer"} | {name: known.claims[name] for name in _SHOWN if name in known.claims}
    )


def _check_rate(state: State, client_id: str) -> None:
    """Hold a client to its rate, where there is one; the header is the live service's."""
    limit = state.settings.introspection_limit
    if limit is None:
        return
    now = state.clock.now()
    recent = [at for at in state.introspections.get(client_id, []) if at > now - _WINDOW]
    if len(recent) >= limit:
        raise api_error(429, error_entry("10011"), pairs=(("ratelimit-limit", f"{limit}, {limit};w={_WINDOW:.0f}"),))
    state.introspections[client_id] = [*recent, now]
