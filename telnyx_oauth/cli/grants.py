"""`grants`: what people have allowed clients to do."""

from __future__ import annotations

from .command import PAGE_SIZE, command, confirm, limit_option, yes_option
from .extra import click
from .session import Session

COLUMNS = ("id", "client_id", "scopes", "created_at")

grants = click.Group("grants", help="See and revoke what people have allowed clients to do.")


@command("list", grants)
@limit_option
def list_grants(session: Session, *, limit: int | None) -> None:
    """List grants, all pages of them."""
    with session.client() as client:
        page = client.oauth_grants.list(page_size=min(limit or PAGE_SIZE, PAGE_SIZE))
        found = session.gather(page, limit)
    session.out.answers(found, COLUMNS, "There are no grants.")


@command("show", grants)
@click.argument("grant_id")
def show(session: Session, *, grant_id: str) -> None:
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
