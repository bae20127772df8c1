"""AUROC, bootstrap and false discovery rate against independent implementations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from sklearn.metrics import roc_auc_score

from neuroconcepts_ray.stats import auroc, auroc_table, benjamini_hochberg, evaluable, patient_bootstrap


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40))
def test_auroc_equals_scikit_learns_with_ties(pairs: list[tuple[int, bool]]) -> None:
    score = np.array([s for s, _ in pairs], float)
    y = np.array([b for _, b in pairs])
    if y.all() or not y.any():
        assert np.isnan(auroc(score, y))
    else:
        assert auroc(score, y) == pytest.approx(roc_auc_score(y, score))


def test_the_table_is_every_pair() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(50, 3)), rng.random((50, 2)) < 0.4
    table = auroc_table(scores, labels)
    assert table[2, 1] == pytest.approx(roc_auc_score(labels[:, 1], scores[:, 2]))


def test_a_label_needs_twenty_of_each_to_be_evaluable() -> None:
    y = np.array([True] * 20 + [False] * 20)
    assert evaluable(y)
    assert not evaluable(y[1:])
    assert not evaluable(y[:-1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_equal_scipys(p: list[float]) -> None:
    values = np.array(p)
    assert benjamini_hochberg(values) == pytest.approx(false_discovery_control(values))


def test_the_interval_of_a_mean_is_that_of_its_patients_not_of_their_films() -> None:
    rng = np.random.default_rng(1)
    patient = rng.normal(size=100)
    groups = np.repeat(np.arange(100), 20)
    films = patient[groups]
    low, high = patient_bootstrap(lambda rows: float(films[rows].mean()), groups, draws=400, seed=2)
    assert high - low == pytest.approx(2 * 1.96 * patient.std() / 10, rel=0.2)
    assert low < patient.mean() < high


def test_draws_that_cannot_be_evaluated_are_left_out() -> None:
    assert all(np.isnan(patient_bootstrap(lambda _: float("nan"), np.arange(5), draws=3)))
