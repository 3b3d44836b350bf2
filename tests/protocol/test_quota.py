from __future__ import annotations

import pytest

from telnyx_oauth.messages import headers
from telnyx_oauth.protocol.quota import Quota, answered, asked, refused


def used(*times: float, quota: Quota | None = None) -> Quota:
    quota = quota or Quota()
    for at in times:
        quota = answered(asked(quota, at), at, sent_at=at)
    return quota


def limited(quota: Quota, now: float, wait: float = 10.0, *, stated: bool = False, **fields: str) -> Quota:
    given = headers(*((name.replace("_", "-"), value) for name, value in fields.items()))
    return refused(asked(quota, now), now, sent_at=now, wait=wait, stated=stated, headers=given)


def test_as_long_as_nothing_is_refused_nothing_is_limited():
    assert used(*range(1000)).wait(999) == 0
    assert used(*range(1000)).limit is None


def test_what_was_answered_in_the_last_minute_is_the_limit():
    quota = limited(used(-10, 0, 1, 2, 3, 4), 55)
    assert (quota.limit, quota.window) == (5, 60)
    assert quota.wait(55) == 10, "the server wants none for so long"
    assert limited(used(0, 1, 2, 3, 4), 5).wait(20) == 40, "then the window counts"
    assert limited(used(0, 1, 2, 3, 4), 5).wait(60) == 0


def test_a_question_may_have_to_leave_some_to_others():
    quota = limited(used(0, 1, 2, 3, 4), 5)
    assert [quota.wait(60, keep=keep) for keep in range(7)] == [0, 1, 2, 3, 4, 4, 4], "one is always allowed"


def test_a_question_counts_from_its_answer_as_the_server_may_count_it_late():
    quota = limited(answered(asked(Quota(), 0), 3, sent_at=0), 4)
    assert (quota.limit, quota.wait(60)) == (1, 3)


@pytest.mark.parametrize(
    ("fields", "window"),
    [
        ({"RateLimit_Limit": "5, 5;w=30"}, 30),
        ({"RateLimit_Policy": '"default";q=5;w=10'}, 10),
        ({"RateLimit_Limit": "5, 5;w=0"}, 1),
        ({"RateLimit_Limit": "5, 5;w=86400"}, 60),
        ({"RateLimit_Limit": "5"}, 60),
    ],
)
def test_the_window_is_what_the_server_says(fields, window):
    assert limited(used(100), 101, **fields).window == window


def test_the_window_follows_from_when_the_server_wants_to_be_asked_again():
    assert limited(used(0, 1, 2), 5, 15, stated=True).window == 20
    assert limited(used(0, 1, 2), 5, 3600, stated=True).window == 60


def test_a_refusal_out_of_the_blue_teaches_no_limit_and_holds():
    quota = limited(Quota(), 5)
    assert (quota.limit, quota.wait(6), quota.wait(15)) == (None, 9, 0)


def test_a_limit_too_large_to_count_is_left_to_the_server():
    quota = limited(used(*(number / 100 for number in range(1000))), 10)
    assert (quota.limit, quota.wait(20)) == (None, 0)


def test_in_time_a_little_more_is_tried():
    quota = limited(used(0, 1), 2)
    assert [quota.allowed(at) for at in (2, 301, 302, 602)] == [2, 2, 3, 4]


def test_a_question_that_is_counted_no_more_is_answered_all_the_same():
    assert answered(Quota(), 5, sent_at=1).sent == (5,)
