from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.errors import (
    AccessDeniedError,
    AuthorizationExpiredError,
    AuthorizationResponseError,
    InvalidCallbackError,
    IssuerMismatchError,
    StateMismatchError,
)
from telnyx_oauth.protocol.authorization_code import (
    PendingAuthorization,
    begin,
    check_redirect_uri,
    check_state,
    code_in,
    read_callback,
)
from telnyx_oauth.protocol.metadata import AuthorizationServer
from telnyx_oauth.protocol.secret import Secret

ISSUER = "https://as.example"
SERVER = AuthorizationServer(ISSUER, f"{ISSUER}/authorize?tenant=1", f"{ISSUER}/token")
REDIRECT = "https://app.example/callback"
NOW = 1_800_000_000.0


def begun(**options) -> PendingAuthorization:
    entropy = (Secret(b"s" * 32), Secret(b"v" * 32))
    given_options = {"client_id": "client", "redirect_uri": REDIRECT, "entropy": entropy, "now": NOW}
    return begin(options.pop("server", SERVER), **(given_options | options))


def answered(pending=None, **parameters) -> dict[str, str]:
    named = {"code": "c0de", "state": (pending or begun()).state} | parameters
    return {name: value for name, value in named.items() if value is not None}


def outcome(pending, *, now=NOW, **parameters) -> str:
    answer = read_callback(Secret(f"{REDIRECT}?{urlencode(answered(pending, **parameters))}"))
    check_state(pending, answer)
    return code_in(pending, answer, now=now).plain


@pytest.mark.parametrize("length", [12_000, 20_000, 200_000])
def test_an_answer_may_be_long(length):
    pending = begun()
    code = "c" * length
    assert outcome(pending, code=code) == code
    assert outcome(pending, code="c", session_state="s" * length) == "c"


def test_an_answer_that_is_too_long_is_refused_for_that():
    with pytest.raises(InvalidCallbackError, match=r"more than 262,144 characters.*the whole address of the page"):
        outcome(begun(), code="c" * 300_000)


# --- what is asked


def test_a_further_parameter_that_is_none_is_left_out():
    asked = dict(parse_qsl(urlsplit(begun(extra={"prompt": None, "max_age": 5, "login_hint": "é b"}).url).query))
    assert (asked.get("prompt"), asked["max_age"], asked["login_hint"]) == (None, "5", "é b")


@pytest.mark.parametrize("options", [{"extra": {"a": "\ud800"}}, {"client_id": "\ud800"}, {"resource": "\ud800"}])
def test_half_a_character_is_refused_in_words_of_ours(options):
    with pytest.raises(ValueError, match="half a character") as caught:
        begun(**options)
    assert not isinstance(caught.value, UnicodeError)
    assert caught.value.__context__ is None


def test_the_address_asks_for_a_code_with_an_s256_challenge_of_the_verifier_that_is_kept():
    pending = begun(scopes=["b", "a"], resource="https://api.example", extra={"prompt": "login"})
    asked = dict(parse_qsl(urlsplit(pending.url).query))
    digest = hashlib.sha256(pending.code_verifier.encode()).digest()
    assert asked == {
        "tenant": "1",
        "response_type": "code",
        "client_id": "client",
        "redirect_uri": REDIRECT,
        "scope": "a b",
        "state": pending.state,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "resource": "https://api.example",
        "prompt": "login",
    }
    assert (pending.expires_at, pending.scopes) == (NOW + 600, frozenset({"a", "b"}))


@pytest.mark.parametrize("name", ["state", "redirect_uri", "code_challenge_method", "response_type"])
def test_an_extra_parameter_cannot_weaken_what_protects_the_sign_in(name):
    with pytest.raises(ValueError, match=name):
        begun(extra={name: "x"})


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback",
        "https://app.example/callback?tenant=1",
        "http://127.0.0.1:8400/callback",
        "http://localhost/callback",
        "http://[::1]:8400/callback",
        "com.example.app:/callback",
    ],
)
def test_a_redirect_uri_is_https_or_this_machine_or_an_apps_own(uri):
    assert check_redirect_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/callback",
        "https:///callback",
        "http://app.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://user@app.example/callback",
        "https://app.example/callback#fragment",
        "https://app.example/call back",
        "https://app.example:port/",
        "https://[app/",
    ],
)
def test_anything_else_is_refused_before_anyone_is_sent_anywhere(uri):
    with pytest.raises(ValueError, match="redirect_uri"):
        begun(redirect_uri=uri)


# --- what is remembered


def test_a_pending_sign_in_shows_neither_state_nor_verifier(secrets):
    pending = attrs.evolve(begun(), state=secrets.code, code_verifier=secrets.code_verifier, url=secrets.access_token)
    assert secrets.found_in(pending) == []
    assert "client" in repr(pending)


def test_a_session_can_keep_a_pending_sign_in_as_text():
    for pending in (begun(scopes="b a", resource="https://api.example"), begun()):
        assert PendingAuthorization.from_json(pending.to_json()) == pending


def text_with(**fields) -> str:
    return json.dumps(json.loads(begun().to_json()) | fields)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '"x"', "[" * 100_000, text_with(more=1), text_with(state=None), text_with(scopes="admin")],
)
def test_a_text_that_is_no_pending_sign_in_is_refused_without_quoting_it(text, secrets):
    with pytest.raises(ValueError, match="no pending authorization") as caught:
        PendingAuthorization.from_json(text.replace("{", f'{{"{secrets.code_verifier}": 1,'))
    assert secrets.found_in(caught.value) == []
    with pytest.raises(ValueError, match="no pending authorization"):
        PendingAuthorization.from_json(text)


