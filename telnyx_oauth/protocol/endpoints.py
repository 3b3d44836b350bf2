"""Which addresses may be asked for keys and verdicts, or be sent a token."""

from __future__ import annotations

from urllib.parse import urlsplit

from .expected import AS_TEXT, expect_text
from .urls import BAD_HOST, INSECURE, has_only_url_characters, is_host, is_insecure, is_loopback


def check_endpoint(url: str, name: str, *, allow_insecure_loopback: bool) -> str:
    """The address. Raises `ValueError`, naming the parameter, unless it is https with a host and has no user or fragment.

    `http` is taken for this machine alone, and only when allowed: elsewhere anyone on the way could change the answer.
    Raises `TypeError` for what is no text.
    """
    expect_text(type(url), name, AS_TEXT)
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        well_formed = bool(host) and (parts.port or 0) >= 0
    except ValueError:
        raise ValueError(f"{name} is not a URL.") from None
    secure = parts.scheme == "https" or (parts.scheme == "http" and allow_insecure_loopback and is_loopback(host))
    if not secure or not well_formed:
        raise ValueError(f"{name} must be an https address (http: only to this machine, and only when allowed).")
    if "@" in parts.netloc or "#" in url:
        raise ValueError(f"{name} must hold no user, password or fragment.")
    _check_writing(url, host, name)
    return url


def check_token_endpoint(url: str, name: str, *, allow_insecure: bool) -> str:
    """The address that secrets are sent to, or a person is. Raises `ValueError`, naming the parameter, for one that is not
    http(s) with a host, and for plain http to another machine without `allow_insecure`; `TypeError` for what is no text.
    """
    expect_text(type(url), name, AS_TEXT)
    parts = None
    try:
        parts = urlsplit(url)
        well_formed = bool(parts.hostname) and (parts.port or 0) >= 0 and parts.scheme in ("http", "https")
    except ValueError:
        well_formed = False
    if parts is None or not well_formed:
        raise ValueError(f"{name} must be an https address.")
    _check_writing(url, parts.hostname or "", name)
    if not allow_insecure and is_insecure(url):
        raise ValueError(f"{name} {INSECURE}; use https, or say allow_insecure=True if that network is yours.")
    return url


def _check_writing(url: str, host: str, name: str) -> None:
    if not has_only_url_characters(url):
        raise ValueError(f"{name} must hold only the characters of a URL, the others escaped.")
    if not is_host(host):
        raise ValueError(f"{name} {BAD_HOST}.")
