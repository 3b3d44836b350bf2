from __future__ import annotations

import pytest

from telnyx_oauth.errors import AuthenticationError
from telnyx_oauth.sandbox import Sandbox

EXAMPLE = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"


def test_a_blocking_client_is_ready_for_every_operation():
    with Sandbox() as telnyx, telnyx.client() as client:
        metadata = client.well_known.retrieve_authorization_server_metadata()
        assert metadata.authorization_endpoint == f"{telnyx.base_url}/oauth/authorize"
        assert client.well_known.retrieve_protected_resource_metadata().authorization_servers == [telnyx.root_url]
        page = client.oauth.retrieve_authorize(
            client_id="client_id", redirect_uri="https://example.com", response_type="code"
        )
        assert telnyx.approve(page).startswith("https://example.com?code=")
        assert client.oauth_clients.list().data[0].client_id == telnyx.client_id
        created = client.oauth_clients.create(
            allowed_grant_types=["client_credentials"],
            allowed_scopes=["admin"],
            client_type="public",
            name="My OAuth client",
        )
        assert created.data.name == "My OAuth client"
        assert client.oauth_clients.retrieve(EXAMPLE).data.client_id == EXAMPLE
        assert client.oauth_clients.update(id=EXAMPLE).data.name == "My OAuth client"
        client.oauth_clients.delete(EXAMPLE)
        assert client.oauth.retrieve("consent_token").data.client_id == "client_id"
        assert client.oauth_grants.list().data[0].id == EXAMPLE
        assert client.oauth_grants.retrieve(EXAMPLE).data.id == EXAMPLE
        assert client.oauth_grants.delete(EXAMPLE).data.id == EXAMPLE
        assert client.oauth.introspect(token="token").client_id == telnyx.client_id
        assert len(client.oauth.retrieve_jwks().keys) == 1
        assert client.oauth.register().client_id
        assert client.oauth.token(grant_type="client_credentials").access_token
        granted = client.oauth.grants(allowed=True, consent_token="consent_token")
        assert granted.redirect_uri.startswith("https://example.com?code=")


async def test_an_async_client_is_ready_too():
    async with Sandbox() as telnyx, telnyx.async_client() as client:
        assert (await client.oauth_clients.list()).data[0].client_id == telnyx.client_id


async def test_a_clients_credentials_may_be_chosen():
    async with Sandbox() as telnyx:
        async with telnyx.async_client(api_key=telnyx.api_key) as client:
            assert (client.api_key, client.client_id) == (telnyx.api_key, None)
            await client.oauth_clients.list()
            assert [entry.path for entry in telnyx.requests] == ["/v2/oauth/clients"]
        async with telnyx.async_client(api_key="wrong") as client:
            with pytest.raises(AuthenticationError):
                await client.oauth_clients.list()


async def test_a_clients_validator_accepts_the_sandboxs_tokens():
    async with Sandbox() as telnyx, telnyx.async_client() as client:
        token = await client.validator.validate(telnyx.issue_token(scope="voice.read", subject="someone"))
        assert (token.subject, token.scopes) == ("someone", {"voice.read"})
