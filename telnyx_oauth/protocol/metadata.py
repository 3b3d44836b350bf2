"""Metadata of authorization servers and protected resources (RFC 8414, RFC 9728)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, cast
from urllib.parse import urlsplit

import attrs

from ..errors import DiscoveryError
from ..messages import Request, Response
from .arguments import AS_TEXT, expect_text
from .auth_headers import metadata_path, parse_challenges
from .error_responses import broken
from .json_body import json_object
from .secret import Secret
from .token import scope_set, valid_scopes
from .token_endpoint import LARGEST_ANSWER, TOKEN_TIMEOUT, AuthMethod
from .urls import (
    check_base_url,
    check_endpoint,
    check_token_endpoint,
    has_only_url_characters,
    is_loopback,
    origin,
    root_of,
)

_WELL_KNOWN: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"
_MAY_COME_YET: Final = frozenset({408, 425, 429})
_ROOT_SLASH: Final = re.compile(r"(?<=[^:/])/$")
AUTH_METHODS: Final[tuple[AuthMethod, ...]] = ("client_secret_basic", "client_secret_post", "none")
"""The supported methods of client authentication, the preferred one first."""


@attrs.frozen
class AuthorizationServer:
    """Metadata of an authorization server (RFC 8414).

    With `issuer_in_response` the server puts `iss` into each authorization response, so a response without it is not from
    there (RFC 9207). `token_endpoint_auth_methods_supported` is empty, and an optional endpoint is `None`, if the server
    does not name it; the endpoint is also `None` if its address is not safe to use.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str | None = None
    issuer_in_response: bool = False
    scopes_supported: frozenset[str] = frozenset()
    token_endpoint_auth_methods_supported: frozenset[str] = attrs.field(default=frozenset(), converter=scope_set)
    jwks_uri: str | None = None
    introspection_endpoint: str | None = None
    revocation_endpoint: str | None = None
    introspection_endpoint_auth_methods_supported: frozenset[str] = attrs.field(
        default=frozenset(), converter=scope_set
    )
    revocation_endpoint_auth_methods_supported: frozenset[str] = attrs.field(default=frozenset(), converter=scope_set)


@attrs.frozen
class ProtectedResource:
    """A protected resource: its identifier, for `resource=`, and the issuers whose tokens it accepts (RFC 9728 section 2)."""

    resource: str
    authorization_servers: tuple[str, ...]
    scopes_supported: frozenset[str] = frozenset()


def telnyx_server(base_url: str, issuer: str | None = None, *, allow_insecure: bool = False) -> AuthorizationServer:
    """Telnyx at `base_url`. Every address is derived from it, so that no secret goes anywhere else."""
    url = Secret(base_url)
    del base_url  # it may hold a password
    base = check_base_url(url.plain, allow_insecure=allow_insecure)
    return AuthorizationServer(
        issuer or root_of(base), f"{base}/oauth/authorize", f"{base}/oauth/token", f"{base}/oauth/register"
    )


def check_server(server: AuthorizationServer, *, allow_insecure: bool) -> None:
    """Raise `ValueError` for an invalid endpoint, and, unless allowed, for plain http to another machine."""
    check_token_endpoint(server.authorization_endpoint, "authorization_endpoint", allow_insecure=allow_insecure)
    check_token_endpoint(server.token_endpoint, "token_endpoint", allow_insecure=allow_insecure)
    if server.registration_endpoint is not None:
        check_token_endpoint(server.registration_endpoint, "registration_endpoint", allow_insecure=allow_insecure)


def metadata_url(issuer: str) -> str:
    """The address of an issuer's metadata: the well-known segment goes before its path (RFC 8414 section 3.1).

    Raises `ValueError` unless the issuer is https, or http to this machine, without query and fragment.
    """
    _check(issuer, "The issuer", like=issuer)
    parts = urlsplit(issuer)
    if "?" in issuer:
        raise ValueError("The issuer must hold no query.")
    return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{parts.path.rstrip('/')}"


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """All addresses where an issuer's metadata may be: the one of `metadata_url`, then those of OpenID Connect.

    The second is RFC 8414 section 5's, for issuers with a path; the last is OpenID Connect Discovery 1.0 section 4.1's. Raises as
    `metadata_url` does.
    """
    first = metadata_url(issuer)
    beside = f"{issuer.rstrip('/')}{_OPENID}"
    # Without a path two of them are equal; `dict.fromkeys` keeps the order.
    return tuple(dict.fromkeys((first, first.replace(_WELL_KNOWN, _OPENID, 1), beside)))


