"""OAuth clients and grants of the account: list, create, update, delete, register."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import attrs

from ..messages import Response
from .access import READ_SCOPES, WRITE_SCOPES, require_bearer
from .requests import (
    Call,
    Check,
    api_error,
    boolean,
    error_entry,
    json_response,
    list_of,
    no_store_response,
    not_found,
    oauth_error,
    one_of,
    problems,
    redirect_uris,
    scope_of,
    text,
    web_uri,
)
from .state import Client, Grant, State

_T = TypeVar("_T")


def lookup(records: Mapping[str, _T], call: Call) -> _T:
    """The record that the call's path names."""
    if call.argument not in records:
        raise not_found()
    return records[call.argument]


def paged(call: Call, records: Sequence[object]) -> Response:
    """The page that the call asks for."""
    given = dict(call.parameters)
    size = _whole(given.get("page[size]", "20"), "page[size]", 100)
    number = _whole(given.get("page[number]", "1"), "page[number]", None)
    meta = {
        "page_number": number,
        "page_size": size,
        "total_pages": -(-len(records) // size),
        "total_results": len(records),
    }
    return json_response({"data": records[(number - 1) * size : number * size], "meta": meta})


def bad_parameter(name: str, wrong: str) -> Exception:
    """The refusal of a query parameter."""
    return api_error(400, error_entry("10015", f"{name} {wrong}", {"parameter": name}))


def timestamp(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _whole(value: str, name: str, most: int | None) -> int:
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    if number < 1 or (most is not None and number > most):
        raise bad_parameter(name, f"must be a whole number from 1{f' to {most}' if most else ''}")
    return number


GRANT_TYPES = ("client_credentials", "authorization_code", "refresh_token")


def list_clients(state: State, call: Call) -> Response:
    """The clients that pass every filter, oldest first."""
    require_bearer(state, call, *READ_SCOPES)
    chosen = list(state.clients.values())
    for name, value in call.parameters:
        if name.startswith("filter["):
            keep = _filter(name, value)
            chosen = [client for client in chosen if keep(client)]
    return paged(call, [_client_record(state, client) for client in chosen])


def create_client(state: State, call: Call) -> Response:
    """A new client. A confidential one's secret is in this answer and nowhere else."""
    require_bearer(state, call, *WRITE_SCOPES)
    required = ("name", "allowed_scopes", "client_type", "allowed_grant_types")
    schema = _schema(state) | {"client_type": one_of("confidential", "public")}
    body = validated(call, schema, required)
    if "authorization_code" in body["allowed_grant_types"] and not body.get("redirect_uris"):
        raise _unprocessable({"redirect_uris": "is required for the authorization_code grant"})
    client = new_client(state, **_fields(body), confidential=body["client_type"] == "confidential")
    return no_store_response({"data": _client_record(state, client) | {"client_secret": client.secret}}, 201)


def show_client(state: State, call: Call) -> Response:
    """One client."""
    require_bearer(state, call, *READ_SCOPES)
    return json_response({"data": _client_record(state, lookup(state.clients, call))})


def update_client(state: State, call: Call) -> Response:
    """Change the fields that are given and keep the others."""
    require_bearer(state, call, *WRITE_SCOPES)
    client = lookup(state.clients, call)
    changed = attrs.evolve(client, **_fields(validated(call, _schema(state))), updated_at=state.clock.now())
    state.clients[client.client_id] = changed
    return json_response({"data": _client_record(state, changed)})


def delete_client(state: State, call: Call) -> Response:
    """Delete a client, and with it everything that was issued to it."""
    require_bearer(state, call, *WRITE_SCOPES)
    state.delete_client(lookup(state.clients, call).client_id)
    return Response(204)


def new_client(state: State, *, confidential: bool, **fields: Any) -> Client:
    """Register a client with the given fields."""
    now = state.clock.now()
    client = Client(
        client_id=secrets.token_hex(11),  # one that begins with a dash would be an option of a command
        client_type="confidential" if confidential else "public",
        secret=secrets.token_urlsafe(32) if confidential else None,
        created_at=now,
        updated_at=now,
        **fields,
    )
    state.clients[client.client_id] = client
    return client


def validated(call: Call, schema: Mapping[str, Check], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The body, when it fits a closed schema."""
    try:
        body = call.json_object()
    except ValueError as error:
        raise api_error(400, error_entry("10015", str(error))) from None
    wrong = problems(body, schema, required)
    if wrong:
        raise _unprocessable(wrong)
    return body


def _unprocessable(wrong: Mapping[str, str]) -> Exception:
    return api_error(422, *(error_entry("10027", why, {"pointer": f"/{name}"}) for name, why in wrong.items()))


def _schema(state: State) -> dict[str, Check]:
    return {
        "name": text,
        "allowed_scopes": list_of(state.settings.scopes),
        "allowed_grant_types": list_of(GRANT_TYPES),
        "redirect_uris": redirect_uris,
        "require_pkce": boolean,
        "logo_uri": web_uri,
        "policy_uri": web_uri,
        "tos_uri": web_uri,
    }


def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body's fields under the names that `Client` has for them."""
    names = {"allowed_scopes": "scopes", "allowed_grant_types": "grant_types"}
    return {
        names.get(name, name): tuple(cast(list[str], value)) if isinstance(value, list) else value
        for name, value in body.items()
        if name != "client_type"
    }


def _filter(name: str, value: str) -> Callable[[Client], bool]:
    match name:
        case "filter[client_type]" if value in ("public", "confidential"):
            return lambda client: client.client_type == value
        case "filter[verified]" if value in ("true", "false"):
            return lambda client: client.verified == (value == "true")
        case "filter[allowed_grant_types][contains]" if value in GRANT_TYPES:
            return lambda client: value in client.grant_types
        case "filter[name]":
            return lambda client: client.name == value
        case "filter[name][contains]":
            return lambda client: value.casefold() in client.name.casefold()
        case "filter[client_id]":
            return lambda client: client.client_id == value
        case _:
            raise bad_parameter(name, "is not a filter, or not with this value")


def _client_record(state: State, client: Client) -> dict[str, object]:
    return {
        "record_type": "oauth_client",
        "client_id": client.client_id,
        "name": client.name,
        "org_id": state.org_id,
        "user_id": state.user_id,
        "client_type": client.client_type,
        "allowed_grant_types": client.grant_types,
        "allowed_scopes": client.scopes,
        "redirect_uris": client.redirect_uris,
        "require_pkce": client.require_pkce,
        "logo_uri": client.logo_uri,
        "policy_uri": client.policy_uri,
        "tos_uri": client.tos_uri,
        "created_at": timestamp(client.created_at),
        "updated_at": timestamp(client.updated_at),
    }


def list_grants(state: State, call: Call) -> Response:
    """The grants, oldest first."""
    require_bearer(state, call, *READ_SCOPES)
    return paged(call, [_grant_record(grant) for grant in state.grants.values()])


def show_grant(state: State, call: Call) -> Response:
    """One grant."""
    require_bearer(state, call, *READ_SCOPES)
    return json_response({"data": _grant_record(lookup(state.grants, call))})


def revoke_grant(state: State, call: Call) -> Response:
    """End a grant; its tokens are worth nothing from here on. The answer is the grant as it was."""
    require_bearer(state, call, *WRITE_SCOPES)
    grant = lookup(state.grants, call)
    del state.grants[grant.id]
    return json_response({"data": _grant_record(grant)})


def _grant_record(grant: Grant) -> dict[str, object]:
    return {
        "id": grant.id,
        "record_type": "oauth_grant",
        "client_id": grant.client_id,
        "scopes": grant.scopes,
        "created_at": timestamp(grant.created_at),
        "last_used_at": None if grant.last_used_at is None else timestamp(grant.last_used_at),
    }


def register(state: State, call: Call) -> Response:
    """A new client for whoever asks. No field is required; unknown ones are refused, as the API's schema says."""
    schema: dict[str, Check] = {
        "client_name": text,
        "grant_types": list_of(GRANT_TYPES),
        "redirect_uris": redirect_uris,
        "response_types": list_of(("code",)),
        "scope": scope_of(state.settings.scopes),
        "token_endpoint_auth_method": one_of("none", "client_secret_basic", "client_secret_post"),
        "logo_uri": web_uri,
        "policy_uri": web_uri,
        "tos_uri": web_uri,
    }
    try:
        body: dict[str, Any] = call.json_object()
    except ValueError as error:
        raise oauth_error("invalid_client_metadata", str(error)) from None
    wrong = problems(body, schema)
    if wrong:
        code = "invalid_redirect_uri" if "redirect_uris" in wrong else "invalid_client_metadata"
        fields = {name: [why] for name, why in wrong.items()}
        raise oauth_error(code, "The client metadata was invalid.", more={"invalid_fields": fields})
    return no_store_response(_registered(state, body), 201)


def _registered(state: State, body: dict[str, Any]) -> dict[str, object]:
    grant_types = body.get("grant_types", ["authorization_code"])
    method = body.get("token_endpoint_auth_method", "client_secret_basic")
    scope = body.get("scope", " ".join(state.settings.scopes))
    client = new_client(
        state,
        confidential=method != "none",
        name=body.get("client_name", ""),
        grant_types=tuple(grant_types),
        scopes=tuple(scope.split()),
        redirect_uris=tuple(body.get("redirect_uris", ())),
        **{name: body[name] for name in ("logo_uri", "policy_uri", "tos_uri") if name in body},
    )
    defaults = {
        "grant_types": grant_types,
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "scope": scope,
    }
    issued: dict[str, object] = {"client_id": client.client_id, "client_id_issued_at": int(client.created_at)}
    return issued | ({"client_secret": client.secret} if client.secret else {}) | defaults | body
