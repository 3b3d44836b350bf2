"""Every request that the clients send, held to the API's own description of itself."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import pytest
import referencing
import referencing.jsonschema
import yaml

from telnyx_oauth.messages import Request
from telnyx_oauth.protocol.credentials import Credentials
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.transport.engine import Shared
from tests.operations import EXAMPLE, OPERATIONS, Operation
from tests.wire import Script, StaticToken, resources

SPEC = Path(__file__).resolve().parents[1].parent / "shared" / "spec"
DOCUMENTED = "openapi-oauth.yml"
ALIASES = "openapi-oauth-aliases.yml"
FORMATS = jsonschema.FormatChecker(["uuid"])
FORMATS.checks("uri")(lambda value: not isinstance(value, str) or bool(urlsplit(value).scheme))
NOT_IN_THE_SPECIFICATION = {"resource"}  # RFC 8707, which Telnyx's own code sends
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def specification(name: str) -> dict[str, Any]:
    if not (SPEC / name).exists():
        pytest.skip(f"needs the API's description {name}, which is not beside this checkout")
    return yaml.load((SPEC / name).read_text(encoding="utf-8"), Loader=LOADER)


def validator(name: str, schema: Mapping[str, Any]) -> Any:
    resource = referencing.Resource.from_contents(
        specification(name), default_specification=referencing.jsonschema.DRAFT202012
    )
    registry = referencing.Registry().with_resource("api", resource)
    if "$ref" in schema:
        schema = {"$ref": f"api{schema['$ref']}"}
    return jsonschema.Draft202012Validator(schema, registry=registry, format_checker=FORMATS)


def described(name: str, method: str, path: str) -> tuple[str, dict[str, Any]]:
    for template, operations in specification(name)["paths"].items():
        parts, wanted = template.split("/"), path.split("/")
        fits = len(parts) == len(wanted) and all(a == b or a[:1] == "{" for a, b in zip(parts, wanted, strict=True))
        if fits and method.lower() in operations:
            return template, operations[method.lower()]
    raise AssertionError(f"{name} knows of no {method} {path}")


def typed(text: str, schema: Mapping[str, Any]) -> object:
    """A query's text as the JSON value that its schema speaks of."""
    return json.loads(text) if schema.get("type") in ("integer", "boolean") else text


def hold(name: str, request: Request) -> str:
    """Fail unless the request is one that the API describes. Gives the operation's id."""
    parts = urlsplit(request.url)
    template, operation = described(name, request.method, parts.path.removeprefix("/v2"))
    assert parts.path.startswith("/v2/") or template.startswith("/.well-known/")
    hold_query(name, operation, parts.query)
    body = operation.get("requestBody")
    if body is None:
        assert request.content == b""
        assert "Content-Type" not in request.headers
    else:
        kind = request.headers["Content-Type"]
        schema = body["content"][kind]["schema"]
        value = (
            json.loads(request.content)
            if kind == "application/json"
            else dict(parse_qsl(request.content.decode(), strict_parsing=True))
        )
        validator(name, schema).validate(value)
    hold_authorization(name, operation, request)
    return operation["operationId"]


def hold_query(name: str, operation: Mapping[str, Any], query: str) -> None:
    parameters = {each["name"]: each for each in operation.get("parameters", ()) if each["in"] == "query"}
    given = dict(parse_qsl(query, keep_blank_values=True))
    assert {each for each, told in parameters.items() if told.get("required")} <= given.keys()
    for each, text in given.items():
        if each in parameters:
            validator(name, parameters[each]["schema"]).validate(typed(text, parameters[each]["schema"]))
        else:
            assert each in NOT_IN_THE_SPECIFICATION


def hold_authorization(name: str, operation: Mapping[str, Any], request: Request) -> None:
    schemes = [next(iter(each), None) for each in operation.get("security", specification(name)["security"])]
    sent = request.headers.get("Authorization", "").partition(" ")[0]
    allowed = {"bearerAuth": "Bearer", "oauthClientAuth": "Basic", None: ""}
    assert sent in ({allowed[scheme] for scheme in schemes} or {""})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("full", [False, True], ids=["minimal", "full"])
