"""How well logits tell the labels: AUROC per label with a patient bootstrap, and their mean."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from neuroconcepts_ray.stats import MIN_EVALUABLE, auroc, evaluable, patient_bootstrap


def scores(logits: Float[np.ndarray, "n l"], task: str) -> Float[np.ndarray, "n l"]:
    """What a label is ranked by: its logit, or its log-probability where classes exclude each other."""
    wide = logits.astype(np.float64)
    if task != "multiclass":
        return wide
    top = wide.max(axis=1, keepdims=True)
    ranked: Float[np.ndarray, "n l"] = wide - top - np.log(np.exp(wide - top).sum(axis=1, keepdims=True))
    return ranked


def _rows_auroc(score: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], rows: Int[np.ndarray, " k"]) -> float:
    rows = rows[~np.isnan(y[rows])]
    return auroc(score[rows], y[rows] == 1)


def evaluate(
    logits: Float[np.ndarray, "n l"],
    y: Float[np.ndarray, "n l"],
    groups: Shaped[np.ndarray, " n"],
    labels: Sequence[str],
    task: str,
    *,
    draws: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """AUROC of each label and its macro mean, each with n and a 95 % patient-bootstrap interval.

    Args:
        logits: One row an image.
        y: 1, 0, or NaN where the label is masked; one column a label.
        groups: The patient of each row.
        labels: Names of the columns.
        task: ``multilabel``, ``multiclass`` or ``binary``.
        draws: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        ``{"images", "groups", "macro": {auroc, low, high, labels}, "labels": {name: {auroc, low, high, n,
        positives}}}``, with null figures and ``"why": "not evaluable"`` below 20 positives or negatives; plain JSON.
    """
    ranked = scores(logits, task)
    usable: list[int] = []
    per_label: dict[str, dict[str, Any]] = {}
    everything = np.arange(len(y))

    def interval(columns: list[int]) -> dict[str, Any]:
        def metric(rows: Int[np.ndarray, " k"]) -> float:
            # A resample without one class of a label leaves the draw out (NaN), so that all draws mean the same labels.
            return float(np.mean([_rows_auroc(ranked[:, j], y[:, j], rows) for j in columns]))

        low, high = patient_bootstrap(metric, groups, draws=draws, seed=seed)
        # JSON has no NaN: an interval that no draw could give (one patient has all positives) is null.
        low_, high_ = (None if np.isnan(bound) else bound for bound in (low, high))
        return {"auroc": metric(everything), "low": low_, "high": high_}

    for j, label in enumerate(labels):
        there = ~np.isnan(y[:, j])
        truth = y[there, j] == 1
        counts = {"n": int(there.sum()), "positives": int(truth.sum())}
        if evaluable(truth):
            usable.append(j)
            per_label[label] = {**interval([j]), **counts}
        else:
            why = f"not evaluable: fewer than {MIN_EVALUABLE} positives or negatives"
            per_label[label] = {"auroc": None, "low": None, "high": None, **counts, "why": why}
    macro = interval(usable) if usable else {"auroc": None, "low": None, "high": None}
    return {
        "images": len(y),
        "groups": len(np.unique(groups)),
        "macro": {**macro, "labels": len(usable)},
        "labels": per_label,
    }


def macro_auroc(logits: Float[np.ndarray, "n l"], y: Float[np.ndarray, "n l"], task: str) -> float | None:
    """Mean AUROC over evaluable labels without an interval; None where no label is evaluable."""
    ranked = scores(logits, task)
    values = []
    for j in range(y.shape[1]):
        there = ~np.isnan(y[:, j])
        truth = y[there, j] == 1
        if evaluable(truth):
            values.append(auroc(ranked[there, j], truth))
    return float(np.mean(values)) if values else None
