from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.errors import DiscoveryError
from telnyx_oauth.messages import RequestInfo, Response
from telnyx_oauth.protocol.metadata import (
    AuthorizationServer,
    ProtectedResource,
    auth_methods_in,
    check_server,
    choose_auth_method,
    metadata_request,
    metadata_url,
    names_itself,
    resource_from,
    resource_url,
    server_from,
    telnyx_server,
)

ISSUER = "https://as.example/tenant"
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://login.example/authorize?tenant=1",
    "token_endpoint": "https://as.example/tenant/token",
    "registration_endpoint": "https://as.example/tenant/register",
    "authorization_response_iss_parameter_supported": True,
    "code_challenge_methods_supported": ["plain", "S256"],
    "scopes_supported": ["a", "b", 3],
    "token_endpoint_auth_methods_supported": ["none"],
}
API = "https://api.telnyx.com"


def document(status: int = 200, content: bytes | None = None, **fields) -> Response:
    body = {name: value for name, value in (METADATA | fields).items() if value is not None}
    info = RequestInfo("GET", "https://as.example/.well-known/x")
    return Response(status, content=json.dumps(body).encode() if content is None else content, request=info)


def resource(**fields) -> Response:
    body = {"resource": API, "authorization_servers": [API]} | fields
    return Response(200, content=json.dumps(body).encode())


# --- authorization servers


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://as.example", "https://as.example/.well-known/oauth-authorization-server"),
        ("https://as.example/", "https://as.example/.well-known/oauth-authorization-server"),
        ("https://as.example/a/b", "https://as.example/.well-known/oauth-authorization-server/a/b"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/.well-known/oauth-authorization-server"),
    ],
)
def test_the_well_known_segment_goes_before_the_issuers_path(issuer, url):
    assert metadata_url(issuer) == url


@pytest.mark.parametrize(
    "issuer",
    [
        "as.example",
        "http://as.example",
        "https://as.example?x=1",
        "https://as.example?",
        "https://u@as.example",
        "https://as.example#x",
        "https://[x",
        "https://",
    ],
)
def test_what_cannot_be_an_issuer_is_refused(issuer):
    with pytest.raises(ValueError, match="issuer"):
        metadata_url(issuer)


def test_asking_needs_no_credentials_and_takes_no_endless_answer():
    request = metadata_request("https://as.example/x?y=1")
    assert (request.method, request.info.url) == ("GET", "https://as.example/x")
    assert dict(request.headers) == {"Accept": "application/json"}
    assert request.max_bytes <= 1024 * 1024


def test_a_server_is_what_its_own_metadata_says():
    assert server_from(document(), ISSUER) == AuthorizationServer(
        ISSUER,
        "https://login.example/authorize?tenant=1",
        "https://as.example/tenant/token",
        "https://as.example/tenant/register",
        issuer_in_response=True,
        scopes_supported=frozenset({"a", "b"}),
        token_endpoint_auth_methods_supported=frozenset({"none"}),
    )


def test_what_a_server_says_of_its_other_endpoints_is_kept():
    endpoints = {
        name: f"https://as.example/{name}" for name in ("jwks_uri", "introspection_endpoint", "revocation_endpoint")
    }
    methods = {
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
    }
    server = server_from(document(**endpoints, **methods), ISSUER)
    assert {name: getattr(server, name) for name in endpoints} == endpoints
    assert {name: getattr(server, name) for name in methods} == {name: set(said) for name, said in methods.items()}


@pytest.mark.parametrize("address", ["http://as.example/x", "file:///x", "https://u:p@as.example", "", None, 7, [], {}])
@pytest.mark.parametrize("name", ["jwks_uri", "introspection_endpoint", "revocation_endpoint"])
def test_an_endpoint_that_no_sign_in_needs_and_that_is_not_safe_is_not_there(name, address):
    body = METADATA | {name: address}
    assert getattr(server_from(document(content=json.dumps(body).encode()), ISSUER), name) is None


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_an_optional_member_that_is_null_or_empty_is_absent(value):
    optional = METADATA.keys() - {"issuer", "authorization_endpoint", "token_endpoint"}
    empty = METADATA | dict.fromkeys(optional, value)
    bare = document(**dict.fromkeys(optional))
    assert server_from(document(content=json.dumps(empty).encode()), ISSUER) == server_from(bare, ISSUER)


ODD = [
    "\x00",
    "\x1b[2J",
    "\n",
    "\r",
    "\t",
    " ",
    "\x7f",
    "\x85",
    "\u00a0",
    "\u200e",
    "\u202e",
    "\u2066",
    "\ufeff",
    "é",
    "\ud800",
]
"""What a terminal may obey, and what no address and no scope is made of."""


