"""What `status` says of a grant that is gone."""

from __future__ import annotations

import pytest

from telnyx_oauth import HttpTransport, ReauthenticationRequiredError, RefreshToken, TokenManager
from telnyx_oauth.protocol.freshness import Phase
from telnyx_oauth.sandbox import Sandbox


async def test_a_grant_that_is_gone_says_that_a_person_must_sign_in():
    async with Sandbox() as telnyx:
        http = HttpTransport()
        source = RefreshToken(
            http, f"{telnyx.base_url}/oauth/token", telnyx.client_id, telnyx.client_secret, refresh_token="revoked"
        )
        tokens = TokenManager(source)
        assert tokens.status().phase is Phase.EMPTY
        with pytest.raises(ReauthenticationRequiredError):
            await tokens.get()
        status = tokens.status()
        assert (status.phase, status.last_error) == (Phase.REAUTH_REQUIRED, "reauthentication_required")
        await tokens.aclose()
        await http.aclose()
