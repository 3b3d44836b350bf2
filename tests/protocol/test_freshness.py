from __future__ import annotations

from math import inf

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.errors import BadRequestError, NotFoundError, ReauthenticationRequiredError
from telnyx_oauth.messages import Response
from telnyx_oauth.protocol.freshness import (
    DEFAULT_POLICY,
    EMPTY,
    HoldOff,
    Phase,
    RefreshPolicy,
    Refuse,
    Renew,
    Snapshot,
    Use,
    UseAndRenew,
    decide,
    digest_of,
    failed,
    in_vain,
    is_gain,
    is_refused_anew,
    issued,
    phase,
    rejected,
    windows,
)
from telnyx_oauth.protocol.token import Token

TOKEN = Token("t", generation=7)
OTHER = Token("u", generation=8)
ERROR = RuntimeError("x")
SIGN_IN = ReauthenticationRequiredError("invalid_grant")
# Issued at boot 1000 and wall 50000; advisory at age 80, mandatory at 95, expired at 100.
HELD = Snapshot(TOKEN, 1000.0, 50_000.0, 100.0, 80.0, 95.0)


def at(age, state=HELD, wall_age=None, min_ttl=0.0):
    return decide(state, boot=1000.0 + age, wall=50_000.0 + (age if wall_age is None else wall_age), min_ttl=min_ttl)


# --- windows


@pytest.mark.parametrize(
    ("lifetime", "jitter", "advisory", "mandatory"),
    [
        (100.0, 0.0, 80.0, 95.0),  # 20 % and 5 %
        (100.0, 1.0, 75.0, 95.0),  # a quarter earlier
        (100.0, 0.5, 77.5, 95.0),
        (25.0, 0.0, 20.0, 23.75),  # the advisory floor of 5 s is 20 % here
        (20.0, 0.0, 15.0, 19.0),  # and more than that here
        (16.0, 0.0, 11.0, 15.0),  # the mandatory floor of 1 s
        (8.0, 0.0, 4.0, 7.0),  # half of it at most
        (8.0, 1.0, 4.0, 7.0),  # with jitter too
        (2.0, 0.0, 1.0, 1.5),  # a quarter at most
        (3600.0, 0.0, 2880.0, 3540.0),  # the mandatory cap of 60 s
        (86_400.0, 0.0, 82_800.0, 86_340.0),  # the advisory cap of an hour
        (86_400.0, 1.0, 81_900.0, 86_340.0),
        (0.0, 1.0, 0.0, 0.0),
    ],
)
def test_margins_are_fractions_with_floors_and_caps(lifetime, jitter, advisory, mandatory):
    assert windows(lifetime, jitter) == pytest.approx((advisory, mandatory, lifetime))


def test_a_lifetime_that_nobody_knows_is_looked_at_hourly():
    assert windows(None, 1.0) == (3600.0, inf, inf)
    assert windows(None, 0.0, RefreshPolicy(recheck=9.0)) == (9.0, inf, inf)


def test_a_policy_moves_each_margin():
    policy = RefreshPolicy(
        advisory_fraction=0.3,
        advisory_floor=50.0,
        advisory_cap=70.0,
        mandatory_fraction=0.1,
        mandatory_floor=15.0,
        mandatory_cap=20.0,
    )
    assert windows(200.0, 0.0, policy) == pytest.approx((140.0, 180.0, 200.0))
    assert windows(120.0, 0.0, policy) == pytest.approx((70.0, 105.0, 120.0))
    assert windows(400.0, 0.0, policy) == pytest.approx((330.0, 380.0, 400.0))


@given(st.floats(0, 1e9), st.floats(0, 1))
def test_for_every_lifetime_the_windows_follow_one_another_and_the_cache_is_used(lifetime, jitter):
    advisory, mandatory, end = windows(lifetime, jitter)
    assert 0 <= advisory <= mandatory <= end == lifetime
    assert advisory >= lifetime / 2 - 1e-6
    assert mandatory >= lifetime * 0.75 - 1e-6


