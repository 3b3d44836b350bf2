from __future__ import annotations

import itertools
import json
import random

import attrs
import pytest

from telnyx_oauth.errors import Reason
from telnyx_oauth.messages import headers
from telnyx_oauth.protocol.jwk import KeySet, read_jwks
from telnyx_oauth.protocol.jwks_refresh import (
    Answer,
    Fetch,
    FetchPolicy,
    FetchState,
    Refuse,
    Unavailable,
    Use,
    decide,
    failed,
    lifetime,
    may_be_replaced,
    missed,
    read_answer,
    replaced,
    succeeded,
)
from tests.forge import answer, ec, jwks, key, public, rsa

POLICY = FetchPolicy()


def key_set(*keys: object) -> KeySet:
    return read_jwks(json.dumps(jwks(*keys)).encode()) or KeySet()


def fetched(state=None, *, at=0.0, keys=None, sequence=None, seconds=300.0, **changes) -> FetchState:
    state = state or FetchState()
    given = Answer(keys or key_set(public(rsa())), None, seconds)
    sequence = state.sequence + 1 if sequence is None else sequence
    return succeeded(POLICY, state, given, sequence=sequence, sent_at=at, now=at, jitter=0.5, **changes)


def broken(state, *, at, retry_after=None, jitter=0.5) -> FetchState:
    return failed(
        POLICY, state, sequence=state.sequence + 1, error="down", retry_after=retry_after, now=at, jitter=jitter
    )


def ask(state, now, kid="rsa", algorithm="RS256", since=0, **more):
    """What a caller does who asked when all but the last `since` attempts had begun."""
    return decide(POLICY, state, algorithm=algorithm, kid=kid, now=now, attempts=state.sequence - since, **more)


def used(decision) -> bool:
    """Whether a key is used; True with a refresh in the background."""
    assert isinstance(decision, Use)
    return decision.refresh


def test_without_keys_the_first_caller_waits_for_them():
    assert ask(FetchState(), 0) == Fetch()


def test_fresh_keys_are_used_and_from_four_fifths_of_their_life_refreshed_behind_the_callers_back():
    state = fetched()
    assert not used(ask(state, 1))
    assert not used(ask(state, 239.9))
    assert used(ask(state, 240))
    assert used(ask(state, 299.9))
    early, late = (
        succeeded(POLICY, FetchState(), Answer(key_set(), None, 300), sequence=1, sent_at=0, now=0, jitter=jitter)
        for jitter in (0.0, 1.0)
    )
    assert (early.ahead_at, late.ahead_at) == (pytest.approx(228), pytest.approx(252))


def test_keys_past_their_life_are_waited_for_and_after_a_failure_the_old_ones_serve():
    state = fetched()
    assert ask(state, 300) == Fetch()
    state = broken(state, at=305)
    assert not used(ask(state, 305.5, since=1)), "one attempt is all that a caller waits for"
    assert used(ask(state, 310)), "the next attempt is in the background"
    state = fetched(state, at=320)
    assert state.failures == 0
    assert not used(ask(state, 321))


def test_stale_keys_end_at_their_bound():
    state = broken(fetched(), at=3590)
    assert used(ask(state, 3599.9))
    assert ask(state, 3600) == Fetch()
    assert ask(broken(state, at=3600), 3600.1) == Unavailable(pytest.approx(1.9))
    lasting = succeeded(POLICY, FetchState(), Answer(key_set(), None, 7200), sequence=1, sent_at=0, now=0, jitter=0)
    assert lasting.usable_until == 7200


def test_an_unknown_key_id_costs_a_fetch_while_the_bucket_lasts():
    state = fetched()
    assert ask(state, 1, "new") == Fetch("new")
    state = fetched(missed(POLICY, state, 1), at=1, miss="new")
    assert ask(state, 1.9, "new") == Refuse(Reason.KID_UNKNOWN), "it is remembered"
    assert ask(state, 2, "other") == Fetch("other"), "the bucket holds two"
    state = fetched(missed(POLICY, state, 2), at=2, miss="other")
    assert ask(state, 3, "third") == Unavailable(8), "the bucket is empty: what was not looked for may be there"
    assert ask(state, 10.5, "third") == Unavailable(1)
    assert ask(state, 3, "new") == Refuse(Reason.KID_UNKNOWN), "it was looked for two seconds ago"
    assert ask(state, 10.9, "new") == Refuse(Reason.KID_UNKNOWN)
    assert ask(state, 11, "third") == Fetch("third"), "it fills again"
    spent = missed(POLICY, state, 11)
    assert ask(spent, 12, "new") == Unavailable(9), "its last look is too old to refuse it"
    assert ask(fetched(state, at=290), 302, "new") == Fetch("new"), "nothing is remembered for ever"


