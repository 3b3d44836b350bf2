from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.protocol.retry import http_date

WHEN = 784_111_777.0  # the example of RFC 9110 section 5.6.7

FORMS = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]


@pytest.fixture(params=["America/New_York", "JST-9", "UTC"])
def zone(request, monkeypatch):
    if not hasattr(time, "tzset"):
        pytest.skip("this system has one time zone per machine")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("text", FORMS)
def test_each_of_the_three_forms_is_utc_wherever_this_machine_is(text):
    assert http_date(text) == WHEN


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 -0000", WHEN),
        ("Sun, 06 Nov 1994 10:49:37 +0200", WHEN),
        ("  Sun, 06 Nov 1994 08:49:37 GMT ", WHEN),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_799),
        ("Thursday, 04-Nov-26 10:00:00 GMT", 1_793_786_400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("", None),
        (" ", None),
        ("soon", None),
        ("1994-11-06T08:49:37Z", None),
        ("784111777", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 25:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
    ],
)
def test_what_is_no_date_is_none(text, seconds):
    assert http_date(text) == seconds


@given(st.integers(0, 253_402_300_799))
def test_what_servers_write_is_read_back(seconds):
    assert http_date(formatdate(seconds, usegmt=True)) == seconds


@given(st.one_of(st.text(), st.text("0123456789:+- ,GMTSunNovPM.")))
def test_no_text_makes_reading_it_fail(text):
    assert isinstance(http_date(text), float | None)
