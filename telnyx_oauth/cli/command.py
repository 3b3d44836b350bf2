"""What every command has in common: its options, its client, and how its failures end."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Final

import attrs
import click

from ..errors import (
    APIError,
    AuthenticationError,
    InvalidGrantError,
    MissingCredentialsError,
    ReauthenticationRequiredError,
    TelnyxError,
)
from .output import Output, clean

if TYPE_CHECKING:
    from ..sync import Telnyx

_UNAUTHENTICATED: Final = (
    AuthenticationError,
    InvalidGrantError,
    MissingCredentialsError,
    ReauthenticationRequiredError,
)


class Failure(click.ClickException):
    """The end of a command that could not do what it should: a sentence, what to do next, an exit code."""

    exit_code = 1

    def __init__(self, message: str, *hints: str, code: str = "error", request_id: str | None = None) -> None:
        super().__init__(clean(message))
        self.hints = tuple(map(clean, hints))
        self.code = code
        self.request_id = request_id
        self.as_json = False

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to stderr, as JSON for a program that asked for JSON."""
        if self.as_json:
            told: dict[str, object] = {"code": self.code, "message": self.message, "hints": self.hints}
            click.echo(json.dumps({"error": told | {"request_id": self.request_id}}, indent=2), err=True)
            return
        click.echo(f"Error: {self.message}", err=True)
        for hint in self.hints:
            click.echo(hint, err=True)
        if self.request_id:
            click.echo(f"Request id: {clean(self.request_id)}", err=True)


class WrongUsage(Failure):
    """What was asked for makes no sense. Nothing was done."""

    exit_code = 2


class AuthenticationNeeded(Failure):
    """There are no credentials, or they are no good."""

    exit_code = 4


@attrs.frozen
class Session:
    """One run of one command: where it goes, as whom, and where its results are shown."""

    out: Output
    base_url: str | None

    def client(self, *, audience: str | None = None, issuer: str | None = None) -> Telnyx:
        """A client for this run. Use it as a context manager."""
        from ..sync import Telnyx

        return Telnyx(base_url=self.base_url, audience=audience or (), issuer=issuer)


def command(name: str, parent: click.Group | None = None) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command, with the options that all have. Its errors end the process in good order."""

    def wrap(function: Callable[..., None]) -> click.Command:
        @click.option("--json", "as_json", is_flag=True, help="Write JSON.")
        @click.option("--base-url", metavar="URL", help="Where Telnyx is.  [environment: TELNYX_BASE_URL]")
        @functools.wraps(function)
        def run(*, as_json: bool, base_url: str | None, **options: Any) -> None:
            try:
                function(Session(Output(as_json), base_url), **options)
            except Failure as error:
                failure = error
            except (TelnyxError, ValueError, OSError) as error:
                failure = failure_of(error)
            else:
                return
            failure.as_json = as_json
            raise failure

        made = click.command(name)(run)
        if parent is not None:
            parent.add_command(made)
        return made

    return wrap


def failure_of(error: TelnyxError | ValueError | OSError) -> Failure:
    """What a person, and a shell, should know of an error. Raises it again when it is not for them."""
    notes: list[str] = getattr(error, "__notes__", [])
    if isinstance(error, TelnyxError):
        request_id = error.request_id if isinstance(error, APIError) else None
        kind = AuthenticationNeeded if isinstance(error, _UNAUTHENTICATED) else Failure
        return kind(error.message, *notes, code=error.code or "error", request_id=request_id)
    if isinstance(error, BrokenPipeError):
        raise error  # click ends quietly
    if isinstance(error, OSError):
        return Failure(str(error), code="os_error")
    return WrongUsage(str(error), *notes, code="usage")
