from __future__ import annotations

import copy
import inspect
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from unittest import mock

import attrs
import pytest

from telnyx_oauth import types
from telnyx_oauth.types import (
    BaseModel,
    OAuthClient,
    OAuthClientCreateResponse,
    OAuthClientListResponse,
    OAuthGrantsResponse,
    OAuthOAuthPaginationMeta,
    OAuthRegisterResponse,
    OAuthRetrieveAuthorizeResponse,
    OAuthTokenResponse,
)

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
MODELS = sorted(
    (kind for kind in vars(types).values() if inspect.isclass(kind) and issubclass(kind, BaseModel)),
    key=lambda kind: kind.__name__,
)


def client(**changes) -> OAuthClient:
    fields = {
        "client_id": "c",
        "name": "n",
        "client_type": "confidential",
        "record_type": "oauth_client",
        "org_id": "o",
        "user_id": "u",
        "require_pkce": False,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return OAuthClient(**{**fields, **changes})


def token(**changes) -> OAuthTokenResponse:
    return OAuthTokenResponse(**{"access_token": "a", "token_type": "Bearer", "expires_in": 60, **changes})


def test_answers_are_equal_by_value_whatever_they_left_out():
    assert token() == token()
    assert token() != token(expires_in=61)
    assert token() != token(model_extra={"id_token": "i"})
    assert token() == token(_absent=("scope",))
    assert token() != OAuthGrantsResponse(redirect_uri="https://example.com")
    assert token() == mock.ANY
    with pytest.raises(TypeError, match="unhashable"):
        hash(token())


def test_answers_cannot_be_changed_and_a_changed_copy_is_easily_made():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        token().scope = "admin"
    assert attrs.evolve(token(), scope="admin").scope == "admin"


def test_what_a_changed_copy_was_given_is_in_its_dictionary():
    changed = attrs.evolve(token(_absent=("refresh_token", "scope")), scope="admin")
    assert changed.to_dict() == {"access_token": "a", "token_type": "Bearer", "expires_in": 60, "scope": "admin"}
    assert changed.model_fields_set == {"access_token", "token_type", "expires_in", "scope"}


def test_members_without_a_field_can_be_read_as_attributes():
    it = token(model_extra={"id_token": "i", "items": [1]})
    assert (it.id_token, it.items) == ("i", [1])
    assert it.model_fields_set >= {"id_token", "items"}
    with pytest.raises(AttributeError, match="'OAuthTokenResponse' object has no attribute 'nothing'"):
        _ = it.nothing


def test_a_member_cannot_take_the_place_of_a_method_or_of_a_protocol_of_pythons():
    it = token(model_extra={"to_dict": "x", "model_extra": "y", "__deepcopy__": "z", "__len__": "w"})
    assert it.to_dict()["to_dict"] == "x"
    assert it.to_dict()["model_extra"] == "y"
    assert copy.deepcopy(it) == it
    with pytest.raises(AttributeError):
        _ = it.__len__


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, {"page_number": 1, "page_size": None, "new": [None]}),
        ({"exclude_none": True}, {"page_number": 1, "new": [None]}),
        (
            {"exclude_unset": False},
            {"page_number": 1, "page_size": None, "total_pages": None, "total_results": None, "new": [None]},
        ),
        ({"exclude_unset": False, "exclude_none": True}, {"page_number": 1, "new": [None]}),
    ],
)
def test_a_dictionary_tells_null_from_absent_and_can_leave_out_either(options, expected):
    meta = OAuthOAuthPaginationMeta(
        page_number=1, model_extra={"new": [None]}, _absent=("total_pages", "total_results")
    )
    assert meta.to_dict(**options) == expected
    assert json.loads(meta.to_json(**options)) == expected
    listing = OAuthClientListResponse(data=[], meta=meta)
    assert listing.to_dict(**options) == {"data": [], "meta": expected}, "options reach down"


