from __future__ import annotations

import itertools

import pytest

from tests.validation.floods import SHAPES, run

KINDS = [(mode, shape) for mode, shapes in SHAPES.items() for shape in shapes]


@pytest.mark.parametrize(("mode", "shape"), KINDS)
def test_ten_honest_callers_meet_no_refusal_in_an_hour(mode, shape):
    seen = run(mode, good=10, shape=shape, garbage=0)
    assert (seen.unavailable, seen.refused) == (0, 0)
    assert seen.longest_wait <= 65


@pytest.mark.parametrize(
    ("mode", "shape", "good"),
    [("jwt_then_introspect", "jwt", 10), ("introspect", "opaque", 3), ("jwt_or_opaque_then_introspect", "opaque", 1)],
)
def test_ten_garbage_tokens_a_second_keep_hardly_a_good_one_out(mode, shape, good):
    seen = run(mode, good=good, shape=shape, seconds=1800)
    assert seen.share <= 1
    assert seen.refused == 0
    assert seen.questions <= 1800 / 60 * 5 + 20, "the server is spared as well"


def test_garbage_that_is_no_signed_token_costs_no_good_one_anything():
    alone, beside = (run("jwt_then_introspect", good=3, garbage=garbage, seconds=600) for garbage in (0, 10))
    assert (alone.unavailable, beside.unavailable) == (0, 0)
    assert alone.questions == beside.questions


@pytest.mark.long
@pytest.mark.parametrize(("kind", "good", "every"), list(itertools.product(KINDS, (1, 3, 10), (1.0, 10.0))))
def test_an_hour_of_garbage_keeps_hardly_a_good_token_out(kind, good, every):
    """With one token an hour for each caller, at servers that say when to come again and that do not."""
    mode, shape = kind
    for says_when, seed in ((True, 1), (False, 2)):
        seen = run(mode, good=good, shape=shape, every=every, says_when=says_when, seed=seed)
        assert seen.share <= 1
        assert seen.refused == 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_tokens_that_are_renewed_half_hourly_are_hardly_kept_out(seed):
    for good in (1, 3, 10):
        seen = run("jwt_then_introspect", good=good, lifetime=1800, seed=seed, seconds=7200)
        assert seen.share <= 1