def test_a_key_id_that_stays_unknown_is_looked_for_ever_less_often():
    state, looks = fetched(seconds=3600), []
    for tenth in range(10, 12_000):
        now = tenth / 10
        if ask(state, now, "new") == Fetch("new"):
            looks.append(now - 1)
            state = fetched(missed(POLICY, state, now), at=now, miss="new", seconds=3600)
    assert looks[:5] == [0, 1, 10, 20, 30], "the bucket sets the third"
    assert {later - look for look, later in itertools.pairwise(looks[2:])} == {10}


def test_a_key_id_that_nobody_asks_for_any_more_is_forgotten():
    state = fetched(missed(POLICY, fetched(), 1), at=1, miss="new")
    assert fetched(state, at=30).unknown
    assert not fetched(state, at=32).unknown


def test_an_unknown_key_id_of_an_issued_token_costs_a_fetch_of_its_own_whatever_has_been_missed():
    state = fetched()
    for kid in ("new", "other"):
        state = fetched(missed(POLICY, state, 1), at=1, miss=kid)
    for kid, refused in (("new", Refuse(Reason.KID_UNKNOWN)), ("third", Unavailable(9.5))):
        assert ask(state, 1.5, kid) == refused
        assert ask(state, 1.5, kid, issued=True) == Fetch(), "and takes nothing of what others may miss"
        assert ask(fetched(state, at=1.6), 1.6, kid, since=1, issued=True) == Refuse(Reason.KID_UNKNOWN)
    assert ask(broken(state, at=2), 2.5, "new", issued=True) == Unavailable(1.0), "a back-off counts all the same"
    assert ask(state, 1.5, "rsa", "ES256", issued=True) == Refuse(Reason.KID_UNKNOWN)


def test_an_unknown_key_id_is_forgotten_when_the_keys_change():
    state = fetched(missed(POLICY, fetched(), 1), at=1, miss="new")
    state = fetched(state, at=2, keys=key_set(public(rsa()), public(key("third"))))
    assert (state.generation, dict(state.unknown)) == (2, {})
    assert ask(state, 12, "new") == Fetch("new")


def test_the_key_id_that_a_fetch_brought_is_not_remembered_as_unknown():
    state = fetched(missed(POLICY, fetched(), 1), at=1, miss="second", keys=key_set(public(key("second"))))
    assert not state.unknown
    assert not used(ask(state, 1, "second", since=1))


def test_so_many_unknown_key_ids_are_remembered_and_no_more():
    few = attrs.evolve(POLICY, negative_kids=2)
    state = fetched()
    for number in range(5):
        state = succeeded(
            few,
            state,
            Answer(state.keys, None, 300),
            sequence=number + 2,
            sent_at=1,
            now=1,
            jitter=0.99,
            miss=f"k{number}",
        )
    assert set(state.unknown) == {"k0", "k4"}


def test_a_fetch_that_ended_since_the_caller_asked_is_as_good_as_its_own():
    assert ask(fetched(at=5), 5.1, "new", since=1) == Refuse(Reason.KID_UNKNOWN)
    assert ask(broken(FetchState(), at=5), 5.1, since=1) == Unavailable(1.0)


def test_a_fetch_that_had_begun_before_the_caller_asked_may_have_been_answered_too_early():
    assert ask(fetched(at=5), 5.1, "new") == Fetch("new")


def test_a_signature_that_its_key_did_not_make_costs_a_fetch_now_and_then():
    state = fetched()
    assert may_be_replaced(state, 1, attempts=1)
    assert not may_be_replaced(state, 1, attempts=0), "the keys have come since"
    state = fetched(replaced(POLICY, state, 1), at=1)
    assert not may_be_replaced(state, 30.9, attempts=2)
    assert may_be_replaced(state, 30.9, attempts=2, issued=True)
    assert may_be_replaced(state, 31, attempts=2)
    assert not may_be_replaced(broken(state, at=40), 40.5, attempts=3, issued=True), "a back-off counts all the same"


