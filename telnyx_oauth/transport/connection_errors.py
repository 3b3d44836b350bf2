"""Connection errors: exceptions of aiohttp and the operating system become `APIConnectionError`s without secrets."""

from __future__ import annotations

import os
import re
import socket
import ssl
from typing import Final

import aiohttp
from aiohttp.http import HttpProcessingError

from ..errors import APIConnectionError, APITimeoutError
from ..messages import RequestInfo

# Beside its own errors, aiohttp raises these of Python and its helpers for unusable addresses, headers and sessions.
RAISED: Final = (
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    EOFError,
    ArithmeticError,
    BufferError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    RuntimeError,
)
_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")


def connection_error(exc: BaseException, info: RequestInfo, *, sent: bool = True) -> APIConnectionError:
    """The `APIConnectionError` for an exception of aiohttp. Of its text, only the operating system's reason is kept."""
    if isinstance(exc, TimeoutError):
        return APITimeoutError("Request timed out." if sent else "No connection in time.", request=info, sent=sent)
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        cause = getattr(exc.certificate_error, "verify_message", "")
        message = f"The server's certificate is not trusted{f': {cause}' if cause else ''}."
        return APIConnectionError(message, request=info, sent=sent)
    if isinstance(exc, aiohttp.ClientConnectorError):
        return APIConnectionError(f"No connection: {reason(exc.os_error)}.", request=info, sent=sent)
    if not sent:
        return APIConnectionError(f"Nothing was sent: {reason(exc)}.", request=info, sent=False)
    return APIConnectionError(f"The connection broke before the answer was there ({reason(exc)}).", request=info)


def reason(exc: BaseException) -> str:
    """The operating system's text for a failure, else the name of its class."""
    if not isinstance(exc, OSError):
        return type(exc).__name__
    if isinstance(exc, (socket.gaierror, ssl.SSLError)):
        return exc.strerror or type(exc).__name__
    # asyncio replaces the system's text, and joins several errors if it tried several addresses.
    numbers = [exc.errno] if exc.errno else [int(each) for each in _NUMBER.findall(str(exc))]
    return ", ".join(dict.fromkeys(map(os.strerror, numbers))) or type(exc).__name__
