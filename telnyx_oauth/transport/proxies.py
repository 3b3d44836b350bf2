"""The choice of the proxy that a request goes through."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, getproxies_environment, proxy_bypass

from yarl import URL

from ..protocol.arguments import expect_text
from ..protocol.secret import Secret
from ..protocol.urls import has_only_url_characters, is_host, is_loopback, origin

if TYPE_CHECKING:
    import aiohttp

_SEPARATORS: Final = re.compile(r"[\s,]+")
_PORTED: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?")
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def environment_proxy(url: str) -> Secret[str] | None:
    """The address of the proxy that the environment (on macOS and Windows the system too) names for a URL.

    Raises `ValueError`, naming the variable, for an invalid proxy.
    """
    if not getproxies_environment() and proxy_bypass(urlsplit(url).netloc):
        return None  # by the system's list of exceptions
    return proxy_among(url, Secret(getproxies()))


def proxy_among(url: str, variables: Secret[Mapping[str, str]]) -> Secret[str] | None:
    """The address of the proxy for a URL among the variables, which are named as `urllib.request.getproxies` names them.

    `HTTP_PROXY` or `HTTPS_PROXY` wins over `ALL_PROXY`, and `NO_PROXY` over all. `None` for this machine: a proxy cannot reach
    its loopback addresses, and over plain http it could read and forge everything.
    Raises `ValueError`, naming the variable, for an invalid proxy.
    """
    scheme, host, port = origin(url)
    if is_loopback(host) or is_exempt(host, port, variables.plain.get("no", "")):
        return None
    for name in (scheme, "all"):
        if name in variables.plain:
            return proxy_address(Secret(variables.plain[name]), f"{name.upper()}_PROXY")
    return None


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Return whether `NO_PROXY` names a host, by the rules of curl and Go.

    It is `*`, or a list of names, addresses and blocks of addresses (CIDR), separated by commas or spaces. A name matches
    itself and its subdomains, `*.name` only the subdomains. A port limits an entry to that port.
    """
    name = host.lower().rstrip(".")
    address = _address(name)
    entries = filter(None, _SEPARATORS.split(no_proxy.lower()))
    return any(entry == "*" or _matches(entry, name, address, port) for entry in entries)


def _matches(entry: str, name: str, address: _Address | None, port: int) -> bool:
    if "/" in entry:
        return address is not None and _is_in_block(address, entry)
    exempt = _address(entry)  # an IPv6 address without brackets has no port
    if exempt is None:
        parts = _PORTED.fullmatch(entry)
        if parts is None or (parts[3] and int(parts[3]) != port):
            return False
        entry = parts[1] or parts[2]
        exempt = _address(entry)
    if exempt is not None or address is not None:
        return exempt == address
    below = entry.removeprefix("*").strip(".")
    return name.endswith(f".{below}") or (name == below and not entry.startswith("*"))


def _address(text: str) -> _Address | None:
    """An IP address, with or without brackets, without its zone. An IPv4 address inside IPv6 becomes IPv4."""
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _is_in_block(address: _Address, entry: str) -> bool:
    start, _, length = entry.partition("/")
    try:
        block = ipaddress.ip_network(f"{start.removeprefix('[').removesuffix(']')}/{length}", strict=False)
    except ValueError:
        return False
    # `_address` turns an IPv4 address inside IPv6 into IPv4, so such a block must become one of IPv4 too.
    if isinstance(block, ipaddress.IPv6Network) and block.prefixlen >= 96 and block.network_address.ipv4_mapped:
        block = ipaddress.ip_network((block.network_address.ipv4_mapped, block.prefixlen - 96))
    return address in block


def proxy_address(text: Secret[str], name: str) -> Secret[str]:
    """A proxy's address, with `http://` if it names no scheme. Raises `ValueError`, naming the parameter, for an invalid one.

    aiohttp sends a user and password as Basic credentials in Latin-1, where a user has no colon (RFC 7617 section 2).
    """
    expect_text(type(text.plain), name)
    try:
        url = Secret(URL(text.plain if "://" in text.plain else f"http://{text.plain}"))
    except ValueError:
        url = Secret(URL())
    host = url.plain.raw_host or ""
    if (
        url.plain.scheme not in ("http", "https")
        or not url.plain.port
        or not has_only_url_characters(host)
        or not is_host(host)
    ):
        raise ValueError(f"`{name}` must be an http:// or https:// address")
    credentials = Secret(f"{url.plain.user or ''}{url.plain.password or ''}")
    if ":" in (url.plain.user or "") or any(ord(character) > 255 for character in credentials.plain):
        raise ValueError(f"`{name}`'s user and password must be Latin-1 text, and the user without a colon")
    return Secret(str(url.plain))


def goes_direct(url: str) -> bool:
    """Return whether a URL is on this machine, for which no proxy of the program is used."""
    return is_loopback(urlsplit(url).hostname or "")


def session_has_proxy(session: aiohttp.ClientSession, url: str) -> bool:
    """Return whether a user's session has a proxy for a request to this machine. `False` for other machines."""
    scheme, host, port = origin(url)
    if not is_loopback(host):
        return False
    if has_own_proxy(session):
        return True
    variables = Secret(getproxies())
    return session.trust_env and scheme in variables.plain and not is_exempt(host, port, variables.plain.get("no", ""))


def has_own_proxy(session: aiohttp.ClientSession) -> bool:
    """Return whether a session was created with a proxy, which wins over the environment's."""
    return getattr(session, "_default_proxy", None) is not None
