from __future__ import annotations

import json
import math
from urllib.parse import parse_qsl

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.messages import RequestInfo, Timeout
from telnyx_oauth.protocol.auth_headers import basic_credentials
from telnyx_oauth.protocol.requests import (
    Auth,
    Call,
    Defaults,
    Extras,
    Omit,
    as_timeout,
    merged,
    names,
    omit,
    prepare,
    queried,
    secrets_of,
    texts,
)
from telnyx_oauth.protocol.requests import (
    given as given_,
)
from telnyx_oauth.protocol.secret import Secret

BASE = "https://api.telnyx.com/v2"
DEFAULTS = Defaults(BASE, Timeout(), {"Accept": "application/json", "User-Agent": "ours/1"})
NOTHING = Extras()
SURROGATE = "half \ud800"


def prepared(call: Call, extras: Extras = NOTHING, *, authorization: str | None = None, **defaults):
    sealed = None if authorization is None else Secret(authorization)
    request = prepare(call, attrs.evolve(DEFAULTS, **defaults), extras, sealed)
    return attrs.evolve(request, secrets=tuple(sorted(secrets_of(call, extras, request))))


# --- the address


def test_a_call_becomes_a_request():
    call = Call("POST", "/oauth_clients", body={"name": "é", "scopes": ("a",)})
    request = prepared(call, authorization="Bearer abc")
    assert (request.method, request.url) == ("POST", f"{BASE}/oauth_clients")
    assert request.info == RequestInfo("POST", request.url)
    assert request.headers == {
        "Accept": "application/json",
        "User-Agent": "ours/1",
        "Content-Type": "application/json",
        "Authorization": "Bearer abc",
    }
    assert request.content == '{"name":"é","scopes":["a"]}'.encode()
    assert (request.timeout, request.stream, request.secrets) == (Timeout(), False, ("abc",))


def test_a_call_without_body_or_query_sends_neither():
    request = prepared(Call("GET", "/oauth/jwks", Auth.NONE))
    assert (request.url, request.content, request.secrets) == (f"{BASE}/oauth/jwks", b"", ())
    assert request.headers == DEFAULTS.headers


@pytest.mark.parametrize(
    "path, query, defaults, extra, sent",
    [
        ("/x", {}, {}, None, ""),
        ("/x", {"a": None}, {"b": None}, {}, ""),
        ("/x", {"filter[name][contains]": "a b"}, {}, None, "?filter%5Bname%5D%5Bcontains%5D=a%20b"),
        ("/x", {"filter[verified]": True}, {"v": 1}, {"z": ["1", "2"]}, "?v=1&filter%5Bverified%5D=true&z=1&z=2"),
        ("/x", {"a": 2}, {"a": 1}, None, "?a=2"),
        ("/x", {"a": 2}, {"a": 1}, {"a": 3}, "?a=3"),
        ("/x", {"a": 2}, {"a": 1}, {"a": None}, ""),
        ("/x?y=1", {"a": 2}, {}, None, "?y=1&a=2"),
        ("/x?y=1", {}, {}, None, "?y=1"),
    ],
)
def test_the_callers_query_wins_over_the_calls_and_that_over_the_clients(path, query, defaults, extra, sent):
    request = prepared(Call("GET", path, query=query), Extras(query=extra), query=defaults)
    assert request.url == f"{BASE}/x{sent}"
    assert request.info.url == f"{BASE}/x", "a query is not shown"


def test_a_path_with_a_secret_in_it_is_shown_without():
    call = Call("GET", "/oauth/consent/planted", shown="/oauth/consent/{consent_token}", secrets=("planted",))
    request = prepared(call)
    assert request.url.endswith("/planted")
    assert str(request.info) == f"GET {BASE}/oauth/consent/{{consent_token}}"
    assert request.secrets == ("planted",)


def test_an_address_elsewhere_is_refused():
    with pytest.raises(ValueError, match="origin"):
        prepared(Call("GET", "https://evil.test/"))


# --- the headers


