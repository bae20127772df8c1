"""Counterfactual figures: found where they are planted, and 0 where they are not."""

import numpy as np
import pytest

from neuroconcepts_ray.phantom.scoring.twins import effect, mean, moves, reliance


def test_a_shortcut_is_found_where_planted_and_is_0_where_not() -> None:
    rng = np.random.default_rng(0)
    finding = 2.0 + rng.normal(0, 0.5, 200)
    planted = reliance(0.8 + rng.normal(0, 0.5, 200), finding)
    assert planted.low < 0.4 < planted.high
    assert planted.low > 0
    absent = reliance(rng.normal(0, 0.5, 200), finding)
    assert absent.low < 0 < absent.high
    assert absent.high < 0.1


def test_the_own_neuron_moves_the_right_way_and_the_others_are_told_beside_it() -> None:
    rng = np.random.default_rng(1)
    change = rng.normal(0, 0.1, (100, 4))
    change[:, 2] += 1.0
    found = effect(change, 2, [0, 1, 3])
    assert found.own.value == pytest.approx(change[:, 2].mean())
    assert found.own.high - found.own.low == pytest.approx(2 * 1.96 * change[:, 2].std() / 10, rel=0.2)
    assert found.right.value == 1.0
    assert found.others.value == pytest.approx(np.abs(change[:, [0, 1, 3]]).mean())
    idle = effect(change, 0, [])
    assert idle.right.low < 0.5 < idle.right.high
    assert np.isnan(idle.others.value)


def test_what_does_not_move_is_at_chance() -> None:
    assert moves(np.array([2.0, -1.0, 0.0])).tolist() == [1.0, 0.0, 0.5]
    assert mean(moves(np.zeros(20))).value == 0.5
