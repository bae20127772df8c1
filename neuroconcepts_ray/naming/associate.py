"""Association of neurons with terms: found on some patients, held on others, never on the strength of one test.

All arrays are over studies, one study per patient, so that rows are independent. The effect is the AUROC of a neuron's
activation (the maximum over the study's films) for a term. Its p-value is that of Mann and Whitney; a neuron that
fires in at most half of the studies must also pass the hypergeometric test of "fires" against "has the term", because
the normal tail flatters a rank-sum that is made of ties, and the hypergeometric one is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.special import gammaln
from scipy.stats import norm

from neuroconcepts_ray.naming.ranks import Ranks
from neuroconcepts_ray.naming.vocabulary import Term
from neuroconcepts_ray.stats import benjamini_hochberg

BLOCK = 1024
"""Neurons per block of the dense (neuron, term) tables."""

CAUTION = 2.0
"""A candidate is ranked by its AUROC less so many null standard errors: rare terms have the wildest effects."""

EQUAL = 0.01
"""AUROC below which a longer term counts as good as the shorter one that it contains."""


def hypergeometric_tail(
    overlap: Int[np.ndarray, " k"], marked: Int[np.ndarray, " k"], drawn: Int[np.ndarray, " k"], total: int
) -> Float[np.ndarray, " k"]:
    """P(at least ``overlap`` of ``drawn`` studies are among the ``marked``), elementwise and exact.

    For overlaps above the mean the terms fall, so the tail is summed from its first term by their ratio.
    """
    a, m, d = (np.asarray(x, np.float64) for x in (overlap, marked, drawn))
    rest = total - m - d

    def log_choose(top: Float[np.ndarray, " k"], k: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        value: Float[np.ndarray, " k"] = gammaln(top + 1) - gammaln(k + 1) - gammaln(top - k + 1)
        return value

    first = np.exp(log_choose(m, a) + log_choose(total - m, d - a) - log_choose(np.full_like(d, total), d))
    tail, term, at = first.copy(), first.copy(), a.copy()
    while len(term) and np.any(term > 1e-16 * tail):
        term = term * np.maximum(m - at, 0) * np.maximum(d - at, 0) / ((at + 1) * np.maximum(rest + at + 1, 1))
        tail += term
        at += 1
    capped: Float[np.ndarray, " k"] = np.minimum(tail, 1.0)
    return capped


def _tests(
    wins2: Float[np.ndarray, "*k"],
    positives: Float[np.ndarray, "*#k"],
    ties: Float[np.ndarray, "*#k"],
    total: int,
) -> tuple[Float[np.ndarray, "*k"], Float[np.ndarray, "*k"], Float[np.ndarray, "*k"]]:
    """AUROC, its standard error under the null, and the z of Mann and Whitney, corrected for ties and continuity.

    Args:
        wins2: Twice the rank-sum of the positives.
        positives: Their number.
        ties: Σ(t³ − t) of the neuron's values.
        total: Number of studies.
    """
    pairs = positives * (total - positives)
    wins = wins2 / 2 - positives * (positives + 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        auroc = wins / pairs
        error = np.sqrt(np.maximum((total + 1) - ties / (total * (total - 1)), 0) / (12 * pairs))
        z = (auroc - 0.5 - 0.5 / pairs) / error
    return auroc, error, np.where(np.isfinite(z), z, -np.inf)


@dataclass(frozen=True)
class Found:
    """Pairs of neuron and term that passed on ``probe``, elementwise, and how many were tried."""

    neuron: Int[np.ndarray, " k"]
    term: Int[np.ndarray, " k"]
    auroc: Float[np.ndarray, " k"]
    error: Float[np.ndarray, " k"]
    q: Float[np.ndarray, " k"]
    tried: int


def find(ranks: Ranks, present: sparse.csr_array, *, q: float, min_groups: int) -> Found:
    """All pairs that are associated at false discovery rate ``q`` (Benjamini–Hochberg over every pair).

    Args:
        ranks: Of the neurons' values over s studies.
        present: Which study has which term, [s, t].
        q: The rate.
        min_groups: Studies in which a neuron must fire to be tried.
    """
    total, t = present.shape
    positives = present.sum(axis=0)
    neurons = np.flatnonzero(ranks.firing >= min_groups)
    tried = len(neurons) * t
    parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(neurons) if t else 0, BLOCK):
        some = neurons[start : start + BLOCK]
        wins2 = (ranks.doubled[:, some].T @ present).toarray() + ranks.zero[some, None] * positives
        auroc, error, z = _tests(wins2, positives[None, :], ranks.ties[some, None], total)
        row, column = np.nonzero(z > norm.isf(q))
        auroc, error, p = auroc[row, column], error[row, column], norm.sf(z[row, column])
        overlap = (ranks.fires[:, some].T @ present).toarray()[row, column]
        p = _exact(p, overlap, ranks.firing[some[row]], positives[column], total)
        kept = p < q
        parts.append((some[row[kept]], column[kept], auroc[kept], error[kept], p[kept]))
    if not parts:
        empty = np.zeros(0)
        return Found(empty.astype(int), empty.astype(int), empty, empty, empty, tried)
    neuron, term, auroc, error, p = (np.concatenate(column) for column in zip(*parts, strict=True))
    # Pairs with p ≥ q cannot pass and change no other's q-value below q, so only their number matters.
    adjusted = np.minimum(benjamini_hochberg(p) * (tried / max(len(p), 1)), 1.0)
    passed = adjusted < q
    return Found(neuron[passed], term[passed], auroc[passed], error[passed], adjusted[passed], tried)


def _exact(
    p: Float[np.ndarray, " k"],
    overlap: Float[np.ndarray, " k"],
    firing: Int[np.ndarray, " k"],
    positives: Float[np.ndarray, " k"],
    total: int,
) -> Float[np.ndarray, " k"]:
    """The p-values, raised to the hypergeometric one where the neuron fires in at most half of the studies."""
    p = p.copy()
    rare = 2 * firing <= total
    above = rare & (overlap * total > firing * positives)
    p[rare & ~above] = 1.0
    if above.any():
        triples, inverse = np.unique(
            np.stack([overlap[above], firing[above], positives[above]]).astype(np.int64), axis=1, return_inverse=True
        )
        tail = hypergeometric_tail(triples[0], triples[1], triples[2], total)[inverse.ravel()]
        p[above] = np.maximum(p[above], tail)
    return p


def choose(found: Found, terms: Sequence[Term]) -> dict[int, int]:
    """The candidate of each neuron: strongest effect less ``CAUTION`` null errors, the longer term among equals.

    Returns:
        Term by neuron; neurons without any associated term are absent.
    """
    strength = found.auroc - CAUTION * found.error
    order = np.lexsort((found.term, -strength, found.neuron))
    neuron, bounds = np.unique(found.neuron[order], return_index=True)
    chosen = {}
    # Not strict: splitting nothing gives one empty part.
    for j, pairs in zip(neuron, np.split(order, bounds[1:]), strict=False):
        best = pairs[0]
        close = pairs[strength[pairs] >= strength[best] - EQUAL]
        words, polarity = terms[found.term[best]].words, terms[found.term[best]].polarity
        for at in close:
            other = terms[found.term[at]]
            if other.polarity == polarity and len(other.words) > len(words) and f" {words} " in f" {other.words} ":
                best, words = at, other.words
        chosen[int(j)] = int(found.term[best])
    return chosen


@dataclass(frozen=True)
class Held:
    """The test of candidates on ``verify``, elementwise over the neurons tested."""

    neuron: Int[np.ndarray, " c"]
    term: Int[np.ndarray, " c"]
    auroc: Float[np.ndarray, " c"]
    low: Float[np.ndarray, " c"]
    high: Float[np.ndarray, " c"]
    q: Float[np.ndarray, " c"]
    positives: Int[np.ndarray, " c"]
    passed: Bool[np.ndarray, " c"]


def hold(
    ranks: Ranks,
    values: sparse.csr_array,
    present: sparse.csr_array,
    candidates: dict[int, int],
    *,
    q: float,
    min_auroc: float,
    draws: int,
    seed: int,
) -> Held:
    """Test each candidate on patients it was not found on: one test per neuron, Benjamini–Hochberg over the tested.

    A name holds if its AUROC is at least ``min_auroc``, the lower bound of its 95 % interval (patient bootstrap) is
    above .5, and its q-value is below ``q``. The interval is computed for those that pass the other two, NaN elsewhere.
    """
    total = present.shape[0]
    neuron = np.array(sorted(candidates), dtype=np.int64)
    term = np.array([candidates[j] for j in neuron], dtype=np.int64)
    has = present.tocsc()
    positives = present.sum(axis=0)[term]
    wins2 = np.empty(len(neuron))
    overlap = np.empty(len(neuron))
    for start in range(0, len(neuron), BLOCK):
        some = slice(start, start + BLOCK)
        y = has[:, term[some]]
        wins2[some] = ranks.doubled[:, neuron[some]].multiply(y).sum(axis=0)
        overlap[some] = ranks.fires[:, neuron[some]].multiply(y).sum(axis=0)
    wins2 += ranks.zero[neuron] * positives
    auroc, _, z = _tests(wins2, positives, ranks.ties[neuron], total)
    p = _exact(norm.sf(z), overlap, ranks.firing[neuron], positives, total)
    adjusted = benjamini_hochberg(p)
    passed = (auroc >= min_auroc) & (adjusted < q)
    low, high = np.full(len(neuron), np.nan), np.full(len(neuron), np.nan)
    columns = values.tocsc()
    weights = resamples(total, draws, seed)
    for at in np.flatnonzero(passed):
        z = columns[:, [neuron[at]]].toarray()[:, 0]
        y_at = has[:, [term[at]]].toarray()[:, 0] > 0
        low[at], high[at] = bootstrap_interval(z, y_at, weights)
    passed &= low > 0.5
    return Held(neuron, term, auroc, low, high, adjusted, positives.astype(np.int64), passed)


def resamples(total: int, draws: int, seed: int) -> Float[np.ndarray, "b s"]:
    """How often each of ``total`` patients is drawn in each resample: the draws of ``stats.patient_bootstrap``."""
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(rng.integers(0, total, total), minlength=total) for _ in range(draws)]).astype(float)


def bootstrap_interval(
    z: Float[np.ndarray, " s"], y: Bool[np.ndarray, " s"], weights: Float[np.ndarray, "b s"]
) -> tuple[float, float]:
    """95 % percentile interval of the AUROC under resampling with these weights, all resamples at once.

    The AUROC of a resample is Σ over runs of equal z, ascending, of W⁺·(negatives below + half of the equal ones).
    """
    order = np.argsort(z, kind="stable")
    z, y, w = z[order], y[order], weights[:, order]
    starts = np.flatnonzero(np.r_[True, z[1:] != z[:-1]])
    pos = np.add.reduceat(w * y, starts, axis=1)
    neg = np.add.reduceat(w * ~y, starts, axis=1)
    wins = (pos * (np.cumsum(neg, axis=1) - neg / 2)).sum(axis=1)
    pairs = pos.sum(axis=1) * neg.sum(axis=1)
    figures = wins[pairs > 0] / pairs[pairs > 0]
    if not len(figures):
        return float("nan"), float("nan")
    low, high = np.quantile(figures, [0.025, 0.975])
    return float(low), float(high)