@pytest.mark.parametrize(("kid", "algorithm"), [("rsa", "ES256"), (None, "ES256")])
def test_a_known_key_id_with_another_algorithm_and_no_key_id_at_all_cost_no_fetch(kid, algorithm):
    assert ask(fetched(), 1, kid, algorithm) == Refuse(Reason.KID_UNKNOWN)


def test_an_ambiguous_key_costs_no_fetch():
    state = fetched(keys=key_set(public(rsa()), public(key("second"))))
    assert ask(state, 1, None) == Refuse(Reason.KID_AMBIGUOUS)


def test_while_the_endpoint_fails_an_unknown_key_cannot_be_judged_and_a_known_one_serves():
    state = broken(fetched(), at=10)
    assert ask(state, 10.5, "new") == Unavailable(1.0)
    assert not used(ask(state, 10.5))
    assert ask(state, 11, "new") == Fetch()


def test_attempts_are_ever_further_apart_up_to_a_bound_whatever_the_jitter():
    state, waits = FetchState(), []
    for jitter in (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 1.0):
        state = broken(state, at=0, jitter=jitter)
        waits.append(state.retry_at)
    assert waits == [pytest.approx(wait) for wait in (1, 2, 4, 8, 16, 30, 24, 36)]


def test_the_servers_wish_is_granted_up_to_a_minute():
    assert broken(FetchState(), at=0, retry_after=20).retry_at == 20
    assert broken(FetchState(), at=0, retry_after=9999).retry_at == 60
    assert broken(FetchState(), at=0, retry_after=0).retry_at == 1


def test_an_older_answer_never_overwrites_a_newer_one():
    newer = fetched(sequence=2, keys=key_set(public(key("second"))))
    assert fetched(newer, sequence=1) is newer
    assert failed(POLICY, newer, sequence=1, error="down", retry_after=None, now=9, jitter=0) is newer


def test_the_generation_is_that_of_the_keys():
    state = fetched()
    assert state.generation == 1
    assert fetched(state, at=9).generation == 1
    assert fetched(state, at=9, keys=key_set(public(rsa(), kid="renamed"))).generation == 2


