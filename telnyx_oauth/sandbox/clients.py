"""OAuth clients: list, create, show, update, delete."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, cast

import attrs

from ..messages import Response
from .access import READ_SCOPES, WRITE_SCOPES, require_bearer
from .answers import answer, fault, refused, secret_answer
from .calls import Call, Check, flag, one_of, problems, redirect_uris, some_of, text, web_uri
from .listing import bad_parameter, known, moment, paged
from .state import Client, State

GRANT_TYPES = ("client_credentials", "authorization_code", "refresh_token")


def list_clients(state: State, call: Call) -> Response:
    """The clients that pass every filter, oldest first."""
    require_bearer(state, call, *READ_SCOPES)
    chosen = list(state.clients.values())
    for name, value in call.parameters:
        if name.startswith("filter["):
            keep = _filter(name, value)
            chosen = [client for client in chosen if keep(client)]
    return paged(call, [_shown(state, client) for client in chosen])


def create_client(state: State, call: Call) -> Response:
    """A new client. A confidential one's secret is in this answer and nowhere else."""
    require_bearer(state, call, *WRITE_SCOPES)
    required = ("name", "allowed_scopes", "client_type", "allowed_grant_types")
    schema = _schema(state) | {"client_type": one_of("confidential", "public")}
    body = validated(call, schema, required)
    if "authorization_code" in body["allowed_grant_types"] and not body.get("redirect_uris"):
        raise _unprocessable({"redirect_uris": "is required for the authorization_code grant"})
    client = new_client(state, **_fields(body), confidential=body["client_type"] == "confidential")
    return secret_answer({"data": _shown(state, client) | {"client_secret": client.secret}}, 201)


def show_client(state: State, call: Call) -> Response:
    """One client."""
    require_bearer(state, call, *READ_SCOPES)
    return answer({"data": _shown(state, known(state.clients, call))})


def update_client(state: State, call: Call) -> Response:
    """Change the fields that are given and keep the others."""
    require_bearer(state, call, *WRITE_SCOPES)
    client = known(state.clients, call)
    changed = attrs.evolve(client, **_fields(validated(call, _schema(state))), updated_at=state.clock.now())
    state.clients[client.client_id] = changed
    return answer({"data": _shown(state, changed)})


def delete_client(state: State, call: Call) -> Response:
    """Delete a client, and with it everything that was issued to it."""
    require_bearer(state, call, *WRITE_SCOPES)
    state.forget_client(known(state.clients, call).client_id)
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
        raise refused(400, fault("10015", str(error))) from None
    wrong = problems(body, schema, required)
    if wrong:
        raise _unprocessable(wrong)
    return body


def _unprocessable(wrong: Mapping[str, str]) -> Exception:
    return refused(422, *(fault("10027", why, {"pointer": f"/{name}"}) for name, why in wrong.items()))


def _schema(state: State) -> dict[str, Check]:
    return {
        "name": text,
        "allowed_scopes": some_of(state.settings.scopes),
        "allowed_grant_types": some_of(GRANT_TYPES),
        "redirect_uris": redirect_uris,
        "require_pkce": flag,
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


def _shown(state: State, client: Client) -> dict[str, object]:
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
        "created_at": moment(client.created_at),
        "updated_at": moment(client.updated_at),
    }
