"""A local Telnyx for development and tests: real tokens, real keys, a consent page, and faults on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..hints import no_such_name
from .faults import Fault, Faults
from .requests import LoggedRequest, RequestLog
from .sandbox import Sandbox
from .state import LIVE_SCOPES, AccessToken, Client, Grant, RefreshToken, ServiceState, Settings

__all__ = [
    "LIVE_SCOPES",
    "AccessToken",
    "Client",
    "Fault",
    "Faults",
    "Grant",
    "LoggedRequest",
    "RefreshToken",
    "RequestLog",
    "Sandbox",
    "ServiceState",
    "Settings",
]

if not TYPE_CHECKING:  # so that type checkers do not accept every name

    def __getattr__(name: str) -> object:
        """Raise `AttributeError` for an unknown name, with the right name where it is known."""
        raise no_such_name(__name__, name, __all__)
