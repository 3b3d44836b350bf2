"""The authorization endpoint and its consent page."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from multidict import CIMultiDict, CIMultiDictProxy

from ..messages import Response, headers
from .access import READ_SCOPES, WRITE_SCOPES, require_bearer
from .pages import consent_page, error_page
from .records import validated
from .requests import (
    Call,
    ErrorResponse,
    boolean,
    json_response,
    no_store_response,
    oauth_error,
    text,
    unique_parameters,
)
from .state import Authorization, Client, Code, Grant, State

PKCE = r"[A-Za-z0-9._~-]{43,128}"
"""The form of a code verifier and of a code challenge (RFC 7636 section 4)."""


def authorize(state: State, call: Call) -> Response:
    """Redirect the browser to the consent page, or back to the client with an error."""
    # Until the client and its redirect URI are verified, an error is a page: a redirect could go anywhere.
    try:
        parameters = unique_parameters(call.parameters)
    except ErrorResponse:
        raise _error(400, "A parameter is repeated.") from None
    if "client_id" not in parameters or "redirect_uri" not in parameters:
        raise _error(400, "The client_id and the redirect_uri are required.")
    client = state.clients.get(parameters["client_id"])
    if client is None:
        raise _error(404, "No application is known by this client_id.")
    redirect_uri = parameters["redirect_uri"]
    if not any(redirect_matches(redirect_uri, uri) for uri in client.redirect_uris):
        raise _error(422, "This redirect_uri is not registered for the application.")
    scopes = tuple(dict.fromkeys(parameters.get("scope", "").split())) or default_scopes(client)
    problem = _request_problem(state, client, scopes, parameters)
    if problem:
        error = {"error": problem[0], "error_description": problem[1]}
        return _redirect(with_query(redirect_uri, error | _common_parameters(state, parameters.get("state"))))
    consent_token = secrets.token_urlsafe(32)
    state.consents[consent_token] = Authorization(
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        scopes=scopes,
        state=parameters.get("state"),
        code_challenge=parameters.get("code_challenge"),
        code_challenge_method=parameters.get("code_challenge_method", "plain"),
        resource=parameters.get("resource"),
        expires_at=state.clock.now() + state.settings.consent_lifetime,
    )
    return _redirect(f"{state.root_url}/consent?{urlencode({'consent_token': consent_token})}")


def show_consent(state: State, call: Call) -> Response:
    """Describe the authorization request behind a consent token. This does not use the token up."""
    require_bearer(state, call, *READ_SCOPES)
    authorization = state.valid_consent(call.argument)
    if authorization is None:
        raise invalid_consent()
    client = state.clients[authorization.client_id]
    scopes = [(scope, *scope_texts(scope)) for scope in authorization.scopes]
    return json_response({
        "data": {
            "client_id": client.client_id,
            "name": client.name,
            "logo_uri": client.logo_uri,
            "policy_uri": client.policy_uri,
            "tos_uri": client.tos_uri,
            "redirect_uri": authorization.redirect_uri,
            "verified": client.verified,
            "requested_scopes": [
                {"id": scope, "name": name, "description": description}
                for scope, name, description in scopes
            ],
        }
    })  # fmt: skip


def create_grant(state: State, call: Call) -> Response:
    """Use up a consent token: answer with the redirect that carries a code, or `access_denied`."""
    require_bearer(state, call, *WRITE_SCOPES)
    body = validated(call, {"allowed": boolean, "consent_token": text}, ("allowed", "consent_token"))
    authorization = state.valid_consent(body["consent_token"])
    if authorization is None:
        raise invalid_consent()
    del state.consents[body["consent_token"]]
    if not body["allowed"]:
        result = {"error": "access_denied", "error_description": "The person denied the request."}
    else:
        now = state.clock.now()
        grant = Grant(
            id=str(uuid.uuid4()), client_id=authorization.client_id, scopes=authorization.scopes, created_at=now
        )
        state.grants[grant.id] = grant
        code = secrets.token_urlsafe(32)
        expires_at = now + state.settings.code_lifetime
        state.codes[code] = Code(authorization=authorization, grant_id=grant.id, expires_at=expires_at)
        result = {"code": code}
    parameters = result | _common_parameters(state, authorization.state)
    return no_store_response({"redirect_uri": with_query(authorization.redirect_uri, parameters)})


def invalid_consent() -> ErrorResponse:
    """The error of an unknown, expired or used consent token."""
    return oauth_error("invalid_request", "The consent token is invalid, expired or already used.", 422)


def scope_texts(scope: str) -> tuple[str, str]:
    """The name and the description of a scope on the consent page."""
    area, _, right = scope.partition(".")
    if not right:
        return "Full access", "See and change everything in your Telnyx account."
    subject = "AI" if area == "ai" else area.replace("_", " ")
    verb = "See" if right == "read" else "See and change"
    return f"{subject[0].upper()}{subject[1:]}: {right}", f"{verb} {subject} in your Telnyx account."


def default_scopes(client: Client) -> tuple[str, ...]:
    """The scopes of a request that names none."""
    return ("admin",) if "admin" in client.scopes else client.scopes


def redirect_matches(uri: str, registered: str) -> bool:
    """Compare a redirect URI with a registered one: exactly, but for the port of a loopback URI (RFC 8252 section 7.3)."""
    if uri == registered:
        return True
    parts = _loopback_parts(uri)
    return parts is not None and parts == _loopback_parts(registered)


def with_query(uri: str, parameters: Mapping[str, str]) -> str:
    """Add parameters to the query of a URI."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(parameters)}"


