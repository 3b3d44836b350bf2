"""The commands for the API's operations: clients, grants, registration, metadata, keys."""

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
    "--require-pkce/--no-require-pkce", default=None, help="Require PKCE (RFC 7636) with authorization codes."
)
redirects_option = several("--redirect-uri", "redirect_uris", "A URI that authorization codes may be sent to.")


@command("list", clients)
@click.option("--name", "filter_name", help="Only clients with this name.")
@click.option("--name-contains", "filter_name_contains", metavar="TEXT", help="Only clients whose name contains this.")
@click.option("--type", "filter_client_type", type=TYPES, help="Only clients of this type.")
@click.option(
    "--grant-type",
    "filter_allowed_grant_types_contains",
    type=GRANT_TYPES,
    help="Only clients that may use this grant type.",
)
@limit_option
def list_clients(session: Session, *, limit: int | None, **filters: Any) -> None:
    """List the OAuth clients, of all pages."""
    with session.client() as client:
        page = client.oauth_clients.list(page_size=min(limit or PAGE_SIZE, PAGE_SIZE), **present(filters))
        items = session.gather(page, limit)
    session.out.answers(items, CLIENT_COLUMNS, "There are no such clients.")


@command("show", clients)
@click.argument("client_id")
def show_client(session: Session, *, client_id: str) -> None:
    """Show one OAuth client."""
    with session.client() as client:
        session.answer(client.oauth_clients.retrieve(client_id).data)


@command("create", clients)
@click.option("--name", required=True, help="The name that people see on the consent page.")
@click.option(
    "--type", "client_type", type=TYPES, required=True, help="`confidential` has a secret; `public` has none."
)
@click.option(
    "--grant-type", "allowed_grant_types", type=GRANT_TYPES, multiple=True, required=True, help="May be repeated."
)
@several("--scope", "allowed_scopes", "A scope that its tokens may have.", required=True)
@redirects_option
@pkce_option
@looks
def create(session: Session, **options: Any) -> None:
    """Create an OAuth client. This command shows the secret of a confidential client, once."""
    with session.client() as client:
        session.answer(client.oauth_clients.create(**present(options)).data, secrets=True)


@command("update", clients)
@click.argument("client_id")
@click.option("--name", help="The name that people see on the consent page.")
@click.option("--grant-type", "allowed_grant_types", type=GRANT_TYPES, multiple=True, help="May be repeated.")
@several("--scope", "allowed_scopes", "A scope that its tokens may have.")
@redirects_option
@pkce_option
@looks
def update(session: Session, *, client_id: str, **options: Any) -> None:
    """Change an OAuth client: each option replaces the present value."""
    changes = present(options)
    if not changes:
        raise WrongUsage("There is nothing to change.", "See `telnyx-oauth clients update --help`.", code="usage")
    with session.client() as client:
        session.answer(client.oauth_clients.update(client_id, **changes).data)


@command("delete", clients)
@click.argument("client_id")
@yes_option
def delete(session: Session, *, client_id: str, yes: bool) -> None:
    """Delete an OAuth client, after a question. Its tokens can no longer be refreshed."""
    with session.client() as client:
        confirm(f"Delete the OAuth client {client_id}?", yes=yes)
        client.oauth_clients.delete(client_id)
    session.done(f"Deleted {client_id}.", client_id=client_id, deleted=True)


GRANT_COLUMNS = ("id", "client_id", "scopes", "created_at")

grants = click.Group("grants", help="Show and revoke what people have allowed clients to do.")


@command("list", grants)
@limit_option
def list_grants(session: Session, *, limit: int | None) -> None:
    """List the grants, of all pages."""
    with session.client() as client:
        page = client.oauth_grants.list(page_size=min(limit or PAGE_SIZE, PAGE_SIZE))
        items = session.gather(page, limit)
    session.out.answers(items, GRANT_COLUMNS, "There are no grants.")


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
    """Revoke a grant, after a question. The person will have to consent again."""
    with session.client() as client:
        confirm(f"Revoke the grant {grant_id}?", yes=yes)
        revoked = client.oauth_grants.delete(grant_id).data
    if session.out.as_json:
        session.answer(revoked)
    else:
        session.done(f"Revoked {grant_id}.")


@command("register")
@click.option("--name", "client_name", help="The name that people see on the consent page.")
@redirects_option
@click.option(
    "--grant-type", "grant_types", type=click.Choice(get_args(GrantType)), multiple=True, help="May be repeated."
)
@several("--scope", "scope", "A scope that its tokens may have.")
@click.option(
    "--auth-method",
    "token_endpoint_auth_method",
    type=click.Choice(get_args(TokenEndpointAuthMethod)),
    help="How the client authenticates at the token endpoint; `none` is for a public client.",
)
@looks
def register(session: Session, *, scope: list[str], **options: Any) -> None:
    """Register an OAuth client (RFC 7591). If it gets a secret, this command shows it, once."""
    with session.client(public=True) as client:
        options["scope"] = " ".join(scope) or None
        session.answer(client.oauth.register(**present(options)), secrets=True)


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
