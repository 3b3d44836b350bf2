"""The common part of all commands: options, questions to the user, and the handling of errors."""

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
    """Make a command of a function, with the options of every command. Its errors become a message and an exit code."""

    def wrap(function: Callable[..., None]) -> click.Command:
        @click.option("--json", "as_json", is_flag=True, help="Write JSON.")
        @click.option("--base-url", metavar="URL", help="The address of the API.  [environment: TELNYX_BASE_URL]")
        @click.option(
            "--allow-insecure",
            is_flag=True,
            help="Allow plain http to another machine in --base-url.  [environment: TELNYX_ALLOW_INSECURE]",
        )
        @click.option(
            "--profile",
            "profile_name",
            metavar="NAME",
            help="Use the login of this name.  [environment: TELNYX_PROFILE]",
            envvar="TELNYX_PROFILE",
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
            # Raised outside the `except`, so that the failure has no context whose frames hold secrets.
            failure.as_json = as_json
            raise failure

        result = click.command(name)(run)
        if parent is not None:
            parent.add_command(result)
        return result

    return wrap


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
limit_option = click.option("--limit", type=click.IntRange(min=1), help="Stop after so many items.  [default: all]")


def several(option: str, name: str, help: str, *, required: bool = False) -> Callable[..., Any]:
    """An option that may be repeated. A value with spaces counts as several."""
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
    """The options for the consent page."""
    for name, target in (("tos", "terms of service"), ("policy", "privacy policy"), ("logo", "logo")):
        function = click.option(f"--{name}-uri", metavar="URI", help=f"The {target}, for the consent page.")(function)
    return function


def present(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are on the command line, as parameters of a call."""
    return {name: value for name, value in options.items() if value not in (None, [], ())}


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is destroyed. Raises `WrongUsage` without a terminal and without `--yes`."""
    if yes:
        return
    if not is_typed():
        raise WrongUsage(
            f"{question} There is no terminal to ask on.", "Give --yes to do it without asking.", code="usage"
        )
    click.confirm(question, abort=True, err=True)
