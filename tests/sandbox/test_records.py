from __future__ import annotations

import pytest

from telnyx_oauth.sandbox import LIVE_SCOPES

NEW = {
    "name": "My OAuth client",
    "client_type": "public",
    "allowed_grant_types": ["client_credentials"],
    "allowed_scopes": ["admin"],
}


@pytest.fixture(params=["/oauth/clients", "/oauth_clients"])
def path(request):
    return request.param


def test_a_client_is_created_shown_changed_and_deleted(ask, path):
    created = ask("POST", path, body={**NEW, "logo_uri": "https://app.example/logo.png"})
    assert created.status_code == 201
    client = created.json()["data"]
    place = f"{path}/{client['client_id']}"
    shown = ask("GET", place).json()["data"]
    assert shown["name"] == "My OAuth client"
    assert shown["logo_uri"] == "https://app.example/logo.png"
    changed = ask("PUT", place, body={"name": "Renamed", "require_pkce": True}).json()["data"]
    assert (changed["name"], changed["require_pkce"], changed["allowed_scopes"]) == ("Renamed", True, ["admin"])
    gone = ask("DELETE", place)
    assert (gone.status_code, gone.content) == (204, b"")
    assert ask("GET", place).status_code == 404


def test_a_confidential_clients_secret_is_in_the_answer_that_creates_it_and_nowhere_else(ask):
    confidential = ask("POST", "/oauth/clients", body={**NEW, "client_type": "confidential"}).json()["data"]
    assert len(confidential["client_secret"]) > 30
    assert "client_secret" not in ask("GET", f"/oauth/clients/{confidential['client_id']}").json()["data"]
    assert ask("POST", "/oauth/clients", body=NEW).json()["data"]["client_secret"] is None


def test_an_update_without_fields_changes_only_the_time(ask, telnyx):
    before = ask("GET", "/oauth/clients/client_id").json()["data"]
    telnyx.clock.advance(60)
    after = ask("PUT", "/oauth/clients/client_id").json()["data"]
    assert after["updated_at"] > before["updated_at"]
    assert {**after, "updated_at": None} == {**before, "updated_at": None}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": " "}, "/name"),
        ({"name": 7}, "/name"),
        ({"client_type": "secret"}, "/client_type"),
        ({"allowed_grant_types": ["implicit"]}, "/allowed_grant_types"),
        ({"allowed_grant_types": "client_credentials"}, "/allowed_grant_types"),
        ({"allowed_scopes": ["everything"]}, "/allowed_scopes"),
        ({"allowed_scopes": [1]}, "/allowed_scopes"),
        ({"require_pkce": "true"}, "/require_pkce"),
        ({"logo_uri": "javascript:alert(1)"}, "/logo_uri"),
        ({"tos_uri": "http://[broken"}, "/tos_uri"),
        ({"redirect_uris": ["/relative"]}, "/redirect_uris"),
        ({"redirect_uris": ["https://app.example/#fragment"]}, "/redirect_uris"),
        ({"redirect_uris": ["https:///nowhere"]}, "/redirect_uris"),
        ({"redirect_uris": ["https://app.example/a b"]}, "/redirect_uris"),
        ({"redirect_uris": "https://app.example"}, "/redirect_uris"),
        ({"allowed_grant_types": ["authorization_code"]}, "/redirect_uris"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_body_that_does_not_fit_the_closed_schema_is_422_with_a_pointer(ask, change, pointer):
    refused = ask("POST", "/oauth/clients", body=NEW | change)
    assert refused.status_code == 422
    assert [(error["code"], error["source"]["pointer"]) for error in refused.json()["errors"]] == [("10027", pointer)]


def test_every_missing_field_is_named_at_once(ask):
    pointers = {error["source"]["pointer"] for error in ask("POST", "/oauth/clients", body={}).json()["errors"]}
    assert pointers == {"/name", "/client_type", "/allowed_grant_types", "/allowed_scopes"}


def test_the_type_of_a_client_cannot_be_changed(ask):
    refused = ask("PUT", "/oauth/clients/client_id", body={"client_type": "confidential"})
    assert refused.json()["errors"][0]["source"] == {"pointer": "/client_type"}


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_400(ask, body):
    refused = ask("POST", "/oauth/clients", body=body)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "10015")


def test_a_body_of_another_media_type_is_400(ask):
    assert ask("POST", "/oauth/clients", form={"name": "x"}).status_code == 400


