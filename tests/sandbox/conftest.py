"""A sandbox without a socket, and the API's schemas to check its responses against."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import jsonschema
import pytest
import referencing
import referencing.jsonschema
import yaml

import telnyx_oauth
from telnyx_oauth.messages import Request, RequestInfo, Response
from telnyx_oauth.sandbox import Sandbox

from .serve import serve

SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "openapi-oauth.yml"
FORMATS = jsonschema.FormatChecker(["uuid", "date-time"])
FORMATS.checks("uri")(lambda value: not isinstance(value, str) or bool(urlsplit(value).scheme))
Ask = Callable[..., Response]


@functools.cache
def specification() -> dict[str, Any] | None:
    if not SPEC.exists():
        return None
    # The C loader halves the time of the suite's start where it is there.
    return yaml.load(SPEC.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@functools.cache
def validator(pointer: str) -> Any:
    resource = referencing.Resource.from_contents(
        specification(), default_specification=referencing.jsonschema.DRAFT202012
    )
    registry = referencing.Registry().with_resource("api", resource)
    return jsonschema.Draft202012Validator({"$ref": f"api#{pointer}"}, registry=registry, format_checker=FORMATS)


def documented(method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
    """The path template and the operation of a request in the specification."""
    bare = path.removeprefix("/v2").replace("/oauth/clients", "/oauth_clients")
    if bare.startswith("/oauth/grants") and (bare, method) != ("/oauth/grants", "POST"):
        bare = bare.replace("/oauth/grants", "/oauth_grants")
    for template, operations in (specification() or {"paths": {}})["paths"].items():
        parts, names = template.split("/"), bare.split("/")
        if len(parts) == len(names) and all(a == b or a[:1] == "{" for a, b in zip(parts, names, strict=True)):
            return (template, operations[method.lower()]) if method.lower() in operations else None
    return None


def hold_to_schema(method: str, path: str, response: Response) -> bool:
    """Check a successful response against the API's schema. Returns False when there is no schema for it."""
    match = documented(method, path)
    if match is None or response.status_code >= 400:
        return False
    template, operation = match
    assert str(response.status_code) in operation["responses"], f"{method} {template} answered {response.status_code}"
    content = operation["responses"][str(response.status_code)].get("content", {})
    if "application/json" not in content:
        return False
    place = template.replace("~", "~0").replace("/", "~1")
    pointer = f"/paths/{place}/{method.lower()}/responses/{response.status_code}/content/application~1json/schema"
    validator(pointer).validate(json.loads(response.content))
    return True


@pytest.fixture
def documented_answer() -> Callable[[str, str, Response], bool]:
    """`hold_to_schema`; skips the test without the specification."""
    if specification() is None:
        pytest.skip(f"needs the API's specification at {SPEC.parent.parent.name}/spec beside the repository")
    return hold_to_schema


@pytest.fixture
def run() -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs a program in a new interpreter, with warnings as errors and this package."""
    environment = {**os.environ, "PYTHONPATH": str(Path(telnyx_oauth.__file__).parents[1])}
    return lambda code: subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


@pytest.fixture
def telnyx() -> Iterator[Sandbox]:
    return Sandbox()


@pytest.fixture
def ask(telnyx: Sandbox) -> Ask:
    """Send a request to the service and check a successful response against the API's schema, if there is one."""

    def send(
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | str | None = None,
        body: object = None,
        query: Mapping[str, str] | None = None,
        key: str | None = "",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        fields: dict[str, str] = {}
        content = b""
        if key is not None:
            fields["Authorization"] = f"Bearer {key or telnyx.api_key}"
        if body is not None:
            fields["Content-Type"] = "application/json"
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if form is not None:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
            content = (form if isinstance(form, str) else urlencode(form)).encode()
        root = telnyx.root_url if path.startswith(("/.", "/consent")) else telnyx.base_url
        url = f"{root}{path}{'?' + urlencode(query) if query else ''}"
        request = Request(method, url, RequestInfo(method, url), {**fields, **(headers or {})}, content)
        response = serve(telnyx, request)
        hold_to_schema(method, path, response)
        return response

    return send


@pytest.fixture
def own(telnyx: Sandbox) -> dict[str, str]:
    """The credentials of the sandbox's own client, for a form."""
    return {"client_id": telnyx.client_id, "client_secret": telnyx.client_secret}