# --- deciding


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, Use(TOKEN)),
        (79.9, Use(TOKEN)),
        (80, UseAndRenew(TOKEN)),
        (94.9, UseAndRenew(TOKEN)),
        (95, Renew()),
        (99.9, Renew()),
        (100, Renew()),
        (1e9, Renew()),
    ],
)
def test_a_token_is_used_then_renewed_meanwhile_then_renewed_first(age, expected):
    assert at(age) == expected
    assert at(0, wall_age=age) == expected  # whichever clock says more
    assert at(age, wall_age=-1e6) == expected
    assert at(age, wall_age=0) == expected


def test_without_a_token_there_is_only_renewing():
    assert decide(EMPTY, boot=5.0, wall=5.0) == Renew()
    assert decide(EMPTY, boot=-1e9, wall=-1e9) == Renew()


@pytest.mark.parametrize(
    ("age", "min_ttl", "expected"),
    [
        (50, 49, Use(TOKEN)),
        (50, 50, Use(TOKEN)),
        (50, 50.1, Renew()),
        (50, 99.9, Renew()),
        (50, 100, Use(TOKEN)),  # tokens never live that long
        (50, 1e9, Use(TOKEN)),
        (0.9, 99.5, Use(TOKEN)),  # issued just now: another would be no better
        (1.0, 99.5, Renew()),
        (85, 15, UseAndRenew(TOKEN)),
        (85, 16, Renew()),
        (85, 1e9, UseAndRenew(TOKEN)),
        (96, 1e9, Renew()),
    ],
)
def test_who_wants_more_time_renews_first_where_that_can_help(age, min_ttl, expected):
    assert at(age, min_ttl=min_ttl) == expected


def test_who_names_no_time_takes_the_last_moment_too():
    late = attrs.evolve(HELD, advisory=99.9, mandatory=99.95)
    assert decide(late, boot=1099.5, wall=0.0) == Use(TOKEN)


def test_just_now_is_a_quarter_of_a_short_life():
    brief = Snapshot(TOKEN, 1000.0, 50_000.0, 2.0, 1.0, 1.5)
    assert at(0.4, brief, min_ttl=1.9) == Use(TOKEN)
    assert at(0.5, brief, min_ttl=1.9) == Renew()


HOLDING = attrs.evolve(HELD, retry_boot=1090.0, urgent_boot=1085.0, error=ERROR, failures=1)


@pytest.mark.parametrize(
    ("age", "expected"),
    [(79, Use(TOKEN)), (80, Use(TOKEN)), (89.9, Use(TOKEN)), (90, UseAndRenew(TOKEN)), (95, Renew())],
)
def test_in_back_off_a_valid_token_is_served_and_nothing_is_sent(age, expected):
    assert at(age, HOLDING) == expected


def test_in_back_off_even_a_mandatory_or_scarce_token_is_served():
    late = attrs.evolve(HELD, retry_boot=1200.0)
    assert at(97, late) == Use(TOKEN)
    assert at(50, late, min_ttl=60) == Use(TOKEN)
    assert at(100, late) == Renew()


def test_without_a_usable_token_back_off_holds_everyone_off():
    held = attrs.evolve(EMPTY, retry_boot=90.0, urgent_boot=50.0, error=ERROR)
    assert decide(held, boot=49.9, wall=0.0) == HoldOff(50.0)
    assert decide(held, boot=50.0, wall=0.0) == Renew()
    dead = attrs.evolve(HELD, rejected=True, urgent_boot=1050.0)
    assert at(49, dead) == HoldOff(1050.0)
    assert at(50, dead) == Renew()


def test_a_terminal_failure_is_told_again_until_its_time_is_over():
    state = attrs.evolve(EMPTY, urgent_boot=50.0, error=ERROR, terminal=True)
    assert decide(state, boot=49.9, wall=0.0) == Refuse(ERROR)
    assert decide(state, boot=50.0, wall=0.0) == Renew()
    assert decide(attrs.evolve(state, error=None), boot=49.9, wall=0.0) == HoldOff(50.0)
    valid = attrs.evolve(HELD, retry_boot=1090.0, urgent_boot=1090.0, error=ERROR, terminal=True)
    assert at(85, valid) == Use(TOKEN)