OPTIONAL = ("registration_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint")


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize(
    "bad",
    [
        "",
        "register",
        "http://as.example/x",
        "https://u@as.example/",
        "https://[x",
        "ftp://as.example",
        7,
        [],
        {},
        False,
    ],
)
def test_an_address_that_a_sign_in_does_not_need_costs_no_other_when_it_cannot_be_used(name, bad):
    server = server_from(document(**{name: bad}), ISSUER)
    assert getattr(server, name) is None
    assert server == server_from(document(**{name: None}), ISSUER)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "address", ["https://as.example/a{}b", "https://as.example/{}", "{}https://as.example/", "https://as{}.example/"]
)
def test_an_address_with_what_no_address_is_made_of_is_not_used(odd, address):
    address = address.format(odd)
    for name in ("authorization_endpoint", "token_endpoint"):
        with pytest.raises(DiscoveryError, match=name) as caught:
            server_from(document(**{name: address}), ISSUER)
        assert caught.value.message.isascii()
        assert caught.value.message.isprintable()
    for name in OPTIONAL:
        assert getattr(server_from(document(**{name: address}), ISSUER), name) is None
    for call in (lambda: metadata_url(address), lambda: resource_url(address)):
        with pytest.raises(ValueError, match=r"^The (issuer|resource) ") as refused:
            call()
        assert refused.value.args[0].isascii()
    with pytest.raises(ValueError, match="token_endpoint"):
        check_server(AuthorizationServer(ISSUER, f"{ISSUER}/a", address), allow_insecure=True)


@pytest.mark.parametrize("odd", ODD)
def test_a_word_with_what_no_word_is_made_of_is_left_out(odd):
    words = ["good", f"a{odd}b" if not odd.isspace() else "é", odd]
    names = (
        "scopes_supported",
        "token_endpoint_auth_methods_supported",
        "introspection_endpoint_auth_methods_supported",
    )
    server = server_from(document(**dict.fromkeys(names, words)), ISSUER)
    assert {getattr(server, name) for name in names} == {frozenset({"good"})}
    found = resource_from(resource(scopes_supported=words, authorization_servers=[f"https://a{odd}b", API, ""]), API)
    assert (found.scopes_supported, found.authorization_servers) == ({"good"}, (API,))
    with pytest.raises(DiscoveryError):
        resource_from(resource(resource=f"{API}/{odd}"), f"{API}/{odd}")
    with pytest.raises(DiscoveryError):
        resource_from(resource(authorization_servers=[f"https://a{odd}b"]), API)


@pytest.mark.parametrize(
    ("supported", "has_secret", "method"),
    [
        (["client_secret_post"], True, "client_secret_post"),
        (["client_secret_post", "client_secret_basic"], True, "client_secret_basic"),
        (["private_key_jwt", "none", "client_secret_post"], True, "client_secret_post"),
        (["none"], True, "none"),
        ([], True, None),
        (["client_secret_post"], False, None),
        (["private_key_jwt"], False, None),
    ],
)
def test_a_client_authenticates_by_a_method_that_the_server_names(supported, has_secret, method):
    assert choose_auth_method(frozenset(supported), has_secret=has_secret) == method


def test_a_server_that_takes_no_method_known_here_is_told_with_the_methods():
    with pytest.raises(DiscoveryError, match=r"private_key_jwt, tls_client_auth .* client_secret_basic"):
        choose_auth_method(frozenset({"tls_client_auth", "private_key_jwt"}), has_secret=True)


def test_a_server_may_say_less():
    bare = document(**dict.fromkeys(METADATA.keys() - {"issuer", "authorization_endpoint", "token_endpoint"}))
    server = server_from(bare, ISSUER)
    assert (server.registration_endpoint, server.issuer_in_response, server.scopes_supported) == (
        None,
        False,
        frozenset(),
    )


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (document(issuer="https://evil.example"), "another issuer"),
        (document(issuer=ISSUER + "/"), "another issuer"),
        (document(issuer=None), "another issuer"),
        (document(token_endpoint=None), "no token_endpoint"),
        (document(authorization_endpoint=7), "no authorization_endpoint"),
        (document(token_endpoint="http://as.example/token"), "token_endpoint must be an https address"),
        (document(token_endpoint="http://127.0.0.1/token"), "token_endpoint must be an https address"),
        (document(authorization_endpoint="https://[x"), "authorization_endpoint is not a URL"),
        (document(code_challenge_methods_supported=["plain"]), "PKCE with S256"),
        (document(404), "status 404"),
        (document(302), "status 302"),
        (document(content=b"<html>"), "no JSON object"),
        (document(content=b"[1]"), "no JSON object"),
        (document(content=b"[" * 100_000), "no JSON object"),
        (attrs.evolve(document(), fault="the body ended early"), "the body ended early"),
    ],
)
def test_metadata_that_is_not_the_servers_own_or_not_safe_is_refused(response, problem):
    with pytest.raises(DiscoveryError, match=problem):
        server_from(response, ISSUER)


