"""AUROC of many scores for many labels on one role, every figure and mean from the same resamples of patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from neuroconcepts_ray.stats import MIN_EVALUABLE, auroc, evaluable, interval, resampling_weights, weighted_auroc

DRAWS = 400
"""Resamples of patients behind an interval."""


@dataclass(frozen=True)
class Cells:
    """AUROC of each score for its label.

    Args:
        names: The labels.
        n: Films that know an answer, of each label.
        positives: Films with it.
        usable: Whether there are enough of both.
        auroc: Point estimates; NaN where not usable.
        draws: The same in each resample of patients; NaN where a class is absent.
    """

    names: tuple[str, ...]
    n: tuple[int, ...]
    positives: tuple[int, ...]
    usable: Bool[np.ndarray, " l"]
    auroc: Float[np.ndarray, " l"]
    draws: Float[np.ndarray, "draws l"]

    @property
    def bounds(self) -> Float[np.ndarray, "2 l"]:
        """95 % intervals."""
        return interval(self.draws)

    def macro(self, names: Sequence[str]) -> dict[str, Any]:
        """Mean AUROC over those of some labels that are evaluable, with its interval."""
        columns = [at for at, name in enumerate(self.names) if name in names and self.usable[at]]
        if not columns:
            return {"auroc": None, "low": None, "high": None, "labels": 0}
        low, high = interval(self.draws[:, columns].mean(axis=1)).tolist()
        return {"auroc": float(self.auroc[columns].mean()), "low": low, "high": high, "labels": len(columns)}

    def table(self) -> dict[str, dict[str, Any]]:
        """Label → auroc, low, high, n, positives; null figures where it is not evaluable."""
        bounds, told = self.bounds, {}
        for at, name in enumerate(self.names):
            figures = (self.auroc[at], *bounds[:, at]) if self.usable[at] else (None, None, None)
            told[name] = {
                **{key: plain(value) for key, value in zip(("auroc", "low", "high"), figures, strict=True)},
                "n": self.n[at], "positives": self.positives[at],
            }  # fmt: skip
        return told


def plain(value: float | None) -> float | None:
    """A figure as JSON has it: null instead of NaN."""
    return None if value is None or np.isnan(value) else float(value)


def cells(
    scores: Float[np.ndarray, "n l"],
    y: Float[np.ndarray, "n l"],
    groups: Shaped[np.ndarray, " n"],
    names: Sequence[str],
    *,
    least: int = MIN_EVALUABLE,
    draws: int = DRAWS,
) -> Cells:
    """AUROC of each column of scores for the same column of labels.

    Args:
        scores: Scores of the films of one role.
        y: 1, 0, NaN = masked.
        groups: Patient of each film.
        names: Names of the columns.
        least: Fewest positives and negatives.
        draws: Resamples.
    """
    weights = resampling_weights(groups, draws=draws)
    known, there = ~np.isnan(y), y == 1
    usable = np.array([evaluable(there[known[:, at], at], least) for at in range(len(names))], dtype=bool)
    points, drawn = np.full(len(names), np.nan), np.full((draws, len(names)), np.nan)
    for at in np.flatnonzero(usable):
        rows = known[:, at]
        points[at] = auroc(scores[rows, at], there[rows, at])
        drawn[:, at] = weighted_auroc(scores[rows, at], there[rows, at], weights[:, rows])
    return Cells(
        tuple(names),
        tuple(known.sum(axis=0).tolist()),
        tuple((there & known).sum(axis=0).tolist()),
        usable,
        points,
        drawn,
    )
