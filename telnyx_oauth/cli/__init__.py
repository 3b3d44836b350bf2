"""The command `telnyx-oauth`. This much of it runs without the extra `cli`, to say that it is missing."""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from io import TextIOWrapper


def missing(*packages: str) -> str:
    """What to say where these packages are not installed."""
    return (
        f"The command line needs {' and '.join(packages)}, which the extra `cli` brings: "
        "pip install 'telnyx-oauth[cli]' (in a Windows prompt: pip install \"telnyx-oauth[cli]\")"
    )


def main() -> None:
    """Run the command line. Ends the process: 0 is success, 1 an error, 2 wrong usage, 4 authentication needed."""
    absent = [name for name in ("click", "platformdirs", "rich") if find_spec(name) is None]
    if absent:
        sys.exit(missing(*absent))
    from .app import cli

    if not sys.warnoptions:
        # What a command has to say of a store it says itself.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"telnyx_oauth\.")

    for stream in (sys.stdout, sys.stderr):
        # A name from the service may hold any character, and no character may end a command.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli(prog_name="telnyx-oauth")
