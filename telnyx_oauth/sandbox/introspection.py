"""Token introspection (RFC 7662)."""

from __future__ import annotations

from ..messages import Response
from .access import authenticated_client
from .answers import fault, oauth_refused, refused, secret_answer
from .calls import Call
from .state import State

_WINDOW = 60.0
_SHOWN = ("aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub")


def introspect(state: State, call: Call) -> Response:
    """What an access token is worth. Anything that is not a live one, an API key too, is just not active."""
    form = call.form()
    client = authenticated_client(state, call, form)
    if client.secret is None:
        raise oauth_refused("invalid_client", "A public client cannot introspect.", 401)
    _count(state, client.client_id)
    if "token" not in form:
        raise oauth_refused("invalid_request", "The token is required.")
    known = state.valid_token(form["token"])
    if known is None:
        return secret_answer({"active": False})
    return secret_answer(
        {"active": True, "token_type": "Bearer"} | {name: known.claims[name] for name in _SHOWN if name in known.claims}
    )


def _count(state: State, client_id: str) -> None:
    """Hold a client to its rate, where there is one; the header is the live service's."""
    limit = state.settings.introspection_limit
    if limit is None:
        return
    now = state.clock.now()
    recent = [at for at in state.introspections.get(client_id, []) if at > now - _WINDOW]
    if len(recent) >= limit:
        raise refused(429, fault("10011"), pairs=(("ratelimit-limit", f"{limit}, {limit};w={_WINDOW:.0f}"),))
    state.introspections[client_id] = [*recent, now]
