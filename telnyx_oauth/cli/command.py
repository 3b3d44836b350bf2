"""What every command has in common: its options, its client, and how its failures end."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

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
from ..protocol.urls import check_base_url, root_of
from ..types import BaseModel
from .output import Output, clean

if TYPE_CHECKING:
    from ..blocking.pages import Page
    from ..sync import Telnyx

T = TypeVar("T")
PAGE_SIZE: Final = 100
_UNAUTHENTICATED: Final = (
    AuthenticationError,
    InvalidGrantError,
    MissingCredentialsError,
    ReauthenticationRequiredError,
)

_NO_CREDENTIALS: Final = ("Set TELNYX_CLIENT_ID and TELNYX_CLIENT_SECRET, or TELNYX_API_KEY.",)


class Failure(click.ClickException):
    """The end of a command that could not do what it should: a sentence, what to do next, an exit code."""

    exit_code = 1

    def __init__(self, message: str, *hints: str, code: str | None = "error", request_id: str | None = None) -> None:
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

    @property
    def root(self) -> str:
        """The service's own address: unless told otherwise, who issues its tokens and whom they are for."""
        from ..options import BASE_URL

        return root_of(check_base_url(self.base_url or os.environ.get("TELNYX_BASE_URL") or BASE_URL))

    def client(self, *, audience: str | None = None, issuer: str | None = None) -> Telnyx:
        """A client for this run. Use it as a context manager."""
        from ..sync import Telnyx

        return Telnyx(base_url=self.base_url, audience=audience or (), issuer=issuer)

    def answer(self, answer: BaseModel | None, *, secrets: bool = False) -> None:
        """Show one answer of the API. Of those with `secrets`, a person is told to keep them."""
        if answer is None:
            raise Failure("The service's answer is empty.", code="invalid_response")
        self.out.answer(answer, secrets=secrets)
        if secrets and getattr(answer, "client_secret", None):
            self.out.note("The client_secret is told this once. Keep it now.")

    def gather(self, first: Page[T], limit: int | None) -> list[T]:
        """The items of all pages from `first` on, at most `limit`. Says how far it is while that goes on."""
        items: list[T] = []
        with self.out.progress("Fetching") as tell:
            for page in first.iter_pages():
                items += page.data
                tell(len(items), page.meta.total_results if page.meta else None)
                if limit is not None and len(items) >= limit:
                    break
        return items[:limit]

    def done(self, words: str, **facts: object) -> None:
        """Say that something was done; as JSON, `facts`."""
        if self.out.as_json:
            self.out.json(facts)
        else:
            self.out.line(clean(words))


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


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
limit_option = click.option("--limit", type=click.IntRange(min=1), help="Stop after so many; all without it.")


def several(option: str, name: str, help: str, *, required: bool = False) -> Callable[..., Any]:
    """An option that may be repeated, for values that hold no space."""
    return click.option(
        option,
        name,
        multiple=True,
        required=required,
        callback=_split,
        help=f"{help} May be repeated.",
    )


def _split(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> list[str]:
    return " ".join(values).split()


def looks(function: Callable[..., None]) -> Callable[..., None]:
    """The options for what people see on the consent page."""
    for name, what in (("tos", "terms of service"), ("policy", "privacy policy"), ("logo", "logo")):
        function = click.option(f"--{name}-uri", metavar="URI", help=f"The {what}, for the consent page.")(function)
    return function


def present(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those parameters of a call that were given on the command line."""
    return {name: value for name, value in given.items() if value not in (None, [], ())}


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is destroyed. Without anyone to ask, `--yes` has to be given."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUsage(f"{question} Nobody is there to answer.", "Give --yes to do it without asking.", code="usage")
    click.confirm(question, abort=True, err=True)


def read_secret(given: str | None, name: str) -> str:
    """A secret from the command line, else from stdin, where no list of processes shows it."""
    if given not in (None, "-"):
        return given
    text = click.prompt(name, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    if not text.strip():
        raise WrongUsage(f"There is no {name.lower()} on stdin.", code="usage")
    return str(text.strip())


def failure_of(error: TelnyxError | ValueError | OSError) -> Failure:
    """What a person, and a shell, should know of an error. Raises it again when it is not for them."""
    notes: list[str] = getattr(error, "__notes__", [])
    if isinstance(error, MissingCredentialsError):
        return AuthenticationNeeded("This needs credentials, and there are none.", *_NO_CREDENTIALS, code=error.code)
    if isinstance(error, TelnyxError):
        request_id = error.request_id if isinstance(error, APIError) else None
        kind = AuthenticationNeeded if isinstance(error, _UNAUTHENTICATED) else Failure
        return kind(error.message, *notes, code=error.code, request_id=request_id)
    if isinstance(error, BrokenPipeError):
        raise error  # click ends quietly
    if isinstance(error, OSError):
        return Failure(str(error), code="os_error")
    return WrongUsage(str(error), *notes, code="usage")