def test_a_rejected_token_is_never_used():
    state = rejected(HELD)
    assert at(0, state) == Renew()
    assert state.remaining(1000.0, 50_000.0) == 0.0
    assert state.serve_until == -inf
    assert state.token is TOKEN


# --- the fresh path's two numbers


def quiet(state):
    return state.serve_until - state.since_boot


def test_a_token_is_served_blindly_until_something_is_to_be_done():
    assert quiet(HELD) == 80.0
    assert (
        quiet(attrs.evolve(HELD, renewing=True)) == 95.0
    )  # a renewal is under way: nothing to do until it is mandatory
    assert quiet(attrs.evolve(HELD, retry_boot=1090.0)) == 90.0
    assert quiet(attrs.evolve(HELD, retry_boot=1050.0)) == 80.0
    assert quiet(attrs.evolve(HELD, retry_boot=5000.0)) == 100.0  # never beyond its life
    assert quiet(attrs.evolve(HELD, renewing=True, retry_boot=1097.0)) == 97.0
    assert HELD.serve_until == 1080.0
    for nothing in (EMPTY, attrs.evolve(HELD, rejected=True), attrs.evolve(HELD, token=None)):
        assert nothing.serve_until == -inf


@given(
    age=st.floats(0, 200),
    retry=st.one_of(st.just(-inf), st.floats(900, 1300)),
    renewing=st.booleans(),
    refused=st.booleans(),
)
def test_what_is_served_blindly_is_what_would_have_been_decided(age, retry, renewing, refused):
    state = attrs.evolve(HELD, retry_boot=retry, renewing=renewing, rejected=refused)
    boot, wall = 1000.0 + age, 50_000.0 + age
    decision = decide(state, boot=boot, wall=wall)
    if boot < state.serve_until:
        assert decision == Use(TOKEN) or (renewing and decision == UseAndRenew(TOKEN))
        assert state.remaining(boot, wall) > 0
    elif not refused and not renewing:
        assert decision != Use(TOKEN)


# --- what happens to a key


def test_a_new_token_starts_a_new_life():
    before = attrs.evolve(HOLDING, terminal=True, renewing=True, refused=("d",))
    after = issued(before, OTHER, since_boot=2000.0, since_wall=60_000.0, lifetime=100.0, jitter=1.0, durable=False)
    assert after == Snapshot(OTHER, 2000.0, 60_000.0, 100.0, 75.0, 95.0, durable=False, refused=("d",))
    assert after.error is None
    assert issued(EMPTY, OTHER, since_boot=0, since_wall=0, lifetime=None, jitter=0).lifetime == inf
    slow = RefreshPolicy(advisory_fraction=0.4)
    assert issued(EMPTY, OTHER, since_boot=0, since_wall=0, lifetime=100.0, jitter=0, policy=slow).advisory == 60
    assert issued(EMPTY, OTHER, since_boot=0, since_wall=0, lifetime=100.0, jitter=0).durable


def test_a_token_in_the_place_of_a_rejected_one_is_known_as_such_and_keeps_the_count():
    after = issued(
        attrs.evolve(rejected(HELD), failures=3), OTHER, since_boot=2000.0, since_wall=0.0, lifetime=100.0, jitter=0.0
    )
    assert after.forced
    assert after.failures == 3
    assert not after.rejected
    assert after.refused == (digest_of("t"),)
    again = issued(after, TOKEN, since_boot=3000.0, since_wall=0.0, lifetime=100.0, jitter=0.0)
    assert not again.forced
    assert again.failures == 0


def test_only_a_replacement_that_is_refused_at_once_ends_the_renewing():
    forced = attrs.evolve(HELD, forced=True)
    assert is_refused_anew(forced, 1004.9)
    assert not is_refused_anew(forced, 1005.0)
    assert not is_refused_anew(HELD, 1000.0)
    assert is_refused_anew(forced, 1005.0, RefreshPolicy(rejection_window=6.0))


