"""`register`: a client of one's own, without an account (RFC 7591)."""

from __future__ import annotations

from typing import Any, get_args

from ..types import GrantType, TokenEndpointAuthMethod
from .command import command, looks, present, several
from .extra import click
from .session import Session


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