@pytest.mark.parametrize(
    "more, sent",
    [
        ({}, {"Accept": "a", "X-One": "1"}),
        ({"x-one": "2"}, {"Accept": "a", "x-one": "2"}),
        ({"ACCEPT": "b"}, {"ACCEPT": "b", "X-One": "1"}),
        ({"content-type": "c"}, {"Accept": "a", "X-One": "1", "content-type": "c"}),
        ({"X-ONE": omit}, {"Accept": "a"}),
        ({"X-None": omit}, {"Accept": "a", "X-One": "1"}),
        ({"X-Two": "1", "x-two": "2"}, {"Accept": "a", "X-One": "1", "x-two": "2"}),
        ({"x-one": "2", "X-One": omit}, {"Accept": "a"}),
        ({"accept": "b", "ACCEPT": omit}, {"X-One": "1"}),
        ({"X-One": omit, "x-one": "2"}, {"Accept": "a", "x-one": "2"}),
        (
            {"X-Empty": "", "X-Tab": "a\tb", "X-Text": "é"},
            {"Accept": "a", "X-One": "1", "X-Empty": "", "X-Tab": "a\tb", "X-Text": "é"},
        ),
    ],
)
def test_headers_are_laid_over_each_other_whatever_their_case(more, sent):
    before = {"Accept": "a", "X-One": "1"}
    assert dict(merged(before, Secret(more))) == sent
    assert before == {"Accept": "a", "X-One": "1"}


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\nb", "a\n", "a\x00", "é", "(a)", "a\ud800"])
def test_a_header_name_is_a_token(name):
    with pytest.raises(ValueError, match="is not a header name"):
        merged({}, Secret({name: "v"}))


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\r", "a\x00b", "\x1b[2J", "\x07", "\x7f", SURROGATE])
def test_a_header_value_cannot_start_another(value, secrets):
    with pytest.raises(ValueError, match="The value of the header 'X-A' must hold no line break") as caught:
        merged({}, Secret({"X-A": secrets.api_key + value}))
    assert secrets.found_in(caught.value) == []


def test_a_header_value_may_hold_tabs_and_other_scripts():
    assert merged({}, Secret({"X-A": "a\tb é 日"})) == {"X-A": "a\tb é 日"}


@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]])
def test_a_header_value_is_text(value):
    with pytest.raises(TypeError, match="The value of the header 'X-A' must be a str, not "):
        merged({}, Secret({"X-A": value}))


def test_bad_headers_stop_the_call():
    with pytest.raises(ValueError, match="line break"):
        prepared(Call("GET", "/x"), Extras({"X-A": "a\r\nb"}))


@pytest.mark.parametrize(
    "extra, sent",
    [
        (None, "Bearer ours"),
        ({"authorization": "Bearer theirs"}, "Bearer theirs"),
        ({"AUTHORIZATION": omit}, None),
        ({"X-A": "1"}, "Bearer ours"),
    ],
)
def test_the_callers_authorization_wins(extra, sent):
    request = prepared(Call("GET", "/x"), Extras(extra), authorization="Bearer ours")
    assert {name.lower(): value for name, value in request.headers.items()}.get("authorization") == sent
    assert request.secrets == (() if sent is None else (sent.removeprefix("Bearer "),))


def test_a_call_says_what_it_accepts_and_the_caller_has_the_last_word():
    call = Call("GET", "/x", accept="text/html")
    assert prepared(call).headers["Accept"] == "text/html"
    assert prepared(call, Extras({"accept": "text/plain"})).headers["Accept"] == "text/plain"
    assert prepared(call, headers={}).headers == {"Accept": "text/html"}


@pytest.mark.parametrize(
    "headers, there",
    [(None, False), ({}, False), ({"X": "1"}, False), ({"AUTHORIZATION": "1"}, True), ({"authorization": omit}, True)],
)
def test_whether_headers_speak_of_a_name(headers, there):
    assert names(headers, "authorization") is there


# --- the body


