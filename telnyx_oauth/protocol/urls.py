"""URLs: checks, joining, escaping of their parts (RFC 3986, RFC 8252)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias, cast
from urllib.parse import quote, urlencode, urlsplit

from .arguments import AS_TEXT, expect_text
from .secret import Secret

QueryValue: TypeAlias = str | int | float | bool | Sequence[str] | None
WELL_KNOWN: Final = "/.well-known/"
# RFC 3986 section 2: other characters must be percent-encoded, or parsers disagree on them.
_IN_PATH: Final = r"!$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z{|}~"
_BAD_IN_PATH: Final = re.compile(f"[^{_IN_PATH}]")
_BAD_IN_URL: Final = re.compile(f"[^{_IN_PATH}#]")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9\-._~]+")  # section 2.3
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_NUMERIC: Final = re.compile(r"[0-9.]*[0-9][0-9.]*")
_LOCALHOST: Final = re.compile(r"(?:[a-z0-9_-]+\.)*localhost\.?", re.IGNORECASE)


def check_base_url(
    base_url: str, *, allow_insecure: bool = False, name: str = "base_url", word: str = "allow_insecure=True"
) -> str:
    """Return the base address without its trailing slashes. Raises `ValueError` for one that `check_url` refuses.

    A query or a fragment in it would break every path. `name` is the caller's name for the address, and `word` is the way to
    allow plain http there.
    """
    text = Secret(base_url)
    del base_url  # it may hold a password
    expect_text(type(text.plain), name, AS_TEXT)
    text = Secret(text.plain.strip().rstrip("/"))
    http: PlainHttp = "anywhere" if allow_insecure else "this machine"
    return check_url(text, name, http=http, query=False, word=word, example="https://api.telnyx.com/v2")


def check_endpoint(url: str, name: str, *, allow_insecure_loopback: bool) -> str:
    """Return the address of an endpoint. Plain http is accepted for this machine alone, and only when allowed: elsewhere
    anyone on the way could change the answer. Raises as `check_url` does.
    """
    text = Secret(url)
    del url
    return check_url(text, name, http="this machine" if allow_insecure_loopback else "nowhere")


def check_token_endpoint(url: str, name: str, *, allow_insecure: bool) -> str:
    """Return the address that secrets or a person are sent to. Plain http to another machine needs `allow_insecure`.
    Raises as `check_url` does.
    """
    text = Secret(url)
    del url
    return check_url(text, name, http="anywhere" if allow_insecure else "this machine", word="allow_insecure=True")


PlainHttp: TypeAlias = Literal["nowhere", "this machine", "anywhere"]
"""The hosts to which plain http is accepted."""


def check_url(
    url: Secret[str], name: str, *, http: PlainHttp, query: bool = True, word: str = "", example: str = ""
) -> str:
    """Return the address. Raises `ValueError`, naming the parameter, unless it is an absolute http(s) address of a host that
    can exist, in the characters of a URL, without user, password and fragment (which would be sent along, or lost).

    Without `query` it must have none. `http` says to which hosts plain http is accepted, `word` how to allow it elsewhere.
    The error shows the `example`. Raises `TypeError` unless it is a text.
    """
    expect_text(type(url.plain), name, AS_TEXT)
    problem = _problem(url.plain, query=query)
    if problem:
        raise ValueError(f"{name} {problem}{f'; it should look like {example}' if example else '.'}")
    if http == "nowhere" and url.plain[:5].lower() == "http:":
        raise ValueError(f"{name} must be an https address (http: only to this machine, and only when allowed).")
    if http != "anywhere" and is_insecure(url.plain):
        advice = f"use https, or say {word} if that network is yours" if word else "use https"
        raise ValueError(f"{name} {INSECURE}; {advice}")
    return url.plain


def _problem(text: str, *, query: bool) -> str | None:
    """Return what is wrong with an address, without quoting it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "is not a URL"
    host = parts.hostname or ""
    problems = {
        "must begin with http:// or https://": parts.scheme not in ("http", "https"),
        "must name a host": not host or port == 0,
        "must hold only the characters of a URL, the others escaped": not has_only_url_characters(text),
        "must hold no user or password": "@" in parts.netloc,
        "must name a host: an IP address, or labels of 1 to 63 characters, 253 in all": not is_host(host),
        "must hold no query and no fragment": not query and ("?" in text or "#" in text),
        "must hold no fragment": "#" in text,
    }
    return next((problem for problem, applies in problems.items() if applies), None)


def root_of(base_url: str) -> str:
    """The root of the well-known documents: the base without its last segment `/v2` (RFC 8414 section 3)."""
    return re.sub(r"(?<=[^/])/v2$", "", base_url)  # not a host of that name