@pytest.mark.parametrize(
    ("control", "age", "seconds"),
    [
        (None, None, 300),
        ("max-age=120", None, 120),
        ('public, Max-Age="120"', None, 120),
        ("max-age=31536000", None, 3600),
        ("max-age=0", None, 60),
        ("no-cache", None, 60),
        ("max-age=600, no-store", None, 60),
        ("max-age=600", "100", 500),
        ("max-age=600", "9999", 60),
        ("max-age=600", "-5", 600),
        ("max-age=600", "x", 600),
        ("max-age=-1", None, 300),
        ("max-age=1e9", None, 300),
        ("s-maxage=9, private", None, 300),
        ("max-age=99999999999999", None, 300),
    ],
)
def test_how_long_an_answer_is_fresh(control, age, seconds):
    pairs = (("Cache-Control", control), ("Age", age))
    assert lifetime(POLICY, headers(*((name, value) for name, value in pairs if value is not None))) == seconds


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (answer(jwks(), 500), "status 500"),
        (answer(jwks(), 302, Location="https://evil.example/"), "status 302"),
        (answer(jwks(), 201), "status 201"),
        (answer(b"<html>"), "no JWKS, or one with more than 64 keys"),
        (answer({}), "no JWKS, or one with more than 64 keys"),
        (answer({"keys": []}), "no usable key"),
        (answer(jwks(rsa().as_dict(private=True))), "no usable key"),
        (
            attrs.evolve(answer(jwks()), fault="the body has more than 65536 bytes"),
            "the body has more than 65536 bytes",
        ),
        (answer(b"", 304), "status 304"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_without_usable_keys_is_named_for_what_it_is(given, problem):
    assert read_answer(POLICY, FetchState(), given) == problem


def test_an_unchanged_answer_keeps_the_keys_and_makes_them_fresh():
    state = fetched(keys=key_set(public(ec())))
    given = read_answer(POLICY, state, answer(b"", 304, Cache_Control="max-age=600"))
    assert given == Answer(state.keys, state.etag, 600)
    assert read_answer(POLICY, state, answer(jwks(), ETag='"1"')) == Answer(key_set(), '"1"', 300)


# --- an hour under attack


@attrs.define
class World:
    """An issuer and its callers in simulated time: 3 outages, 3 rotations, a flood of key ids that nobody has.

    A new key is published 5 s before it signs, but for the last rotation, which falls into an outage.
    """

    flood: int
    repeats: int = 0
    rotations = ((600.0, 605.0), (1800.0, 1805.0), (3000.0, 3000.0))
    outages = ((0.0, 30.0), (1500.0, 1790.0), (2990.0, 3030.0))
    latency = 0.2
    state: FetchState = attrs.field(factory=FetchState)
    fetches: int = 0
    lands_at: float | None = None
    for_kid: str | None = None
    waiting: list[tuple[int, str, bool]] = attrs.field(factory=list)
    refused: int = 0
    unavailable: int = 0
    passed: int = 0
    chance: random.Random = attrs.field(factory=lambda: random.Random(1))

    def kid(self, now: float, which: int) -> str:
        """The key id that is published (0) or signs (1) at this time."""
        return f"k{sum(now >= moments[which] for moments in self.rotations)}"

    def published(self, now: float) -> KeySet:
        newest = int(self.kid(now, 0)[1:])
        return SETS[newest]

    def request(self, now: float, kid: str, good: bool, asked: int) -> None:
        decision = decide(POLICY, self.state, algorithm="ES256", kid=kid, now=now, attempts=asked)
        if isinstance(decision, Refuse | Unavailable) and self.lands_at is not None:
            self.waiting.append((asked, kid, good))
            return
        match decision:
            case Use(_, refresh):
                self.passed += good
                if refresh:
                    self.begin(now, None)
            case Fetch(miss):
                self.begin(now, miss)
                self.waiting.append((asked, kid, good))
            case Refuse(_):
                self.refused += good
            case Unavailable(_):
                self.unavailable += good

    def begin(self, now: float, miss: str | None) -> None:
        if self.lands_at is None:
            self.fetches += 1
            self.lands_at, self.for_kid = now + self.latency, miss
            if miss is not None:
                self.state = missed(POLICY, self.state, now)

    def land(self, now: float) -> None:
        self.lands_at = None
        numbers = {"sequence": self.fetches, "now": now, "jitter": self.chance.random()}
        if any(start <= now < end for start, end in self.outages):
            self.state = failed(POLICY, self.state, error="down", retry_after=None, **numbers)
        else:
            given = Answer(self.published(now), None, 300)
            self.state = succeeded(POLICY, self.state, given, sent_at=now - self.latency, miss=self.for_kid, **numbers)
        waiting, self.waiting = self.waiting, []
        for asked, kid, good in waiting:
            self.request(now, kid, good, asked)

    def run(self) -> None:
        for tick in range(36_000):
            now = tick / 10
            if self.lands_at is not None and now >= self.lands_at:
                self.land(now)
            for number in range(self.flood):
                which = number if self.repeats == 0 else self.chance.randrange(self.repeats)
                self.request(now, f"nobody-{which}" if self.repeats else f"nobody-{tick}-{number}", False, self.fetches)
            self.request(now, self.kid(now, 1), True, self.fetches)


_NAMES = [public(key(f"k{number}", "EC")) for number in range(4)]
SETS = [key_set(*_NAMES[max(0, number - 1) : number + 1]) for number in range(4)]


@pytest.mark.parametrize(
    ("flood", "repeats"), [(0, 0), (3, 0), (3, 1), (3, 300), pytest.param(50, 0, marks=pytest.mark.long)]
)
def test_an_hour_of_attack_costs_few_fetches_and_little_service(flood, repeats):
    world = World(flood, repeats)
    world.run()
    assert world.fetches <= 400
    assert world.refused <= 50, "tenths of a second in which good tokens were refused"
    # For 60 s of the outages the keys cannot be had; then up to one longest wait goes by before the next attempt.
    assert world.unavailable <= 960, "tenths of a second in which good tokens could not be judged"
    assert world.passed >= 36_000 - 1010
