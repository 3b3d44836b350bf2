"""The package's logger: silent unless the user asks, by `logging` or by `TELNYX_LOG=info` or `debug`."""

from __future__ import annotations

import logging
import os
from typing import Final

logger: Final = logging.getLogger("telnyx_oauth")


def set_up() -> None:
    """Silence the logger by default; `TELNYX_LOG` adds a handler to stderr for this package's records alone."""
    logger.addHandler(logging.NullHandler())
    level = {"info": logging.INFO, "debug": logging.DEBUG}.get(os.environ.get("TELNYX_LOG", "").lower())
    if level is not None:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(level)


set_up()
