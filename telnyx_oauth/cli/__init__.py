"""The command `telnyx-oauth`. This module needs nothing of the extra `cli`, so that it can say that the extra is missing."""

from __future__ import annotations

import sys
import warnings
from io import TextIOWrapper


def main() -> None:
    """Run the command line. Ends the process: 0 is success, 1 an error, 2 wrong usage, 4 authentication needed."""
    try:
        from .app import cli
    except ImportError as error:
        if "telnyx-oauth[cli]" not in error.msg:
            raise
        sys.exit(error.msg)

    if not sys.warnoptions:
        # A command prints what the stores report, so their warnings would say it twice.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"telnyx_oauth\.")

    for stream in (sys.stdout, sys.stderr):
        # A name from the service may hold any character, and no character may end a command.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli(prog_name="telnyx-oauth")
