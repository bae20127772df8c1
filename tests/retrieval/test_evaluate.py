"""The figures of retrieval are those of hand-computed cases and of definitions written out in loops."""

import itertools

import numpy as np
import pytest

from neuroconcepts_ray.retrieval import evaluate
from neuroconcepts_ray.retrieval.relevance import agreement, answerable, gower

NAN = np.nan
LABELS = ["Edema", "Effusion", "Nodule", "No Finding"]


def test_relevance_is_the_jaccard_index_of_the_positive_labels_without_no_finding() -> None:
    queries = np.array([[1, 1, 0, 0], [1, NAN, 0, 0], [0, 0, 0, 1]], float)
    gallery = np.array([[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1], [NAN, 1, 0, 0]], float)
    expected = [
        [1 / 2, 2 / 3, 0, 1],  # in the last, Edema is masked: {Effusion} and {Effusion}
        [1, 1 / 2, 0, 0],  # Effusion is masked: {Edema} with {Edema}, {Edema, Nodule}, {}, and nothing known in common
        [0, 0, 0, 0],  # agreeing on nothing is no likeness
    ]
    np.testing.assert_allclose(agreement(queries, gallery, LABELS, "multilabel"), expected)
    assert answerable(queries, LABELS, "multilabel").tolist() == [True, True, False]


def test_classes_agree_where_they_are_the_same_and_masked_ones_never() -> None:
    one_hot = np.array([[1, 0], [0, 1], [NAN, NAN]])
    np.testing.assert_array_equal(agreement(one_hot, one_hot, ["a", "b"], "multiclass"), np.diag([1, 1, 0]))
    binary = np.array([[1.0], [0.0], [NAN]])
    np.testing.assert_array_equal(agreement(binary, binary, ["a"], "binary"), np.diag([1, 1, 0]))
    assert answerable(one_hot, ["a", "b"], "multiclass").tolist() == [True, True, False]


def test_metadata_agree_by_words_and_by_how_near_numbers_are() -> None:
    queries = {"view": np.array(["PA", ""]), "age": np.array([40.0, NAN])}
    gallery = {"view": np.array(["PA", "AP"]), "age": np.array([50.0, 20.0])}
    # The ages span 20 to 50.
    np.testing.assert_allclose(gower(queries, gallery), [[(1 + 2 / 3) / 2, (0 + 1 / 3) / 2], [0, 0]])


def test_a_query_by_hand() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
    relevance = np.array([[1.0, 1.0, 0.0, 0.5, 0.0]])
    barred = np.array([[True, False, False, False, False]])
    found = evaluate.per_query(evaluate.order(scores, barred), relevance, barred)
    # What is left, best first: 1, 0, 0.5, 0.
    assert found["p@1"][0] == 1
    assert found["p@5"][0] == pytest.approx(2 / 5)
    assert found["p@20"][0] == pytest.approx(2 / 20)
    assert found["map"][0] == pytest.approx((1 + 2 / 3) / 2)
    assert found["ndcg@20"][0] == pytest.approx((1 + 0.5 / 2) / (1 + 0.5 / np.log2(3)))


def loops(scores: np.ndarray, relevance: np.ndarray, barred: np.ndarray) -> dict[str, float]:
    """The metrics of one query, from their definitions."""
    open_ = [g for g in range(len(scores)) if not barred[g]]
    ranked = sorted(open_, key=lambda g: (-scores[g], g))
    rel = [relevance[g] for g in ranked]
    out = {f"p@{k}": sum(r > 0 for r in rel[:k]) / k for k in (1, 5, 10, 20)}
    precisions = [sum(r > 0 for r in rel[: i + 1]) / (i + 1) for i in range(len(rel)) if rel[i] > 0]
    out["map"] = sum(precisions) / len(precisions)

    def dcg(gains: list[float]) -> float:
        return sum(gain / np.log2(i + 2) for i, gain in enumerate(gains[:20]))

    out["ndcg@20"] = dcg(rel) / dcg(sorted(rel, reverse=True))
    return out


