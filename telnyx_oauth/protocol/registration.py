"""Dynamic client registration: the request and its response (RFC 7591)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

import attrs

from ..errors import APIResponseValidationError
from ..messages import Request, Response
from .arguments import expect_mapping
from .error_responses import broken, error_from
from .json_body import json_object
from .metadata import AUTH_METHODS, choose_auth_method
from .secret import Secret
from .token import scope_set
from .token_endpoint import LARGEST_ANSWER, TOKEN_TIMEOUT, AuthMethod

# RFC 6749 appendix A.1 has client ids of printable ASCII; of a secret it is enough that it can be sent.
_CLIENT_ID: Final = re.compile(r"[\x20-\x7e]+")
_NOT_IN_SECRET: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_OWN: Final = ("redirect_uris", "token_endpoint_auth_method", "client_name", "scope")


@attrs.frozen
class RegisteredClient:
    """The client that a server registered. Store it, since servers limit registrations.

    `None` stands for no secret, and for one that never expires.
    """

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
    metadata: Mapping[str, object] | None = None,
) -> Request:
    """The request that registers a program for sign-ins, with further `metadata` (RFC 7591 section 2).

    Raises `ValueError` for `metadata` that repeats a parameter, or that JSON cannot express, and `TypeError` unless it is a
    mapping.
    """
    expect_mapping(dict if metadata is None else type(metadata), "metadata")
    twice = (metadata or {}).keys() & set(_OWN)
    if twice:
        raise ValueError(f"`metadata` repeats {', '.join(sorted(twice))}, which register() takes by itself.")
    scope = " ".join(sorted(scope_set(scopes)))
    members: dict[str, object] = {
        "redirect_uris": list(redirect_uris),
        "token_endpoint_auth_method": auth_method,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": client_name,
        **({"scope": scope} if scope else {}),
        **(metadata or {}),
    }
    return Request(
        "POST",
        endpoint,
        headers={"Accept": "application/json", "Content-Type": "application/json"},
        content=_json({name: value for name, value in members.items() if value is not None}),
        timeout=TOKEN_TIMEOUT,
        max_bytes=LARGEST_ANSWER,
    )


def _json(members: Mapping[str, object]) -> bytes:
    try:
        return json.dumps(members, allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError):  # Python's own error may show a value
        pass
    raise ValueError("`metadata` must be what JSON can say: text, numbers, booleans, lists and mappings of them.")


def registered_client(
    response: Response, *, requested: AuthMethod, supported: frozenset[str] = frozenset(), now: float = 0.0
) -> RegisteredClient:
    """The registered client, which authenticates by the method in the response, not by the `requested` one.

    A response without a method means the `requested` one if it fits: without a secret it is `none`, and with one it is the
    first of the `supported` methods that need a secret, else Basic (RFC 7591 section 2).

    Raises `APIStatusError` if the server refused, `APIConnectionError` if the response broke off (there may be a client), and
    `APIResponseValidationError` for any other response.
    """
    if not 200 <= response.status_code < 300:
        raise error_from(response, now=now)
    cut = broken(response)
    if cut is not None:
        raise cut
    fields = Secret(_fields(response))
    problems = (response.fault,) if response.fault else tuple(_problems(fields.plain))
    if problems:
        raise APIResponseValidationError(problems, response=response)
    return _client(fields.plain, requested, supported)


def _fields(response: Response) -> dict[str, object]:
    members = json_object(response) or {}
    return {name: value for name, value in members.items() if value not in (None, "", [], {})}


def _problems(fields: dict[str, object]) -> Iterable[str]:
    client_id, method = fields.get("client_id"), fields.get("token_endpoint_auth_method", "none")
    if not isinstance(client_id, str) or not _CLIENT_ID.fullmatch(client_id):
        yield "$.client_id must be a string of printable ASCII characters"
    secret = fields.get("client_secret", "")
    if not isinstance(secret, str) or _NOT_IN_SECRET.search(secret):
        yield "$.client_secret must be a string without control characters"
    if method not in AUTH_METHODS:
        yield "$.token_endpoint_auth_method is not one that this package knows"
    if method != "none" and "client_secret" not in fields:
        yield "$.client_secret is missing"


def _client(fields: dict[str, object], requested: AuthMethod, supported: frozenset[str]) -> RegisteredClient:
    method = fields.get("token_endpoint_auth_method")
    return RegisteredClient(
        cast("str", fields["client_id"]),
        cast("str | None", fields.get("client_secret")),
        cast("AuthMethod", method or _default_method(requested, supported, has_secret="client_secret" in fields)),
        _end(fields),
    )


def _default_method(requested: AuthMethod, supported: frozenset[str], *, has_secret: bool) -> AuthMethod:
    """The method of a client if the response names none."""
    if not has_secret:
        return "none"
    usual = choose_auth_method(supported & {"client_secret_basic", "client_secret_post"}, has_secret=True)
    return requested if requested != "none" else usual or "client_secret_basic"


def _end(fields: dict[str, object]) -> float | None:
    """The time when the secret expires. `None` (never) for 0, a missing or invalid value, and one too large for a float."""
    value = fields.get("client_secret_expires_at")
    try:
        end = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return end if 0 < end < math.inf else None
