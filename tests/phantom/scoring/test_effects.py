"""Counterfactual figures: found where they are planted, and 0 where they are not."""

import numpy as np
import pytest

from neuroconcepts_ray.phantom.scoring.twins import effect, in_deviations, mean, mean_of, moves, reliance


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
    found = effect(change, 2, [0, 1, 3]).figures
    own = mean(found["own"])
    assert own.value == pytest.approx(change[:, 2].mean())
    assert own.high - own.low == pytest.approx(2 * 1.96 * change[:, 2].std() / 10, rel=0.2)
    assert mean(found["right"]).value == 1.0
    assert mean(found["others"]).value == pytest.approx(np.abs(change[:, [0, 1, 3]]).mean())
    assert mean(found["margin"]).value == pytest.approx(own.value - mean(found["others"]).value)
    idle = effect(change, 0, []).figures
    right = mean(idle["right"])
    assert right.low < 0.5 < right.high
    assert np.isnan(mean(idle["others"]).value)


def test_the_mean_over_factors_counts_each_alike_and_is_surer_than_any() -> None:
    rng = np.random.default_rng(2)
    many, few = rng.normal(1, 1, 400), rng.normal(0, 1, 100)
    both = mean_of([many, few])
    assert both.value == pytest.approx((many.mean() + few.mean()) / 2)
    assert both.n == 500
    width = np.hypot(many.std() / 20, few.std() / 10) / 2
    assert both.high - both.low == pytest.approx(2 * 1.96 * width, rel=0.2)


def test_a_neuron_that_never_fires_is_counted_as_one_that_does_not_move() -> None:
    scaled = in_deviations(np.array([[1.0, 0.0], [-3.0, 0.0]]), np.array([2.0, 0.0]))
    assert scaled.tolist() == [[0.5, 0.0], [-1.5, 0.0]]
    found = effect(scaled, 1, [0]).figures
    assert mean(found["right"]).value == 0.5
    assert mean(found["margin"]).value == -1.0


def test_what_does_not_move_is_at_chance() -> None:
    assert moves(np.array([2.0, -1.0, 0.0])).tolist() == [1.0, 0.0, 0.5]
    assert mean(moves(np.zeros(20))).value == 0.5