def is_missing(response: Response) -> bool:
    """Return whether there is no document at this address, so that the next one should be tried: 404 and the like.

    For unknown paths, gateways answer 401, 403 or 405, and web sites their start page.
    """
    if response.status_code == 200:
        return response.headers.get("Content-Type", "").lower().startswith("text/html")
    return 400 <= response.status_code < 500 and response.status_code not in _MAY_COME_YET


def same_issuer(one: object, other: str) -> bool:
    """Return whether two issuers are the same text, except for the slash of an empty path (RFC 3986 section 6.2.3)."""
    return isinstance(one, str) and _without_root_slash(one) == _without_root_slash(other)


def _without_root_slash(issuer: str) -> str:
    return _ROOT_SLASH.sub("", issuer) if issuer.count("/") == 3 else issuer


def metadata_request(url: str) -> Request:
    """The request for a metadata document. It needs no credentials."""
    return Request("GET", url, headers={"Accept": "application/json"}, timeout=TOKEN_TIMEOUT, max_bytes=LARGEST_ANSWER)


def server_from(response: Response, issuer: str) -> AuthorizationServer:
    """The authorization server that a metadata document describes.

    Raises `DiscoveryError` unless its issuer is the requested one (RFC 8414 section 3.3). The result has the document's
    spelling of it, with or without the slash of an empty path, which the server uses in its tokens too.
    """
    document = _document(response, issuer)
    issuer = cast("str", document["issuer"])
    methods = _words(document, "code_challenge_methods_supported")
    if methods and "S256" not in methods:
        raise DiscoveryError(f"{issuer} does not offer PKCE with S256, and no one is signed in without.")
    return AuthorizationServer(
        issuer,
        _endpoint(document, "authorization_endpoint", issuer),
        _endpoint(document, "token_endpoint", issuer),
        _optional(document, "registration_endpoint", issuer),
        issuer_in_response=names_itself(response, issuer),
        scopes_supported=_words(document, "scopes_supported"),
        token_endpoint_auth_methods_supported=_words(document, "token_endpoint_auth_methods_supported"),
        jwks_uri=_optional(document, "jwks_uri", issuer),
        introspection_endpoint=_optional(document, "introspection_endpoint", issuer),
        revocation_endpoint=_optional(document, "revocation_endpoint", issuer),
        introspection_endpoint_auth_methods_supported=_words(document, "introspection_endpoint_auth_methods_supported"),
        revocation_endpoint_auth_methods_supported=_words(document, "revocation_endpoint_auth_methods_supported"),
    )


def choose_auth_method(supported: frozenset[str], *, has_secret: bool) -> AuthMethod | None:
    """The method of client authentication for a server that supports these methods (RFC 8414 section 2).

    `None` is the default: Basic with a secret, else the id alone. Not all servers that accept clients without a secret list
    `none`, so the list counts for clients with a secret only. Raises `DiscoveryError` if it names no method of this package.
    """
    if not has_secret or not supported:
        return None
    for method in AUTH_METHODS:
        if method in supported:
            return method
    raise DiscoveryError(
        f"The server takes clients with {', '.join(sorted(supported))[:300]} alone, and this package authenticates with "
        f"{', '.join(AUTH_METHODS)}. Have the client allow one of these, and give it as `auth_method`."
    )


def names_itself(response: Response, issuer: str) -> bool:
    """Return whether a metadata document promises `iss` in every response (RFC 9207). `False` if there is no document."""
    if response.status_code == 404:
        return False
    return _document(response, issuer).get("authorization_response_iss_parameter_supported") is True


def auth_methods_in(response: Response, issuer: str) -> frozenset[str]:
    """The methods of client authentication in a metadata document. Empty if it names none, or there is no document."""
    if response.status_code == 404:
        return frozenset()
    return _words(_document(response, issuer), "token_endpoint_auth_methods_supported")


