"""Classes and clients under the tools that look at them: mocks, `inspect`, `help`, `hasattr`, type hints."""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import pickle
import pydoc
import re
import subprocess
import sys
import traceback
import typing
from collections.abc import Iterator
from unittest import mock

import pytest

from telnyx_oauth import AsyncTelnyx, ClientClosedError, MissingCredentialsError, Telnyx
from tests.operations import OPERATIONS

MODULES = ("", ".aiohttp", ".sandbox", ".testing", ".types", ".errors", ".tokens.events")
clients = pytest.mark.parametrize("kind", [Telnyx, AsyncTelnyx])


@pytest.fixture(autouse=True)
def no_identity(monkeypatch):
    for name in ("API_KEY", "CLIENT_ID", "CLIENT_SECRET", "BASE_URL"):
        monkeypatch.delenv(f"TELNYX_{name}", raising=False)


def public_objects() -> Iterator[tuple[str, object]]:
    for name in MODULES:
        module = importlib.import_module(f"telnyx_oauth{name}")
        for entry in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
            yield f"{module.__name__}.{entry}", getattr(module, entry)


def functions_of(kind: type) -> Iterator[tuple[str, object]]:
    for owner in kind.__mro__:
        if not owner.__module__.startswith("telnyx_oauth"):
            continue
        for name, value in vars(owner).items():
            if owner is not kind and name in vars(kind):
                continue  # another one stands in its place
            if isinstance(value, property):
                yield name, value.fget
            elif isinstance(value, functools.cached_property):
                yield name, value.func
            elif isinstance(value, (staticmethod, classmethod)):
                yield name, value.__func__
            else:
                yield name, value


HINTED = sorted(
    {
        f"{name}.{member}": function
        for name, value in public_objects()
        for member, function in ([("", value)] + (list(functions_of(value)) if inspect.isclass(value) else []))
        if inspect.isfunction(function) or inspect.isclass(function)
    }.items()
)


@pytest.mark.parametrize("function", [it for _, it in HINTED], ids=[name for name, _ in HINTED])
def test_every_public_annotation_can_be_evaluated(function):
    assert isinstance(typing.get_type_hints(function), dict)
    if inspect.isfunction(function):
        inspect.signature(function, eval_str=True)


@pytest.mark.parametrize("module", ["sync.authorization", "sync.tokens", "sync.validator", "resources.oauth"])
def test_so_can_those_of_what_a_client_gives(module):
    for value in vars(importlib.import_module(f"telnyx_oauth.{module}")).values():
        if inspect.isclass(value) and value.__module__ == f"telnyx_oauth.{module}":
            for _, function in functions_of(value):
                if inspect.isfunction(function):
                    typing.get_type_hints(function)


def test_a_blocking_method_is_said_to_return_what_it_returns():
    from telnyx_oauth.sync.authorization import Authorization
    from telnyx_oauth.sync.tokens import Tokens

    assert typing.get_type_hints(Authorization.tokens)["return"] is Tokens
    assert inspect.signature(Authorization.tokens).return_annotation is Tokens
    assert typing.get_type_hints(Telnyx.copy)["return"] is typing.Self


LISTS = [name for name in (operation.name for operation in OPERATIONS) if name.endswith(".list")]
RETURNS = {
    (Telnyx, ""): "{page}",
    (Telnyx, ".with_raw_response"): "APIResponse[{page}]",
    (Telnyx, ".with_streaming_response"): "Streamed[{page}]",
    (AsyncTelnyx, ""): "AsyncPaginator[{item}]",
    (AsyncTelnyx, ".with_raw_response"): "AsyncAPIResponse[{page}]",
    (AsyncTelnyx, ".with_streaming_response"): "AsyncStreamed[{page}]",
}


def plainly(kind: object) -> str:
    return re.sub(r"[a-z_]+\.", "", str(kind).replace("<class '", "").replace("'>", ""))


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(("kind", "view"), RETURNS, ids=str)
def test_what_lists_is_said_to_return_what_it_returns(kind, view, name):
    resource, _, method = name.rpartition(".")
    item = {"oauth_clients": "OAuthClient", "oauth_grants": "OAuthGrant"}[resource]
    page = f"{'Page' if kind is Telnyx else 'AsyncPage'}[{item}]"
    says = RETURNS[kind, view].format(page=page, item=item)
    for function in (reach(kind, f"{resource}{view}.{method}"), reach(kind(api_key="k"), f"{resource}{view}.{method}")):
        assert plainly(typing.get_type_hints(function)["return"]) == says
        assert plainly(inspect.signature(function).return_annotation) == says
        assert plainly(inspect.signature(function, eval_str=True).return_annotation) == says


