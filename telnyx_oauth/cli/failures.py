"""Failures of commands: the message, the advice and the exit code."""

from __future__ import annotations

import json
from typing import IO, Any, Final

from ..errors import (
    APIError,
    AuthenticationError,
    InvalidGrantError,
    MissingCredentialsError,
    ReauthenticationRequiredError,
    TelnyxError,
)
from .output import clean, click

_SIGNED_OUT: Final = (InvalidGrantError, ReauthenticationRequiredError)
_NO_CREDENTIALS: Final = (
    "Sign in with `telnyx-oauth login`, or set TELNYX_CLIENT_ID and TELNYX_CLIENT_SECRET, or TELNYX_API_KEY."
)


class Failure(click.ClickException):
    """The failure of a command: a message, advice, and an exit code."""

    exit_code = 1

    def __init__(self, message: str, *hints: str, code: str | None = "error", request_id: str | None = None) -> None:
        super().__init__(clean(message))
        self.hints = tuple(map(clean, hints))
        self.code = code
        self.request_id = request_id
        self.as_json = False

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to stderr, with `--json` as JSON."""
        if self.as_json:
            fields: dict[str, object] = {"code": self.code, "message": self.message, "hints": self.hints}
            click.echo(json.dumps({"error": fields | {"request_id": self.request_id}}, indent=2), err=True)
            return
        click.echo(f"Error: {self.message}", err=True)
        for hint in self.hints:
            click.echo(hint, err=True)
        if self.request_id:
            click.echo(f"Request id: {clean(self.request_id)}", err=True)


class WrongUsage(Failure):
    """The options or arguments are wrong. Nothing was done."""

    exit_code = 2


class AuthenticationNeeded(Failure):
    """There are no credentials, or the service refused them."""

    exit_code = 4


def failure_of(error: TelnyxError | ValueError | OSError) -> Failure:
    """The message, advice and exit code for an error. Raises the error again if click has to handle it."""
    notes: list[str] = getattr(error, "__notes__", [])
    match error:
        case MissingCredentialsError():
            return AuthenticationNeeded("This needs credentials, and there are none.", _NO_CREDENTIALS, code=error.code)
        case TelnyxError():
            kind = AuthenticationNeeded if isinstance(error, (AuthenticationError, *_SIGNED_OUT)) else Failure
            again = ["Sign in again: telnyx-oauth login"] if isinstance(error, _SIGNED_OUT) else []
            request_id = error.request_id if isinstance(error, APIError) else None
            return kind(error.message, *notes, *again, code=error.code, request_id=request_id)
        case BrokenPipeError():
            raise error  # click ends quietly
        case OSError():
            return Failure(str(error), code="os_error")
        case _:
            return WrongUsage(str(error), *notes, code="usage")
