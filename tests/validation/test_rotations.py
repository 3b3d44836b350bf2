from __future__ import annotations

import pytest

from tests.validation.rotations import ATTACKS, MOST_ROTATIONS, Attack, run


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if not (attack.random and attack.foretold)])
def test_in_an_hour_of_rotations_under_attack_good_tokens_are_hardly_refused_and_the_issuer_is_spared(name):
    seen = run(ATTACKS[name])
    assert seen.refused <= 30
    assert seen.longest_unavailable <= 11
    assert seen.fetches <= 400


def test_a_rotation_under_a_flood_of_random_key_ids_refuses_no_good_token():
    seen = run(Attack(random=10), seconds=700, rotations=(333.3,))
    assert (seen.refused, seen.unavailable > 0) == (0, True), "it is told that it cannot be known"


def test_a_rotation_without_an_attack_holds_up_no_good_token_at_all():
    seen = run(Attack(), rotations=(100.0, 200.0), seconds=300, good=30)
    assert (seen.refused, seen.unavailable) == (0, 0)


@pytest.mark.long
@pytest.mark.parametrize("phase", range(12))
def test_whatever_the_moment_of_the_rotation_a_foretold_key_id_costs_little(phase):
    """A rotation at each phase of the attacker's looks, by itself and among random ids."""
    for attack in (Attack(foretold=10), Attack(random=10, foretold=10, foretold_ids=3), Attack(random=50)):
        seen = run(attack, rotations=(1000 + phase * 0.9, 2200 + phase * 1.7, 3400 + phase * 2.9), seed=phase)
        assert seen.refused <= 30
        assert seen.longest_unavailable <= 11
        assert seen.fetches <= 400


@pytest.mark.long
def test_a_day_of_rotations_by_the_hour_costs_no_more_fetches_an_hour():
    rotations = tuple(7200.0 * number + 3000 for number in range(MOST_ROTATIONS))
    seen = run(Attack(random=2, foretold=1, foretold_ids=2), seconds=86_400, rotations=rotations, good=1)
    assert seen.most_in_an_hour <= 400
    assert seen.refused <= 10 * MOST_ROTATIONS
