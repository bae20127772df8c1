"""How good a ranking is: precision, average precision and nDCG of each query, their chance, their intervals. Pure.

A *ranking* is a score of every image of the gallery for every query. The query's own patient is taken out beforehand
(``barred``), so what is measured is what `search` shows by default. A hit is right where its relevance is above 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped
from sklearn.metrics import average_precision_score, ndcg_score

from neuroconcepts_ray.stats import MIN_EVALUABLE, patient_bootstrap

CUTS = (1, 5, 10, 20)
"""Ranks at which precision is measured."""

DEPTH = 20
"""Rank at which nDCG, recall and overlap are measured."""

METRICS = (*(f"p@{k}" for k in CUTS), "map", "ndcg@20")

Figure = dict[str, Any]
"""``{"value", "low", "high", "n", "groups"}``; null where there is nothing to measure."""


def order(scores: Float[np.ndarray, "q g"], barred: Bool[np.ndarray, "q g"]) -> Int[np.ndarray, "q g"]:
    """The gallery's columns of each query, best first, ties by column; barred ones last.

    Args:
        scores: Any scale.
        barred: Images that are not asked for: the query's own patient.
    """
    ranked: Int[np.ndarray, "q g"] = np.argsort(np.where(barred, np.inf, -scores), axis=1, kind="stable")
    return ranked


def per_query(
    ranked: Int[np.ndarray, "q g"], relevance: Float[np.ndarray, "q g"], barred: Bool[np.ndarray, "q g"]
) -> dict[str, Float64[np.ndarray, " q"]]:
    """Each metric of each query; NaN for a query that nothing in its gallery is relevant to.

    P@k = relevant among the first k, divided by k. AP = mean over the relevant images of the precision at their rank
    (``map`` is its mean; scikit-learn's ``average_precision_score``). nDCG@20 = Σ_{i≤20} rel_i / log₂(i + 1), divided by
    the same sum in the best order (scikit-learn's ``ndcg_score``: gains linear in the relevance).

    Args:
        ranked: Of :func:`order`.
        relevance: How relevant each image is, 0 to 1.
        barred: See :func:`order`.
    """
    gains = np.where(barred, 0.0, relevance)
    found = {name: np.full(len(ranked), np.nan) for name in METRICS}
    # A strictly falling score: the order is decided already, and neither metric may average over ties again.
    falling = -np.arange(ranked.shape[1], dtype=np.float64)
    for q in np.flatnonzero((gains > 0).any(axis=1)).tolist():
        size = ranked.shape[1] - int(barred[q].sum())
        rel = gains[q, ranked[q]][:size]
        for k in CUTS:
            found[f"p@{k}"][q] = float((rel[:k] > 0).sum()) / k
        found["map"][q] = average_precision_score(rel > 0, falling[:size])
        # Of one image alone scikit-learn refuses to tell the order, which is the best.
        found["ndcg@20"][q] = ndcg_score(rel[None], falling[None, :size], k=DEPTH, ignore_ties=True) if size > 1 else 1.0
    return found


def chance(
    relevance: Float[np.ndarray, "q g"], barred: Bool[np.ndarray, "q g"]
) -> dict[str, Float64[np.ndarray, " q"]]:
    """What each metric is of each query in expectation over all orders of its gallery; exact, nothing is drawn.

    With G images of which R are relevant, and r̄ their mean relevance: E[P@k] = R/G (R/k where G < k);
    E[AP] = (H_G + (R−1)/(G−1)·(G − H_G)) / G with H_G the harmonic number, since a relevant image stands at each rank i
    with probability 1/G and has (i−1)(R−1)/(G−1) relevant ones before it; E[DCG] = r̄ Σ_{i≤20} 1/log₂(i + 1).

    Args:
        relevance: See :func:`per_query`.
        barred: See :func:`per_query`.
    """
    gains = np.where(barred, 0.0, relevance)
    found = {name: np.full(len(gains), np.nan) for name in METRICS}
    discount = 1 / np.log2(np.arange(2, DEPTH + 2))
    for q in np.flatnonzero((gains > 0).any(axis=1)).tolist():
        size = gains.shape[1] - int(barred[q].sum())
        relevant = int((gains[q] > 0).sum())
        for k in CUTS:
            found[f"p@{k}"][q] = relevant / max(size, k)
        harmonic = float((1 / np.arange(1, size + 1)).sum())
        rest = (relevant - 1) / (size - 1) * (size - harmonic) if size > 1 else 0.0
        found["map"][q] = (harmonic + rest) / size
        best = np.sort(gains[q])[::-1][:DEPTH]
        ideal = float((best * discount[: len(best)]).sum())
        found["ndcg@20"][q] = float(gains[q].sum()) / size * float(discount[:size].sum()) / ideal
    return found


def tied(
    scores: Float[np.ndarray, "q g"],
    relevance: Float[np.ndarray, "q g"],
    barred: Bool[np.ndarray, "q g"],
    *,
    draws: int = 10,
    seed: int = 0,
) -> dict[str, Float64[np.ndarray, " q"]]:
    """:func:`per_query` of scores full of ties, as metadata give them: the mean over orders of the ties drawn at random.

    Args:
        scores: Any scale.
        relevance: See :func:`per_query`.
        barred: See :func:`per_query`.
        draws: Orders.
        seed: Seed of the orders.
    """
    rng = np.random.default_rng(seed)
    sums = {name: np.zeros(len(scores)) for name in METRICS}
    for _ in range(draws):
        shuffled = rng.permutation(scores.shape[1])
        found = per_query(order(scores[:, shuffled], barred[:, shuffled]), relevance[:, shuffled], barred[:, shuffled])
        for name, values in found.items():
            sums[name] += values / draws
    return sums


def figure(values: Float[np.ndarray, " q"], groups: Shaped[np.ndarray, " q"], *, draws: int = 200, seed: int = 0) -> Figure:
    """Mean over the queries that have a value, with n and the 95 % interval of a patient bootstrap.

    Args:
        values: One a query; NaN for none.
        groups: The patient of each query.
        draws: Bootstrap resamples.
        seed: Seed of the bootstrap.
    """
    there = ~np.isnan(values)
    kept, whose = values[there], groups[there]
    if not len(kept):
        return {"value": None, "low": None, "high": None, "n": 0, "groups": 0}
    low, high = patient_bootstrap(lambda rows: float(kept[rows].mean()), whose, draws=draws, seed=seed)
    counts = {"n": len(kept), "groups": len(np.unique(whose))}
    return {"value": float(kept.mean()), "low": low, "high": high, **counts}


def figures(
    found: Mapping[str, Float64[np.ndarray, " q"]], groups: Shaped[np.ndarray, " q"], *, draws: int = 200
) -> dict[str, Figure]:
    """The figure of every metric."""
    return {name: figure(values, groups, draws=draws) for name, values in found.items()}


def by_label(
    ranked: Mapping[str, Int[np.ndarray, "q g"]],
    queries: Float[np.ndarray, "q l"],
    gallery: Float[np.ndarray, "g l"],
    barred: Bool[np.ndarray, "q g"],
    labels: Sequence[str],
    groups: Shaped[np.ndarray, " q"],
    *,
    draws: int = 200,
) -> dict[str, dict[str, Any]]:
    """P@20 of each label: of a query that has it, the share of the first 20 hits that have it too.

    Hits in which the label is masked are left out of both counts. Fewer than 20 such queries, or images of the gallery
    with the label, are not evaluable.

    Args:
        ranked: Of :func:`order`, one a system.
        queries: 1 present, 0 absent, NaN masked.
        gallery: The same of the gallery.
        barred: See :func:`order`.
        labels: Names of the columns.
        groups: The patient of each query.
        draws: Bootstrap resamples.

    Returns:
        ``{label: {"queries", "gallery", "chance": Figure, <system>: Figure}}``, or ``"why"`` instead of figures.
    """
    table: dict[str, dict[str, Any]] = {}
    for column, label in enumerate(labels):
        asked = np.flatnonzero(queries[:, column] == 1)
        has, known = gallery[:, column] == 1, ~np.isnan(gallery[:, column])
        counts: dict[str, Any] = {"queries": len(asked), "gallery": int(has.sum())}
        if min(counts.values()) < MIN_EVALUABLE:
            table[label] = {**counts, "why": f"not evaluable: fewer than {MIN_EVALUABLE} positives"}
            continue
        mine = {"chance": _share((~barred[asked] & has).sum(axis=1), (~barred[asked] & known).sum(axis=1))}
        for system, places in ranked.items():
            first = places[asked, :DEPTH]
            open_ = ~np.take_along_axis(barred[asked], first, axis=1)
            mine[system] = _share((has[first] & open_).sum(axis=1), (known[first] & open_).sum(axis=1))
        table[label] = counts | {name: figure(values, groups[asked], draws=draws) for name, values in mine.items()}
    return table


def shared(
    one: Int[np.ndarray, "q g"], other: Int[np.ndarray, "q g"], barred: Bool[np.ndarray, "q g"], depth: int = DEPTH
) -> Float64[np.ndarray, " q"]:
    """Share of the first ``depth`` images that two rankings have in common; of fewer where the gallery is smaller."""
    found = np.full(len(one), np.nan)
    for q in range(len(one)):
        size = min(depth, one.shape[1] - int(barred[q].sum()))
        if size:
            found[q] = len(np.intersect1d(one[q, :size], other[q, :size])) / size
    return found


def latency(seconds: Sequence[float]) -> dict[str, Any]:
    """p50, p95 and a histogram over bins that double from 10 µs on; milliseconds.

    Args:
        seconds: One a query.
    """
    taken = 1e3 * np.array(seconds)
    if not len(taken):
        return {"n": 0, "p50_ms": None, "p95_ms": None, "bins_ms": [], "counts": []}
    edges = 0.01 * 2.0 ** np.arange(0, 1 + max(1, int(np.ceil(np.log2(max(taken.max(), 0.02) / 0.01)))))
    # The first bin takes what is faster than its own edge; the last edge is beyond the slowest.
    counts = np.bincount(np.clip(np.searchsorted(edges, taken, side="right") - 1, 0, len(edges) - 2), minlength=len(edges) - 1)
    p50, p95 = np.percentile(taken, [50, 95])
    return {
        "n": len(taken),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "bins_ms": [round(edge, 6) for edge in edges.tolist()],
        "counts": counts.tolist(),
    }


def _share(hits: Int[np.ndarray, " q"], of: Int[np.ndarray, " q"]) -> Float64[np.ndarray, " q"]:
    return np.divide(hits, of, out=np.full(len(hits), np.nan), where=of > 0)
