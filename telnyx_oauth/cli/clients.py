"""`clients`: the OAuth clients of the account."""

from __future__ import annotations

from typing import Any, get_args

from ..types import ClientType, GrantType
from .command import PAGE_SIZE, command, confirm, limit_option, looks, present, several, yes_option
from .extra import click
from .failures import WrongUsage
from .session import Session

COLUMNS = ("client_id", "name", "client_type", "created_at")
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
    session.out.answers(found, COLUMNS, "There are no such clients.")


@command("show", clients)
@click.argument("client_id")
def show(session: Session, *, client_id: str) -> None:
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
