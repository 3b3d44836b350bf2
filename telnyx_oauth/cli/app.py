"""The group `telnyx-oauth`: which commands there are."""

from __future__ import annotations

from typing import Final

from .._version import __version__
from .api import clients, grants, jwks, metadata, register
from .demo import demo
from .doctor import doctor
from .extra import click
from .login import login, logout
from .sandbox import sandbox
from .tokens import introspect, status, token, verify

# Not in the docstring of `cli`: a docstring with a backslash has to be raw, and click wants the character.
_HELP: Final = """Telnyx's OAuth API: clients, grants, tokens, and a local Telnyx to try it all on.

\b
Exit codes: 0 success, 1 error, 2 wrong usage, 4 authentication needed.
Who you are: --profile, else TELNYX_CLIENT_ID with TELNYX_CLIENT_SECRET, else
             TELNYX_API_KEY, else whoever has signed in (profile `default`).
Completion:  eval "$(_TELNYX_OAUTH_COMPLETE=bash_source telnyx-oauth)"
             in ~/.bashrc; zsh_source and fish_source likewise.
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="telnyx-oauth")
def cli() -> None:
    """The group of all commands."""


for each in (
    login,
    logout,
    status,
    token,
    clients,
    grants,
    introspect,
    verify,
    metadata,
    jwks,
    register,
    sandbox,
    demo,
    doctor,
):
    cli.add_command(each)