def test_a_dictionary_goes_all_the_way_down():
    it = OAuthClientListResponse(data=[client(client_secret="s"), client(client_id="d")])
    told = it.to_dict()
    assert [each["client_id"] for each in told["data"]] == ["c", "d"]
    assert told["data"][0]["client_secret"] == "s"
    assert told["data"][0]["created_at"] is NOON


@pytest.mark.parametrize(
    "time, text",
    [
        (NOON, "2026-01-02T12:00:00Z"),
        (NOON.replace(microsecond=500), "2026-01-02T12:00:00.000500Z"),
        (NOON.replace(tzinfo=timezone(timedelta(hours=-5, minutes=-30))), "2026-01-02T12:00:00-05:30"),
        (NOON.replace(tzinfo=timezone(timedelta(seconds=30))), "2026-01-02T12:00:00+00:00:30"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "0001-01-01T00:00:00+14:00"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), "9999-12-31T23:59:59.999999-12:00"),
    ],
)
def test_json_writes_a_time_with_its_own_offset(time, text):
    it = client(created_at=time)
    assert it.to_dict(mode="json")["created_at"] == text
    assert json.loads(it.to_json())["created_at"] == text


def test_json_is_readable_or_compact_and_keeps_every_script():
    it = OAuthGrantsResponse(redirect_uri="https://example.com/é")
    assert it.to_json() == '{\n  "redirect_uri": "https://example.com/é"\n}'
    assert it.to_json(indent=None) == '{"redirect_uri": "https://example.com/é"}'


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_answers_can_be_pickled_and_copied(duplicate):
    it = OAuthClientCreateResponse(data=client(client_secret="s", model_extra={"new": 1}, _absent=("logo_uri",)))
    twin = duplicate(it)
    assert twin == it
    assert twin.to_dict() == it.to_dict()
    assert twin.data.new == 1


def test_no_answer_shows_its_secrets(secrets):
    shown = [
        token(access_token=secrets.access_token, refresh_token=secrets.refresh_token),
        token(model_extra={"id_token": secrets.access_token}),
        OAuthRegisterResponse(client_id="c", client_id_issued_at=1, client_secret=secrets.client_secret),
        OAuthClientCreateResponse(data=client(client_secret=secrets.client_secret)),
        OAuthClientListResponse(data=[client(client_secret=secrets.client_secret)]),
        OAuthGrantsResponse(redirect_uri=f"https://example.com/callback?code={secrets.code}"),
    ]
    assert secrets.found_in(*shown) == []
    assert "client_id='c'" in repr(shown[3])


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_each_model_says_what_it_is_and_can_be_made_of_its_required_fields(kind):
    assert kind.__doc__
    required = [field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING]
    it = kind(**dict.fromkeys(required, ""))
    assert it.model_extra == {}
    assert repr(it).startswith(f"{kind.__name__}(")


def test_an_authorization_is_its_page_or_its_address():
    page = OAuthRetrieveAuthorizeResponse(url="https://telnyx.test/authorize", html="<html>")
    redirect = OAuthRetrieveAuthorizeResponse(url="https://telnyx.test/consent?t=1")
    assert (page, page.html, page.url) == ("<html>", "<html>", "https://telnyx.test/authorize")
    assert (redirect, redirect.html, redirect.url) == ("https://telnyx.test/consent?t=1", None, redirect)
    assert OAuthRetrieveAuthorizeResponse(url="u", html="") == ""


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_an_authorization_can_be_pickled_and_copied(duplicate):
    it = OAuthRetrieveAuthorizeResponse(url="u", html="h")
    twin = duplicate(it)
    assert type(twin) is type(it)
    assert (twin, twin.url, twin.html) == ("h", "u", "h")


def test_an_authorize_answer_shows_neither_code_nor_consent_token():
    answer = types.OAuthRetrieveAuthorizeResponse(url="https://h/consent?consent_token=planted")
    assert repr(answer) == "<OAuthRetrieveAuthorizeResponse https://h/consent>"
    assert str(answer) == "https://h/consent?consent_token=planted"
