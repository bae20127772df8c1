"""What two images have in common beside their codes: how far their labels agree, and how far their metadata do."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

NO_FINDING = "No Finding"
"""The label that says nothing of what is there; it has no part in a Jaccard index."""


def agreement(
    queries: Float[np.ndarray, "q l"], gallery: Float[np.ndarray, "g l"], labels: Sequence[str], task: str
) -> Float64[np.ndarray, "q g"]:
    """How far the labels of two images agree: the graded relevance of one for the other.

    Multi-label: the Jaccard index |P_i ∩ P_j| / |P_i ∪ P_j| of the sets of positive labels, "No Finding" aside, over
    the labels that are masked (NaN) in neither image. Two images without a positive label agree by 0: that both lack
    a finding is no evidence of likeness, so such a query has nothing to find (see :func:`answerable`) and no figure.
    Multi-class and binary: 1 for the same class, else 0; 0 where a class is masked.

    Args:
        queries: 1 present, 0 absent, NaN masked.
        gallery: The same labels of the images that are searched.
        labels: Names of the columns.
        task: ``multilabel``, ``multiclass`` or ``binary``.
    """
    mine, theirs = _known(queries), _known(gallery)
    one, other = np.nan_to_num(queries.astype(np.float64)), np.nan_to_num(gallery.astype(np.float64))
    if task == "multilabel":
        kept = [column for column, label in enumerate(labels) if label != NO_FINDING]
        mine, theirs, one, other = mine[:, kept], theirs[:, kept], one[:, kept], other[:, kept]
        both = one @ other.T
        # |P_i ∪ P_j| among the labels known in both.
        either = one @ theirs.T + mine @ other.T - both
        return np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    same = one @ other.T + (1 - one) @ (1 - other).T
    whole = (mine.all(axis=1)[:, None] & theirs.all(axis=1)[None]) & (same == len(labels))
    return whole.astype(np.float64)


def answerable(y: Float[np.ndarray, "m l"], labels: Sequence[str], task: str) -> Bool[np.ndarray, " m"]:
    """Whether a query has anything to find: it has a positive label beside "No Finding", or a class that is known.

    Args:
        y: 1 present, 0 absent, NaN masked.
        labels: Names of the columns.
        task: See :func:`agreement`.
    """
    if task == "multilabel":
        kept = [column for column, label in enumerate(labels) if label != NO_FINDING]
        found: Bool[np.ndarray, " m"] = (y[:, kept] == 1).any(axis=1)
        return found
    known: Bool[np.ndarray, " m"] = ~np.isnan(y).any(axis=1)
    return known


def gower(
    queries: Mapping[str, Shaped[np.ndarray, " q"]], gallery: Mapping[str, Shaped[np.ndarray, " g"]]
) -> Float64[np.ndarray, "q g"]:
    """Likeness of metadata after Gower (1971): the mean over columns of how far two images agree in each.

    Words agree by 1 or 0, numbers by 1 − |a − b| / range over both sides. A column that is unknown (empty or NaN) in
    either image is left out of that pair; two images without a column in common agree by 0.

    Args:
        queries: Columns of the queries: words or numbers.
        gallery: The same columns of the images that are searched.
    """
    shape = tuple(len(next(iter(side.values()), np.zeros(0))) for side in (queries, gallery))
    total, counted = np.zeros(shape), np.zeros(shape)
    for name, mine in queries.items():
        theirs = gallery[name]
        if mine.dtype.kind in "fiu":
            a, b = mine.astype(np.float64), theirs.astype(np.float64)
            values = np.concatenate([a, b])
            known = ~np.isnan(a)[:, None] & ~np.isnan(b)[None]
            spread = float(np.nanmax(values) - np.nanmin(values)) if not np.isnan(values).all() else 0.0
            alike = 1 - np.abs(a[:, None] - b[None]) / spread if spread > 0 else np.ones(shape)
        else:
            known = (mine != "")[:, None] & (theirs != "")[None]
            alike = (mine[:, None] == theirs[None]).astype(np.float64)
        total += np.where(known, alike, 0)
        counted += known
    return np.divide(total, counted, out=np.zeros(shape), where=counted > 0)


def _known(y: Float[np.ndarray, "m l"]) -> Float64[np.ndarray, "m l"]:
    return (~np.isnan(y)).astype(np.float64)
