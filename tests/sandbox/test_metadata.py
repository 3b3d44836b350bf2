from __future__ import annotations

import base64
import json

import pytest
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import RSAKey

from telnyx_oauth.messages import Request, RequestInfo

from .serve import serve


@pytest.mark.parametrize("under", ["/.well-known", "/v2/.well-known"])
def test_the_metadata_is_beside_and_under_v2_and_all_addresses_are_the_sandboxs_own(telnyx, under):
    def get(path):
        url = telnyx.root_url + path
        return serve(telnyx, Request("GET", url, RequestInfo("GET", url))).json()

    server = get(f"{under}/oauth-authorization-server")
    assert server["issuer"] == telnyx.root_url
    for name in ("authorization", "token", "introspection", "registration"):
        assert server[f"{name}_endpoint"].startswith(f"{telnyx.base_url}/oauth/")
    assert "https://api.telnyx.com" not in json.dumps(server)
    assert server["code_challenge_methods_supported"] == ["S256"]
    assert len(server["scopes_supported"]) == 33
    assert "authorization_response_iss_parameter_supported" not in server
    resource = get(f"{under}/oauth-protected-resource")
    assert (resource["resource"], resource["authorization_servers"]) == (telnyx.root_url, [telnyx.root_url])


def test_both_documents_fit_the_schema(ask):
    assert ask("GET", "/.well-known/oauth-authorization-server", key=None).status_code == 200
    assert ask("GET", "/.well-known/oauth-protected-resource", key=None).status_code == 200


def test_the_mcp_server_has_a_document_of_its_own(ask, telnyx):
    document = ask("GET", "/.well-known/oauth-protected-resource/v2/mcp", key=None).json()
    assert document["resource"] == f"{telnyx.root_url}/v2/mcp"
    assert ask("GET", "/.well-known/oauth-protected-resource/v2/other", key=None).status_code == 404


def test_iss_is_advertised_when_it_is_sent(ask, telnyx):
    telnyx.issuer_in_redirect = True
    document = ask("GET", "/.well-known/oauth-authorization-server", key=None).json()
    assert document["authorization_response_iss_parameter_supported"] is True


def keys(ask):
    return {key["kid"]: key for key in ask("GET", "/oauth/jwks", key=None).json()["keys"]}


def header(token):
    part = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def verified(ask, token):
    key = RSAKey.import_key(keys(ask)[header(token)["kid"]])
    return json.loads(jws.deserialize_compact(token, key, algorithms=["RS256"]).payload)


def test_a_token_verifies_with_the_key_set_and_has_the_claims_of_rfc_9068(ask, telnyx, own):
    token = ask("POST", "/oauth/token", form={"grant_type": "client_credentials", **own}).json()["access_token"]
    assert header(token) == {"alg": "RS256", "typ": "at+jwt", "kid": next(iter(keys(ask)))}
    claims = verified(ask, token)
    assert claims.keys() == {"iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"}
    assert (claims["iss"], claims["aud"], claims["sub"]) == (telnyx.root_url, telnyx.root_url, telnyx.client_id)
    assert claims["exp"] - claims["iat"] == 1800


def test_the_key_set_has_no_private_part(ask):
    for key in keys(ask).values():
        assert key.keys() == {"kty", "n", "e", "use", "alg", "kid"}


def test_a_forged_token_has_the_id_of_the_real_key_and_does_not_verify_with_it(ask, telnyx):
    with pytest.raises(BadSignatureError):
        verified(ask, telnyx.issue_token(forged=True))


def test_a_rotation_with_overlap_keeps_the_old_key_published_until_it_is_retired(ask, telnyx):
    before, old = telnyx.issue_token(), next(iter(keys(ask)))
    new = telnyx.rotate_key()
    assert list(keys(ask)) == [new, old]
    assert header(telnyx.issue_token())["kid"] == new
    assert verified(ask, before)
    telnyx.retire_keys()
    assert list(keys(ask)) == [new]


def test_a_rotation_without_overlap_leaves_only_the_new_key(ask, telnyx):
    new = telnyx.rotate_key(overlap=False)
    assert list(keys(ask)) == [new]


def test_a_header_may_be_altered(telnyx):
    assert header(telnyx.issue_token(header={"typ": "JWT", "kid": None})) == {"alg": "RS256", "typ": "JWT"}


def test_a_conditional_request_for_the_key_set_is_not_modified(ask, telnyx):
    telnyx.jwks_max_age = 60
    first = ask("GET", "/oauth/jwks", key=None)
    assert first.headers["Cache-Control"] == "public, max-age=60"
    again = {"If-None-Match": first.headers["ETag"]}
    url_answer = ask("GET", "/oauth/jwks", key=None, headers={"If-None-Match": '"other"'})
    assert url_answer.content == first.content
    telnyx.jwks_max_age = None
    unchanged = serve(telnyx, _get(telnyx, "/oauth/jwks", again))
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert "Cache-Control" not in unchanged.headers


def _get(telnyx, path, headers):
    url = telnyx.base_url + path
    return Request("GET", url, RequestInfo("GET", url), headers)


def test_an_unknown_address_or_method_is_404_with_telnyxs_code(ask):
    for method, path in (
        ("GET", "/nothing"),
        ("GET", "/oauth/clients/"),
        ("GET", "/oauth/clients/a/b"),
        ("DELETE", "/oauth/jwks"),
        ("GET", "/oauth/token"),
        ("POST", "/oauth_grants"),
    ):
        missing = ask(method, path, body={} if method == "POST" else None)
        assert (missing.status_code, missing.json()["errors"][0]["code"]) == (404, "10005"), (method, path)
    # A star stands for itself in an address.
    assert ask("GET", "/oauth/clients/*").status_code == 404


def test_an_id_in_the_path_is_decoded(ask, telnyx):
    odd = type(telnyx)(client_id="a/b c")
    response = serve(odd, _get(odd, "/oauth/clients/a%2Fb%20c", {"Authorization": f"Bearer {odd.api_key}"}))
    assert response.json()["data"]["client_id"] == "a/b c"
