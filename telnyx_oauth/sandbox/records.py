"""OAuth clients and grants of the account: list, create, update, delete, register."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

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
from .state import Client, Grant, Settings, State

_T = TypeVar("_T")


def lookup(records: Mapping[str, _T], call: Call) -> _T:
    """The record whose id is in the path."""
    if call.argument not in records:
        raise not_found()
    return records[call.argument]


def paged(call: Call, records: Sequence[_T], show: Callable[[_T], object]) -> Response:
    """One page of records, by the query's `page[number]` and `page[size]`."""
    parameters = dict(call.parameters)
    size = _positive(parameters.get("page[size]", "20"), "page[size]", 100)
    number = _positive(parameters.get("page[number]", "1"), "page[number]", None)
    meta = {
        "page_number": number,
        "page_size": size,
        "total_pages": -(-len(records) // size),
        "total_results": len(records),
    }
    page = records[(number - 1) * size : number * size]
    return json_response({"data": [show(record) for record in page], "meta": meta})


def bad_parameter(name: str, problem: str) -> Exception:
    """The error of a query parameter."""
    return api_error(400, error_entry("10015", f"{name} {problem}", {"parameter": name}))


def timestamp(seconds: float) -> str:
    """Unix seconds in the API's form (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _positive(value: str, name: str, maximum: int | None) -> int:
    # The length first, as `int` takes long for thousands of digits and then raises.
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    if number < 1 or (maximum is not None and number > maximum):
        raise bad_parameter(name, f"must be a whole number from 1{f' to {maximum}' if maximum else ''}")
    return number


GRANT_TYPES = ("client_credentials", "authorization_code", "refresh_token")


def list_clients(state: State, call: Call) -> Response:
    """List the clients that match every filter, oldest first."""
    require_bearer(state, call, *READ_SCOPES)
    clients = list(state.clients.values())
    for name, value in call.parameters:
        if name.startswith("filter["):
            is_match = _filter(name, value)
            clients = [client for client in clients if is_match(client)]
    return paged(call, clients, partial(_client_record, state))


def create_client(state: State, call: Call) -> Response:
    """Create a client. The response is the only one that holds a confidential client's secret."""
    require_bearer(state, call, *WRITE_SCOPES)
    fields = _client_fields(state.settings)
    required = ("name", "allowed_scopes", "client_type", "allowed_grant_types")
    body = validated(call, {field.name: field.check for field in fields}, required)
    if "authorization_code" in body["allowed_grant_types"] and not body.get("redirect_uris"):
        raise _invalid_fields({"redirect_uris": "is required for the authorization_code grant"})
    client = _new_client(state, {field.attribute: body[field.name] for field in fields if field.name in body})
    return no_store_response({"data": _client_record(state, client) | {"client_secret": client.secret}}, 201)


def show_client(state: State, call: Call) -> Response:
    """Show one client."""
    require_bearer(state, call, *READ_SCOPES)
    return json_response({"data": _client_record(state, lookup(state.clients, call))})


def update_client(state: State, call: Call) -> Response:
    """Change the fields in the body and keep the others. The type of a client cannot be changed."""
    require_bearer(state, call, *WRITE_SCOPES)
    client = lookup(state.clients, call)
    fields = [field for field in _client_fields(state.settings) if field.attribute != "client_type"]
    body = validated(call, {field.name: field.check for field in fields})
    changes = {field.attribute: body[field.name] for field in fields if field.name in body}
    updated = attrs.evolve(client, **changes, updated_at=state.clock.now())
    state.clients[client.client_id] = updated
    return json_response({"data": _client_record(state, updated)})


def delete_client(state: State, call: Call) -> Response:
    """Delete a client with its grants and tokens."""
    require_bearer(state, call, *WRITE_SCOPES)
    state.delete_client(lookup(state.clients, call).client_id)
    return Response(204)


def _new_client(state: State, fields: Mapping[str, Any]) -> Client:
    now = state.clock.now()
    client = Client(
        client_id=secrets.token_hex(11),  # hex, as an id that begins with a dash would be an option of a command
        secret=secrets.token_urlsafe(32) if fields["client_type"] == "confidential" else None,
        created_at=now,
        updated_at=now,
        **fields,
    )
    state.clients[client.client_id] = client
    return client


def validated(call: Call, schema: Mapping[str, Check], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON body, checked against a schema that allows no other field."""
    try:
        body = call.json_object()
    except ValueError as error:
        raise api_error(400, error_entry("10015", str(error))) from None
    invalid = problems(body, schema, required)
    if invalid:
        raise _invalid_fields(invalid)
    return body


def _invalid_fields(reasons: Mapping[str, str]) -> Exception:
    return api_error(422, *(error_entry("10027", reason, {"pointer": f"/{name}"}) for name, reason in reasons.items()))


@attrs.frozen
class _Field:
    """A field of an OAuth client that requests set: its attribute in `Client`, and its name and rule in each API.

    `metadata` is the name in a dynamic registration (RFC 7591); without one the field cannot be registered.
    """

    attribute: str
    name: str
    check: Check
    metadata: str | None = None
    metadata_check: Check | None = None
    from_metadata: Callable[[Any], object] = lambda value: value


def _client_fields(settings: Settings) -> tuple[_Field, ...]:
    methods = one_of("none", "client_secret_basic", "client_secret_post")
    return (
        _Field("name", "name", text, "client_name"),
        _Field(
            "client_type", "client_type", one_of("confidential", "public"), "token_endpoint_auth_method", methods,
            lambda method: "public" if method == "none" else "confidential",
        ),
        _Field("grant_types", "allowed_grant_types", list_of(GRANT_TYPES), "grant_types"),
        _Field("scopes", "allowed_scopes", list_of(settings.scopes), "scope", scope_of(settings.scopes), str.split),
        _Field("redirect_uris", "redirect_uris", redirect_uris, "redirect_uris"),
        _Field("require_pkce", "require_pkce", boolean),
        _Field("logo_uri", "logo_uri", web_uri, "logo_uri"),
        _Field("policy_uri", "policy_uri", web_uri, "policy_uri"),
        _Field("tos_uri", "tos_uri", web_uri, "tos_uri"),
    )  # fmt: skip


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
        "org_id": state.org_id,
        "user_id": state.user_id,
        **{field.name: getattr(client, field.attribute) for field in _client_fields(state.settings)},
        "created_at": timestamp(client.created_at),
        "updated_at": timestamp(client.updated_at),
    }


def list_grants(state: State, call: Call) -> Response:
    """List the grants, oldest first."""
    require_bearer(state, call, *READ_SCOPES)
    return paged(call, list(state.grants.values()), _grant_record)


def show_grant(state: State, call: Call) -> Response:
    """Show one grant."""
    require_bearer(state, call, *READ_SCOPES)
    return json_response({"data": _grant_record(lookup(state.grants, call))})


def revoke_grant(state: State, call: Call) -> Response:
    """Revoke a grant; its tokens are no longer accepted. The response is the grant as it was."""
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
    """Register a client dynamically (RFC 7591), without credentials. No field is required; an unknown one is an error."""
    fields = {field.metadata: field for field in _client_fields(state.settings) if field.metadata}
    schema = {name: field.metadata_check or field.check for name, field in fields.items()}
    try:
        body = call.json_object()
    except ValueError as error:
        raise oauth_error("invalid_client_metadata", str(error)) from None
    invalid = problems(body, schema | {"response_types": list_of(("code",))})
    if invalid:
        code = "invalid_redirect_uri" if "redirect_uris" in invalid else "invalid_client_metadata"
        reasons = {name: [reason] for name, reason in invalid.items()}
        raise oauth_error(code, "The client metadata was invalid.", more={"invalid_fields": reasons})
    metadata: dict[str, object] = {
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": " ".join(state.settings.scopes),
        **body,
    }
    client = _new_client(
        state,
        {field.attribute: field.from_metadata(metadata[name]) for name, field in fields.items() if name in metadata},
    )
    issued: dict[str, object] = {"client_id": client.client_id, "client_id_issued_at": int(client.created_at)}
    return no_store_response(issued | ({"client_secret": client.secret} if client.secret else {}) | metadata, 201)
