"""What every command has in common: its options, its questions, and that its errors end it in good order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..errors import TelnyxError
from .failures import Failure, WrongUsage, failure_of
from .output import Output, click, is_typed
from .session import Session

PAGE_SIZE: Final = 100


def command(name: str, parent: click.Group | None = None) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command, with the options that all have. Its errors end the process in good order."""

    def wrap(function: Callable[..., None]) -> click.Command:
        @click.option("--json", "as_json", is_flag=True, help="Write JSON.")
        @click.option("--base-url", metavar="URL", help="Where Telnyx is.  [environment: TELNYX_BASE_URL]")
        @click.option(
            "--allow-insecure",
            is_flag=True,
            help="Let --base-url be plain http to another machine.  [environment: TELNYX_ALLOW_INSECURE]",
        )
        @click.option(
            "--profile", "profile_name", metavar="NAME", help="Act as who signed in there.", envvar="TELNYX_PROFILE"
        )
        @functools.wraps(function)
        def run(
            *, as_json: bool, base_url: str | None, profile_name: str | None, allow_insecure: bool, **options: Any
        ) -> None:
            try:
                session = Session(Output(as_json), base_url, profile_name, allow_insecure)
                function(session, **options)
                session.advise()
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
    if not is_typed():
        raise WrongUsage(f"{question} Nobody is there to answer.", "Give --yes to do it without asking.", code="usage")
    click.confirm(question, abort=True, err=True)
