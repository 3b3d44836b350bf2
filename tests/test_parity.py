"""Each blocking twin is its async half: the same names, signatures and docstrings."""

from __future__ import annotations

import inspect
from functools import cached_property

import pytest

from telnyx_oauth import AsyncTelnyx, Telnyx
from telnyx_oauth.blocking.rows import APIResponse, Page, Streamed
from telnyx_oauth.resources import oauth, oauth_clients, oauth_grants, well_known
from telnyx_oauth.sync import client as sync
from telnyx_oauth.sync.authorization import Authorization
from telnyx_oauth.sync.tokens import Tokens
from telnyx_oauth.sync.validator import Validator
from telnyx_oauth.tokens.authorization_code import AuthorizationFlow
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.transport.pagination import AsyncPage
from telnyx_oauth.transport.responses import AsyncAPIResponse, AsyncStreamed
from telnyx_oauth.validation.validator import TokenValidator
from tests.operations import OPERATIONS

VIEWS = [
    (getattr(module, f"Async{name}{view}"), getattr(sync, f"{name}{view}"))
    for module, name in (
        (well_known, "WellKnown"),
        (oauth, "OAuth"),
        (oauth_clients, "OAuthClients"),
        (oauth_grants, "OAuthGrants"),
    )
    for view in ("", "WithRawResponse", "WithStreamingResponse")
]
PAIRS = [
    (AsyncTelnyx, Telnyx),
    *VIEWS,
    (AsyncPage, Page),
    (AsyncAPIResponse, APIResponse),
    (AsyncStreamed, Streamed),
    (TokenManager, Tokens),
    (TokenValidator, Validator),
    (AuthorizationFlow, Authorization),
]
WITHOUT_A_TWIN = {
    AsyncTelnyx: {"is_copy"},  # what the blocking half asks of the other
    AsyncAPIResponse: {"is_here"},
    TokenManager: {"aclose"},  # the client that owns it closes it
    TokenValidator: {"aclose"},
    AuthorizationFlow: {"aclose"},
}
OURS_ALONE = {Tokens: {"manager"}}  # what a client is made with to call under these tokens


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def callable_of(kind: type, name: str) -> object:
    value = inspect.getattr_static(kind, name)
    if isinstance(value, property):
        return value.fget
    return value.func if isinstance(value, cached_property) else getattr(kind, name)


def parameters(function: object) -> list[inspect.Parameter]:
    found = list(inspect.signature(function).parameters.values())
    return found[1:] if found and found[0].name in ("self", "view", "twin") else found


pairs = pytest.mark.parametrize("theirs, ours", PAIRS, ids=lambda kind: kind.__name__)


@pairs
def test_each_public_name_is_there(theirs, ours):
    expected = (public(theirs) - WITHOUT_A_TWIN.get(theirs, set())) | OURS_ALONE.get(ours, set())
    assert public(ours) == expected


@pairs
def test_each_signature_is_the_same(theirs, ours):
    for name in sorted(public(theirs) & public(ours)):
        ours_is, theirs_is = callable_of(ours, name), callable_of(theirs, name)
        if callable(theirs_is) and not isinstance(inspect.getattr_static(theirs, name), (property, cached_property)):
            assert parameters(ours_is) == parameters(theirs_is), name
    assert parameters(Telnyx.__init__) == parameters(AsyncTelnyx.__init__)


@pairs
def test_each_docstring_is_the_same(theirs, ours):
    for name in sorted(public(theirs) & public(ours)):
        if inspect.ismemberdescriptor(inspect.getattr_static(theirs, name)):
            continue  # a slot, which has no docstring
        said = inspect.getdoc(callable_of(theirs, name))
        assert said, name
        if name != "close":  # here a thread ends too
            assert inspect.getdoc(callable_of(ours, name)) == said, name


def test_each_operation_is_a_row_in_every_view():
    for operation in OPERATIONS:
        name = operation.name.rpartition(".")[2]
        resource = {"oauth": "OAuth", "well_known": "WellKnown", "oauth_clients": "OAuthClients"}.get(
            operation.name.partition(".")[0], "OAuthGrants"
        )
        for view in ("", "WithRawResponse", "WithStreamingResponse"):
            owner = getattr(sync, f"{resource}{view}")
            row = inspect.getattr_static(owner, name)
            assert inspect.isfunction(row)
            function = getattr(owner, name)
            assert function.__name__ == name
            assert function.__module__ == sync.__name__
            assert function.__qualname__.endswith(f"Rows.{name}")


def test_every_client_has_every_resource():
    for client in (Telnyx(), AsyncTelnyx()):
        for resource in (client.well_known, client.oauth, client.oauth_clients, client.oauth_grants):
            assert public(type(resource)) == public(type(resource.with_raw_response)) | {
                "with_raw_response",
                "with_streaming_response",
            }


def test_a_row_looked_up_on_its_class_takes_the_twin_as_its_first_argument():
    client = Telnyx(base_url="http://127.0.0.1:1")
    with pytest.raises(TypeError):
        Telnyx.get(client)
    client.close()
    view = AsyncTelnyx().oauth.with_raw_response
    assert inspect.signature(type(view).token) == inspect.signature(oauth.AsyncOAuth.token)