def join(base_url: str, path: str) -> str:
    """Join `path` to `base_url`. A well-known path goes to the root; an absolute address on the same origin stays as it is.

    Raises `ValueError` for an address on another origin, where credentials would go with it, and for unescaped characters.
    """
    if _BAD_IN_PATH.search(path):
        problem = "A path must hold only the characters of a URL, the others escaped, and no fragment."
    # The search for a text is the cheapest check, and it settles almost every call.
    elif not ("://" in path and _ABSOLUTE.match(path)):
        if not path.startswith("/"):
            path = f"/{path}"
        return (root_of(base_url) if path.startswith(WELL_KNOWN) else base_url) + path
    elif _is_on_origin_of(base_url, path):
        return path
    else:
        problem = "An absolute address must be on base_url's origin: this client's credentials go with it."
    del path  # it may hold a secret, and a traceback would show it
    raise ValueError(problem)


def _is_on_origin_of(base_url: str, address: str) -> bool:
    try:
        return origin(address) == origin(base_url) and "@" not in urlsplit(address).netloc
    except ValueError:
        return False


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454)."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or ""), parts.port or (443 if scheme == "https" else 80)


def has_only_url_characters(url: str) -> bool:
    """Return whether a URL has only the characters of RFC 3986: no space, control character or letter of another script."""
    return _BAD_IN_URL.search(url) is None


def is_host(host: str) -> bool:
    """Return whether a host can exist: an IP address, or a name of labels within DNS's limits (RFC 1035 section 2.3.4).

    `host` is as in `urlsplit`'s result: an IPv6 address has no brackets, and may have a zone. A host of digits and dots is an
    IPv4 address in its usual form or invalid: no name ends in a number.
    """
    if ":" in host or _NUMERIC.fullmatch(host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True
    name = host.removesuffix(".")
    return len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split("."))


INSECURE: Final = "is plain http to another machine, where others can read your secrets and forge the answers"


def is_insecure(url: str) -> bool:
    """Return whether a URL is plain http to another machine than this."""
    parts = urlsplit(url)
    return parts.scheme.lower() == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: 127.0.0.0/8 and ::1, also as IPv4 in IPv6; `localhost` and names that end in
    `.localhost` (RFC 6761 section 6.3).
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _LOCALHOST.fullmatch(host) is not None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def segment(value: str, name: str) -> str:
    """One path parameter, escaped. Raises `ValueError`, naming the parameter, for one that would change the path.

    `.` and `..` would, even if escaped: many servers unescape them first (RFC 3986 section 5.2.4).
    """
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller is type-checked
        kind = type(value).__name__
        del value  # it may hold a secret, and a traceback would show it
        raise TypeError(f"`{name}` must be a str, not {kind}")
    if not value:
        raise ValueError(f"Expected a non-empty value for `{name}` but received ''")  # in the official package's words
    if value in (".", ".."):
        raise ValueError(f"`{name}` must not be {value!r}")
    if _UNRESERVED.fullmatch(value):
        return value
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        pass  # Python's own error holds the value, which may be a secret.
    del value
    raise ValueError(f"`{name}` must not hold half a character (a lone surrogate)")


def query(pairs: Secret[Mapping[str, QueryValue]]) -> str:
    """A query string without its `?`: `None` is left out, booleans are `true` and `false`, a sequence repeats its name.

    Raises `TypeError` for a mapping: use names such as `filter[name]` instead.
    """
    written: Secret[list[tuple[str, str]]] = Secret([])
    for name in pairs.plain:
        _write(name, Secret(pairs.plain[name]), written)
    return urlencode(written.plain, quote_via=quote)


def _write(name: str, value: Secret[QueryValue], written: Secret[list[tuple[str, str]]]) -> None:
    """Append the pairs for one value."""
    kind = type(value.plain)
    if value.plain is None:
        return
    if issubclass(kind, bool):
        written.plain.append((name, "true" if value else "false"))
    elif issubclass(kind, str):
        # The text itself: `str()` of an enumeration's member is its name.
        written.plain.append((name, str.__str__(cast("str", value.plain))))
    elif issubclass(kind, (int, float)):
        written.plain.append((name, str(value.plain)))
    elif issubclass(kind, (bytes, Mapping)) or not issubclass(kind, Iterable):
        raise TypeError(f"`{name}` must be text, a number, a boolean or a sequence of them, not {kind.__name__}")
    else:
        for each in map(Secret, cast("Iterable[QueryValue]", value.plain)):
            _write(name, each, written)
