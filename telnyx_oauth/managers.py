"""The token managers that clients make for themselves. A client with an API key alone runs without any of this."""

from __future__ import annotations

from .messages import Send
from .options import Options
from .tokens.manager import TokenManager
from .tokens.refresh import IssuedVerifier
from .tokens.sources import ApiKey, ClientCredentials


def of_credentials(options: Options, send: Send, verifier: IssuedVerifier | None) -> TokenManager:
    """A manager of the client's own tokens."""
    source = ClientCredentials(
        send,
        f"{options.base_url}/oauth/token",
        options.client_id or "",
        options.client_secret or "",
        scopes=options.scopes,
        resource=options.resource,
        allow_insecure=options.allow_insecure,
    )
    return TokenManager(
        source,
        store=options.token_store,
        hooks=options.token_hooks,
        verifier=verifier,
        demand_proof=options.verify_issued is True,
    )


def of_key(options: Options) -> TokenManager:
    """A manager that has the API key and nothing else."""
    return TokenManager(ApiKey(options.api_key or ""), hooks=options.token_hooks)
