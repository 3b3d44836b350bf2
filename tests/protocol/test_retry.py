from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.messages import headers
from telnyx_oauth.protocol.retry import backoff, delay, retry_after

NOW = 1_445_412_400.0  # 80 s before the date below
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


def decided(status=0, fields=(), *, sent=True, once=False, attempt=0, max_retries=2, jitter=0.0):
    return delay(
        status,
        headers(*fields),
        attempt=attempt,
        max_retries=max_retries,
        jitter=jitter,
        now=NOW,
        sent=sent,
        once=once,
    )


@pytest.mark.parametrize("status", [0, 408, 409, 429, 500, 502, 503, 504, 599])
def test_what_may_go_better_next_time_is_sent_again(status):
    assert decided(status) == 0.5


@pytest.mark.parametrize("status", [300, 302, 400, 401, 403, 404, 405, 410, 422])
def test_what_would_come_to_the_same_is_not_sent_again(status):
    assert decided(status) is None


@pytest.mark.parametrize(
    "attempt, max_retries, again", [(0, 0, False), (0, 1, True), (1, 1, False), (1, 2, True), (2, 2, False)]
)
def test_attempts_are_counted(attempt, max_retries, again):
    assert (decided(500, attempt=attempt, max_retries=max_retries) is not None) is again
    assert (decided(sent=False, once=True, attempt=attempt, max_retries=max_retries) is not None) is again


@pytest.mark.parametrize(
    "attempt, jitter, seconds",
    [(0, 0, 0.5), (1, 0, 1), (2, 0, 2), (3, 0, 4), (4, 0, 8), (5, 0, 8), (10_000, 0, 8), (0, 1, 0.375), (9, 1, 6)],
)
def test_waits_double_to_eight_seconds_and_are_shortened_by_chance(attempt, jitter, seconds):
    assert decided(500, attempt=attempt, max_retries=20_000, jitter=jitter) == seconds


@pytest.mark.parametrize(
    "status, sent, fields, wait",
    [
        (0, False, [], 0.5),
        (0, True, [], None),
        (408, True, [], None),
        (409, True, [], None),
        (429, True, [], 0.5),
        (429, True, [("Retry-After", "3")], 3),
        (500, True, [], None),
        (502, True, [("Retry-After", "3")], None),
        (503, True, [], None),
        (503, True, [("Retry-After", "3")], 3),
        (503, True, [("Retry-After", "soon")], None),
        (503, True, [("Retry-After", "61")], None),
        (500, True, [("x-should-retry", "true")], None),
        (429, True, [("x-should-retry", "false")], None),
        (503, True, [("Retry-After", "3"), ("x-should-retry", "false")], None),
    ],
)
def test_what_must_not_happen_twice_is_sent_again_only_when_it_cannot_have_happened(status, sent, fields, wait):
    assert decided(status, fields, sent=sent, once=True) == wait


@pytest.mark.parametrize(
    "status, said, again",
    [
        (400, "true", True),
        (500, "false", False),
        (429, "false", False),
        (500, "maybe", True),
        (400, "maybe", False),
        (400, "", False),
    ],
)
def test_the_server_has_the_last_word_on_what_is_worth_repeating(status, said, again):
    assert (decided(status, [("X-Should-Retry", said)]) is not None) is again