# --- what the answer means


def test_the_code_of_a_good_answer_is_taken():
    assert outcome(begun()) == "c0de"
    assert outcome(begun(), iss=ISSUER) == "c0de"
    assert outcome(begun(), session_state="something of the server's") == "c0de"


def test_a_pasted_address_may_have_space_around_it_and_a_fragment():
    pending = begun()
    answer = read_callback(Secret(f"  {REDIRECT}?{urlencode(answered(pending))}#_=_\n"))
    assert answer.plain == answered(pending)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "c0de",
        REDIRECT,
        f"{REDIRECT}?state=x",
        f"{REDIRECT}?code=&state=x",
        f"{REDIRECT}#code=c0de",
        f"{REDIRECT}?code={'x' * 300_000}",
        f"{REDIRECT}?code=x&{'a=1&' * 100}",
        "https://[x/?code=1",
    ],
)
def test_an_address_that_answers_nothing_is_told_apart(address):
    with pytest.raises(InvalidCallbackError, match="Take the whole address"):
        read_callback(Secret(address))


@pytest.mark.parametrize("name", ["code", "state", "iss", "error"])
def test_a_parameter_that_is_there_twice_is_not_the_servers(name):
    twice = urlencode([("code", "a"), ("state", "s"), (name, "first"), (name, "second")])
    with pytest.raises(InvalidCallbackError, match="twice"):
        read_callback(Secret(f"{REDIRECT}?{twice}"))


@pytest.mark.parametrize("state", ["other", "", None, "é", "\ud800", begun().state + "x", begun().state[:-1]])
def test_another_sign_ins_answer_is_refused(state, secrets):
    pending = attrs.evolve(begun(), code_verifier=secrets.code_verifier)
    answer = Secret(answered(pending, state=state, code=secrets.code))
    with pytest.raises(StateMismatchError) as caught:
        check_state(pending, answer)
    assert secrets.found_in(caught.value) == []


def test_an_error_without_a_state_is_not_believed_but_told():
    with pytest.raises(StateMismatchError, match=r"no state.* It says: server_error\."):
        check_state(begun(), Secret({"error": "server_error"}))


@pytest.mark.parametrize("now", [NOW + 600, NOW + 601, float("nan")])
def test_an_answer_after_ten_minutes_is_too_late(now):
    with pytest.raises(AuthorizationExpiredError, match="10 minutes"):
        outcome(begun(), now=now)


def test_an_answer_within_ten_minutes_is_in_time():
    assert outcome(begun(), now=NOW + 599.9) == "c0de"


@pytest.mark.parametrize("iss", ["https://evil.example", f"{ISSUER}/x", f"{ISSUER}//", ISSUER.upper()])
def test_an_answer_of_another_issuer_is_refused_even_when_it_is_an_error(iss):
    for parameters in ({}, {"code": None, "error": "access_denied"}):
        with pytest.raises(IssuerMismatchError, match="another authorization server"):
            outcome(begun(), iss=iss, **parameters)


def test_a_server_that_always_names_itself_must_do_so():
    pending = begun(server=attrs.evolve(SERVER, issuer_in_response=True))
    assert outcome(pending, iss=ISSUER) == "c0de"
    with pytest.raises(IssuerMismatchError, match="this server always does"):
        outcome(pending)


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/"])
@pytest.mark.parametrize("iss", [ISSUER, f"{ISSUER}/"])
def test_the_slash_of_an_empty_path_makes_no_other_issuer(issuer, iss):
    assert outcome(begun(server=attrs.evolve(SERVER, issuer=issuer)), iss=iss) == "c0de"


def test_an_error_of_a_server_that_does_not_name_itself_is_told_all_the_same():
    pending = begun(server=attrs.evolve(SERVER, issuer_in_response=True))
    with pytest.raises(AccessDeniedError, match="The person said no"):
        outcome(pending, code=None, error="access_denied", error_description="The person said no")
    with pytest.raises(AuthorizationResponseError, match="invalid_scope"):
        outcome(pending, error="invalid_scope")


def test_a_denial_and_an_error_are_told_in_the_servers_words():
    with pytest.raises(AccessDeniedError, match=r"denied \(access_denied: The person said no\.\)") as denied:
        outcome(begun(), code=None, error="access_denied", error_description="The person said no.")
    assert denied.value.code == "access_denied"
    with pytest.raises(AuthorizationResponseError, match=r"refused the sign-in \(invalid_scope\)") as refused:
        outcome(begun(), error="invalid_scope")
    assert (refused.value.code, type(refused.value)) == ("invalid_scope", AuthorizationResponseError)


def test_a_strangers_words_are_one_line_that_no_terminal_obeys():
    with pytest.raises(AuthorizationResponseError) as caught:
        outcome(begun(), error="x\x1b[31m\n", error_description="\u202e" + "y" * 5000)
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("code", ["a\nb", "é", "\x00"])
def test_a_code_that_no_server_issues_is_not_sent_anywhere(code):
    with pytest.raises(InvalidCallbackError, match="characters"):
        outcome(begun(), code=code)


@given(st.text(max_size=200))
def test_any_text_is_an_answer_or_a_typed_error(text):
    for address in (text, f"{REDIRECT}?{text}"):
        try:
            answer = read_callback(Secret(address))
            check_state(begun(), answer)
        except (InvalidCallbackError, StateMismatchError):
            continue
