"""The authorization endpoint and its consent page."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Mapping
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
"""A code verifier, and a challenge made of one (RFC 7636 section 4)."""


def authorize(state: State, call: Call) -> Response:
    """Send the browser to the consent page, or back to the client with an error.

    Until the client and its redirect URI are known good, an error is a page: there is nowhere safe to send it.
    """
    try:
        given = unique_parameters(call.parameters)
    except ErrorResponse:
        raise _page(400, "A parameter is repeated.") from None
    client = state.clients.get(given.get("client_id", ""))
    if "client_id" not in given or "redirect_uri" not in given:
        raise _page(400, "The client_id and the redirect_uri are required.")
    if client is None:
        raise _page(404, "No application is known by this client_id.")
    if not any(redirect_matches(given["redirect_uri"], known) for known in client.redirect_uris):
        raise _page(422, "This redirect_uri is not registered for the application.")
    scopes = tuple(dict.fromkeys(given.get("scope", "").split())) or default_scopes(client)
    wrong = _request_error(state, client, scopes, given)
    if wrong:
        error, description = wrong
        back = {"error": error, "error_description": description} | _redirect_parameters(state, given.get("state"))
        return _redirect(with_query(given["redirect_uri"], back))
    consent_token = _save_authorization(state, given, scopes)
    return _redirect(f"{state.root_url}/consent?{urlencode({'consent_token': consent_token})}")


def show_consent(state: State, call: Call) -> Response:
    """What a consent token asks for. Looking at it does not use it up."""
    require_bearer(state, call, *READ_SCOPES)
    waiting = state.valid_consent(call.argument)
    if waiting is None:
        raise invalid_consent()
    client = state.clients[waiting.client_id]
    return json_response({
        "data": {
            "client_id": client.client_id,
            "name": client.name,
            "logo_uri": client.logo_uri,
            "policy_uri": client.policy_uri,
            "tos_uri": client.tos_uri,
            "redirect_uri": waiting.redirect_uri,
            "verified": client.verified,
            "requested_scopes": [
                {"id": scope, "name": scope_texts(scope)[0], "description": scope_texts(scope)[1]} for scope in waiting.scopes
            ],
        }
    })  # fmt: skip


def create_grant(state: State, call: Call) -> Response:
    """A person's word on a consent token: where to send the browser, with a code or with an error."""
    require_bearer(state, call, *WRITE_SCOPES)
    body = validated(call, {"allowed": boolean, "consent_token": text}, ("allowed", "consent_token"))
    return no_store_response({"redirect_uri": decide(state, body["consent_token"], allowed=body["allowed"])})


def decide(state: State, consent_token: str, *, allowed: bool) -> str:
    """Use up a consent token and give the address to send the browser to."""
    waiting = state.valid_consent(consent_token)
    if waiting is None:
        raise invalid_consent()
    del state.consents[consent_token]
    shared = _redirect_parameters(state, waiting.state)
    if not allowed:
        denied = {"error": "access_denied", "error_description": "The person denied the request."}
        return with_query(waiting.redirect_uri, denied | shared)
    now = state.clock.now()
    grant = Grant(id=str(uuid.uuid4()), client_id=waiting.client_id, scopes=waiting.scopes, created_at=now)
    state.grants[grant.id] = grant
    code = secrets.token_urlsafe(32)
    state.codes[code] = Code(authorization=waiting, grant_id=grant.id, expires_at=now + state.settings.code_lifetime)
    return with_query(waiting.redirect_uri, {"code": code} | shared)


def invalid_consent() -> ErrorResponse:
    """The consent token is unknown, expired or used."""
    return oauth_error("invalid_request", "The consent token is invalid, expired or already used.", 422)


def scope_texts(scope: str) -> tuple[str, str]:
    """A scope's name and what it allows, for people."""
    area, _, right = scope.partition(".")
    if not right:
        return "Full access", "See and change everything in your Telnyx account."
    subject = "AI" if area == "ai" else area.replace("_", " ")
    verb = "See" if right == "read" else "See and change"
    return f"{subject[0].upper()}{subject[1:]}: {right}", f"{verb} {subject} in your Telnyx account."


def default_scopes(client: Client) -> tuple[str, ...]:
    """What a client gets that asks for no scope."""
    return ("admin",) if "admin" in client.scopes else client.scopes


def redirect_matches(given: str, registered: str) -> bool:
    """Exactly the registered URI, but for the port of a loopback one (RFC 8252 section 7.3)."""
    if given == registered:
        return True
    left, right = _loopback(given), _loopback(registered)
    return left is not None and left == right


def with_query(uri: str, parameters: Mapping[str, str]) -> str:
    """The URI with parameters added to its query."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(parameters)}"


def _request_error(
    state: State, client: Client, scopes: tuple[str, ...], given: Mapping[str, str]
) -> tuple[str, str] | None:
    """The first rule that the request breaks: the error's code and what it means."""
    response_type = given.get("response_type")
    challenge, method = given.get("code_challenge"), given.get("code_challenge_method", "plain")
    methods = state.settings.pkce_methods
    needs_challenge = client.require_pkce or "code_challenge_method" in given
    malformed = challenge is not None and not re.fullmatch(PKCE, challenge)
    rules = (
        (response_type is None, "invalid_request", "The response_type is required."),
        (response_type != "code", "unsupported_response_type", "The response_type must be code."),
        ("authorization_code" not in client.grant_types, "unauthorized_client", "This flow is not the client's."),
        (not set(scopes) <= set(client.scopes), "invalid_scope", "The application may not ask for this scope."),
        (given.get("resource", state.root_url) not in state.resources, "invalid_target", "No such resource."),
        (challenge is None and needs_challenge, "invalid_request", "A code_challenge is required."),
        (challenge is not None and method not in methods, "invalid_request", "The code_challenge_method is refused."),
        (malformed, "invalid_request", "The code_challenge is malformed."),
    )
    return next(((error, meaning) for broken, error, meaning in rules if broken), None)


