"""Secrets that a command is given: on stdin, or with a warning on the command line.

An argument that is one has `type=Secret`, so that it is hidden from the first moment on.
"""

from __future__ import annotations

from typing import Final

from ..protocol.secret import Secret
from .extra import click
from .failures import WrongUsage
from .output import Output, is_typed, piped

STDIN: Final = "-"


def secret(given: Secret[str] | None, name: str, out: Output) -> Secret[str]:
    """The secret `name` that a command was given; without one, or with `-`, what is on stdin. Raises `WrongUsage` for none.

    A person at a terminal is asked for it, and types unseen.
    """
    if given is not None and given.plain != STDIN:
        out.note(
            f"Warning: a {name} on the command line is seen in the list of processes and kept in the shell's history. "
            "Pipe it to stdin instead, and give - or nothing here."
        )
        return given
    if is_typed():
        found = Secret(str(click.prompt(name.capitalize(), hide_input=True, err=True)).strip())
    else:
        found = Secret(piped().strip())
    if not found:
        raise WrongUsage(f"There is no {name} on stdin.", code="usage")
    return found