@pytest.mark.parametrize(
    ("text", "lifetime", "state", "expected"),
    [
        ("u", 41.0, HELD, True),
        ("u", 40.0, HELD, False),  # no later end
        ("u", 39.0, HELD, False),
        ("u", 0.0, HELD, False),
        ("t", 41.0, HELD, False),  # the same token
        ("u", None, HELD, True),
        ("t", None, HELD, False),
        ("u", 5.0, attrs.evolve(HELD, lifetime=inf), True),
        ("t", 5.0, attrs.evolve(HELD, lifetime=inf), False),
        ("u", 0.5, attrs.evolve(HELD, lifetime=60.75), False),  # however little is left
        ("u", 1.0, attrs.evolve(HELD, rejected=True), True),
        ("t", 1.0, attrs.evolve(HELD, lifetime=60.0), True),  # the old one has ended
        ("u", 0.0, EMPTY, True),
    ],
)
def test_a_token_is_a_gain_when_it_is_another_and_ends_later(text, lifetime, state, expected):
    assert is_gain(state, text, boot=1060.0, wall=50_060.0, lifetime=lifetime) is expected


@pytest.mark.parametrize(("age", "pause"), [(60, 10.0), (97, 1.0), (99.9, 1.0), (0, 25.0)])
def test_a_renewal_in_vain_is_no_failure_and_keeps_a_distance(age, pause):
    before = attrs.evolve(HOLDING, renewing=True, terminal=True)
    after = in_vain(before, boot=1000.0 + age, wall=50_000.0 + age)
    assert after == attrs.evolve(
        HELD, retry_boot=1000.0 + age + pause, urgent_boot=-inf, failures=0, terminal=False, renewing=False
    )
    assert after.error is None
    assert at(age, after) == Use(TOKEN)


def test_a_renewal_in_vain_of_an_endless_token_waits_an_hour():
    after = in_vain(attrs.evolve(HELD, lifetime=inf), boot=1000.0, wall=50_000.0)
    assert after.retry_boot == 4600.0


@pytest.mark.parametrize(
    ("failures", "jitter", "calm", "urgent"),
    [
        (0, 1.0, 1.0, 1.0),
        (0, 0.5, 0.5, 0.5),
        (1, 1.0, 2.0, 2.0),
        (2, 1.0, 4.0, 4.0),
        (3, 0.5, 4.0, 4.0),
        (4, 1.0, 16.0, 10.0),  # a caller without a token waits 10 s at most
        (5, 0.5, 16.0, 5.0),
        (6, 1.0, 60.0, 10.0),
        (10_000, 1.0, 60.0, 10.0),
        (0, 0.0, 0.1, 0.1),
        (50, 0.0, 0.1, 0.1),
    ],
)
def test_back_off_is_full_jitter_doubling_and_capped(failures, jitter, calm, urgent):
    before = attrs.evolve(HELD, failures=failures, renewing=True, terminal=True)
    after = failed(before, ERROR, boot=1090.0, jitter=jitter)
    assert after == attrs.evolve(
        HELD, failures=failures + 1, retry_boot=1090.0 + calm, urgent_boot=1090.0 + urgent, terminal=False
    )
    assert after.error is ERROR


@pytest.mark.parametrize(
    ("asked", "calm", "urgent"),
    [(None, 2.0, 2.0), (0.0, 2.0, 2.0), (1.0, 2.0, 2.0), (7.0, 7.0, 7.0), (300.0, 300.0, 300.0), (9e9, 300.0, 300.0)],
)
def test_the_servers_own_wish_counts_where_it_is_longer(asked, calm, urgent):
    after = failed(attrs.evolve(EMPTY, failures=1), ERROR, boot=0.0, jitter=1.0, retry_after=asked)
    assert (after.retry_boot, after.urgent_boot) == (calm, urgent)


