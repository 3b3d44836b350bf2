"""What a fresh sandbox holds: its own credentials, and records under the names that Telnyx's examples use."""

from __future__ import annotations

from .authorization import default_scopes
from .clients import GRANT_TYPES
from .state import AccessToken, Authorization, Client, Grant, State

EXAMPLE_ID = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
_FOREVER = 10 * 365 * 86400.0


def plant(state: State, client_id: str, client_secret: str, *, examples: bool) -> None:
    """Register the sandbox's own client and, with `examples`, what the examples of Telnyx's documentation ask for."""
    now = state.clock.now()
    own = Client(
        client_id=client_id,
        name="Sandbox client",
        client_type="confidential",
        grant_types=GRANT_TYPES,
        scopes=state.settings.scopes,
        redirect_uris=("https://example.com/callback", "http://127.0.0.1/callback", "http://localhost/callback"),
        secret=client_secret,
        verified=True,
        created_at=now,
        updated_at=now,
    )
    state.clients[client_id] = own
    if examples:
        _plant_examples(state, own)


def _plant_examples(state: State, own: Client) -> None:
    now = state.clock.now()
    for example_id, name in (("client_id", "Example application"), (EXAMPLE_ID, "My OAuth client")):
        state.clients[example_id] = Client(
            client_id=example_id,
            name=name,
            grant_types=("authorization_code", "refresh_token"),
            scopes=state.settings.scopes,
            redirect_uris=("https://example.com",),
            created_at=now,
            updated_at=now,
        )
    scopes = default_scopes(own)
    state.grants[EXAMPLE_ID] = Grant(id=EXAMPLE_ID, client_id=own.client_id, scopes=scopes, created_at=now)
    state.consents["consent_token"] = Authorization(
        client_id="client_id", redirect_uri="https://example.com", scopes=scopes, expires_at=now + _FOREVER
    )
    plant_token(state, own.client_id)


def plant_token(state: State, client_id: str) -> None:
    """Make `token`, the token of Telnyx's introspection example, a live one. Again, once the address is known."""
    now = state.clock.now()
    claims = {
        "iss": state.root_url,
        "sub": state.user_id,
        "aud": state.root_url,
        "client_id": client_id,
        "iat": int(now),
        "exp": int(now + _FOREVER),
        "scope": " ".join(default_scopes(state.clients[client_id])),
    }
    state.access_tokens["token"] = AccessToken(claims=claims)
