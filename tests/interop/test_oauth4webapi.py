"""A peer's strict client against the sandbox."""

from __future__ import annotations

import json

import pytest

from telnyx_oauth.sandbox import Sandbox

REDIRECT = "https://example.com/callback"


@pytest.mark.parametrize("method", ["basic", "post"])
@pytest.mark.parametrize("issuer_in_redirect", [False, True])
async def test_a_strict_client_completes_everything_against_the_sandbox(node, method, issuer_in_redirect):
    async with Sandbox(issuer_in_redirect=issuer_in_redirect) as telnyx:
        arguments = (telnyx.root_url, telnyx.client_id, telnyx.client_secret, REDIRECT, method)
        async with node("client.mjs", *arguments) as client:
            url = json.loads(await client.stdout.readline())["url"]
            client.stdin.write(f"{telnyx.approve(url)}\n".encode())
            told = json.loads(await client.stdout.readline())
        assert told == {
            "registered": True,
            "resource": telnyx.root_url,
            "granted": "numbers.read fax.read",
            "rotated": True,
            "refreshed": "numbers.read fax.read",
            "own": "fax.read",
            "active": True,
            "inactive": False,
            "subject": telnyx.state.user_id,
            "refusal": "invalid_grant",
        }
