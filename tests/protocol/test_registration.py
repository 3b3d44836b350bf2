from __future__ import annotations

import json

import attrs
import pytest

from telnyx_oauth.errors import APIResponseValidationError, BadRequestError, RateLimitError
from telnyx_oauth.messages import Response
from telnyx_oauth.protocol.registration import RegisteredClient, registered_client, registration_request


def answer(status: int = 201, content: bytes | None = None, **fields) -> Response:
    body = {"client_id": "abc", "token_endpoint_auth_method": "none"} | fields
    return Response(status, content=json.dumps(body).encode() if content is None else content)


def test_a_program_asks_to_be_a_client_in_which_people_sign_in():
    request = registration_request(
        "https://as.example/register?x=1",
        redirect_uris=["http://127.0.0.1/callback"],
        client_name="Prógram",
        scopes="b a",
        auth_method="none",
    )
    assert (request.method, request.info.url) == ("POST", "https://as.example/register")
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.content) == {
        "redirect_uris": ["http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "client_name": "Prógram",
        "scope": "a b",
    }


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        ({}, RegisteredClient("abc")),
        ({"token_endpoint_auth_method": "client_secret_post", "client_secret": "s", "client_id_issued_at": "12"},
         RegisteredClient("abc", "s", "client_secret_post")),
        ({"client_secret": "s", "client_secret_expires_at": 0}, RegisteredClient("abc", "s")),
        ({"client_secret_expires_at": "1800000000"}, RegisteredClient("abc", secret_expires_at=1_800_000_000.0)),
        ({"client_secret_expires_at": "never"}, RegisteredClient("abc")),
        ({"client_secret_expires_at": [1]}, RegisteredClient("abc")),
    ],
)  # fmt: skip
def test_what_servers_make_of_it_is_read_with_tolerance(fields, client):
    assert registered_client(answer(**fields), requested="none") == client


UNSAID: dict[str, object] = {"client_id": "abc", "client_secret": "s"}


@pytest.mark.parametrize(
    ("fields", "asked", "supported", "client"),
    [
        (UNSAID, "none", [], RegisteredClient("abc", "s", "client_secret_basic")),
        (UNSAID, "none", ["client_secret_post", "none"], RegisteredClient("abc", "s", "client_secret_post")),
        (UNSAID, "none", ["none", "private_key_jwt"], RegisteredClient("abc", "s", "client_secret_basic")),
        (UNSAID, "client_secret_post", ["client_secret_basic"], RegisteredClient("abc", "s", "client_secret_post")),
        (
            UNSAID | {"token_endpoint_auth_method": None},
            "none",
            [],
            RegisteredClient("abc", "s", "client_secret_basic"),
        ),
        (UNSAID | {"token_endpoint_auth_method": ""}, "none", [], RegisteredClient("abc", "s", "client_secret_basic")),
        (
            UNSAID | {"token_endpoint_auth_method": "none"},
            "client_secret_basic",
            [],
            RegisteredClient("abc", "s", "none"),
        ),
        ({"client_id": "abc"}, "client_secret_basic", [], RegisteredClient("abc")),
        ({"client_id": "abc", "client_secret": ""}, "client_secret_post", [], RegisteredClient("abc")),
        ({"client_id": "abc", "client_secret": None}, "none", [], RegisteredClient("abc")),
    ],
)
def test_how_a_client_authenticates_follows_from_what_the_server_answered(fields, asked, supported, client):
    response = answer(content=json.dumps(fields).encode())
    assert registered_client(response, requested=asked, supported=frozenset(supported)) == client


@pytest.mark.parametrize("name", ["client_secret_expires_at", "registration_client_uri", "scope", "client_name"])
@pytest.mark.parametrize("value", [None, "", [], {}])
def test_an_optional_member_that_is_null_or_empty_is_absent(name, value):
    assert registered_client(answer(**{name: value}), requested="none") == RegisteredClient("abc")


@pytest.mark.parametrize("end", [10**400, 2**63, 1e300, "1e999", -1, "nan", True, False])
def test_a_secret_that_never_ends_has_no_past_end(end):
    ends = registered_client(answer(client_secret_expires_at=end), requested="none").secret_expires_at
    assert ends is None or ends > 2**60


def test_further_metadata_goes_along():
    asked = {
        "logo_uri": "https://x/y",
        "client_name#ja": "名",
        "contacts": ["a"],
        "grant_types": ["x"],
        "tos_uri": None,
    }
    sent = json.loads(made(metadata=asked).content)
    assert {name: sent.get(name) for name in asked} == asked
    assert "tos_uri" not in sent
    assert sent["client_name"] == "Tool"


@pytest.mark.parametrize("name", ["redirect_uris", "client_name", "scope", "token_endpoint_auth_method"])
def test_metadata_does_not_say_again_what_is_given_apart(name):
    with pytest.raises(ValueError, match=f"`metadata` repeats {name}"):
        made(metadata={name: "x"})


@pytest.mark.parametrize("value", [object(), {1}, float("nan"), b"x", {"a": {("b",): 1}}])
def test_metadata_that_json_cannot_say_is_refused(value):
    with pytest.raises(ValueError, match="`metadata` must be what JSON can say"):
        made(metadata={"x": value})


def made(**given):
    return registration_request(
        "https://as.example/register",
        redirect_uris=["http://127.0.0.1/callback"],
        client_name="Tool",
        scopes=(),
        auth_method="none",
        **given,
    )


def test_a_server_that_does_not_repeat_the_method_means_the_one_asked_for():
    body = json.dumps({"client_id": "abc", "client_secret": "s"}).encode()
    client = registered_client(answer(content=body), requested="client_secret_post")
    assert client == RegisteredClient("abc", "s", "client_secret_post")


@pytest.mark.parametrize(
    "response",
    [
        answer(content=b""),
        answer(content=b"[]"),
        answer(client_id=7),
        answer(client_id=""),
        answer(client_secret=7),
        answer(client_id="a\x1b[2J"),
        answer(client_id="a\u202eb"),
        answer(client_id="é"),
        answer(client_secret="\ud800"),
        answer(client_secret="a\nb"),
        answer(token_endpoint_auth_method="private_key_jwt"),
        answer(token_endpoint_auth_method=["none"]),
        answer(token_endpoint_auth_method="client_secret_basic"),
        attrs.evolve(answer(), fault="the body ended early"),
    ],
)
def test_an_answer_that_makes_no_client_is_refused(response):
    with pytest.raises(APIResponseValidationError):
        registered_client(response, requested="none")


def test_a_refusal_says_which_field_was_wrong():
    body = {"error": "invalid_redirect_uri", "invalid_fields": {"redirect_uris": ["must be https"]}}
    with pytest.raises(BadRequestError, match="must be https") as caught:
        registered_client(answer(400, json.dumps(body).encode()), requested="none")
    assert caught.value.code == "invalid_redirect_uri"
    with pytest.raises(RateLimitError):
        registered_client(answer(429), requested="none")


def test_a_registered_client_does_not_show_its_secret(secrets):
    assert secrets.found_in(RegisteredClient("abc", secrets.client_secret)) == []


def test_an_end_of_more_digits_than_python_reads_costs_no_client():
    content = b'{"client_id": "abc", "client_secret": "s", "client_secret_expires_at": %s}' % (b"9" * 5_000)
    client = registered_client(answer(content=content), requested="client_secret_basic")
    assert (client.client_id, client.client_secret, client.secret_expires_at) == ("abc", "s", None)