@pytest.mark.parametrize(
    "fields, decision",
    [
        ([("Retry-After", "0")], 0),
        ([("Retry-After", "60")], 60),
        ([("Retry-After", "60.5")], None),
        ([("Retry-After", "99999999999999999999")], None),
        ([("Retry-After", DATE)], None),
        ([("retry-after-ms", "1500"), ("Retry-After", "9")], 1.5),
        ([("retry-after-ms", "60001"), ("x-should-retry", "true")], None),
        ([("retry-after-ms", "soon"), ("Retry-After", "9")], 9),
        ([("Retry-After", "-1")], 0.5),
        ([("Retry-After", "nan")], 0.5),
    ],
)
def test_the_servers_wait_is_kept_exactly_and_one_over_a_minute_is_the_callers_to_wait(fields, decision):
    assert decided(503, fields, jitter=1.0 if decision != 0.5 else 0.0) == decision


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("0", 0),
        ("5", 5),
        (" 5 ", 5),
        ("2.5", 2.5),
        ("5.", 5),
        ("9" * 400, 1e9),
        (DATE, 80),
        ("Wed, 21 Oct 2015 07:20:00 GMT", 0),
        ("Wed, 21 Oct 2015 09:28:00 +0200", 80),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 80),
        ("Wed Oct 21 07:28:00 2015", 80),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 80),
        ("", None),
        (" ", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_000", None),
        ("٣", None),
        ("0x10", None),
        ("soon", None),
        (",", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        (", Oct 99 07:28:00 999999999999", None),
    ],
)
def test_a_wait_is_seconds_or_a_date_and_nonsense_is_none(value, seconds):
    assert retry_after(headers(("Retry-After", value)), NOW) == seconds


@pytest.mark.parametrize("now", [0.0, NOW, NOW + 2 * 86400])
def test_a_date_to_wait_for_is_by_the_servers_clock(now):
    assert retry_after(headers(("Retry-After", DATE), ("Date", "Wed, 21 Oct 2015 07:27:30 GMT")), now) == 30
    assert retry_after(headers(("Retry-After", DATE), ("Date", "soon")), NOW) == 80


@pytest.fixture
def far_from_greenwich(monkeypatch):
    if not hasattr(time, "tzset"):
        pytest.skip("this system has one time zone per machine")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
@pytest.mark.parametrize("date", ["Wed Oct 21 07:28:00 2015", "Wed, 21 Oct 2015 07:28:00 -0000"])
def test_a_date_that_names_no_zone_is_utc_wherever_this_machine_is(date):
    assert retry_after({"retry-after": date}, NOW) == 80


@pytest.mark.parametrize(
    "fields, seconds",
    [({}, None), ({"retry-after-ms": "250"}, 0.25), ({"retry-after-ms": "x"}, None), ({"retry-after-ms": "-1"}, None)],
)
def test_a_wait_may_be_in_milliseconds_or_absent(fields, seconds):
    assert retry_after(fields, NOW) == seconds


@given(
    st.one_of(st.text(), st.text("0123456789:+- ,GMTWedOctPM."), st.floats().map(str), st.integers().map(str)),
    st.floats(0, 1e10),
)
def test_no_header_makes_reading_the_wait_fail(value, now):
    seconds = retry_after({"retry-after": value}, now)
    assert seconds is None or 0 <= seconds <= 1e12


@given(
    st.sampled_from([0, 200, 302, 400, 401, 404, 408, 409, 422, 429, 500, 503]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 5),
    st.floats(0, 1),
    st.sampled_from([None, "0", "7", "61", DATE, "?"]),
    st.sampled_from([None, "true", "false", "?"]),
)
def test_every_decision_keeps_the_limits(status, once, sent, attempt, jitter, asked, should):
    fields = [pair for pair in (("Retry-After", asked), ("x-should-retry", should)) if pair[1] is not None]
    decision = decided(status, fields, sent=sent, once=once, attempt=attempt, max_retries=3, jitter=jitter)
    if decision is None:
        return
    assert 0 <= decision <= 60
    assert attempt < 3
    assert should != "false"
    assert not once or not sent or status in {429, 503}


@pytest.mark.parametrize(
    "failures, first, longest, seconds",
    [(0, 1, 30, 1), (1, 1, 30, 2), (4, 1, 30, 16), (5, 1, 30, 30), (10**9, 1, 30, 30), (0, 5, 3, 3), (3, 0, 8, 0)],
)
def test_a_back_off_doubles_up_to_its_longest(failures, first, longest, seconds):
    assert backoff(failures, first, longest) == seconds
