from __future__ import annotations

import base64
import string
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.protocol.auth_headers import (
    Challenge,
    another_token_helps,
    basic_credentials,
    bearer,
    parse_challenges,
    secrets_in,
)
from telnyx_oauth.protocol.secret import Secret
from tests.refusals import ANOTHER_TOKEN_HELPS

characters = st.characters(exclude_categories=["Cs"])
tokens = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=8)
quoted = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)


def test_a_bearer_token_goes_into_the_header_as_it_is():
    assert bearer(Secret("abc.DEF-_~+/=!")).plain == "Bearer abc.DEF-_~+/=!"


@pytest.mark.parametrize("token", ["", " ", "a b", "a\r\nX: y", "a\x00", "a\x7f", "é", "a\n", "\ud800"])
def test_a_token_that_no_header_can_carry_is_refused_without_being_told(token, secrets):
    with pytest.raises(ValueError, match="visible ASCII") as caught:
        bearer(Secret(secrets.access_token + token if token else token))
    assert secrets.found_in(caught.value) == []


@pytest.mark.parametrize(
    "client_id, client_secret, pair",
    [
        ("id", "secret", "id:secret"),
        ("c:i d", "s%3A:x", "c%3Ai%20d:s%253A%3Ax"),
        ("-._~", "+/=&", "-._~:%2B%2F%3D%26"),
        ("é", "ü", "%C3%A9:%C3%BC"),
        ("", "", ":"),
    ],
)
def test_basic_credentials_are_urlencoded_first(client_id, client_secret, pair):
    header = basic_credentials(client_id, Secret(client_secret)).plain
    assert header == "Basic " + base64.b64encode(pair.encode()).decode()


def test_credentials_that_cannot_be_written_are_refused_without_being_told(secrets):
    with pytest.raises(ValueError, match="half a character") as caught:
        basic_credentials("id", Secret(f"{secrets.client_secret}\ud800"))
    assert secrets.found_in(caught.value) == []
    assert caught.value.__context__ is None


@given(st.text(characters), st.text(characters))
def test_basic_credentials_read_back_and_name_their_secret(client_id, client_secret):
    header = basic_credentials(client_id, Secret(client_secret)).plain
    one, _, other = base64.b64decode(header.removeprefix("Basic ")).decode("ascii").partition(":")
    assert (unquote(one), unquote(other)) == (client_id, client_secret)
    assert client_secret in secrets_in(header)


@pytest.mark.parametrize(
    "header, secrets",
    [
        ("Bearer abc", ("abc",)),
        ("abc", ("abc",)),
        ("", ("",)),
        ("Basic !", ("!", "", "")),
        ("Basic é", ("é",)),
        ("basic //79", ("//79",)),
    ],
)
def test_credentials_of_any_form_are_secret(header, secrets):
    assert secrets_in(header) == secrets