def _save_authorization(state: State, given: Mapping[str, str], scopes: tuple[str, ...]) -> str:
    """Write down what is asked; gives the consent token that stands for it."""
    consent_token = secrets.token_urlsafe(32)
    state.consents[consent_token] = Authorization(
        client_id=given["client_id"],
        redirect_uri=given["redirect_uri"],
        scopes=scopes,
        state=given.get("state"),
        code_challenge=given.get("code_challenge"),
        code_challenge_method=given.get("code_challenge_method", "plain"),
        resource=given.get("resource"),
        expires_at=state.clock.now() + state.settings.consent_lifetime,
    )
    return consent_token


def _redirect_parameters(state: State, client_state: str | None) -> dict[str, str]:
    """What goes back to the client with a code and with an error alike."""
    back = {} if client_state is None else {"state": client_state}
    return back | ({"iss": state.root_url} if state.settings.issuer_in_redirect else {})


def _loopback(uri: str) -> tuple[str, ...] | None:
    """What must agree of a loopback URI; None for any other."""
    try:
        parts = urlsplit(uri)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return None
    hosts = ("127.0.0.1", "[::1]", "localhost")
    host = parts.netloc.removesuffix(port)
    return (parts.scheme, host, parts.path, parts.query, parts.fragment) if host in hosts else None


def _page(status: int, message: str) -> ErrorResponse:
    return ErrorResponse(error_page(status, message))


def _redirect(location: str) -> Response:
    return Response(302, headers(("Location", location), ("Cache-Control", "no-store")))


_GONE = "It has expired, was already answered, or never existed."


def show_consent_page(state: State, call: Call) -> Response:
    """The consent page of the token in the query."""
    consent_token = dict(call.parameters).get("consent_token", "")
    consent = _call_as_user(state, "GET", consent_token, None)
    if consent is None:
        return error_page(422, _GONE)
    visit = _visit_id(call, consent_token) or secrets.token_urlsafe(16)
    hidden = {"consent_token": consent_token, "proof": _proof(state, consent_token, visit)}
    cookie = f"{_cookie_name(consent_token)}={visit}; Path=/consent; HttpOnly; SameSite=Strict"
    return consent_page(consent["data"], hidden, cookie)


def submit_consent_page(state: State, call: Call) -> Response:
    """The posted form: make the grant, or the refusal, and send the browser on.

    The form counts only when it comes from the page itself: from its origin, and with the proof that was made for
    this browser's cookie.
    """
    try:
        form = call.form()
    except ErrorResponse:
        return error_page(400, "The form is malformed.")
    consent_token = form.get("consent_token", "")
    visit = _visit_id(call, consent_token)
    proof = _encode(form.get("proof", ""))
    own = f"http://{call.headers.get('Host', '')}"
    if visit is None or not hmac.compare_digest(proof, _proof(state, consent_token, visit).encode()):
        return error_page(403, "The form does not come from this page in this browser.")
    if call.headers.get("Origin", own) != own:
        return error_page(403, "The form comes from another site.")
    if form.get("decision") not in ("allow", "deny"):
        return error_page(400, "The form says neither allow nor deny.")
    word = {"consent_token": consent_token, "allowed": form["decision"] == "allow"}
    granted = _call_as_user(state, "POST", consent_token, word)
    if granted is None:
        return error_page(422, _GONE)
    return Response(303, headers(("Location", granted["redirect_uri"]), ("Cache-Control", "no-store")))


def _call_as_user(state: State, method: str, consent_token: str, body: object) -> dict[str, Any] | None:
    """The consent and grants operations, called as the portal calls them for whoever is signed in."""
    given = CIMultiDict({"Authorization": f"Bearer {state.api_key}", "Content-Type": "application/json"})
    operation = show_consent if method == "GET" else create_grant
    call = Call(method, "", "", CIMultiDictProxy(given), json.dumps(body).encode(), consent_token)
    try:
        answered: dict[str, Any] = json.loads(operation(state, call).content)
    except ErrorResponse:
        return None
    return answered


def _cookie_name(consent_token: str) -> str:
    return f"consent-{hashlib.sha256(_encode(consent_token)).hexdigest()[:16]}"


def _visit_id(call: Call, consent_token: str) -> str | None:
    """What the page has put into this browser's cookie."""
    cookies = (part.strip().partition("=") for part in call.headers.get("Cookie", "").split(";"))
    return {name: value for name, _, value in cookies}.get(_cookie_name(consent_token))


def _proof(state: State, consent_token: str, visit: str) -> str:
    return hmac.new(state.csrf_key, _encode(f"{consent_token}\n{visit}"), hashlib.sha256).hexdigest()


def _encode(text: str) -> bytes:
    # What comes off the wire may hold lone surrogates; they must make a mismatch, not a failure.
    return text.encode("utf-8", "surrogatepass")
