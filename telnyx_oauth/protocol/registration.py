"""Becoming a client of a server that one has never met: the request and its answer (RFC 7591)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, cast

import attrs

from ..errors import APIResponseValidationError
from ..messages import Request, RequestInfo, Response, Timeout
from .failures import error_from
from .grants import LARGEST_ANSWER, AuthMethod
from .secret import Secret
from .token import scope_set

_TIMEOUT: Final = Timeout(total=30.0, connect=5.0)
_METHODS: Final[tuple[AuthMethod, ...]] = ("none", "client_secret_basic", "client_secret_post")


@attrs.frozen
class RegisteredClient:
    """What a server made of a registration: keep it, for servers let nobody register often. `None`: no secret, no end."""

    client_id: str
    client_secret: str | None = attrs.field(default=None, repr=False)
    auth_method: AuthMethod = "none"
    secret_expires_at: float | None = None


def registration_request(
    endpoint: str,
    *,
    redirect_uris: Iterable[str],
    client_name: str,
    scopes: Iterable[str] | str,
    auth_method: AuthMethod,
) -> Request:
    """The request that registers a program in which people sign in."""
    scope = " ".join(sorted(scope_set(scopes)))
    metadata: dict[str, object] = {
        "redirect_uris": list(redirect_uris),
        "token_endpoint_auth_method": auth_method,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": client_name,
    }
    return Request(
        "POST",
        endpoint,
        RequestInfo("POST", endpoint.partition("?")[0]),
        {"Accept": "application/json", "Content-Type": "application/json"},
        json.dumps(metadata | ({"scope": scope} if scope else {})).encode("ascii"),
        _TIMEOUT,
        LARGEST_ANSWER,
    )


def registered_client(response: Response, *, asked: AuthMethod, now: float = 0.0) -> RegisteredClient:
    """The client that was made. Raises `APIStatusError` when it was refused and `APIResponseValidationError` for no answer."""
    if not 200 <= response.status_code < 300:
        raise error_from(response, now=now)
    fields = Secret(_fields(response))
    problems = (response.fault,) if response.fault else tuple(_problems(fields.plain, asked))
    if problems:
        raise APIResponseValidationError(problems, response=response)
    return _client(fields.plain, asked)


def _fields(response: Response) -> dict[str, object]:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", body) if isinstance(body, dict) else {}


def _problems(fields: dict[str, object], asked: AuthMethod) -> Iterable[str]:
    client_id, secret = fields.get("client_id"), fields.get("client_secret")
    method = fields.get("token_endpoint_auth_method", asked)
    if not isinstance(client_id, str) or not client_id:
        yield "$.client_id must be a string"
    if secret is not None and not isinstance(secret, str):
        yield "$.client_secret must be a string"
    if method not in _METHODS:
        yield "$.token_endpoint_auth_method is not one that this package knows"
    if method != "none" and not secret:
        yield "$.client_secret is missing"


def _client(fields: dict[str, object], asked: AuthMethod) -> RegisteredClient:
    return RegisteredClient(
        cast("str", fields["client_id"]),
        cast("str | None", fields.get("client_secret")) or None,
        cast("AuthMethod", fields.get("token_endpoint_auth_method", asked)),
        _end(fields),
    )


def _end(fields: dict[str, object]) -> float | None:
    """When the secret ends; 0, nothing or nonsense: never."""
    value = fields.get("client_secret_expires_at")
    try:
        return float(value) or None if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None
