"""What a 401 says, and what follows: one table for the rule and for all that go by it."""

from __future__ import annotations

ANOTHER_TOKEN_HELPS = [
    ([], True),
    ([""], True),
    (["\x00"], True),
    (["Bearer"], True),
    (['Bearer realm="x"'], True),
    (['Bearer error=""'], True),
    (['Bearer error="invalid_token"'], True),
    (['bearer Error="INVALID_TOKEN"'], True),
    (["Bearer error=invalid_token"], True),
    (['Bearer error="expired_token"'], True),
    (['Bearer error="token_expired"'], True),
    (['Basic realm="x", Bearer realm="y"'], True),
    (['Basic realm="x"', "Bearer"], True),
    (['DPoP error="insufficient_scope", Bearer error="invalid_token"'], True),
    (['Basic realm="x"'], False),
    (["Negotiate YWJj=="], False),
    (['DPoP error="invalid_token"'], False),
    (['Bearer error="insufficient_scope"'], False),
    (['Bearer error="invalid_request"'], False),
    (['Bearer resource_metadata=https://x.example/y, error="insufficient_scope"'], False),
    (["Bearer realm=a b c, error=insufficient_scope, scope=x"], False),
    (["Bearer error='insufficient_scope', realm=x"], False),
    (['Bearer realm="x", error="insufficient_scope'], False),
    (['Bearer scope="a", Bearer error="insufficient_scope"'], False),
    (['Basic realm="x"', 'Bearer error="insufficient_scope"'], False),
]
"""`WWW-Authenticate` headers of a 401, and whether another token could mend it."""
