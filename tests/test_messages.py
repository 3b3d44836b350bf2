from __future__ import annotations

import copy
import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.messages import NO_HEADERS, Request, RequestInfo, Response, Timeout, headers

INFO = RequestInfo("GET", "https://api.telnyx.com/v2/oauth_clients")


class Stream:
    async def __aiter__(self):
        yield b"rest"

    async def aclose(self):
        """Nothing to give back."""


def test_headers_are_read_in_any_case_may_repeat_and_cannot_be_written():
    made = headers(("X-Request-Id", "1"), ("x-request-id", "2"))
    assert made["X-REQUEST-ID"] == "1"
    assert made.getall("x-request-id") == ["1", "2"]
    assert not hasattr(made, "add")
    assert len(NO_HEADERS) == 0


@pytest.mark.parametrize("query", ["", "?code=planted", "?a=b&code=planted?"])
def test_a_request_is_shown_by_its_method_and_address_without_the_query(query):
    request = Request("GET", f"https://api.telnyx.com/x{query}")
    assert request.info == RequestInfo("GET", "https://api.telnyx.com/x")
    assert "planted" not in repr(request)
    assert attrs.evolve(request, info=RequestInfo("GET", "/y")).info.url == "/y"


def test_a_request_shows_its_method_and_place_and_nothing_else(secrets):
    request = Request(
        "POST",
        f"https://api.telnyx.com/v2/oauth/token?code={secrets.code}",
        RequestInfo("POST", "https://api.telnyx.com/v2/oauth/token"),
        {"Authorization": f"Bearer {secrets.access_token}"},
        f"refresh_token={secrets.refresh_token}".encode(),
        secrets=(secrets.client_secret,),
    )
    assert secrets.found_in(request) == []
    assert str(request.info) == "POST https://api.telnyx.com/v2/oauth/token"
    assert "POST" in repr(request)


def test_a_response_shows_its_status_and_request_and_nothing_that_it_holds(secrets):
    response = Response(
        200, headers(("Set-Cookie", secrets.code)), secrets.access_token.encode(), INFO, fault="the body ended early"
    )
    assert secrets.found_in(response) == []
    assert "200" in repr(response)
    assert INFO.url in repr(response)


def test_a_response_knows_what_was_asked_and_what_to_quote_to_support():
    response = Response(200, headers(("X-Request-ID", "abc")), b'{"a": 1}', INFO)
    assert (response.method, response.url, response.request_id) == (*attrs.astuple(INFO), "abc")
    assert response.json() == {"a": 1}
    assert Response(204).request_id is None


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"a"', b"\xff\xff", b"1" * 5000])
def test_a_body_that_is_no_json_is_a_value_error(content):
    with pytest.raises(ValueError):
        Response(200, content=content).json()


@pytest.mark.parametrize(
    "content_type, content, text",
    [
        ("", "é".encode(), "é"),
        ("text/html", "é".encode(), "é"),
        ("text/html; charset=iso-8859-1", b"\xe9", "é"),
        ('text/html; a=b; CHARSET="Windows-1252"', b"\x80", "€"),
        ("text/html; charset=utf-16", "é".encode("utf-16"), "é"),
        ("text/html; charset=Shift_JIS", "表".encode("shift_jis"), "表"),
        ("text/html; charset=gb2312", "中".encode("gbk"), "中"),
        ("text/html; charset=koi8-r", "ж".encode("koi8-r"), "ж"),
        ("text/html; charset=us-ascii", b"a\xe9", "a\ufffd"),
        ("text/html; charset=utf-8", b"a\xe9", "a\ufffd"),
        ("text/html; charset=no-such-charset", "é".encode(), "é"),
        ("text/html; charset=base64", b"YQ==", "YQ=="),
        ("text/html; charset=idna", b"xn--", "xn--"),
        ("text/html; charset=unicode_escape", rb"\x41", r"\x41"),
        ("text/html; charset=", b"a", "a"),
        ("text/html; charset=a\x00b", b"a", "a"),
        ("text/html; charset=\udc80", b"a", "a"),
    ],
)
def test_text_is_read_in_the_charset_that_the_answer_declares_if_it_is_one(content_type, content, text):
    assert Response(200, headers(("Content-Type", content_type)), content).text() == text


@given(st.text(), st.binary())
def test_any_bytes_in_any_charset_are_some_text(charset, content):
    assert isinstance(Response(200, headers(("Content-Type", f"text/html; charset={charset}")), content).text(), str)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_response_can_be_pickled_and_copied_without_its_stream_and_cookies(duplicate):
    pairs = (("X-A", "1"), ("x-a", "2"))
    response = Response(
        200, headers(*pairs, ("set-cookie", "s=1")), b"body", INFO, "HTTP/1.0", Stream(), "the body ended early"
    )
    twin = duplicate(response)
    assert tuple(twin.headers.items()) == pairs
    assert twin.stream is None
    assert (twin.status_code, twin.content, twin.request) == (200, b"body", INFO)
    assert (twin.http_version, twin.fault) == ("HTTP/1.0", "the body ended early")


def test_messages_cannot_be_changed_by_accident():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Response(200).status_code = 500
    assert Timeout() == Timeout(60.0, 5.0)


@pytest.mark.parametrize("content", [b'{"access_token": "planted', b"\xff planted", b"planted"])
def test_the_error_for_a_body_that_is_no_json_does_not_hold_the_body(content):
    with pytest.raises(ValueError, match=r"char|text") as caught:
        Response(200, content=content).json()
    assert b"planted" not in pickle.dumps(caught.value)
    assert "planted" not in repr(vars(caught.value))
    assert caught.value.__context__ is None
