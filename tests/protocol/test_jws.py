from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.protocol.jws import decode_segment, looks_like_jwt, parse_object


@given(st.binary(min_size=1, max_size=80))
def test_a_segment_decodes_to_what_was_encoded(data):
    assert decode_segment(base64.urlsafe_b64encode(data).rstrip(b"=").decode()) == data


@given(st.text(max_size=12, alphabet="ABQgwz09-_=+/ \n.é"))
def test_only_one_text_decodes_to_the_same_bytes(text):
    data = decode_segment(text)
    assert data is None or base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text


@pytest.mark.parametrize("text", ["", "A", "AAAAA", "AA==", "AB", "AAB", "A A", "AA\n", "A+/A", "éA"])
def test_what_is_not_canonical_base64url_is_none(text):
    assert decode_segment(text) is None


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c.d", "a..c", ".b.c", "a.b.", "a.b.c\n", " a.b.c", "a.b.c=", "a.b.ç", "Bearer a.b.c"]
)
def test_what_has_not_three_segments_is_no_jwt(text):
    assert not looks_like_jwt(text)
    assert looks_like_jwt("a.b-_.C0")


def test_an_object_is_frozen_to_its_depth():
    value = parse_object(b'{"a": [1, [2, {"b": [3]}]], "c": {"d": []}, "e": "\\u00e9\\ud83d\\ude00", "f": 1.5}')
    assert value == {"a": (1, (2, {"b": (3,)})), "c": {"d": ()}, "e": "é\U0001f600", "f": 1.5}
    with pytest.raises(TypeError):
        value["a"] = 1
    with pytest.raises(TypeError):
        value["c"]["d"] = 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"7",
        b'{"a":1} x',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":1,"a":1}',
        b'{"x":{"a":1,"a":2}}',
        b'{"x":[{"a":1,"a":2}]}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"\\udc00":1}',
        b'{"a":["\\ud800x"]}',
        b'{"a":"\n"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"' + b"[" * 257 + b'"}',
        b'{"a":' * 257 + b"1" + b"}" * 257,
    ],
)
def test_what_two_parsers_could_read_differently_is_none(text):
    assert parse_object(text) is None


def test_nesting_beyond_what_python_can_follow_is_none_too():
    assert parse_object(b'{"a":' * 20_000, max_brackets=10**6) is None
    assert parse_object(b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", max_brackets=10**6) is None
    assert parse_object(b'{"a":' * 256 + b"1" + b"}" * 256) is not None


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_none(data):
    value = parse_object(data)
    assert value is None or all(isinstance(name, str) for name in value)