async def test_every_request_is_one_that_the_api_describes(operation: Operation, full: bool):
    """In both forms of its path, where it has two."""
    send = Script(operation.response)
    identity = Credentials("KEY", "id", "secret", StaticToken("token"))
    await operation.call(resources(send, identity), full=full)
    underscore = {"/oauth/clients": "/oauth_clients", "/oauth/grants": "/oauth_grants"}
    await operation.call(resources(send, identity, shared=Shared(underscore)), full=full)
    documented, alias = send.requests
    if operation.name.startswith(("oauth_clients.", "oauth_grants.")):
        assert urlsplit(documented.url).path == operation.path
        assert hold(ALIASES, documented) == hold(DOCUMENTED, alias)
    else:
        assert documented.url == alias.url
        hold(DOCUMENTED, documented)


def test_every_operation_that_the_api_describes_is_there():
    paths = specification(DOCUMENTED)["paths"]
    theirs = {
        operation["operationId"] for each in paths.values() for name, operation in each.items() if name != "servers"
    }
    assert len(OPERATIONS) == len(theirs) == 17


def test_every_parameter_that_the_api_describes_is_there():
    for operation in OPERATIONS:
        bare = operation.path.removeprefix("/v2")
        path = bare.replace("/oauth/clients", "/oauth_clients")
        if operation.name.startswith("oauth_grants."):
            path = bare.replace("/oauth/grants", "/oauth_grants")
        _, described_operation = described(DOCUMENTED, operation.method, path)
        query = {each["name"] for each in described_operation.get("parameters", ()) if each["in"] == "query"}
        assert query == operation.query.keys() - NOT_IN_THE_SPECIFICATION, operation.name
        body = described_operation.get("requestBody", {}).get("content", {})
        for content in body.values():
            schema = specification(DOCUMENTED)["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
            ours = (operation.json or operation.form or {}).keys() - NOT_IN_THE_SPECIFICATION
            assert schema["properties"].keys() == ours, operation.name


def test_what_travels_to_the_sandbox_is_described_too():
    """The same over real connections, by a blocking client, with the sandbox judging each request."""
    with Sandbox() as telnyx, telnyx.client() as client:
        client.well_known.retrieve_authorization_server_metadata()
        client.well_known.retrieve_protected_resource_metadata()
        client.oauth.retrieve_authorize(
            client_id=telnyx.client_id, redirect_uri="https://example.com/callback", response_type="code"
        )
        client.oauth.retrieve("consent_token")
        client.oauth.grants(allowed=False, consent_token="consent_token")
        client.oauth.introspect(token="token")
        client.oauth.retrieve_jwks()
        client.oauth.register(redirect_uris=["https://example.com"])
        client.oauth.token(grant_type="client_credentials")
        client.oauth_clients.list(filter_verified=True)
        created = client.oauth_clients.create(
            name="n", client_type="confidential", allowed_grant_types=["client_credentials"], allowed_scopes=["admin"]
        )
        client.oauth_clients.update(created.data.client_id, name="m")
        client.oauth_clients.retrieve(created.data.client_id)
        client.oauth_clients.delete(created.data.client_id)
        client.oauth_grants.list()
        client.oauth_grants.retrieve(EXAMPLE)
        client.oauth_grants.delete(EXAMPLE)
    seen = set()
    for entry in telnyx.requests:
        assert entry.status is not None
        assert entry.status < 400
        url = f"{telnyx.root_url}{entry.path}{'?' if entry.query else ''}{entry.query}"
        slash = entry.path.startswith(("/v2/oauth/clients", "/v2/oauth/grants")) and (entry.method, entry.path) != (
            "POST",
            "/v2/oauth/grants",
        )
        request = Request(entry.method, url, None, entry.headers, entry.content)
        seen.add(hold(ALIASES if slash else DOCUMENTED, request))
    assert len(seen) == 17