def test_the_newer_service_refuses_admin(ask, telnyx):
    telnyx.scopes = LIVE_SCOPES
    refused = ask("POST", "/oauth/clients", body=NEW)
    assert "must be a subset of account_management.read, account_management.write" in refused.text()
    assert len(LIVE_SCOPES) == 32


def test_clients_are_paginated(ask):
    for number in range(7):
        ask("POST", "/oauth/clients", body=NEW | {"name": f"client {number}"})
    query = {"filter[name][contains]": "CLIENT ", "page[size]": "3"}
    pages = [ask("GET", "/oauth/clients", query=query | {"page[number]": str(n)}).json() for n in (1, 2, 3, 4)]
    assert [len(page["data"]) for page in pages] == [3, 3, 1, 0]
    assert pages[2]["meta"] == {"page_number": 3, "page_size": 3, "total_pages": 3, "total_results": 7}
    assert ask("GET", "/oauth/clients").json()["meta"]["page_size"] == 20


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"filter[client_type]": "confidential"}, ["Sandbox client"]),
        ({"filter[client_type]": "public"}, ["Example application", "My OAuth client"]),
        ({"filter[verified]": "true"}, ["Sandbox client"]),
        ({"filter[verified]": "false"}, ["Example application", "My OAuth client"]),
        ({"filter[allowed_grant_types][contains]": "client_credentials"}, ["Sandbox client"]),
        ({"filter[name]": "My OAuth client"}, ["My OAuth client"]),
        ({"filter[name]": "My"}, []),
        ({"filter[name][contains]": "oauth"}, ["My OAuth client"]),
        ({"filter[client_id]": "client_id"}, ["Example application"]),
        ({"filter[client_type]": "public", "filter[name][contains]": "app"}, ["Example application"]),
        ({"trace": "me"}, ["Sandbox client", "Example application", "My OAuth client"]),
    ],
)
def test_filters_select_clients(ask, query, names):
    assert [client["name"] for client in ask("GET", "/oauth/clients", query=query).json()["data"]] == names


@pytest.mark.parametrize(
    "query",
    [
        {"page[size]": "0"},
        {"page[size]": "101"},
        {"page[size]": "-1"},
        {"page[size]": "1.0"},
        {"page[number]": "0"},
        {"page[number]": ""},
        {"page[number]": "9" * 20},
        {"filter[client_type]": "other"},
        {"filter[verified]": "yes"},
        {"filter[allowed_grant_types][contains]": "implicit"},
        {"filter[colour]": "red"},
    ],
)
def test_a_parameter_out_of_range_is_400_and_named(ask, query):
    refused = ask("GET", "/oauth/clients", query=query)
    assert refused.status_code == 400
    error = refused.json()["errors"][0]
    assert (error["code"], error["source"]) == ("10015", {"parameter": next(iter(query))})


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PUT", {}), ("DELETE", None)])
def test_an_unknown_client_is_404_with_telnyxs_code(ask, path, method, body):
    missing = ask(method, f"{path}/nobody", body=body)
    assert (missing.status_code, missing.json()["errors"][0]["code"]) == (404, "10005")


def test_deleting_a_client_ends_its_grants_and_tokens(ask, telnyx, own):
    token = ask("POST", "/oauth/token", form={"grant_type": "client_credentials", **own}).json()["access_token"]
    assert ask("GET", "/oauth/grants").json()["data"]
    ask("DELETE", f"/oauth/clients/{telnyx.client_id}")
    assert ask("GET", "/oauth/grants").json()["data"] == []
    assert ask("GET", "/oauth/clients", key=token).status_code == 401


@pytest.mark.parametrize(
    ("slash", "underscore", "found"), [(False, True, (404, 200)), (True, False, (200, 404)), (False, False, (404, 404))]
)
def test_either_form_of_the_paths_can_be_switched_off(ask, telnyx, slash, underscore, found):
    telnyx.slash_paths, telnyx.underscore_paths = slash, underscore
    for record in ("clients", "grants"):
        answers = [ask("GET", f"/{form}{record}") for form in ("oauth/", "oauth_")]
        assert tuple(answer.status_code for answer in answers) == found
        assert all(answer.json()["errors"][0]["code"] == "10005" for answer in answers if answer.status_code == 404)
    # Making a grant has no other form.
    body = {"allowed": True, "consent_token": "consent_token"}
    assert ask("POST", "/oauth/grants", body=body).status_code == 200
