"""The group `telnyx-oauth`: which commands there are."""

from __future__ import annotations

import click

from .._version import __version__
from .demo import demo
from .sandbox import sandbox


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="telnyx-oauth")
def cli() -> None:
    r"""Telnyx's OAuth API: clients, grants, tokens, and a local Telnyx to try it all on.

    \b
    Exit codes: 0 success, 1 error, 2 wrong usage, 4 authentication needed.
    Credentials: TELNYX_CLIENT_ID with TELNYX_CLIENT_SECRET, or TELNYX_API_KEY.
    Completion:  eval "$(_TELNYX_OAUTH_COMPLETE=bash_source telnyx-oauth)"
                 in ~/.bashrc; zsh_source and fish_source likewise.
    """


for each in (demo, sandbox):
    cli.add_command(each)
