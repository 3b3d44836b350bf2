from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

ORIGIN = "http://127.0.0.1"


class Page(HTMLParser):
    """A page as a browser reads it: the fields of its form, its buttons, all that it would load or run."""

    def __init__(self, response):
        super().__init__()
        self.status = response.status_code
        self.cookie = response.headers.get("Set-Cookie", "").partition(";")[0]
        self.text = response.text()
        self.fields, self.buttons, self.links, self.fetched, self.stack = {}, [], [], [], []
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "input":
            self.fields[given["name"]] = given["value"]
        if tag == "button":
            self.buttons.append((given["name"], given["value"]))
        if tag == "a":
            self.links.append(given["href"])
        self.fetched += [given[name] for name in ("src", "srcset", "background", "onclick") if name in given]
        if tag in ("script", "link", "iframe", "img"):
            self.fetched.append(tag)


@pytest.fixture
def visit(ask):
    return lambda token="consent_token", cookie="": Page(
        ask("GET", "/consent", key=None, query={"consent_token": token}, headers={"Cookie": cookie} if cookie else {})
    )


@pytest.fixture
def post(ask):
    def posted(page, decision="allow", *, cookie=None, headers=None, **changes):
        fields = {name: value for name, value in (page.fields | {"decision": decision} | changes).items() if value}
        given = {"Cookie": page.cookie if cookie is None else cookie, "Host": "127.0.0.1", "Origin": ORIGIN}
        return ask("POST", "/consent", key=None, form=fields, headers=given | (headers or {}))

    return posted


def test_the_page_names_the_client_the_scopes_and_the_redirect(visit):
    page = visit()
    assert page.status == 200
    assert "Allow <bdi>Example application</bdi> to use your Telnyx account?" in page.text
    assert "Full access" in page.text
    assert "See and change everything in your Telnyx account." in page.text
    assert "you are sent to https://example.com." in page.text
    assert "has not verified" in page.text
    assert page.buttons == [("decision", "allow"), ("decision", "deny")]


def test_the_page_loads_nothing_and_runs_no_script(ask, visit):
    assert visit().fetched == []
    headers = ask("GET", "/consent", key=None, query={"consent_token": "consent_token"}).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'self' https: http:;" in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["Cache-Control"], headers["X-Frame-Options"]) == ("no-store", "DENY")
    assert "HttpOnly; SameSite=Strict" in headers["Set-Cookie"]


def test_the_page_is_made_for_keyboards_small_screens_and_the_dark(visit):
    text = visit().text
    assert '<html lang="en">' in text
    assert 'name="viewport"' in text
    assert "color-scheme: light dark" in text
    assert "prefers-color-scheme: dark" in text
    assert ":focus-visible" in text
    assert re.search(r'<h2 id="asked">.*</h2>\s*<ul aria-labelledby="asked">', text)


def test_client_metadata_is_escaped(ask, visit, telnyx):
    body = {
        "name": '<script>alert(1)</script>"&',
        "policy_uri": 'https://a.example/"><b>',
        "tos_uri": "https://b.example",
    }
    ask("PUT", "/oauth/clients/client_id", body=body)
    page = visit()
    assert page.fetched == []
    assert page.links == ['https://a.example/"><b>', "https://b.example"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text


def test_a_verified_client_has_no_warning_and_one_without_a_name_shows_its_id(ask, telnyx):
    nameless = ask("POST", "/oauth/register", body={"redirect_uris": ["com.example.app:/cb"]}, key=None).json()
    for client_id, redirect_uri in (
        (telnyx.client_id, "https://example.com/callback"),
        (nameless["client_id"], "com.example.app:/cb"),
    ):
        query = {"client_id": client_id, "redirect_uri": redirect_uri, "response_type": "code"}
        place = ask("GET", "/oauth/authorize", key=None, query=query).headers["Location"]
        page = ask("GET", place.removeprefix(telnyx.root_url), key=None)
        assert ("has not verified" in page.text()) is (client_id != telnyx.client_id)
        if client_id == nameless["client_id"]:
            assert f"Allow <bdi>{client_id}</bdi> to use" in page.text()
            assert "form-action 'self' com.example.app:;" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("redirect_uri", "named"),
    [
        ("https://example.com/cb", "https: http:"),
        ("http://[::1]:5000/cb", "https: http:"),
        ("https://host.example;x/cb", "https: http:"),
        ("com.example.app:/cb", "com.example.app:"),
    ],
)
def test_the_forms_policy_lets_the_application_send_the_browser_on(ask, redirect_uri, named):
    ask("PUT", "/oauth/clients/client_id", body={"redirect_uris": [redirect_uri]})
    query = {"client_id": "client_id", "redirect_uri": redirect_uri, "response_type": "code"}
    place = ask("GET", "/oauth/authorize", key=None, query=query).headers["Location"]
    policy = ask("GET", place[place.index("/consent") :], key=None).headers["Content-Security-Policy"]
    assert f"form-action 'self' {named};" in policy


@pytest.mark.parametrize(("decision", "outcome"), [("allow", "code="), ("deny", "error=access_denied")])
def test_the_buttons_send_the_browser_back_with_the_outcome(ask, visit, post, decision, outcome):
    answered = post(visit(), decision)
    assert answered.status_code == 303
    assert answered.headers["Location"].startswith(f"https://example.com?{outcome}")
    assert len(ask("GET", "/oauth/grants").json()["data"]) == (2 if decision == "allow" else 1)


def test_a_form_counts_once(visit, post):
    page = visit()
    assert post(page).status_code == 303
    replayed = post(page)
    assert (replayed.status_code, "already answered" in replayed.text()) == (422, True)
    assert visit().status == 422


def test_a_page_that_was_loaded_twice_works_in_both_tabs(visit, post):
    first = visit()
    assert visit(cookie=first.cookie).fields == first.fields
    assert post(first).status_code == 303


def test_an_expired_or_unknown_request_is_explained(visit, post, telnyx, ask):
    page = visit()
    assert visit("unknown").status == 422
    assert "expired" in visit("").text
    telnyx.clock.advance(11 * 365 * 86400)
    assert post(page).status_code == 422


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"cookie": ""}, 403),
        ({"cookie": "consent-x=y; bad[]=1"}, 403),
        ({"proof": ""}, 403),
        ({"proof": "é"}, 403),
        ({"headers": {"Origin": "https://evil.example"}}, 403),
        ({"headers": {"Origin": "null"}}, 403),
        ({"decision": ""}, 400),
        ({"decision": "maybe"}, 400),
        ({"headers": {"Content-Type": "text/plain"}}, 400),
    ],
)
def test_a_form_that_is_not_the_pages_own_grants_nothing(ask, visit, post, changes, status):
    page = visit()
    refused = post(page, **changes)
    assert refused.status_code == status
    assert refused.headers["Content-Type"].startswith("text/html")
    assert len(ask("GET", "/oauth/grants").json()["data"]) == 1
    assert post(page).status_code == 303


def test_another_visitors_cookie_does_not_fit_the_form(visit, post):
    mine, theirs = visit(), visit()
    assert mine.cookie != theirs.cookie
    assert post(mine, cookie=theirs.cookie).status_code == 403


def test_a_malformed_cookie_is_ignored(ask, visit):
    assert visit(cookie="\x00=;;=").status == 200


def test_a_form_cannot_be_urlencoded_twice(ask):
    repeated = urlencode([("decision", "allow"), ("decision", "deny")])
    assert ask("POST", "/consent", key=None, form=repeated).status_code == 400
