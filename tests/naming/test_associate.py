"""The statistics of naming against independent implementations, and its error rate where there is nothing to find."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import hypergeom, mannwhitneyu, rankdata

from neuroconcepts_ray import stats
from neuroconcepts_ray.naming import associate, ranks, resolve
from neuroconcepts_ray.naming.config import NamesConfig
from neuroconcepts_ray.naming.vocabulary import Term

CONFIG = NamesConfig(shuffles=2)


def sparse_values(rng: np.random.Generator, s: int, n: int, density: float) -> np.ndarray:
    values = rng.exponential(size=(s, n)).round(1)  # rounded: ties
    return values * (rng.random((s, n)) < density)


def archive(
    seed: int, *, patients: int, neurons: int = 60, vocabulary: int = 80, planted: int = 12, shift: float = 1.5
) -> tuple[np.ndarray, np.ndarray, list[Term]]:
    """Values and terms where neuron j < planted answers to term j (AUROC about .8), half of them to its absence."""
    rng = np.random.default_rng(seed)
    present = rng.random((patients, vocabulary)) < rng.uniform(0.08, 0.35, vocabulary)
    values = rng.normal(size=(patients, neurons))
    values[:, :planted] += shift * present[:, :planted]
    threshold = np.where(np.arange(neurons) % 3 == 0, -9.0, 0.7)  # dense and sparse neurons
    values = np.where(values > threshold, values - threshold, 0.0)
    polarities = ["present" if t % 2 == 0 else "absent" for t in range(vocabulary)]
    return values, present, [Term(f"term{t:03d}", p) for t, p in enumerate(polarities)]  # type: ignore[arg-type]


def evidence(values: np.ndarray, present: np.ndarray) -> resolve.Evidence:
    return resolve.Evidence.of(sparse.csr_array(values), sparse.csr_array(present.astype(float)))


def split(seed: int, **sizes: int) -> tuple[resolve.Evidence, resolve.Evidence, list[Term]]:
    probe, verify = sizes.pop("probe"), sizes.pop("verify")
    values, present, terms = archive(seed, patients=probe + verify, **sizes)
    return evidence(values[:probe], present[:probe]), evidence(values[probe:], present[probe:]), terms


def test_sparse_ranks_are_the_mid_ranks_of_the_dense_columns() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([sparse_values(rng, 40, 5, d) - 0.5 * (d == 0.9) for d in (0.0, 0.2, 0.9, 1.0)], axis=1)
    ranked = ranks.Ranks.of(sparse.csr_array(values))
    dense = (ranked.doubled.toarray() + ranked.zero) / 2
    np.testing.assert_array_equal(dense, rankdata(values, axis=0))
    for j in range(values.shape[1]):
        sizes = np.unique(values[:, j], return_counts=True)[1]
        assert ranked.ties[j] == (sizes**3.0 - sizes).sum()


def test_found_effects_and_p_values_are_those_of_mann_whitney_where_a_neuron_is_dense() -> None:
    values, present, _ = archive(1, patients=300)
    found = associate.find(evidence(values, present).ranks, evidence(values, present).present, q=0.9999, min_groups=2)
    table = stats.auroc_table(values, present)
    assert len(found.neuron) > 50
    np.testing.assert_allclose(found.auroc, table[found.neuron, found.term])
    p_of = {}
    for j, t in zip(found.neuron, found.term, strict=True):
        x, y = values[present[:, t], j], values[~present[:, t], j]
        p_of[j, t] = mannwhitneyu(x, y, alternative="greater", method="asymptotic").pvalue
    dense = (values > 0).mean(axis=0)[found.neuron] > 0.5
    ranked = [p_of[j, t] for j, t in zip(found.neuron[dense], found.term[dense], strict=True)]
    # q-values grow with p: the order of the found pairs is that of the independent p-values.
    assert np.all(np.diff(found.q[dense][np.argsort(ranked)]) >= -1e-12)


def test_the_hypergeometric_tail_is_exact() -> None:
    total = 57
    cases = [
        (a, m, d) for m in (1, 5, 20, 28) for d in (1, 7, 30) for a in range(int(m * d / total) + 1, min(m, d) + 1)
    ]
    a, m, d = np.array(cases).T
    np.testing.assert_allclose(
        associate.hypergeometric_tail(a, m, d, total), hypergeom.sf(a - 1, total, m, d), rtol=1e-9
    )


def test_q_values_are_adjusted_for_every_pair_that_was_tried() -> None:
    values, present, _ = archive(2, patients=300, neurons=30, vocabulary=30)
    whole = associate.find(evidence(values, present).ranks, evidence(values, present).present, q=0.05, min_groups=10)
    dense_only = values[:, ::3]  # neurons whose p is Mann and Whitney's alone
    found = associate.find(
        evidence(dense_only, present).ranks, evidence(dense_only, present).present, q=0.05, min_groups=10
    )
    assert whole.tried == values.shape[1] * present.shape[1]
    p = [
        mannwhitneyu(dense_only[present[:, t], j], dense_only[~present[:, t], j], alternative="greater").pvalue
        for j in range(dense_only.shape[1])
        for t in range(present.shape[1])
    ]
    q = stats.benjamini_hochberg(np.array(p)).reshape(dense_only.shape[1], -1)
    assert set(zip(*np.nonzero(q < 0.05), strict=True)) == set(zip(found.neuron, found.term, strict=True))
    np.testing.assert_allclose(found.q, q[found.neuron, found.term], rtol=1e-6)


def test_the_interval_is_that_of_the_patient_bootstrap() -> None:
    rng = np.random.default_rng(3)
    z, y = sparse_values(rng, 80, 1, 0.4)[:, 0], rng.random(80) < 0.3
    mine = associate.bootstrap_interval(z, y, associate.resamples(80, 100, 7))
    theirs = stats.patient_bootstrap(lambda rows: stats.auroc(z[rows], y[rows]), np.arange(80), draws=100, seed=7)
    np.testing.assert_allclose(mine, theirs)


def test_a_study_takes_the_maximum_of_its_films_zeros_included() -> None:
    rng = np.random.default_rng(4)
    codes = sparse_values(rng, 30, 6, 0.5) * rng.choice([-1, 1], size=(30, 6))
    study = rng.integers(-1, 8, 30)
    expected = np.array([codes[study == s].max(axis=0) if (study == s).any() else np.zeros(6) for s in range(8)])
    result = ranks.study_maxima(sparse.csr_array(codes), study, 8)
    np.testing.assert_array_equal(result.toarray(), expected)


@pytest.mark.parametrize("seed", range(5))
def test_planted_terms_are_named_and_nothing_else_in_a_small_archive(seed: int) -> None:
    probe, verify, terms = split(seed, probe=220, verify=110)
    held = resolve.name_neurons(probe, verify, terms, CONFIG)
    given = dict(zip(held.neuron[held.passed], held.term[held.passed], strict=True))
    right = sum(j == t for j, t in given.items())
    assert right >= 7, "power: most of 12 planted associations of AUROC .8"
    assert len(given) - right <= 1


def test_shuffled_reports_name_at_most_one_neuron_in_a_hundred() -> None:
    given = neurons = 0
    for seed in range(20):
        probe, verify, terms = split(100 + seed, probe=220, verify=110, neurons=100)
        given += resolve.shuffled_names(probe, verify, terms, CONFIG)
        neurons += CONFIG.shuffles * 100
    assert given / neurons <= 0.002


def test_the_held_out_test_alone_keeps_its_rate_over_wrong_candidates() -> None:
    """Candidates that are all wrong: in at most about q of the archives does any name hold."""
    breaches = 0
    for seed in range(40):
        _, verify, _ = split(300 + seed, probe=20, verify=110, planted=0)
        rng = np.random.default_rng(seed)
        candidates = {j: int(rng.integers(80)) for j in range(60)}
        held = associate.hold(
            verify.ranks, verify.values, verify.present, candidates, q=0.05, min_auroc=0.6, draws=100, seed=0
        )
        breaches += bool(held.passed.any())
    assert breaches <= 6


def test_a_longer_term_wins_among_equals_and_loses_otherwise() -> None:
    terms = [Term("pleural", "present"), Term("pleural effusion", "present"), Term("effusion", "absent")]
    pair = associate.Found(
        neuron=np.array([0, 0, 1, 1]), term=np.array([0, 1, 0, 1]), auroc=np.array([0.9, 0.895, 0.9, 0.8]),
        error=np.full(4, 0.01), q=np.zeros(4), tried=6,
    )  # fmt: skip
    assert associate.choose(pair, terms) == {0: 1, 1: 0}


def test_a_neuron_that_does_not_hold_on_other_patients_stays_unnamed() -> None:
    probe, _, terms = split(9, probe=220, verify=110)
    values, present, _ = archive(77, patients=110, planted=0)
    held = resolve.name_neurons(probe, evidence(values, present), terms, CONFIG)
    assert len(held.neuron) >= 7
    assert not held.passed.any()


def test_names_are_the_same_whenever_they_are_made() -> None:
    runs = [resolve.name_neurons(*split(5, probe=220, verify=110), CONFIG) for _ in range(2)]
    for name in ("neuron", "term", "auroc", "low", "high", "q"):
        np.testing.assert_array_equal(getattr(runs[0], name), getattr(runs[1], name))
