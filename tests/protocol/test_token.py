from __future__ import annotations

import pickle

import pytest

from telnyx_oauth.protocol.token import Token, TokenKey, scope_set


@pytest.mark.parametrize(
    ("given", "expected"),
    [("a b", {"a", "b"}), ("", set()), (["a", "b c"], {"a", "b", "c"}), ([], set()), (frozenset({"x"}), {"x"})],
)
def test_scopes_are_a_set_however_they_are_given(given, expected):
    assert scope_set(given) == expected
    assert TokenKey(scopes=given).scopes == expected


def test_a_token_hides_its_text_and_knows_its_header():
    token = Token("planted-secret", scopes="a b", expires_at=100.0, generation=3)
    assert token.authorization == "Bearer planted-secret"
    assert "planted-secret" not in repr(token) + str(token)
    assert token.scopes == {"a", "b"}
    with pytest.raises(AttributeError):
        token.access_token = "other"


@pytest.mark.parametrize("text", ["", "a b", "a\r\nX: y", "\x7f", "é"])
def test_a_text_that_no_header_can_carry_is_refused_unquoted(text):
    with pytest.raises(ValueError) as caught:
        Token(text)
    assert not text.strip() or text not in str(caught.value)


def test_what_remains_is_never_negative():
    token = Token("x", expires_at=100.0)
    assert token.remaining(30.0) == 70.0
    assert token.remaining(100.0) == 0.0
    assert token.remaining(500.0) == 0.0
    assert Token("x").remaining() == float("inf")
    assert Token("x", expires_at=100.0, wall=lambda: 99.0).remaining() == 1.0
    with pytest.raises(ValueError, match="now"):
        token.remaining()


def test_a_token_can_be_pickled():
    token = Token("x", scopes="a", expires_at=1.0, generation=2, key=TokenKey("e", "c", "g"))
    copy = pickle.loads(pickle.dumps(token))
    assert (copy.access_token, copy.scopes, copy.expires_at, copy.generation, copy.key) == (
        "x",
        {"a"},
        1.0,
        2,
        token.key,
    )


KEY = TokenKey("https://a/token", "client", "client_credentials", "a b", "https://r", "me")


@pytest.mark.parametrize(
    "other",
    [
        TokenKey("https://b/token", "client", "client_credentials", "a b", "https://r", "me"),
        TokenKey("https://a/token", "other", "client_credentials", "a b", "https://r", "me"),
        TokenKey("https://a/token", "client", "refresh_token", "a b", "https://r", "me"),
        TokenKey("https://a/token", "client", "client_credentials", "a", "https://r", "me"),
        TokenKey("https://a/token", "client", "client_credentials", "a b", None, "me"),
        TokenKey("https://a/token", "client", "client_credentials", "a b", "https://r", "you"),
    ],
)
def test_every_part_of_a_key_parts_the_cache_and_the_store(other):
    assert other != KEY
    assert other.store_key != KEY.store_key


def test_a_key_names_its_records_the_same_everywhere():
    same = TokenKey("https://a/token", "client", "client_credentials", ["b", "a"], "https://r", "me")
    assert same == KEY
    assert hash(same) == hash(KEY)
    assert same.store_key == KEY.store_key == "client-credentials-bce300334d92aa118bcfe51b026168ff"
    assert KEY.family_key == KEY.narrowed("c", None).family_key == KEY.narrowed(None, "https://other").family_key
    assert KEY.family_key != KEY.store_key
    assert TokenKey().store_key.startswith("token-")


def test_narrowing_keeps_what_is_not_given():
    assert KEY.narrowed(None, None) == KEY
    assert KEY.narrowed("c", None) == TokenKey(
        "https://a/token", "client", "client_credentials", "c", "https://r", "me"
    )
    assert KEY.narrowed((), None).scopes == frozenset()
    assert KEY.narrowed(None, "https://s").resource == "https://s"
    assert KEY.narrowed(None, "https://s").scopes == KEY.scopes
