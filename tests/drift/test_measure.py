"""The comparison holds its rate of false alarms, and finds what was planted."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import ks_2samp

from neuroconcepts_ray.drift.measure import ALPHA, Films, figures, measure
from neuroconcepts_ray.drift.permute import kolmogorov_smirnov, mean_differences, ranked, relabellings


def films(seed: int, *, shift: float = 0.0, rise: float = 0.0, error: float = 0.0, new: int = 40) -> Films:
    """Patients with one to four films that are alike; 120 old ones, some new ones, of which something may differ."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(120 + new), rng.integers(1, 5, 120 + new))
    young = owner >= 120
    taste = rng.normal(size=(120 + new, 30))[owner]
    base = rng.uniform(0.02, 0.5, 30)
    share = np.clip(base + 0.2 * base * taste + rise * young[:, None] * (np.arange(30) < 2), 0, 1)
    fires = rng.uniform(size=share.shape) < share
    logits = rng.normal(size=(120 + new, 4))[owner] + rng.normal(size=(len(owner), 4))
    logits[:, 0] += shift * young
    residual = rng.gamma(4, 1, len(owner)) * (1 + error * young)
    residual[~young & (owner % 2 == 0)] = np.nan
    return Films(
        groups=np.array([f"g{number:03d}" for number in owner]),
        new=young,
        codes=sparse.csr_array(fires.astype(np.float32)),
        logits=logits,
        residual=residual,
        spread=np.where(np.isnan(residual), np.nan, 10.0),
    )


def test_films_of_the_same_source_are_flagged_at_no_more_than_the_stated_rate() -> None:
    alarms = sum(measure(films(seed), draws=499).verdict == "drift" for seed in range(60))
    # At a rate of 1 %, more than four alarms of sixty come about once in two thousand such tests.
    assert alarms <= 4
    assert ALPHA == 0.01


@pytest.mark.parametrize(
    ("planted", "family"),
    [({"shift": 1.5}, "logit"), ({"rise": 0.35}, "density"), ({"error": 0.5}, "residual")],
    ids=["logit", "density", "residual"],
)
def test_planted_drift_is_flagged_by_its_family(planted: dict[str, float], family: str) -> None:
    for seed in range(5):
        found = measure(films(seed, **planted), draws=499)
        assert found.verdict == "drift"
        assert found.tests[family].p_any <= ALPHA / len(found.tests)


def test_a_neuron_that_changed_is_told_from_those_that_did_not() -> None:
    found = measure(films(3, rise=0.35), draws=499)
    assert set(np.flatnonzero(found.tests["density"].p <= 0.05).tolist()) == {0, 1}


def test_too_few_new_patients_are_said_to_be_too_few() -> None:
    assert measure(films(0, shift=5.0, new=9), draws=99).verdict == "too few"


def test_mean_differences_are_those_of_films_pooled_over_patients() -> None:
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 12, 60)
    values = rng.normal(size=(60, 3))
    labels = relabellings(np.arange(12) < 4, 7, 0)
    count = np.bincount(owner, minlength=12).astype(float)
    sums = np.stack([np.bincount(owner, weights=values[:, j], minlength=12) for j in range(3)], axis=1)
    naive = [values[row[owner]].mean(axis=0) - values[~row[owner]].mean(axis=0) for row in labels]
    assert np.allclose(mean_differences(sums, count, labels), naive)
    assert np.allclose(mean_differences(sparse.csr_array(sums), count, labels), naive)
    assert (labels.sum(axis=1) == 4).all()


def test_the_distance_of_distributions_is_scipys_also_with_ties() -> None:
    rng = np.random.default_rng(1)
    owner = rng.integers(0, 10, 80)
    values = rng.integers(0, 9, 80).astype(float)
    labels = relabellings(np.arange(10) < 4, 5, 0)
    naive = [ks_2samp(values[row[owner]], values[~row[owner]]).statistic for row in labels]
    assert np.allclose(kolmogorov_smirnov(values, owner, labels), naive)


def test_a_p_value_is_the_rank_of_the_largest_figure() -> None:
    found = ranked(np.array([[9.0, 0.0], [1.0, 1.0], [-1.0, -1.0], [0.5, 2.0]]))
    assert found.p[0] == 1 / 4
    assert found.p_any == 1 / 4
    assert ranked(np.zeros((5, 2))).p_any == 1.0


def test_the_two_random_halves_are_of_the_old_films_alone() -> None:
    a, b = films(4), films(4, shift=50.0, error=9.0)
    assert measure(a, draws=9).halves == measure(b, draws=9).halves
    assert figures(b)["logit_max"] > 10 > figures(a)["logit_max"]