def test_the_metrics_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, (30, 50)).astype(float)
    relevance = np.where(rng.random((30, 50)) < 0.2, rng.integers(1, 4, (30, 50)) / 3, 0)
    barred = rng.random((30, 50)) < 0.1
    relevance[3] = 0
    found = evaluate.per_query(evaluate.order(scores, barred), relevance, barred)
    for q in range(30):
        if q == 3:
            assert all(np.isnan(values[q]) for values in found.values())
            continue
        for name, value in loops(scores[q], relevance[q], barred[q]).items():
            assert found[name][q] == pytest.approx(value, abs=1e-12), (q, name)


@pytest.mark.parametrize("gains", [[1, 0.5, 0, 0, 0], [0.5, 0, 0], [1], [1, 1, 0.2, 0, 0, 0]])
def test_chance_is_the_mean_over_every_order(gains: list[float]) -> None:
    relevance = np.array([[*gains, 1.0]], float)
    barred = np.array([[False] * len(gains) + [True]])
    expected = evaluate.chance(relevance, barred)
    every = [loops(np.array([*order, 0]), relevance[0], barred[0]) for order in itertools.permutations(range(len(gains)))]
    for name in evaluate.METRICS:
        assert expected[name][0] == pytest.approx(np.mean([one[name] for one in every]), abs=1e-12), name


def test_scores_that_are_all_tied_are_as_good_as_chance() -> None:
    rng = np.random.default_rng(1)
    relevance = np.where(rng.random((40, 60)) < 0.2, 1.0, 0)
    barred = np.zeros((40, 60), bool)
    found = evaluate.tied(np.zeros((40, 60)), relevance, barred, draws=40)
    expected = evaluate.chance(relevance, barred)
    for name in evaluate.METRICS:
        assert np.nanmean(found[name]) == pytest.approx(np.nanmean(expected[name]), abs=0.03), name


def test_an_interval_resamples_patients_and_a_figure_says_its_n() -> None:
    values = np.array([0.0, 0.0, 0.0, 1.0, NAN])
    found = evaluate.figure(values, np.array(["a", "a", "a", "b", "c"]))
    assert (found["value"], found["n"], found["groups"]) == (0.25, 4, 2)
    # Of two patients a resample has a alone, b alone, or both.
    assert (found["low"], found["high"]) == (0.0, 1.0)
    assert evaluate.figure(np.array([NAN]), np.array(["a"]))["value"] is None


def test_a_label_of_few_positives_is_not_evaluable_and_masked_hits_do_not_count() -> None:
    q, g = 25, 40
    queries = np.zeros((q, 2))
    queries[:, 0] = 1
    gallery = np.zeros((g, 2))
    gallery[:30, 0] = 1
    gallery[5:10, 0] = NAN
    gallery[:, 1] = 1
    barred = np.zeros((q, g), bool)
    barred[:, 0] = True
    ranked = {"codes": evaluate.order(np.tile(-np.arange(g, dtype=float), (q, 1)), barred)}
    table = evaluate.by_label(ranked, queries, gallery, barred, ["a", "b"], np.arange(q).astype(str))
    # The first 20 open ones are 1…20, of which 5…9 are masked: 15 of 15. In all 24 of 34 known ones have it.
    assert table["a"]["codes"]["value"] == pytest.approx(1.0)
    assert table["a"]["chance"]["value"] == pytest.approx(24 / 34)
    assert "not evaluable" in table["b"]["why"]


def test_overlap_counts_what_two_rankings_share_of_their_first() -> None:
    one, other = np.array([[0, 1, 2, 3]]), np.array([[0, 2, 3, 1]])
    assert evaluate.shared(one, other, np.zeros((1, 4), bool), 2)[0] == 0.5
    assert evaluate.shared(one, other, np.array([[False, False, False, True]]), 20)[0] == pytest.approx(2 / 3)


def test_latency_has_every_query_in_one_bin() -> None:
    found = evaluate.latency([5e-6, 15e-6, 20e-6, 1.0])
    assert sum(found["counts"]) == found["n"] == 4
    assert found["counts"][0] == 2
    assert found["bins_ms"][0] == 0.01
    assert found["bins_ms"][-1] >= 1000
    assert found["p50_ms"] == pytest.approx(0.0175)
    assert evaluate.latency([])["p95_ms"] is None