@pytest.mark.parametrize(
    "body, extra, content, content_type",
    [
        (omit, None, b"", None),
        (omit, {"a": 1}, b'{"a":1}', "application/json"),
        ({}, None, b"{}", "application/json"),
        (None, None, b"null", "application/json"),
        ([1, "a"], None, b'[1,"a"]', "application/json"),
        ("text", None, b'"text"', "application/json"),
        ({"a": 1, "b": 2}, {"b": 3, "c": None}, b'{"a":1,"b":3,"c":null}', "application/json"),
        ([1], {"b": 3}, b'{"b":3}', "application/json"),
        ({"a": 1}, {}, b'{"a":1}', "application/json"),
        (b"\x00\xff", None, b"\x00\xff", "application/octet-stream"),
        (b"", None, b"", "application/octet-stream"),
    ],
)
def test_a_body_is_json_and_bytes_are_sent_as_they_are(body, extra, content, content_type):
    request = prepared(Call("POST", "/x", body=body), Extras(body=extra))
    assert request.content == content
    assert request.headers.get("Content-Type") == content_type


@pytest.mark.parametrize(
    "form, extra, content",
    [
        ({"token": "a b&c=d/é"}, None, b"token=a%20b%26c%3Dd%2F%C3%A9"),
        ({"a": "1"}, {"a": "2", "b": "3"}, b"a=2&b=3"),
        ({"a": "1"}, {"b": True, "c": 5, "d": ["x", "y"], "e": None}, b"a=1&b=true&c=5&d=x&d=y"),
        ({"a": "1", "b": "2"}, {"a": None}, b"b=2"),
        ({}, None, b""),
    ],
)
def test_a_form_is_urlencoded(form, extra, content):
    request = prepared(Call("POST", "/oauth/token", form=form), Extras(body=extra))
    assert request.content == content
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_the_caller_may_name_the_type_of_the_body():
    request = prepared(Call("POST", "/x", body=b"a"), Extras({"content-type": "text/plain"}))
    assert request.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize("body", [{"a": math.nan}, {"a": math.inf}, [-math.inf]])
def test_what_is_no_json_number_is_not_sent(body):
    with pytest.raises(ValueError, match="not JSON compliant"):
        prepared(Call("POST", "/x", body=body))


@pytest.mark.parametrize("body", [{"a": omit}, {"a": b"b"}, {"a": {1}}, object()])
def test_what_json_has_no_word_for_is_not_sent(body):
    with pytest.raises(TypeError):
        prepared(Call("POST", "/x", body=body))


def test_a_form_field_that_has_no_spelling_is_refused_by_name():
    with pytest.raises(TypeError, match="`a` must be text"):
        prepared(Call("POST", "/x", form={}), Extras(body={"a": {"b": "c"}}))


@pytest.mark.parametrize(
    "call",
    [
        lambda text: Call("POST", "/x", body={"a": text}),
        lambda text: Call("POST", "/x", form={"a": text}),
        lambda text: Call("GET", "/x", query={"a": text}),
    ],
)
def test_text_that_cannot_be_encoded_is_refused_without_being_told(call, secrets):
    with pytest.raises(ValueError, match="half a character") as caught:
        prepared(call(secrets.code + SURROGATE))
    assert secrets.found_in(caught.value) == []
    assert caught.value.__context__ is None


# --- the time


@pytest.mark.parametrize(
    "timeout, meant",
    [
        (None, Timeout(None, None)),
        (10, Timeout(10, 5.0)),
        (0.5, Timeout(0.5, 0.5)),
        (Timeout(None, 3), Timeout(None, 3)),
        (Timeout(7, None), Timeout(7, None)),
    ],
)
def test_a_timeout_is_seconds_for_the_whole_and_at_most_five_to_connect(timeout, meant):
    assert as_timeout(timeout) == meant
    assert prepared(Call("GET", "/x"), Extras(timeout=timeout)).timeout == meant


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, -math.inf])
def test_a_timeout_is_positive_and_none_is_no_limit(seconds):
    for timeout in (seconds, Timeout(seconds, 1), Timeout(1, seconds)):
        with pytest.raises(ValueError, match="None for no limit"):
            as_timeout(timeout)


def test_without_a_timeout_of_its_own_a_call_has_the_clients():
    assert prepared(Call("GET", "/x"), timeout=Timeout(1, 1)).timeout == Timeout(1, 1)


