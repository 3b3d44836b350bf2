from __future__ import annotations

import math

import pytest

from telnyx_oauth.messages import Response, headers
from telnyx_oauth.protocol.json_body import as_utf8, json_object


@pytest.mark.parametrize(
    "content, members",
    [
        (b"{}", {}),
        (b' {"a": 1}\n', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"", None),
        (b"[]", None),
        (b"null", None),
        (b'"a"', None),
        (b'{"a": 1', None),
        (b"<html>", None),
        (b'{"a":' * 100_000, None),
    ],
)
def test_a_body_is_one_json_object_or_nothing(content, members):
    assert json_object(Response(200, content=content)) == members


def test_a_number_of_more_digits_than_python_reads_costs_no_other_member():
    content = b'{"a": ' + b"9" * 5000 + b', "b": -' + b"9" * 5000 + b', "c": 12}'
    assert json_object(Response(200, content=content)) == {"a": math.inf, "b": -math.inf, "c": 12}


@pytest.mark.parametrize(
    "charset, content, expected",
    [
        ("", "é".encode(), "é"),
        ("iso-8859-1", "é".encode("iso-8859-1"), "é"),
        ("iso-8859-1", "é".encode(), "é"),
        ("utf-16", '{"a": 1}'.encode("utf-16"), '{"a": 1}'),
    ],
)
def test_a_body_is_read_in_the_declared_charset_where_it_is_no_utf_8(charset, content, expected):
    fields = headers(("Content-Type", f"application/json; charset={charset}"))
    assert as_utf8(Response(200, fields, content)).decode() == expected
