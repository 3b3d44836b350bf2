"""`token`, `status`, `introspect` and `verify`."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isinf
from typing import Final

from ..errors import AuthenticationError, Reason, TokenValidationError
from ..protocol.secret import Secret
from .command import command, several
from .credentials import stored_grant
from .failures import AuthenticationNeeded, Failure, WrongUsage
from .output import Output, click, is_typed, piped
from .profiles import Profile
from .session import Session

STDIN: Final = "-"
HINTS: Final = {
    Reason.AUD_MISMATCH: ("Name the audience that it should have with --audience.",),
    Reason.ISS_MISMATCH: ("Name the issuer that it should have with --issuer.",),
    Reason.EXPIRED: ("If that is a surprise, check this machine's clock: telnyx-oauth doctor.",),
}


@command("token")
@click.option(
    "--scope", "scopes", multiple=True, help="A scope of the token. May be repeated.  [default: the client's]"
)
@click.option("--resource", metavar="URI", help="The API that the token is for (RFC 8707).")
@click.option(
    "--min-ttl", type=click.FloatRange(min=0), default=0.0, help="Seconds for which the token must still be valid."
)
def token(session: Session, *, scopes: tuple[str, ...], resource: str | None, min_ttl: float) -> None:
    """Print a valid access token, or the API key if calls use that.

    For other programs: curl -H "Authorization: Bearer $(telnyx-oauth token)".
    """
    value = session.token(scopes=" ".join(scopes) or None, resource=resource, min_ttl=min_ttl)
    if not session.out.as_json:
        click.echo(value.access_token)
        return
    left = value.remaining()
    session.out.json(
        {
            "access_token": value.access_token,
            "token_type": value.token_type,
            "scope": " ".join(sorted(value.scopes)),
            "expires_at": _moment(value.expires_at),
            "expires_in": None if isinf(left) else int(left),
        }
    )


@command("status")
def status(session: Session) -> None:
    """Show which credentials commands use. Sends nothing."""
    facts = _signed_in(session.profile) if session.profile is not None else _configured(session)
    if session.out.as_json:
        session.out.json(facts)
    else:
        session.out.record(facts)


def _signed_in(profile: Profile) -> dict[str, object]:
    grant = stored_grant(profile)
    if grant is None:
        raise AuthenticationNeeded(
            f"The profile {profile.name} is not signed in.",
            f"Sign in: telnyx-oauth login --profile {profile.name}",
            code="reauthentication_required",
        )
    return {
        "base_url": profile.base_url,
        "identity": "signed in",
        "profile": profile.name,
        "client_id": profile.client_id,
        "store": profile.store,
        "scope": " ".join(sorted(grant.scopes)) or None,
        "expires_at": _moment(grant.expires_at),
    }


def _configured(session: Session) -> dict[str, object]:
    with session.client() as client:
        client_credentials = client.tokens.renewable  # raises without credentials
        return {
            "base_url": client.base_url,
            "identity": "client credentials" if client_credentials else "API key",
            "client_id": client.client_id if client_credentials else None,
        }


@command("introspect")
@click.argument("token", required=False, type=Secret)  # hidden from the first moment on
def introspect(session: Session, *, token: Secret[str] | None) -> None:
    """Ask the service what a token means (RFC 7662).

    Without TOKEN, or with -, the token is read from stdin, so that no list of processes and no shell history shows it.
    """
    with session.client() as client:
        try:
            session.answer(client.oauth.introspect(token=secret(token, "token", session.out).plain))
        except AuthenticationError as error:
            if session.profile is not None:
                error.add_note("Introspection is for OAuth clients: set TELNYX_CLIENT_ID and TELNYX_CLIENT_SECRET.")
            raise


@command("verify")
@click.argument("token", required=False, type=Secret)
@click.option("--audience", help="The audience that the token must name.  [default: the service]")
@click.option("--issuer", help="The issuer that the token must name.  [default: the service]")
@several("--scope", "scopes", "A scope that the token must have.")
def verify(
    session: Session, *, token: Secret[str] | None, audience: str | None, issuer: str | None, scopes: list[str]
) -> None:
    """Verify a token with the service's keys, as an API would that accepts it. Exits with 1 if the token is refused.

    Without TOKEN, or with -, the token is read from stdin, so that no list of processes and no shell history shows it.
    """
    with session.client(public=True, audience=audience or session.root, issuer=issuer or session.root) as client:
        try:
            access = client.validator.validate(secret(token, "token", session.out).plain, scopes=scopes)
        except TokenValidationError as error:
            raise Failure(f"{error.message} ({error.reason}).", *HINTS.get(error.reason, ()), code=error.code) from None
    if session.out.as_json:
        session.out.json(
            {"valid": True, "key_id": access.key_id, "algorithm": access.algorithm, "claims": dict(access.claims)}
        )
    else:
        session.out.record({"valid": True, **access.claims, "signed by": access.key_id, "algorithm": access.algorithm})


def secret(argument: Secret[str] | None, name: str, out: Output) -> Secret[str]:
    """The secret `name` from the command line; without one, or with `-`, from stdin. Raises `WrongUsage` for none.

    On a terminal this asks for it, and does not show what is typed.
    """
    if argument is not None and argument.plain != STDIN:
        out.note(
            f"Warning: a {name} on the command line is seen in the list of processes and kept in the shell's history. "
            "Pipe it to stdin instead, and give - or nothing here."
        )
        return argument
    if is_typed():
        value = Secret(str(click.prompt(name.capitalize(), hide_input=True, err=True)).strip())
    else:
        value = Secret(piped().strip())
    if not value:
        raise WrongUsage(f"There is no {name} on stdin.", code="usage")
    return value


def _moment(seconds: float | None) -> str | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):  # after the year 9999
        return None
