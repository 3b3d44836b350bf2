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
    """Issue tokens for an authorization code, a refresh token or client credentials."""
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
            if client.secret is None:
                raise oauth_error("unauthorized_client", "A public client has no credentials of its own.")
            scopes = _requested_scopes(form, client.scopes, default_scopes(client))
            return no_store_response(issue(state, client, scopes, form.get("resource")))


def issue(
    state: State, client: Client, scopes: tuple[str, ...], resource: str | None, grant_id: str | None = None
) -> dict[str, object]:
    """Issue an access token (claims of RFC 9068) and give the token response (RFC 6749 section 5.1)."""
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


def _from_code(state: State, client: Client, form: Mapping[str, str]) -> Response:
    if "code" not in form:
        raise oauth_error("invalid_request", "The code is required.")
    code = state.codes.get(form["code"])
    if code is None or code.authorization.client_id != client.client_id:
        raise _invalid_grant("The code is not one that was issued to this client.")
    if code.spent:
        # RFC 6749 section 4.1.2: the code may have been stolen, so every token that was issued for it is revoked.
        state.grants.pop(code.grant_id, None)
        raise _invalid_grant("The code has been used before.")
    authorization = code.authorization
    if code.expires_at <= state.clock.now() or code.grant_id not in state.grants:
        raise _invalid_grant("The code has expired or its grant was revoked.")
    if form.get("redirect_uri") != authorization.redirect_uri:
        raise _invalid_grant("The redirect_uri is not the one of the authorization request.")
    if not _pkce_matches(authorization, form.get("code_verifier")):
        raise _invalid_grant("The code_verifier does not match the code_challenge.")
    resource = _resource(form, authorization.resource)
    state.codes[form["code"]] = attrs.evolve(code, spent=True)
    return _grant_response(state, client, code.grant_id, authorization.scopes, resource)


def _from_refresh_token(state: State, client: Client, form: Mapping[str, str]) -> Response:
    if "refresh_token" not in form:
        raise oauth_error("invalid_request", "The refresh_token is required.")
    record = state.refresh_tokens.get(form["refresh_token"])
    now = state.clock.now()
    if record is None or record.client_id != client.client_id or record.grant_id not in state.grants:
        raise _invalid_grant("The refresh token is not one of this client's, or was revoked.")
    if record.expires_at <= now:
        raise _invalid_grant("The refresh token has expired.")
    grace_period = state.settings.grace_period if state.settings.rotation == "grace" else 0
    if record.spent_at is not None and now >= record.spent_at + grace_period:
        # RFC 9700 section 4.14.2: two holders have the same token, so one may have stolen it. The grant ends for both.
        del state.grants[record.grant_id]
        raise _invalid_grant("The refresh token has been used before.")
    scopes = _requested_scopes(form, record.scopes, record.scopes)
    resource = _resource(form, record.resource)
    if state.settings.rotation == "none":
        return _grant_response(state, client, record.grant_id, scopes, resource, rotate=False)
    # A second use within the grace period does not extend it.
    if record.spent_at is None:
        state.refresh_tokens[form["refresh_token"]] = attrs.evolve(record, spent_at=now)
    # RFC 6749 section 6: the next refresh token has the scopes of this one, also when the access token has fewer.
    return _grant_response(state, client, record.grant_id, scopes, resource, refresh_scopes=record.scopes)


def _grant_response(
    state: State,
    client: Client,
    grant_id: str,
    scopes: tuple[str, ...],
    resource: str | None,
    *,
    rotate: bool = True,
    refresh_scopes: tuple[str, ...] | None = None,
) -> Response:
    """Issue tokens under a grant. `refresh_scopes` are the refresh token's scopes where the access token has fewer."""
    now = state.clock.now()
    state.grants[grant_id] = attrs.evolve(state.grants[grant_id], last_used_at=now)
    body = issue(state, client, scopes, resource, grant_id)
    if rotate and "refresh_token" in client.grant_types:
        token = secrets.token_urlsafe(32)
        state.refresh_tokens[token] = RefreshToken(
            grant_id=grant_id,
            client_id=client.client_id,
            scopes=refresh_scopes or scopes,
            resource=resource,
            expires_at=now + state.settings.refresh_lifetime,
        )
        body["refresh_token"] = token
    return no_store_response(body)


def _requested_scopes(form: Mapping[str, str], allowed: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(form.get("scope", "").split())) or default
    if not set(scopes) <= set(allowed):
        raise oauth_error("invalid_scope", "The scope is unknown or more than the client may have.")
    return scopes


def _resource(form: Mapping[str, str], grant_resource: str | None) -> str | None:
    resource = form.get("resource", grant_resource)
    if grant_resource is not None and resource != grant_resource:
        raise oauth_error("invalid_target", "The grant is for another resource.")
    return resource


def _pkce_matches(authorization: Authorization, verifier: str | None) -> bool:
    """Verify the code verifier against the code challenge (RFC 7636 section 4.6)."""
    if authorization.code_challenge is None or verifier is None:
        return authorization.code_challenge is verifier
    if not re.fullmatch(PKCE, verifier):
        return False
    hashed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(
        hashed if authorization.code_challenge_method == "S256" else verifier, authorization.code_challenge
    )


def _invalid_grant(description: str) -> ErrorResponse:
    return oauth_error("invalid_grant", description)


_INTROSPECTION_WINDOW = 60.0
_INTROSPECTION_MEMBERS = ("aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub")


def introspect(state: State, call: Call) -> Response:
    """Introspect an access token (RFC 7662). Anything else, such as a refresh token or an API key, is not active."""
    form = call.form()
    client = authenticated_client(state, call, form)
    if client.secret is None:
        raise oauth_error("invalid_client", "A public client cannot introspect.", 401)
    _limit_introspections(state, client.client_id)
    if "token" not in form:
        raise oauth_error("invalid_request", "The token is required.")
    record = state.valid_token(form["token"])
    if record is None:
        return no_store_response({"active": False})
    return no_store_response(
        {"active": True, "token_type": "Bearer"}
        | {name: record.claims[name] for name in _INTROSPECTION_MEMBERS if name in record.claims}
    )


def _limit_introspections(state: State, client_id: str) -> None:
    """Refuse a client that exceeds `introspection_limit`, with the rate limit header of the live service."""
    limit = state.settings.introspection_limit
    if limit is None:
        return
    now = state.clock.now()
    times = [at for at in state.introspections.get(client_id, []) if at > now - _INTROSPECTION_WINDOW]
    if len(times) >= limit:
        raise api_error(
            429, error_entry("10011"), pairs=(("ratelimit-limit", f"{limit}, {limit};w={_INTROSPECTION_WINDOW:.0f}"),)
        )
    state.introspections[client_id] = [*times, now]
