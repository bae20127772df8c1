"""AUROC and friends, the patient bootstrap and the false discovery rate: one definition each, used everywhere."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import rankdata

MIN_EVALUABLE = 20
"""A label with fewer positives or negatives than this is "not evaluable"."""


def evaluable(y: Bool[np.ndarray, " n"], least: int = MIN_EVALUABLE) -> bool:
    """Whether ``y`` has at least ``least`` positives and as many negatives."""
    positives = int(y.sum())
    return positives >= least and len(y) - positives >= least


def auroc(score: Float[np.ndarray, " n"], y: Bool[np.ndarray, " n"]) -> float:
    """P(score of a positive > score of a negative), ties counting one half; NaN if a class is absent.

    The Mann–Whitney form: (R⁺ − n⁺(n⁺+1)/2) / (n⁺ n⁻) with R⁺ the sum of the positives' mid-ranks.
    """
    return float(auroc_table(score[:, None], y[:, None])[0, 0])


def auroc_table(scores: Float[np.ndarray, "n m"], labels: Bool[np.ndarray, "n l"]) -> Float[np.ndarray, "m l"]:
    """AUROC of each of m scores against each of l labels; NaN where a class is absent."""
    ranks = rankdata(scores, axis=0)
    y = labels.astype(np.float64)
    positives = y.sum(axis=0)
    negatives = len(y) - positives
    with np.errstate(divide="ignore", invalid="ignore"):
        table: Float[np.ndarray, "m l"] = (ranks.T @ y - positives * (positives + 1) / 2) / (positives * negatives)
    table[:, (positives == 0) | (negatives == 0)] = np.nan
    return table


def patient_bootstrap(
    metric: Callable[[Int[np.ndarray, " k"]], float],
    groups: Shaped[np.ndarray, " n"],
    *,
    draws: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of ``metric`` under resampling of whole groups with replacement.

    Args:
        metric: Maps the row numbers of one resample to the figure; NaN draws are left out.
        groups: The group of each row.
        draws: Number of resamples.
        seed: Seed of the resampling.
        level: Coverage.

    Returns:
        Lower and upper bound; NaN, NaN where no draw could be evaluated.
    """
    values = np.array([metric(rows) for rows in resamples(groups, draws=draws, seed=seed)])
    low, high = interval(values, level=level)
    return float(low), float(high)


def resamples(groups: Shaped[np.ndarray, " n"], *, draws: int = 200, seed: int = 0) -> Iterator[Int[np.ndarray, " k"]]:
    """The rows of each draw of :func:`patient_bootstrap`: whole groups, drawn with replacement."""
    _, inverse = np.unique(groups, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(inverse.max(initial=-1) + 2))
    rng = np.random.default_rng(seed)
    count = len(starts) - 1
    for _ in range(draws):
        chosen = rng.integers(0, count, count)
        yield np.concatenate([order[starts[g] : starts[g + 1]] for g in chosen])


def resampling_weights(
    groups: Shaped[np.ndarray, " n"], *, draws: int = 200, seed: int = 0
) -> Float[np.ndarray, "draws n"]:
    """The same draws as :func:`resamples`, as how often each row is in each of them."""
    names, inverse = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = [np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names)) for _ in range(draws)]
    weights: Float[np.ndarray, "draws n"] = np.array(counts, dtype=np.float64).reshape(draws, len(names))[:, inverse]
    return weights


def weighted_auroc(
    score: Float[np.ndarray, " n"], y: Bool[np.ndarray, " n"], weights: Float[np.ndarray, "draws n"]
) -> Float[np.ndarray, " draws"]:
    """AUROC of one score under each row of weights; NaN where a class weighs nothing. Ties count one half."""
    order = np.argsort(score, kind="stable")
    ordered, sick = score[order], y[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    heavy = weights[:, order]
    positive = np.add.reduceat(heavy * sick, starts, axis=1)
    negative = np.add.reduceat(heavy * ~sick, starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Float[np.ndarray, " draws"] = (positive * below).sum(axis=1) / (
            positive.sum(axis=1) * negative.sum(axis=1)
        )
    return found


def interval(draws: Float[np.ndarray, "draws *m"], *, level: float = 0.95) -> Float[np.ndarray, "2 *m"]:
    """Lower and upper percentile bound over draws, those that are NaN left out; NaN where all are."""
    kept = ~np.isnan(draws)
    bounds = np.full((2, *draws.shape[1:]), np.nan)
    tail = (1 - level) / 2
    for at in np.ndindex(draws.shape[1:]):
        if kept[:, *at].any():
            bounds[:, *at] = np.quantile(draws[kept[:, *at], *at], [tail, 1 - tail])
    return bounds


def benjamini_hochberg(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Adjusted p-values (q-values) of Benjamini and Hochberg, 1995: q_(i) = min_{j≥i} m·p_(j)/j."""
    m = len(p)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * m / np.arange(1, m + 1)
    q = np.empty(m)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