@pytest.mark.parametrize(
    ("jitter", "asked", "pause"), [(0.0, None, 1.0), (0.5, None, 3.0), (1.0, None, 5.0), (0.0, 20.0, 20.0)]
)
def test_a_terminal_failure_is_remembered_for_some_seconds(jitter, asked, pause):
    after = failed(attrs.evolve(EMPTY, failures=9), ERROR, boot=100.0, jitter=jitter, terminal=True, retry_after=asked)
    assert (after.retry_boot, after.urgent_boot, after.terminal, after.failures) == (100 + pause, 100 + pause, True, 10)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_a_refusal_that_comes_again_is_tried_less_and_less_often(jitter):
    state, boot, pauses = EMPTY, 0.0, []
    for _ in range(9):
        state = failed(state, BadRequestError("no", response=Response(400)), boot=boot, jitter=jitter, terminal=True)
        assert state.retry_boot == state.urgent_boot
        pauses.append(state.retry_boot - boot)
        boot = state.retry_boot
    first = 1.0 + 4.0 * jitter
    assert pauses == [min(first * 2**number, 60.0) for number in range(9)]
    assert max(pauses[:4]) >= 8.0
    assert sum(pauses[:4]) - max(pauses[:4]) < 36.0


@pytest.mark.parametrize(
    ("error", "terminal"),
    [
        (NotFoundError("no", response=Response(404)), True),
        (BadRequestError("no", response=Response(400), code="another"), True),
        (BadRequestError("no", response=Response(400), code="said"), False),
    ],
)
def test_another_failure_in_between_begins_anew(error, terminal):
    refusal = BadRequestError("no", response=Response(400), code="said")
    state = EMPTY
    for each, ends in ((refusal, True), (refusal, True), (refusal, True), (error, terminal), (refusal, True)):
        state = failed(state, each, boot=0.0, jitter=0.0, terminal=ends)
    assert state.retry_boot == 1.0


def test_a_sign_in_elsewhere_is_noticed_as_soon_after_an_hour_as_after_a_minute():
    state = EMPTY
    for _ in range(20):
        state = failed(state, ReauthenticationRequiredError("revoked"), boot=0.0, jitter=1.0, terminal=True)
        assert state.retry_boot == 5.0


def test_a_policy_moves_back_off():
    policy = RefreshPolicy(backoff_first=3.0, backoff_cap=20.0, backoff_cap_expired=4.0, retry_after_cap=9.0)
    after = failed(attrs.evolve(EMPTY, failures=1), ERROR, boot=0.0, jitter=1.0, policy=policy)
    assert (after.retry_boot, after.urgent_boot) == (6.0, 4.0)
    assert failed(attrs.evolve(EMPTY, failures=9), ERROR, boot=0.0, jitter=1.0, policy=policy).retry_boot == 20.0
    assert failed(EMPTY, ERROR, boot=0.0, jitter=0.0, retry_after=99.0, policy=policy).retry_boot == 9.0


def test_the_last_eight_rejected_tokens_are_remembered_once_each():
    state = EMPTY
    for n in range(10):
        state = rejected(attrs.evolve(state, token=Token(f"t{n}")))
    assert state.refused == tuple(digest_of(f"t{n}") for n in range(2, 10))
    assert rejected(attrs.evolve(state, token=Token("t5"))).refused == state.refused
    assert rejected(EMPTY) is EMPTY
    assert "t5" not in repr(state)


def test_a_digest_tells_nothing_and_takes_any_text():
    assert digest_of("abc") == "ba7816bf8f01cfea414140de5dae2223"
    assert digest_of("\ud800") != digest_of("x")


# --- time and phases


@pytest.mark.parametrize(
    ("boot", "wall", "age"), [(1010.0, 50_020.0, 20.0), (1030.0, 50_020.0, 30.0), (1030.0, 0.0, 30.0)]
)
def test_age_goes_by_the_clock_that_says_more(boot, wall, age):
    assert HELD.age(boot, wall) == age
    assert HELD.remaining(boot, wall) == 100.0 - age


