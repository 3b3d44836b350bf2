"""The command line as `python -m telnyx_oauth.cli`."""

from __future__ import annotations

from . import main

main()
