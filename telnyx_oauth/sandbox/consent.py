"""The consent page's two moves: show what is asked for, take the person's word."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy

from ..messages import Response, headers
from .answers import Refusal
from .authorization import create_grant, show_consent
from .calls import Call
from .pages import consent_page, error_page
from .state import State

_GONE = "It has expired, was already answered, or never existed."


def show_page(state: State, call: Call) -> Response:
    """The consent page of the token in the query."""
    consent_token = dict(call.parameters).get("consent_token", "")
    consent = _as_person(state, "GET", consent_token, None)
    if consent is None:
        return error_page(422, _GONE)
    visit = _visit(call, consent_token) or secrets.token_urlsafe(16)
    hidden = {"consent_token": consent_token, "proof": _proof(state, consent_token, visit)}
    cookie = f"{_cookie_name(consent_token)}={visit}; Path=/consent; HttpOnly; SameSite=Strict"
    return consent_page(consent["data"], hidden, cookie)


def take_word(state: State, call: Call) -> Response:
    """The posted form: make the grant, or the refusal, and send the browser on.

    The form counts only when it comes from the page itself: from its origin, and with the proof that was made for
    this browser's cookie.
    """
    try:
        form = call.form()
    except Refusal:
        return error_page(400, "The form is malformed.")
    consent_token = form.get("consent_token", "")
    visit = _visit(call, consent_token)
    proof = _octets(form.get("proof", ""))
    own = f"http://{call.headers.get('Host', '')}"
    if visit is None or not hmac.compare_digest(proof, _proof(state, consent_token, visit).encode()):
        return error_page(403, "The form does not come from this page in this browser.")
    if call.headers.get("Origin", own) != own:
        return error_page(403, "The form comes from another site.")
    if form.get("decision") not in ("allow", "deny"):
        return error_page(400, "The form says neither allow nor deny.")
    word = {"consent_token": consent_token, "allowed": form["decision"] == "allow"}
    granted = _as_person(state, "POST", consent_token, word)
    if granted is None:
        return error_page(422, _GONE)
    return Response(303, headers(("Location", granted["redirect_uri"]), ("Cache-Control", "no-store")))


def _as_person(state: State, method: str, consent_token: str, body: object) -> dict[str, Any] | None:
    """The consent and grants operations, called as the portal calls them for whoever is signed in."""
    given = CIMultiDict({"Authorization": f"Bearer {state.api_key}", "Content-Type": "application/json"})
    operation = show_consent if method == "GET" else create_grant
    call = Call(method, "", "", CIMultiDictProxy(given), json.dumps(body).encode(), consent_token)
    try:
        answered: dict[str, Any] = json.loads(operation(state, call).content)
    except Refusal:
        return None
    return answered


def _cookie_name(consent_token: str) -> str:
    return f"consent-{hashlib.sha256(_octets(consent_token)).hexdigest()[:16]}"


def _visit(call: Call, consent_token: str) -> str | None:
    """What the page has put into this browser's cookie."""
    cookies = (part.strip().partition("=") for part in call.headers.get("Cookie", "").split(";"))
    return {name: value for name, _, value in cookies}.get(_cookie_name(consent_token))


def _proof(state: State, consent_token: str, visit: str) -> str:
    return hmac.new(state.csrf_key, _octets(f"{consent_token}\n{visit}"), hashlib.sha256).hexdigest()


def _octets(text: str) -> bytes:
    # What comes off the wire may hold lone surrogates; they must make a mismatch, not a failure.
    return text.encode("utf-8", "surrogatepass")