def resource_url(url: str, www_authenticate: Iterable[str] = ()) -> str:
    """The address of the metadata of the resource at `url`: from its 401 (RFC 9728 section 5.1), else the default address.

    Raises as `resource_urls` does.
    """
    return resource_urls(url, www_authenticate)[0]


def resource_urls(url: str, www_authenticate: Iterable[str] = ()) -> tuple[str, ...]:
    """All addresses where the metadata of the resource at `url` may be: the one that its 401 names, or else the one for its
    path and then the one for the root.

    Raises `ValueError` for an address that is neither https nor http to this machine.
    """
    expect_text(type(url), "The resource", AS_TEXT)
    for challenge in parse_challenges(www_authenticate):
        address = challenge.params.get("resource_metadata")
        if address:
            return (_check(address, "The resource's metadata", like=url),)
    _check(url, "The resource", like=url)
    parts = urlsplit(url)
    root = f"{parts.scheme}://{parts.netloc}"
    return tuple(dict.fromkeys((f"{root}{metadata_path(url)}", f"{root}{metadata_path(root)}")))


def resource_from(response: Response, url: str) -> ProtectedResource:
    """The protected resource that a metadata document describes, if `url` belongs to it.

    Raises `DiscoveryError` if not (RFC 9728 section 3.3). Every address below a resource belongs to it, as at Telnyx.
    """
    document = _object(response)
    resource = document.get("resource")
    if not isinstance(resource, str) or not _covers(resource, url):
        raise DiscoveryError("The metadata is not of the resource that was asked for.")
    servers = tuple(
        name for name in _strings(document, "authorization_servers") if name and has_only_url_characters(name)
    )
    if not servers:
        raise DiscoveryError("The resource's metadata names no authorization server.")
    return ProtectedResource(resource, servers, _words(document, "scopes_supported"))


def _covers(resource: str, url: str) -> bool:
    try:
        if not has_only_url_characters(resource) or origin(resource) != origin(url):
            return False
    except ValueError:
        return False
    path = urlsplit(resource).path.rstrip("/")
    below = urlsplit(url).path
    return below == path or below.startswith(f"{path}/") or resource == url


def _document(response: Response, issuer: str) -> dict[str, object]:
    document = _object(response)
    if not same_issuer(document.get("issuer"), issuer):
        raise DiscoveryError(f"The metadata is of another issuer than {issuer}.")
    return document


def _object(response: Response) -> dict[str, object]:
    error = broken(response)
    if error is not None and response.status_code == 200:
        raise error
    if response.status_code != 200 or response.fault:
        problem = response.fault if response.status_code == 200 else f"status {response.status_code}"
        raise DiscoveryError(f"{response.request} gave no metadata ({problem}).")
    document = json_object(response)
    if document is None:
        raise DiscoveryError(f"{response.request} gave no metadata (no JSON object).")
    return document


def _endpoint(document: dict[str, object], name: str, issuer: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise DiscoveryError(f"The metadata of {issuer} has no {name}.")
    try:
        return _check(value, name, like=issuer)
    except ValueError as exc:
        problem = str(exc)
    raise DiscoveryError(f"The metadata of {issuer} cannot be used: {problem}")


def _optional(document: dict[str, object], name: str, issuer: str) -> str | None:
    """An endpoint that a sign-in does not need. An unusable one is `None`, since it must not prevent the sign-in."""
    value = document.get(name)
    try:
        return _check(value, name, like=issuer) if isinstance(value, str) else None
    except ValueError:
        return None


def _check(url: str, name: str, *, like: str) -> str:
    """Return the address. http is accepted only for this machine, and only if `like` is http on this machine too."""
    expect_text(type(url), name, AS_TEXT)
    try:
        start = urlsplit(like)
        local = start.scheme == "http" and is_loopback(start.hostname or "")
    except ValueError:
        local = False
    return check_endpoint(url, name, allow_insecure_loopback=local)


def _strings(document: dict[str, object], name: str) -> tuple[str, ...]:
    value = document.get(name)
    items = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))


def _words(document: dict[str, object], name: str) -> frozenset[str]:
    return valid_scopes(_strings(document, name))
