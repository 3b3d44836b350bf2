"""`sandbox`: the local Telnyx, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from typing import NoReturn

from ..protocol.secret import Secret
from .command import command
from .extra import click
from .failures import Failure
from .session import Session


@command("sandbox")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen on 127.0.0.1; 0 is any port.")
@click.option("--token-lifetime", type=click.IntRange(min=1), default=1800, show_default=True, help="Seconds.")
def sandbox(session: Session, *, port: int, token_lifetime: int) -> None:
    """Run a local Telnyx until Ctrl-C.

    It holds real keys and a consent page, and forgets everything when it ends. Its credentials are made up for this
    run; give the lines that it prints to another shell, and every command there talks to it.
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