@clients
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda it: it.name)
def test_raw_and_streamed_answers_are_said_to_be_such(kind, operation):
    resource, _, name = operation.name.rpartition(".")
    if name == "list":
        return
    plain = plainly(typing.get_type_hints(reach(kind, operation.name))["return"])
    word = "Async" if kind is AsyncTelnyx else ""
    for view, form in (("with_raw_response", f"{word}APIResponse"), ("with_streaming_response", f"{word}Streamed")):
        hints = typing.get_type_hints(reach(kind, f"{resource}.{view}.{name}"))
        assert plainly(hints["return"]) == f"{form}[{plain}]"


def test_looking_at_annotations_loads_what_they_name_and_making_a_client_does_not():
    code = "import sys, telnyx_oauth; telnyx_oauth.Telnyx(api_key='k'); print('telnyx_oauth.tokens.manager' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_name_that_a_package_does_not_have_is_an_attribute_error():
    for name in ("tokens", "validation", "blocking"):
        module = importlib.import_module(f"telnyx_oauth.{name}")
        with pytest.raises(AttributeError, match="nothing_of_the_kind"):
            _ = module.nothing_of_the_kind
        for entry in {"tokens": ["TokenHook", "TokenStore", "IssuedVerifier"], "validation": ["JWKSCache"]}.get(
            name, []
        ):
            assert getattr(module, entry)


# --- mocks


def reach(root: object, path: str) -> typing.Any:
    return functools.reduce(getattr, path.split("."), root)


@clients
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda it: it.name)
@pytest.mark.parametrize("view", ["", ".with_raw_response", ".with_streaming_response"])
def test_a_mock_of_a_client_has_every_operation_with_its_signature(kind, operation, view):
    resource, _, name = operation.name.rpartition(".")
    method = reach(mock.create_autospec(kind, instance=True), f"{resource}{view}.{name}")
    real = inspect.signature(reach(kind(api_key="k"), f"{resource}{view}.{name}"))
    assert list(inspect.signature(method).parameters.values()) == list(real.parameters.values())
    with pytest.raises(TypeError):
        method(no_such_parameter=1)


def test_a_mock_of_the_blocking_client_answers_as_it_is_told():
    client = mock.create_autospec(Telnyx, instance=True)
    client.oauth_clients.list.return_value = ["page"]
    client.tokens.get.return_value = "token"
    client.validator.validate.return_value = "access"
    assert client.oauth_clients.list(page_size=1) == ["page"]
    assert client.tokens.get(min_ttl=3) == "token"
    assert client.validator.validate("token", scopes=["a"]) == "access"
    client.oauth_clients.list.assert_called_once_with(page_size=1)
    with pytest.raises(AttributeError):
        _ = client.oauth_clients.no_such_operation


async def test_a_mock_of_the_async_client_is_awaited_where_the_client_is():
    client = mock.create_autospec(AsyncTelnyx, instance=True)
    client.oauth_clients.retrieve.return_value = "answer"
    client.tokens.get.return_value = "token"
    assert await client.oauth_clients.retrieve("id") == "answer"
    assert await client.tokens.get() == "token"
    client.oauth_clients.list.return_value = ["page"]
    assert client.oauth_clients.list(page_size=1) == ["page"]
    async with client:
        pass


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda it: it.name)
async def test_a_mock_of_a_view_is_used_as_the_view_is(operation):
    resource, _, name = operation.name.rpartition(".")
    given = {
        each.name: "x"
        for each in inspect.signature(reach(AsyncTelnyx(), operation.name)).parameters.values()
        if each.default is each.empty
    }
    client = mock.create_autospec(AsyncTelnyx, instance=True)
    raw = reach(client, f"{resource}.with_raw_response.{name}")
    raw.return_value = "answer"
    assert await raw(**given) == "answer"
    raw.assert_awaited_once_with(**given)
    streamed = reach(client, f"{resource}.with_streaming_response.{name}")
    streamed.return_value.__aenter__.return_value = "response"
    async with streamed(**given) as response:
        assert response == "response"
    streamed.assert_called_once_with(**given)
    client = mock.create_autospec(Telnyx, instance=True)
    raw = reach(client, f"{resource}.with_raw_response.{name}")
    raw.return_value = "answer"
    assert raw(**given) == "answer"
    streamed = reach(client, f"{resource}.with_streaming_response.{name}")
    streamed.return_value.__enter__.return_value = "response"
    with streamed(**given) as response:
        assert response == "response"