def test_a_number_of_more_digits_than_python_reads_costs_no_discovery():
    content = json.dumps(METADATA | {"odd": 77}).replace("77", "7" * 5_000).encode()
    assert server_from(document(content=content), ISSUER) == server_from(document(), ISSUER)


def test_a_server_on_this_machine_may_have_endpoints_on_it():
    local = "http://127.0.0.1:9000"
    fields = {name: f"{local}/{name}" for name in METADATA if name.endswith("_endpoint")}
    assert server_from(document(issuer=local, **fields), local).token_endpoint == f"{local}/token_endpoint"


def test_whether_a_server_names_itself_is_taken_from_its_own_metadata_alone():
    assert names_itself(document(), ISSUER)
    assert not names_itself(document(authorization_response_iss_parameter_supported="true"), ISSUER)
    assert not names_itself(document(404), ISSUER)
    for response in (document(500), document(issuer="https://evil.example")):
        with pytest.raises(DiscoveryError):
            names_itself(response, ISSUER)
        with pytest.raises(DiscoveryError):
            auth_methods_in(response, ISSUER)
    assert auth_methods_in(document(), ISSUER) == {"none"}
    assert auth_methods_in(document(404), ISSUER) == frozenset()


def test_telnyx_is_where_the_base_url_is():
    server = telnyx_server("https://api.telnyx.com/v2/")
    assert (server.issuer, server.token_endpoint) == (API, f"{API}/v2/oauth/token")
    assert (server.authorization_endpoint, server.registration_endpoint) == (
        f"{API}/v2/oauth/authorize",
        f"{API}/v2/oauth/register",
    )
    assert telnyx_server("http://127.0.0.1:1/v2", API).issuer == API
    with pytest.raises(ValueError, match="base_url"):
        telnyx_server("ftp://api.telnyx.com")


# --- protected resources


@pytest.mark.parametrize(
    ("url", "challenge", "place"),
    [
        (f"{API}/v2/mcp", [], f"{API}/.well-known/oauth-protected-resource/v2/mcp"),
        (API, ["Basic realm=x", 'Bearer error="invalid_token"'], f"{API}/.well-known/oauth-protected-resource"),
        (API, [f'Bearer resource_metadata="{API}/meta"'], f"{API}/meta"),
        ("http://127.0.0.1:1/x", ['Bearer resource_metadata="http://127.0.0.1:1/meta"'], "http://127.0.0.1:1/meta"),
    ],
)
def test_a_resources_metadata_is_where_its_401_says_or_where_it_should_be(url, challenge, place):
    assert resource_url(url, challenge) == place


@pytest.mark.parametrize(
    ("url", "challenge"),
    [
        ("http://api.telnyx.com", []),
        ("https://[x", []),
        (API, ['Bearer resource_metadata="http://169.254.169.254/latest"']),
        (API, ['Bearer resource_metadata="http://127.0.0.1/x"']),
        (API, ['Bearer resource_metadata="file:///etc/passwd"']),
    ],
)
def test_no_stranger_sends_us_to_an_address_that_is_not_safe(url, challenge):
    with pytest.raises(ValueError, match="resource"):
        resource_url(url, challenge)


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        (API, API),
        (API, f"{API}/v2/x"),
        (f"{API}/v2/mcp", f"{API}/v2/mcp"),
        (f"{API}/", API),
        (f"{API}:443", f"{API}/v2"),
    ],
)
def test_a_resource_stands_for_what_is_under_it(named, wanted):
    answer = resource(resource=named, authorization_servers=["https://b.example", "https://a.example"])
    assert resource_from(answer, wanted) == ProtectedResource(named, ("https://b.example", "https://a.example"))


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, "https://api.telnyx.com.evil.example/"),
        ({}, "http://api.telnyx.com/"),
        ({"resource": f"{API}/v2/mcp"}, f"{API}/v2/mcpx"),
        ({"resource": f"{API}/v2/mcp"}, f"{API}/v2"),
        ({"resource": 3}, API),
        ({"resource": "https://[x"}, API),
        ({"authorization_servers": []}, API),
        ({"authorization_servers": "https://a.example"}, API),
    ],
)
def test_metadata_of_another_resource_or_without_a_server_is_refused(fields, wanted):
    with pytest.raises(DiscoveryError):
        resource_from(resource(**fields), wanted)


@given(st.binary(max_size=200), st.sampled_from([200, 204, 404, 500]))
def test_any_bytes_are_metadata_or_a_typed_error(content, status):
    for read in (
        lambda: server_from(document(status, content), ISSUER),
        lambda: resource_from(document(status, content), API),
    ):
        with pytest.raises(DiscoveryError):
            read()
