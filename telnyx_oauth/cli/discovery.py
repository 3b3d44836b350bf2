"""`metadata` and `jwks`: what the service says of itself in public."""

from __future__ import annotations

from .command import command
from .output import plain
from .session import Session


@command("metadata")
def metadata(session: Session) -> None:
    """Show the service's well-known documents (RFC 8414, RFC 9728)."""
    with session.client(public=True) as client:
        server = client.well_known.retrieve_authorization_server_metadata()
        resource = client.well_known.retrieve_protected_resource_metadata()
    if session.out.as_json:
        session.out.json({"authorization_server": plain(server), "protected_resource": plain(resource)})
        return
    for title, document in (("Authorization server", server), ("\nProtected resource", resource)):
        session.out.line(title, "bold")
        session.out.record(plain(document), indent=2)


@command("jwks")
def jwks(session: Session) -> None:
    """Show the keys that access tokens are signed with (RFC 7517)."""
    with session.client(public=True) as client:
        document = client.oauth.retrieve_jwks()
    if session.out.as_json:
        session.out.json(plain(document))
    else:
        session.out.answers(document.keys or [], ("kid", "kty", "alg", "use"), "There are no keys.")
