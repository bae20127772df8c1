"""Differences between two sets of patients, beside what chance alone makes of them.

If new patients come from where the old ones came, which of them are called new is arbitrary: the figures of random
relabellings of whole patients are then as likely as the observed ones, so a p-value from their rank is exact whatever
the films of a patient have in common (Fisher's randomisation test). Of many figures the largest counts, each in units
of its own spread over the relabellings (Westfall and Young, 1993: max-T), which holds the rate of any false alarm.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

CHUNK = 256


@dataclass(frozen=True)
class Tested:
    """c figures of new films less those of old ones.

    Attributes:
        difference: Observed.
        z: Observed, in units of its spread over the relabellings; 0 where it has none.
        p: Of each figure, corrected for there being c of them.
        largest: Largest |z|.
        chance: Median and 95th percentile of the largest |z| of a relabelling.
    """

    difference: Float[np.ndarray, " c"]
    z: Float[np.ndarray, " c"]
    p: Float[np.ndarray, " c"]
    largest: float
    chance: tuple[float, float]

    @property
    def p_any(self) -> float:
        """Of the largest figure: of there being any difference at all."""
        return float(self.p.min(initial=1.0))


def relabellings(new: Bool[np.ndarray, " g"], draws: int, seed: int) -> Bool[np.ndarray, "b g"]:
    """Random choices of as many patients as are new; row 0 is the observed one.

    Args:
        new: Which patients are new.
        draws: How many choices beside it.
        seed: Their seed.
    """
    rng = np.random.default_rng(seed)
    return np.vstack([new, *(rng.permutation(new) for _ in range(draws))])


def mean_differences(
    sums: Float[np.ndarray, "g c"] | sparse.csr_array, films: Float[np.ndarray, " g"], labels: Bool[np.ndarray, "b g"]
) -> Float[np.ndarray, "b c"]:
    """Mean over the films of new patients less that over those of old ones, for each labelling.

    Args:
        sums: Sum over each patient's films of c quantities.
        films: Films of each patient.
        labels: Which patients are new.
    """
    found = []
    total, count = np.asarray(sums.sum(axis=0)).ravel(), films.sum()
    for start in range(0, len(labels), CHUNK):
        chosen = labels[start : start + CHUNK].astype(np.float64)
        inside = np.asarray((sums.T @ chosen.T).T)
        weight = (chosen @ films)[:, None]
        found.append(inside / weight - (total - inside) / (count - weight))
    return np.concatenate(found)


def kolmogorov_smirnov(
    values: Float[np.ndarray, " m"], owner: Int[np.ndarray, " m"], labels: Bool[np.ndarray, "b g"]
) -> Float[np.ndarray, " b"]:
    """Largest distance between the distributions of new and old films, for each labelling.

    Args:
        values: One value a film.
        owner: Number of the patient of each film.
        labels: Which patients are new.
    """
    order = np.argsort(values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)  # steps at ties are taken at once
    found = []
    for start in range(0, len(labels), CHUNK):
        chosen = labels[start : start + CHUNK][:, owner[order]]
        new = np.cumsum(chosen, axis=1)[:, last]
        old = (last + 1) - new
        found.append(np.abs(new / new[:, -1:] - old / old[:, -1:]).max(axis=1))
    return np.concatenate(found)


def ranked(figures: Float[np.ndarray, "b c"]) -> Tested:
    """The observed figures among those of the relabellings.

    Args:
        figures: Row 0 is the observed one.
    """
    # The observed row is one of them: left out, it would be measured by another yardstick than the others.
    spread = figures.std(axis=0)
    floor = 1e-9 * max(1.0, float(np.abs(figures).max(initial=0.0)))
    scale = np.where(spread > floor, spread, np.inf)
    z = (figures - figures.mean(axis=0)) / scale
    largest = np.abs(z).max(axis=1, initial=0.0)
    rank = (largest[1:, None] >= np.abs(z[0])[None] - 1e-12).sum(axis=0)
    return Tested(
        difference=figures[0],
        z=z[0],
        p=(1 + rank) / len(figures),
        largest=float(largest[0]),
        chance=(float(np.median(largest[1:])), float(np.quantile(largest[1:], 0.95))),
    )
