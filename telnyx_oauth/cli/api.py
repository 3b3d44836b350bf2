"""The commands over the API's operations: clients, grants, registration, metadata."""

from __future__ import annotations

from typing import Any, get_args

from ..types import ClientType, GrantType, TokenEndpointAuthMethod
from .command import PAGE_SIZE, command, confirm, limit_option, looks, present, several, yes_option
from .failures import WrongUsage
from .output import click, plain
from .session import Session

CLIENT_COLUMNS = ("client_id", "name", "client_type", "created_at")
TYPES = click.Choice(get_args(ClientType))
GRANT_TYPES = click.Choice(get_args(GrantType))

clients = click.Group("clients", help="Manage the OAuth clients of the account.")
pkce_option = click.option(
    "--require-pkce/--no-require-pkce", default=None, help="Take no authorization code without it."
)
redirects_option = several("--redirect-uri", "redirect_uris", "Where authorization codes may be sent.")


@command("list", clients)
@click.option("--name", "filter_name", help="Only those with this name.")
@click.option("--name-contains", "filter_name_contains", metavar="TEXT", help="Only those whose name contains this.")
@click.option("--type", "filter_client_type", type=TYPES, help="Only those of this type.")
@click.option(
    "--grant-type", "filter_allowed_grant_types_contains", type=GRANT_TYPES, help="Only those that may use it."
)
@limit_option
def list_clients(session: Session, *, limit: int | None, **filters: Any) -> None:
    """List OAuth clients, all pages of them."""
    with session.client() as client:
        page = client.oauth_clients.list(page_size=min(limit or PAGE_SIZE, PAGE_SIZE), **present(filters))
        found = session.gather(page, limit)
    session.out.answers(found, CLIENT_COLUMNS, "There are no such clients.")


@command("show", clients)
@click.argument("client_id")
def show_client(session: Session, *, client_id: str) -> None:
    """Show one OAuth client."""
    with session.client() as client:
        session.answer(client.oauth_clients.retrieve(client_id).data)


@command("create", clients)
@click.option("--name", required=True, help="What people will see.")
@click.option("--type", "client_type", type=TYPES, required=True, help="Whether it can keep a secret.")
@click.option(
    "--grant-type", "allowed_grant_types", type=GRANT_TYPES, multiple=True, required=True, help="May be repeated."
)
@several("--scope", "allowed_scopes", "What its tokens may allow.", required=True)
@redirects_option
@pkce_option
@looks
def create(session: Session, **given: Any) -> None:
    """Create an OAuth client. A confidential one's secret is shown here, once."""
    with session.client() as client:
        session.answer(client.oauth_clients.create(**present(given)).data, secrets=True)


@command("update", clients)
@click.argument("client_id")
@click.option("--name", help="What people will see.")
@click.option("--grant-type", "allowed_grant_types", type=GRANT_TYPES, multiple=True, help="May be repeated.")
@several("--scope", "allowed_scopes", "What its tokens may allow.")
@redirects_option
@pkce_option
@looks
def update(session: Session, *, client_id: str, **given: Any) -> None:
    """Change an OAuth client: what is given replaces what it has."""
    changes = present(given)
    if not changes:
        raise WrongUsage("There is nothing to change.", "See `telnyx-oauth clients update --help`.", code="usage")
    with session.client() as client:
        session.answer(client.oauth_clients.update(client_id, **changes).data)


@command("delete", clients)
@click.argument("client_id")
@yes_option
def delete(session: Session, *, client_id: str, yes: bool) -> None:
    """Delete an OAuth client, after asking. Its tokens can no longer be renewed."""
    with session.client() as client:
        confirm(f"Delete the OAuth client {client_id}?", yes=yes)
        client.oauth_clients.delete(client_id)
    session.done(f"Deleted {client_id}.", client_id=client_id, deleted=True)


GRANT_COLUMNS = ("id", "client_id", "scopes", "created_at")

grants = click.Group("grants", help="See and revoke what people have allowed clients to do.")


@command("list", grants)
@limit_option
def list_grants(session: Session, *, limit: int | None) -> None:
    """List grants, all pages of them."""
    with session.client() as client:
        page = client.oauth_grants.list(page_size=min(limit or PAGE_SIZE, PAGE_SIZE))
        found = session.gather(page, limit)
    session.out.answers(found, GRANT_COLUMNS, "There are no grants.")


@command("show", grants)
@click.argument("grant_id")
def show_grant(session: Session, *, grant_id: str) -> None:
    """Show one grant."""
    with session.client() as client:
        session.answer(client.oauth_grants.retrieve(grant_id).data)


@command("revoke", grants)
@click.argument("grant_id")
@yes_option
def revoke(session: Session, *, grant_id: str, yes: bool) -> None:
    """Revoke a grant, after asking. Whoever gave it will have to consent anew."""
    with session.client() as client:
        confirm(f"Revoke the grant {grant_id}?", yes=yes)
        revoked = client.oauth_grants.delete(grant_id).data
    if session.out.as_json:
        session.answer(revoked)
    else:
        session.done(f"Revoked {grant_id}.")


@command("register")
@click.option("--name", "client_name", help="What people will see.")
@several("--redirect-uri", "redirect_uris", "Where authorization codes may be sent.")
@click.option(
    "--grant-type", "grant_types", type=click.Choice(get_args(GrantType)), multiple=True, help="May be repeated."
)
@several("--scope", "scope", "What its tokens may allow.")
@click.option(
    "--auth-method",
    "token_endpoint_auth_method",
    type=click.Choice(get_args(TokenEndpointAuthMethod)),
    help="How it proves itself at the token endpoint; `none` is a public client.",
)
@looks
def register(session: Session, *, scope: list[str], **given: Any) -> None:
    """Register an OAuth client (RFC 7591). Its secret, if it gets one, is shown here, once."""
    with session.client(public=True) as client:
        given["scope"] = " ".join(scope) or None
        session.answer(client.oauth.register(**present(given)), secrets=True)


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
