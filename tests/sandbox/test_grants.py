from __future__ import annotations

import pytest

EXAMPLE = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"


@pytest.fixture(params=["/oauth/grants", "/oauth_grants"])
def path(request):
    return request.param


def test_a_grant_is_listed_shown_and_revoked(ask, path):
    listed = ask("GET", path).json()
    assert [grant["id"] for grant in listed["data"]] == [EXAMPLE]
    assert listed["meta"]["total_results"] == 1
    shown = ask("GET", f"{path}/{EXAMPLE}").json()["data"]
    assert (shown["scopes"], shown["last_used_at"]) == (["admin"], None)
    assert ask("DELETE", f"{path}/{EXAMPLE}").json()["data"] == shown
    assert ask("GET", path).json()["data"] == []
    for method in ("GET", "DELETE"):
        assert ask(method, f"{path}/{EXAMPLE}").json()["errors"][0]["code"] == "10005"


def test_grants_are_paginated(ask, path):
    assert ask("GET", path, query={"page[size]": "1", "page[number]": "2"}).json()["data"] == []
    assert ask("GET", path, query={"page[size]": "0"}).status_code == 400


@pytest.mark.parametrize("place", ["", f"/{EXAMPLE}"])
def test_grants_need_credentials(ask, path, place):
    assert ask("GET", f"{path}{place}", key=None).status_code == 401