def test_nothing_remains_of_what_has_ended_or_never_was():
    assert HELD.remaining(1100.0, 50_000.0) == 0.0
    assert HELD.remaining(9e9, 9e9) == 0.0
    assert EMPTY.remaining(0.0, 0.0) == 0.0


@pytest.mark.parametrize(
    ("state", "age", "expected"),
    [
        (EMPTY, 0, Phase.EMPTY),
        (attrs.evolve(EMPTY, renewing=True), 0, Phase.FETCHING),
        (attrs.evolve(EMPTY, renewing=True, urgent_boot=1001.0), 0, Phase.BACKOFF),
        (attrs.evolve(EMPTY, urgent_boot=1001.0), 1, Phase.EMPTY),
        (HELD, 79, Phase.FRESH),
        (HELD, 80, Phase.ADVISORY),
        (HELD, 94, Phase.ADVISORY),
        (HELD, 95, Phase.MANDATORY),
        (HELD, 99, Phase.MANDATORY),
        (HELD, 100, Phase.EXPIRED),
        (attrs.evolve(HELD, renewing=True), 100, Phase.FETCHING),
        (attrs.evolve(HELD, renewing=True), 85, Phase.ADVISORY),
        (rejected(HELD), 0, Phase.REJECTED),
        (attrs.evolve(rejected(HELD), error=SIGN_IN), 0, Phase.REAUTH_REQUIRED),
        (attrs.evolve(EMPTY, error=SIGN_IN, urgent_boot=1001.0), 0, Phase.REAUTH_REQUIRED),
        (attrs.evolve(EMPTY, error=SIGN_IN, renewing=True), 0, Phase.FETCHING),
        (attrs.evolve(rejected(HELD), urgent_boot=1001.0), 0, Phase.BACKOFF),
    ],
)
def test_each_phase_has_a_stable_name(state, age, expected):
    assert phase(state, boot=1000.0 + age, wall=50_000.0 + age) is expected
    assert expected == expected.value


def test_the_default_policy_is_what_the_documentation_says():
    assert attrs.asdict(DEFAULT_POLICY) == {
        "advisory_fraction": 0.20,
        "advisory_floor": 5.0,
        "advisory_cap": 3600.0,
        "mandatory_fraction": 0.05,
        "mandatory_floor": 1.0,
        "mandatory_cap": 60.0,
        "recheck": 3600.0,
        "backoff_first": 1.0,
        "backoff_cap": 60.0,
        "backoff_cap_expired": 10.0,
        "retry_after_cap": 300.0,
        "rejection_window": 5.0,
        "flight_timeout": 60.0,
        "lock_timeout": 10.0,
        "store_timeout": 2.0,
        "replay_window": 10.0,
        "max_keys": 1024,
    }


numbers = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)


@given(
    state=st.builds(
        Snapshot,
        token=st.sampled_from([None, TOKEN]),
        since_boot=numbers,
        since_wall=numbers,
        lifetime=st.one_of(st.just(inf), st.floats(0, 1e9)),
        advisory=st.floats(0, 1e9),
        mandatory=st.floats(0, 1e9),
        rejected=st.booleans(),
        renewing=st.booleans(),
        failures=st.integers(0, 10**6),
        retry_boot=st.one_of(st.just(-inf), numbers),
        urgent_boot=st.one_of(st.just(-inf), numbers),
        error=st.sampled_from([None, ERROR]),
        terminal=st.booleans(),
    ),
    boot=numbers,
    wall=numbers,
    min_ttl=st.floats(0, inf),
)
def test_deciding_is_total_and_never_hands_out_what_has_ended(state, boot, wall, min_ttl):
    decision = decide(state, boot=boot, wall=wall, min_ttl=min_ttl)
    if isinstance(decision, (Use, UseAndRenew)):
        assert decision.token is TOKEN
        assert not state.rejected
        assert max(boot - state.since_boot, wall - state.since_wall) < state.lifetime
    elif isinstance(decision, HoldOff):
        assert boot < decision.until
    assert isinstance(phase(state, boot=boot, wall=wall), Phase)