@clients
def test_a_client_class_can_be_patched(kind):
    with mock.patch(f"{__name__}.{kind.__name__}", autospec=True) as patched:
        client = globals()[kind.__name__](api_key="k")
        assert client is patched.return_value
        client.oauth_clients.list(page_size=1)
        with pytest.raises(TypeError):
            globals()[kind.__name__](no_such_option=1)


@clients
@pytest.mark.parametrize("name", ["well_known", "oauth", "oauth_clients", "oauth_grants", "tokens", "authorization"])
def test_one_member_of_a_client_class_can_be_patched(kind, name):
    before = inspect.getattr_static(kind, name)
    with mock.patch.object(kind, name) as patched:
        assert getattr(kind(api_key="k"), name) is patched
    with mock.patch.object(kind, name, autospec=True) as patched:
        assert dir(patched)
    assert inspect.getattr_static(kind, name) is before
    assert not isinstance(getattr(kind(api_key="k"), name), mock.Mock)


@clients
def test_one_method_of_a_resource_can_be_patched(kind):
    resource = kind.oauth_clients
    with mock.patch.object(resource, "list", autospec=True, return_value=["page"]) as listed:
        client = kind(api_key="k")
        assert client.oauth_clients.list(page_size=1) == ["page"]
        listed.assert_called_once_with(client.oauth_clients, page_size=1)


# --- hasattr, inspect, help


@clients
def test_what_a_client_has_is_seen_on_its_class(kind):
    client = kind(api_key="k", audience="a")
    names = ("well_known", "oauth", "oauth_clients", "oauth_grants", "tokens", "validator", "authorization")
    for name in names:
        assert hasattr(kind, name)
        assert isinstance(getattr(client, name), getattr(kind, name)), name
    for view in ("with_raw_response", "with_streaming_response"):
        assert isinstance(getattr(client.oauth, view), getattr(kind.oauth, view))


@clients
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("options", [{}, {"api_key": "k"}, {"client_id": "i", "client_secret": "s"}], ids=str)
async def test_a_client_can_be_looked_through(kind, closed, options):
    client = kind(**options)
    if closed:
        ended = client.close()
        if inspect.isawaitable(ended):
            await ended
    for name in dir(client):
        getattr(client, name, None)
    inspect.getmembers(client)
    mock.create_autospec(client)
    assert not hasattr(client, "validator")
    assert hasattr(client, "tokens") is (
        bool(options) and not (closed and kind is AsyncTelnyx and "api_key" in options)
    )


@clients
async def test_what_is_absent_says_why_and_guesses_at_nothing_else(kind):
    client = kind()
    with pytest.raises(MissingCredentialsError, match="TELNYX_API_KEY") as missing:
        _ = client.tokens
    with pytest.raises(ValueError, match="audience=") as unmeant:
        _ = client.validator
    keyed = AsyncTelnyx(api_key="k")
    await keyed.close()
    with pytest.raises(ClientClosedError) as closed:
        _ = keyed.tokens
    for info in (missing, unmeant, closed):
        assert isinstance(info.value, AttributeError)
        assert "Did you mean" not in "".join(traceback.format_exception(info.value))
        assert str(pickle.loads(pickle.dumps(info.value))) == str(info.value)


@clients
def test_help_and_signatures_say_what_calls_take(kind):
    told = pydoc.plain(pydoc.render_doc(kind))
    for word in ("api_key", "oauth_clients", "with_options", "manager of this client's tokens"):
        assert word in told
    for member in ("well_known", "oauth", "oauth_clients", "oauth_grants", "tokens", "authorization", "validator"):
        assert inspect.getattr_static(kind, member).__doc__ in told, member
    assert "page_size" in pydoc.plain(pydoc.render_doc(kind.oauth_clients))
    assert "api_key" in inspect.signature(kind).parameters
    out = io.StringIO()
    pydoc.Helper(output=out).help(kind.oauth_clients.create)
    assert "allowed_scopes" in out.getvalue()
