from __future__ import annotations

import json
from urllib.parse import quote, urlencode

from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.sandbox import Sandbox

from .serve import serve

TELNYX = Sandbox()
PATHS = (
    "/.well-known/oauth-protected-resource", "/consent", "/v2/oauth/authorize", "/v2/oauth/consent/", "/v2/oauth/grants",
    "/v2/oauth/introspect", "/v2/oauth/jwks", "/v2/oauth/register", "/v2/oauth/token", "/v2/oauth/clients",
    "/v2/oauth_clients/", "/v2/oauth_grants/",
)  # fmt: skip
NAMES = (
    "client_id", "client_secret", "grant_type", "code", "code_verifier", "redirect_uri", "refresh_token", "scope", "token",
    "consent_token", "allowed", "proof", "decision", "name", "client_type", "allowed_scopes", "allowed_grant_types",
    "redirect_uris", "page[size]", "filter[name]", "state", "code_challenge", "code_challenge_method", "response_type",
)  # fmt: skip
WORDS = st.sampled_from(
    ("client_id", "https://example.com", "code", "admin", "token", "consent_token", "public", "allow", "S256", "refresh_token",
     "authorization_code", "client_credentials", TELNYX.client_id, TELNYX.client_secret, "\ud800", "\x00", "é")
) | st.text(max_size=6)  # fmt: skip
VALUES = WORDS | st.lists(WORDS, max_size=2) | st.sampled_from((None, True, 7, 1.5, {}, [[]]))
MEMBERS = st.dictionaries(st.sampled_from((*NAMES, "odd")), VALUES, max_size=5)


def form(members):
    return urlencode(
        {name.encode("utf-8", "replace"): str(value).encode("utf-8", "replace") for name, value in members.items()}
    )


BODIES = st.one_of(
    st.tuples(st.just("application/json"), MEMBERS.map(json.dumps)),
    st.tuples(st.just("application/x-www-form-urlencoded"), MEMBERS.map(form)),
    st.tuples(st.text(max_size=10), st.text().map(lambda text: text.encode("utf-8", "replace").decode())),
)


@given(
    method=st.sampled_from(("GET", "POST", "PUT", "DELETE")),
    path=st.tuples(
        st.sampled_from(PATHS), st.just("") | WORDS.map(lambda word: quote(word.encode("utf-8", "replace")))
    ),
    query=MEMBERS.map(form),
    body=BODIES,
    authorization=st.just(f"Bearer {TELNYX.api_key}") | WORDS | WORDS.map("Basic {}".format),
    cookie=WORDS,
)
def test_no_request_is_a_server_error(method, path, query, body, authorization, cookie):
    given_headers = {"Content-Type": body[0], "Authorization": authorization, "Cookie": cookie}
    url = f"{TELNYX.root_url}{''.join(path)}?{query}"
    response = serve(TELNYX, Request(method, url, RequestInfo(method, ""), given_headers, body[1].encode()))
    assert response.status_code < 500
    assert not response.content or response.text()
    assert all("\n" not in value and "\r" not in value for value in response.headers.values())


def test_malformed_urls_are_not_found():
    for url in ("http://[/v2", "http://127.0.0.1", "//", "", "http://h/v2/oauth/clients/%ff%fe"):
        given_headers = {"Authorization": f"Bearer {TELNYX.api_key}"}
        assert serve(TELNYX, Request("GET", url, RequestInfo("GET", url), given_headers)).status_code == 404
