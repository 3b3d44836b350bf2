from __future__ import annotations

import html
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.protocol.error_responses import Redactor

SECRET = "p/w+\"é\\&<=> %'x"


def lower(text: str) -> str:
    """The text with its percent-escapes in lower case."""
    return re.sub("%..", lambda escape: escape[0].lower(), text)


SPELLINGS = {
    "plain": str,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda it: json.dumps(it, ensure_ascii=False),
    "JSON with escaped slashes": lambda it: json.dumps(it).replace("/", "\\/"),
    "percent-encoded": lambda it: quote(it, safe=""),
    "percent-encoded path": quote,
    "percent-encoded in lower case": lambda it: lower(quote(it, safe="")),
    "form": quote_plus,
    "HTML": html.escape,
    "HTML text": lambda it: html.escape(it, quote=False),
}
secrets_ = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*"), min_size=8, max_size=40)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_struck_out_however_it_is_spelt(spelling):
    written = (
        SPELLINGS[spelling](SECRET) if spelling != "percent-encoded in lower case" else lower(quote(SECRET, safe=""))
    )
    told = f"before {written} after"
    redactor = Redactor.of([SECRET])
    assert redactor.text(told).replace('"', "") == "before *** after"
    assert redactor.bytes(told.encode()).replace(b'"', b"") == b"before *** after"


def test_no_secret_is_left_as_the_end_of_another():
    assert Redactor.of(["abcd", "abcd-efgh"]).text("abcd-efgh abcd") == "*** ***"


def test_what_is_too_short_to_be_a_secret_garbles_nothing():
    assert Redactor.of(["", "a", "abc"]).text("abc") == "abc"
    assert Redactor.of(["abcd"]).text("abcd") == "***"


@pytest.mark.parametrize(
    "value, redacted",
    [
        ("a 12345", "a ***"),
        (["12345", {"12345": ["x 12345"]}], ["***", {"***": ["x ***"]}]),
        (12345, "***"),
        (1234567, "***"),
        (1.5, 1.5),
        (1234, 1234),
        (True, True),
        (None, None),
        ({}, {}),
    ],
)
def test_json_is_redacted_all_the_way_down_and_keeps_its_shape(value, redacted):
    assert Redactor.of(["12345"]).json(value) == redacted


def test_json_is_left_alone_where_there_is_nothing_to_hide():
    value = {"a": [1]}
    assert Redactor.of([]).json(value) is value


def test_a_redactor_does_not_show_what_it_looks_for(secrets):
    assert secrets.found_in(Redactor.of([secrets.api_key])) == []


@given(st.lists(secrets_, max_size=3), st.text(), st.sampled_from([str, json.dumps, quote, quote_plus, html.escape]))
def test_no_secret_is_left_in_any_text(planted, around, spelling):
    redactor = Redactor.of(planted)
    for secret in planted:
        told = f"{around}{spelling(secret)}{around}"
        assert spelling(secret).strip('"') not in redactor.text(told)
        assert secret not in json.dumps(redactor.json({"a": [secret]}), ensure_ascii=False)


@given(st.text())
def test_any_text_can_be_a_secret(secret):
    redactor = Redactor.of([secret])
    assert isinstance(redactor.text(secret), str)
    assert isinstance(redactor.bytes(secret.encode("utf-8", "replace")), bytes)