@pytest.mark.parametrize(
    "values, challenges",
    [
        ([], []),
        ([""], []),
        ([" , ,"], []),
        (["Bearer"], [("bearer", {})]),
        (['Bearer realm="x"'], [("bearer", {"realm": "x"})]),
        (["Bearer error=invalid_token"], [("bearer", {"error": "invalid_token"})]),
        (['BEARER Error = "a" , SCOPE="b c"'], [("bearer", {"error": "a", "scope": "b c"})]),
        ([r'Bearer realm="a \"quoted\", \\word"'], [("bearer", {"realm": 'a "quoted", \\word'})]),
        (['Bearer realm=""'], [("bearer", {"realm": ""})]),
        (['Bearer a="1", a="2"'], [("bearer", {"a": "1"})]),
        (["Negotiate YWJj=="], [("negotiate", {})]),
        (["Negotiate YWJj==, Bearer"], [("negotiate", {}), ("bearer", {})]),
        (
            ['Basic realm="x", Bearer realm="y", error="invalid_token"'],
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "error": "invalid_token"})],
        ),
        (["Basic", 'Bearer error="a"'], [("basic", {}), ("bearer", {"error": "a"})]),
        (
            ['Bearer realm="x", DPoP algs="ES256 PS256"'],
            [("bearer", {"realm": "x"}), ("dpop", {"algs": "ES256 PS256"})],
        ),
        (["NTLM, Basic"], [("ntlm", {}), ("basic", {})]),
        (['Bearer realm="unterminated'], [("bearer", {"realm": "unterminated"})]),
        (['Bearer error="x", realm="unterminated'], [("bearer", {"error": "x", "realm": "unterminated"})]),
        (['Bearer a="1" b="2"'], [("bearer", {"a": "1", "b": "2"})]),
        (['realm="x", Bearer'], [("bearer", {})]),
        (
            ['Bearer resource_metadata=https://x.example/y?z=1, error="invalid_token"'],
            [("bearer", {"resource_metadata": "https://x.example/y?z=1", "error": "invalid_token"})],
        ),
        (["Bearer scope=a b c, error=x"], [("bearer", {"scope": "a", "error": "x"})]),
        (['Bearer a="1"x, b="2"'], [("bearer", {"a": "1", "b": "2"})]),
        (['Bearer =odd, ="odd, too", é, {}, a b, b="2"'], [("bearer", {"b": "2"}), ("a", {})]),
        (['Bearer a="1", error=, b="2"'], [("bearer", {"a": "1", "b": "2"})]),
        (['Bearer a="1",, ,b="2"', 'Basic "x" realm=é'], [("bearer", {"a": "1", "b": "2"}), ("basic", {"realm": "é"})]),
        (['Bearer a="1" DPoP algs=ES256, b="2"'], [("bearer", {"a": "1", "algs": "ES256", "b": "2"})]),
        (['Basic realm="x"', 'error="y"'], [("basic", {"realm": "x"})]),
        (["\x00", "Bearer \x00", "é"], [("bearer", {})]),
        (['Bearer a="é"'], [("bearer", {"a": "é"})]),
    ],
)
def test_challenges_are_read_as_rfc_9110_writes_them(values, challenges):
    assert [(each.scheme, dict(each.params)) for each in parse_challenges(values)] == challenges


@pytest.mark.parametrize(
    "params, error", [({}, None), ({"error": "invalid_token"}, "invalid_token"), ({"realm": "x"}, None)]
)
def test_a_challenge_tells_its_error(params, error):
    assert Challenge("bearer", params).error == error
    assert Challenge("bearer").error is None


ODD = [
    "é",
    "=",
    "=x",
    '="x"',
    "a=",
    "\x00",
    "'",
    "{}",
    "a b",
    '"x"',
    '"x, error=\\"y"',
    "@",
    "a=(b)",
    "a=b c d",
    ";",
    "a:b",
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("quotes", ["", '"'])
def test_one_odd_parameter_does_not_cost_those_beside_it(odd, quotes):
    good = f"error={quotes}invalid_token{quotes}"
    for header in (f"Bearer x=y, {good}, {odd}", f"Bearer x=y, {odd} , {good}", f"Bearer {good}, {odd}, x=y"):
        challenges = parse_challenges([header])
        assert challenges[0].error == "invalid_token"


@pytest.mark.parametrize(("values", "helps"), ANOTHER_TOKEN_HELPS)
def test_another_token_helps_where_the_token_is_at_fault_or_nothing_is_said(values, helps):
    assert another_token_helps(values) is helps


@given(st.lists(st.text()))
def test_no_header_makes_reading_challenges_fail(values):
    for challenge in parse_challenges(values):
        assert challenge.scheme == challenge.scheme.lower() != ""
        assert all(name == name.lower() for name in challenge.params)


@pytest.mark.parametrize(
    "piece", ["a", "a ", " ", ",", '"', 'a="', "a=b", "a=b,", "=", "\\", 'a="\\', '\\"', ',a="\\"', "é"]
)
def test_a_long_header_of_one_thing_is_read_in_no_time_to_speak_of(piece):
    assert len(parse_challenges(["Bearer " + piece * 20_000])) > 0


@given(
    st.lists(st.tuples(tokens, st.dictionaries(tokens.map(str.lower), quoted, max_size=3)), max_size=3),
    st.booleans(),
)
def test_challenges_that_are_written_read_back(challenges, together):
    written = []
    for scheme, params in challenges:
        pairs = (f'{name}="' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for name, value in params.items())
        written.append(f"{scheme} {', '.join(pairs)}".rstrip())
    read = parse_challenges([", ".join(written)] if together else written)
    assert [(each.scheme, dict(each.params)) for each in read] == [(s.lower(), p) for s, p in challenges]
