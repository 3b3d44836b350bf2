"""Hooks given to a client hear of its tokens, and of those of its copies."""

from __future__ import annotations

from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.tokens.events import TokenEvent


def test_the_hooks_of_a_client_hear_of_its_refreshes():
    heard: list[TokenEvent] = []
    with Sandbox() as telnyx, telnyx.client(token_hooks=[heard.append]) as client:
        client.tokens.get()
        telnyx.revoke(client.tokens.get().access_token)
        client.oauth_clients.list()
    assert [event.name for event in heard] == ["requested", "refreshed", "rejected", "requested", "refreshed"]


def test_a_copy_with_another_identity_has_the_same_hooks():
    heard: list[TokenEvent] = []
    with Sandbox() as telnyx, telnyx.client(token_hooks=[heard.append]) as client:
        made = client.oauth_clients.create(
            name="Another",
            client_type="confidential",
            allowed_grant_types=["client_credentials"],
            allowed_scopes=["admin"],
        ).data
        heard.clear()
        with client.with_options(client_id=made.client_id, client_secret=made.client_secret) as copy:
            copy.tokens.get()
    assert [event.key.client_id for event in heard] == [made.client_id] * 2
