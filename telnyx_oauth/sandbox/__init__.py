"""A local Telnyx to build and test against: real tokens, real keys, a consent page, and faults on demand."""

from __future__ import annotations

from .faults import Fault
from .log import LoggedRequest
from .sandbox import Sandbox
from .state import LIVE_SCOPES, Settings

__all__ = ["LIVE_SCOPES", "Fault", "LoggedRequest", "Sandbox", "Settings"]
