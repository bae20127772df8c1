"""Intervals of many cells from one set of resamples: the same as those of the plain bootstrap, and honest."""

import numpy as np
import pytest

from neuroconcepts_ray.phantom.scoring.cells import cells
from neuroconcepts_ray.stats import auroc, patient_bootstrap


def test_a_cells_interval_is_that_of_the_patient_bootstrap_with_ties_and_masked_films() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 300)
    y = (rng.random((300, 2)) < 0.3).astype(float)
    y[rng.random((300, 2)) < 0.2] = np.nan
    scores = np.round(rng.standard_normal((300, 2)) + np.nan_to_num(y), 1)
    found = cells(scores, y, groups, ["a", "b"], draws=50)

    def one(rows: np.ndarray, column: int) -> float:
        rows = rows[~np.isnan(y[rows, column])]
        return auroc(scores[rows, column], y[rows, column] == 1)

    for column in range(2):
        wanted = patient_bootstrap(lambda rows, column=column: one(rows, column), groups, draws=50)
        assert found.bounds[:, column] == pytest.approx(wanted)
    macro = found.macro(["a", "b"])
    both = patient_bootstrap(lambda rows: (one(rows, 0) + one(rows, 1)) / 2, groups, draws=50)
    assert (macro["low"], macro["high"]) == pytest.approx(both)


def test_on_random_labels_intervals_cover_one_half_in_95_percent_of_400_cells() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(20):
        groups = np.repeat(np.arange(150), 2)
        scores = rng.standard_normal((300, 20)) + rng.standard_normal(150)[groups][:, None]
        y = (rng.random((300, 20)) < 0.2).astype(float)
        low, high = cells(scores, y, groups, [str(at) for at in range(20)]).bounds
        covered += ((low <= 0.5) & (high >= 0.5)).tolist()
    assert len(covered) == 400
    assert 0.90 <= np.mean(covered) <= 1.0


def test_few_positives_are_not_evaluable_and_leave_the_macro_alone() -> None:
    y = np.zeros((100, 2))
    y[:19, 0] = y[:30, 1] = 1
    found = cells(y + 0.0, y, np.arange(100), ["few", "enough"])
    assert found.table()["few"] == {"auroc": None, "low": None, "high": None, "n": 100, "positives": 19}
    assert found.macro(["few", "enough"]) == {"auroc": 1.0, "low": 1.0, "high": 1.0, "labels": 1}
    assert found.macro(["few"])["auroc"] is None
