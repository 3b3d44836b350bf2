"""The group of all commands, and `sandbox`, which runs a local Telnyx until Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from typing import Final, NoReturn

from .._version import __version__
from ..protocol.secret import Secret
from .api import clients, grants, jwks, metadata, register
from .command import command
from .demo import demo
from .doctor import doctor
from .failures import Failure
from .login import login, logout
from .output import click
from .session import Session
from .tokens import introspect, status, token, verify

# Not in the docstring of `cli`: a docstring with a backslash has to be raw, and click wants the character.
_HELP: Final = """Telnyx's OAuth API: clients, grants, tokens, and a local Telnyx to try it all on.

\b
Exit codes: 0 success, 1 error, 2 wrong usage, 4 authentication needed.
Identity:   --profile, else TELNYX_CLIENT_ID with TELNYX_CLIENT_SECRET, else
            TELNYX_API_KEY, else your login (profile `default`).
Completion: eval "$(_TELNYX_OAUTH_COMPLETE=bash_source telnyx-oauth)"
            in ~/.bashrc; zsh_source and fish_source likewise.
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="telnyx-oauth")
def cli() -> None:
    """The group of all commands."""


@command("sandbox")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port on 127.0.0.1; 0 is any free one.")
@click.option("--token-lifetime", type=click.IntRange(min=1), default=1800, show_default=True, help="Seconds.")
def sandbox(session: Session, *, port: int, token_lifetime: int) -> None:
    """Run a local Telnyx until Ctrl-C.

    It has real keys and a consent page. Its credentials are new in each run, and it forgets everything when it ends.
    Paste the lines that it prints into another shell: every command there then talks to it.
    """
    from ..sandbox import Sandbox

    for number in (signal.SIGINT, signal.SIGTERM):
        # The first process of a container has no default for SIGTERM; one in a shell's background has none for SIGINT.
        signal.signal(number, _end)
    local = Sandbox(port=port, token_lifetime=token_lifetime)
    try:
        local.start()
    except OSError as error:
        raise Failure(f"Cannot listen on 127.0.0.1:{port}: {error.strerror}.", "Choose another --port.") from None
    variables = Secret(
        {
            "TELNYX_BASE_URL": local.base_url,
            "TELNYX_CLIENT_ID": local.client_id,
            "TELNYX_CLIENT_SECRET": local.client_secret,
            "TELNYX_API_KEY": local.api_key,
        }
    )
    try:
        if session.out.as_json:
            session.out.json(variables.plain)
        else:
            session.out.line(f"# A local Telnyx on {local.root_url}, until Ctrl-C. In another shell:")
            form = '$env:{} = "{}"' if os.name == "nt" else "export {}='{}'"
            for pair in map(Secret, variables.plain.items()):
                session.out.line(form.format(*pair.plain))
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        session.out.note("Stopped.")
    finally:
        local.stop()


def _end(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


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
