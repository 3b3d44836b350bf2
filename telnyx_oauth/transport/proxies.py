"""The proxy that a request goes through: the one place where that is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..protocol.secret import Secret
from ..protocol.urls import is_loopback

if TYPE_CHECKING:
    import aiohttp


def environment_proxy(url: str) -> Secret[str] | None:
    """The proxy that the environment (on macOS and Windows the system too) names for a URL, as it is written there.

    None for this machine: a proxy there would be asked for what only this machine has, and over plain http it could read
    and forge all of it.
    """
    parts = urlsplit(url)
    if is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc):
        return None
    return Secret(getproxies()[parts.scheme]) if parts.scheme in getproxies() else None


def goes_direct(url: str) -> bool:
    """Tell if a URL is on this machine, where no proxy that a program named is used."""
    return is_loopback(urlsplit(url).hostname or "")


def session_has_proxy(session: aiohttp.ClientSession, url: str) -> bool:
    """Tell if a session of somebody else's would send a request to this machine through a proxy. False for other machines.

    A session cannot be told to leave its proxy out for one request.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not is_loopback(host):
        return False
    if getattr(session, "_default_proxy", None) is not None:
        return True
    return session.trust_env and not proxy_bypass(host) and parts.scheme in getproxies()