def _request_problem(
    state: State, client: Client, scopes: tuple[str, ...], parameters: Mapping[str, str]
) -> tuple[str, str] | None:
    """The error code and the description of the first rule that an authorization request breaks."""
    response_type = parameters.get("response_type")
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method", "plain")
    methods = state.settings.pkce_methods
    needs_challenge = client.require_pkce or "code_challenge_method" in parameters
    malformed = challenge is not None and not re.fullmatch(PKCE, challenge)
    rules = (
        (response_type is None, "invalid_request", "The response_type is required."),
        (response_type != "code", "unsupported_response_type", "The response_type must be code."),
        ("authorization_code" not in client.grant_types, "unauthorized_client", "This flow is not the client's."),
        (not set(scopes) <= set(client.scopes), "invalid_scope", "The application may not ask for this scope."),
        (parameters.get("resource", state.root_url) not in state.resources, "invalid_target", "No such resource."),
        (challenge is None and needs_challenge, "invalid_request", "A code_challenge is required."),
        (challenge is not None and method not in methods, "invalid_request", "The code_challenge_method is refused."),
        (malformed, "invalid_request", "The code_challenge is malformed."),
    )
    return next(((code, description) for broken, code, description in rules if broken), None)


def _common_parameters(state: State, client_state: str | None) -> dict[str, str]:
    """The parameters that go back to the client with a code as well as with an error."""
    return ({} if client_state is None else {"state": client_state}) | (
        {"iss": state.root_url} if state.settings.issuer_in_redirect else {}
    )


def _loopback_parts(uri: str) -> tuple[str, ...] | None:
    """A loopback URI without its port; None for any other URI."""
    try:
        parts = urlsplit(uri)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return None
    hosts = ("127.0.0.1", "[::1]", "localhost")
    host = parts.netloc.removesuffix(port)
    return (parts.scheme, host, parts.path, parts.query, parts.fragment) if host in hosts else None


def _error(status: int, message: str) -> ErrorResponse:
    return ErrorResponse(error_page(status, message))


def _redirect(location: str, status: int = 302) -> Response:
    return Response(status, headers(("Location", location), ("Cache-Control", "no-store")))


_INVALID = "It has expired, was already answered, or never existed."


def show_consent_page(state: State, call: Call) -> Response:
    """Show the consent page of the consent token in the query."""
    consent_token = dict(call.parameters).get("consent_token", "")
    consent = _call_as_user(state, show_consent, consent_token)
    if consent is None:
        return error_page(422, _INVALID)
    visit_id = _visit_id(call, consent_token) or secrets.token_urlsafe(16)
    hidden = {"consent_token": consent_token, "proof": _proof(state, consent_token, visit_id)}
    cookie = f"{_cookie_name(consent_token)}={visit_id}; Path=/consent; HttpOnly; SameSite=Strict"
    return consent_page(consent["data"], hidden, cookie)


def submit_consent_page(state: State, call: Call) -> Response:
    """Handle the consent page's form: create the grant or deny it, and redirect the browser to the client."""
    try:
        form = call.form()
    except ErrorResponse:
        return error_page(400, "The form is malformed.")
    consent_token = form.get("consent_token", "")
    visit_id = _visit_id(call, consent_token)
    proof = _encode(form.get("proof", ""))
    # Against forms that another site submits (CSRF): the proof belongs to this browser's cookie, the Origin is the page's.
    if visit_id is None or not hmac.compare_digest(proof, _proof(state, consent_token, visit_id).encode()):
        return error_page(403, "The form does not come from this page in this browser.")
    origin = f"http://{call.headers.get('Host', '')}"
    if call.headers.get("Origin", origin) != origin:
        return error_page(403, "The form comes from another site.")
    if form.get("decision") not in ("allow", "deny"):
        return error_page(400, "The form says neither allow nor deny.")
    decision = {"consent_token": consent_token, "allowed": form["decision"] == "allow"}
    grant = _call_as_user(state, create_grant, body=decision)
    return error_page(422, _INVALID) if grant is None else _redirect(grant["redirect_uri"], 303)


def _call_as_user(
    state: State, operation: Callable[[State, Call], Response], argument: str = "", body: object = None
) -> dict[str, Any] | None:
    """Call an operation of the API for the person who is signed in, as Telnyx's portal does. None on an error."""
    fields = CIMultiDict({"Authorization": f"Bearer {state.api_key}", "Content-Type": "application/json"})
    call = Call("", "", "", CIMultiDictProxy(fields), json.dumps(body).encode(), argument)
    try:
        data: dict[str, Any] = json.loads(operation(state, call).content)
    except ErrorResponse:
        return None
    return data


def _cookie_name(consent_token: str) -> str:
    return f"consent-{hashlib.sha256(_encode(consent_token)).hexdigest()[:16]}"


def _visit_id(call: Call, consent_token: str) -> str | None:
    """The random value in the cookie that the page has set in this browser."""
    cookies = (part.strip().partition("=") for part in call.headers.get("Cookie", "").split(";"))
    return {name: value for name, _, value in cookies}.get(_cookie_name(consent_token))


def _proof(state: State, consent_token: str, visit_id: str) -> str:
    return hmac.new(state.csrf_key, _encode(f"{consent_token}\n{visit_id}"), hashlib.sha256).hexdigest()


def _encode(text: str) -> bytes:
    # Text from a request may hold lone surrogates. They must lead to a mismatch, not to an exception.
    return text.encode("utf-8", "surrogatepass")