# --- what was given


def test_what_was_omitted_is_left_out_and_none_is_not():
    parameters = {"a": 1, "b": None, "c": omit, "d": ""}
    assert given_(**parameters) == queried(parameters) == {"a": 1, "b": None, "d": ""}
    assert texts({"a": "1", "b": omit, "c": ""}) == {"a": "1", "c": ""}


def test_omit_is_false_and_says_its_name():
    assert not omit
    assert repr(omit) == "omit"
    assert isinstance(omit, Omit)


# --- what must not be told


def test_no_value_on_the_way_shows_what_may_be_secret(secrets):
    call = Call(
        "POST",
        f"/oauth/consent/{secrets.code}",
        query={"token": secrets.access_token},
        body={"client_secret": secrets.client_secret},
        form={"refresh_token": secrets.refresh_token},
        secrets=(secrets.code_verifier,),
    )
    extras = Extras(
        {"Authorization": secrets.api_key}, {"a": secrets.access_token}, {"code": secrets.code}, max_retries=1
    )
    defaults = Defaults(BASE, Timeout(), {"Authorization": secrets.api_key}, {"a": secrets.access_token})
    shown = prepare(
        attrs.evolve(call, path="/oauth/consent/x"), defaults, extras, Secret(f"Bearer {secrets.access_token}")
    )
    assert secrets.found_in(call, extras, defaults, shown, shown.info) == []
    assert all(repr(each).startswith(type(each).__name__) for each in (call, extras, defaults, shown))


def test_a_request_knows_every_secret_that_must_not_come_back(secrets):
    form = {"grant_type": "refresh_token", "refresh_token": secrets.refresh_token}
    call = Call("POST", "/oauth/token", Auth.TOKEN, form=form, secrets=(secrets.refresh_token, ""))
    header = basic_credentials("id", Secret(secrets.client_secret)).plain
    extras = Extras({"Proxy-Authorization": f"Bearer {secrets.api_key}"}, body={"code": secrets.code, "n": 1})
    request = prepared(call, extras, authorization=header)
    told = set(request.secrets)
    assert told >= {secrets.refresh_token, secrets.client_secret, secrets.api_key, secrets.code, header.split()[1]}
    assert "" not in told
    assert prepared(Call("GET", "/x"), headers={"authorization": "Bearer own"}).secrets == ("own",)


# --- whatever comes

characters = st.characters(exclude_categories=["Cs"])


@given(
    st.dictionaries(st.text(characters, min_size=1), st.text(characters), max_size=4),
    st.dictionaries(st.text(characters, min_size=1), st.text(characters) | st.none() | st.booleans(), max_size=4),
)
def test_what_is_sent_reads_back(fields, extra):
    form = prepared(Call("POST", "/x", form=fields), Extras(body=extra))
    spelt = {key: {True: "true", False: "false"}.get(value, value) for key, value in (fields | extra).items()}
    pairs = parse_qsl(form.content.decode("ascii"), keep_blank_values=True)
    assert dict(pairs) == {key: value for key, value in spelt.items() if value is not None}
    assert json.loads(prepared(Call("POST", "/x", body=fields), Extras(body=extra)).content) == fields | extra


@given(st.dictionaries(st.text(), st.text() | st.just(omit)), st.dictionaries(st.text(), st.text() | st.just(omit)))
def test_no_header_is_sent_twice_or_broken(some, more):
    try:
        sent = merged(merged({"Accept": "a"}, Secret(some)), Secret(more))
    except ValueError:
        return
    assert len({name.lower() for name in sent}) == len(sent)
    assert not any(set("\r\n\x00") & set(name + value) for name, value in sent.items())


@given(st.text(characters), st.text(characters))
def test_basic_credentials_are_known_as_secrets(client_id, client_secret):
    request = prepared(Call("GET", "/x"), authorization=basic_credentials(client_id, Secret(client_secret)).plain)
    assert any(secret == request.headers["Authorization"].split()[1] for secret in request.secrets)
    assert not client_secret or client_secret in request.secrets
