"""Drift of new films against unseen films of the fitted catalog: densities, logits, and what the SAE leaves over."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import sparse

from neuroconcepts_ray.drift.permute import Tested, kolmogorov_smirnov, mean_differences, ranked, relabellings
from neuroconcepts_ray.stats import patient_bootstrap

ALPHA = 0.01
"""Rate of false alarms of a whole comparison: each of its families may take an equal part of it."""

FEWEST = 10
"""Patients on each side below which nothing is said."""

FAMILIES = ("density", "logit", "distribution", "residual")


@dataclass(frozen=True)
class Films:
    """What is compared of some films, one row a film.

    Attributes:
        groups: Their patients.
        new: Which are new.
        codes: [m, n], the neurons that fire.
        logits: [m, l].
        residual: ‖x − x̂‖² of the SAE; NaN for films that it was fitted on.
        spread: ‖x − x̄‖², x̄ over films of the same side that have a residual; NaN likewise.
    """

    groups: Shaped[np.ndarray, " m"]
    new: Bool[np.ndarray, " m"]
    codes: sparse.csr_array
    logits: Float[np.ndarray, "m l"]
    residual: Float[np.ndarray, " m"]
    spread: Float[np.ndarray, " m"]

    def some(self, rows: Shaped[np.ndarray, " k"], new: Bool[np.ndarray, " k"]) -> "Films":
        """Some of the films, called old and new otherwise."""
        return Films(
            self.groups[rows], new, self.codes[rows], self.logits[rows], self.residual[rows], self.spread[rows]
        )


@dataclass(frozen=True)
class Drift:
    """What was found.

    Attributes:
        films: Films, old and new.
        patients: Patients, old and new.
        tests: By family: ``density`` a neuron, ``logit`` and ``distribution`` (Kolmogorov–Smirnov) a label,
            ``residual`` one figure.
        shift: Shift of each label's mean logit, in standard deviations of the old films.
        density: Of each neuron, old and new.
        fvu: Of the SAE, old and new; NaN where there is none.
        halves: The figures between two random halves of the old patients.
    """

    films: tuple[int, int]
    patients: tuple[int, int]
    tests: dict[str, Tested]
    shift: Float[np.ndarray, " l"]
    density: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]
    fvu: tuple[float, float]
    halves: dict[str, float]

    @property
    def p(self) -> float:
        """Of the whole comparison: the least of the families' p-values, times their number (Bonferroni)."""
        return min(1.0, len(self.tests) * min(one.p_any for one in self.tests.values()))

    @property
    def verdict(self) -> str:
        """``drift``, ``no drift``, or ``too few`` patients to tell."""
        if min(self.patients) < FEWEST:
            return "too few"
        return "drift" if self.p <= ALPHA else "no drift"


def measure(films: Films, *, draws: int = 1999, seed: int = 0) -> Drift:
    """Compare new films with old ones.

    Args:
        films: Both.
        draws: Random relabellings of patients.
        seed: Their seed.
    """
    figures = _figures(films)
    names, owner = np.unique(films.groups, return_inverse=True)
    new = np.zeros(len(names), dtype=bool)
    new[owner[films.new]] = True
    labels = relabellings(new, draws, seed)
    count = np.bincount(owner, minlength=len(names)).astype(np.float64)
    member = sparse.csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=(len(names), len(owner)))
    fires = sparse.csr_array((films.codes != 0).astype(np.float64))
    deviation = films.logits[~films.new].std(axis=0)
    scaled = films.logits / np.where(deviation > 0, deviation, 1.0)
    tests = {
        "density": ranked(mean_differences(sparse.csr_array(member @ fires), count, labels)),
        "logit": ranked(mean_differences(member @ scaled.astype(np.float64), count, labels)),
        "distribution": ranked(_distances(films.logits, owner, labels)),
    }
    told = ~np.isnan(films.residual)
    if told[films.new].any() and told[~films.new].any():
        tests["residual"] = ranked(_residuals(films.residual[told], films.groups[told], films.new[told], draws, seed))
    return Drift(
        films=(int((~films.new).sum()), int(films.new.sum())),
        patients=(int((~new).sum()), int(new.sum())),
        tests=tests,
        shift=tests["logit"].difference,
        density=(_density(fires, ~films.new), _density(fires, films.new)),
        fvu=(figures["fvu_old"], figures["fvu_new"]),
        halves=_figures(_halved(films, seed)),
    )


def interval(
    codes: sparse.csr_array, neuron: int, groups: Shaped[np.ndarray, " m"], rows: Bool[np.ndarray, " m"], seed: int = 0
) -> tuple[float, float]:
    """Patient-bootstrap interval of a neuron's density over some films.

    Args:
        codes: [m, n].
        neuron: The neuron.
        groups: Patient of each film.
        rows: Which films.
        seed: Of the bootstrap.
    """
    fires = np.asarray(codes[:, [neuron]].todense()).ravel()[rows] != 0
    mean: Callable[[Int[np.ndarray, " k"]], float] = lambda chosen: float(fires[chosen].mean())  # noqa: E731
    return patient_bootstrap(mean, groups[rows], seed=seed)


def _density(fires: sparse.csr_array, rows: Bool[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
    return np.asarray(fires[np.flatnonzero(rows)].sum(axis=0)).ravel() / max(1, int(rows.sum()))


def _distances(
    logits: Float[np.ndarray, "m l"], owner: Int[np.ndarray, " m"], labels: Bool[np.ndarray, "b g"]
) -> Float[np.ndarray, "b l"]:
    return np.stack([kolmogorov_smirnov(logits[:, j], owner, labels) for j in range(logits.shape[1])], axis=1)


def _residuals(
    residual: Float[np.ndarray, " m"],
    groups: Shaped[np.ndarray, " m"],
    new: Bool[np.ndarray, " m"],
    draws: int,
    seed: int,
) -> Float[np.ndarray, "b 1"]:
    names, owner = np.unique(groups, return_inverse=True)
    side = np.zeros(len(names), dtype=bool)
    side[owner[new]] = True
    count = np.bincount(owner, minlength=len(names)).astype(np.float64)
    sums = np.bincount(owner, weights=residual, minlength=len(names))[:, None]
    return mean_differences(sums, count, relabellings(side, draws, seed))


def _halved(films: Films, seed: int) -> Films:
    """The old films alone, half of their patients called new."""
    rows = np.flatnonzero(~films.new)
    names = np.random.default_rng([seed, 1]).permutation(np.unique(films.groups[rows]))
    return films.some(rows, np.isin(films.groups[rows], names[: len(names) // 2]))


def _fvu(films: Films, rows: Bool[np.ndarray, " m"]) -> float:
    told = rows & ~np.isnan(films.residual)
    spread = films.spread[told].sum()
    return float(films.residual[told].sum() / spread) if spread > 0 else float("nan")


def _figures(films: Films) -> dict[str, float]:
    """The plain figures of a comparison, for the reader to set side by side with those of two random halves."""
    fires = sparse.csr_array((films.codes != 0).astype(np.float64))
    change = np.abs(_density(fires, films.new) - _density(fires, ~films.new))
    old, new = films.logits[~films.new], films.logits[films.new]
    deviation = old.std(axis=0) if len(old) else np.ones(films.logits.shape[1])
    shift = np.abs(new.mean(axis=0) - old.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    side = films.new[None]
    ks = [kolmogorov_smirnov(films.logits[:, j], np.arange(len(films.new)), side)[0] for j in range(len(shift))]
    return {
        "density_mean": float(change.mean()),
        "density_max": float(change.max()),
        "logit_max": float(shift.max()),
        "ks_max": float(max(ks)),
        "fvu_old": _fvu(films, ~films.new),
        "fvu_new": _fvu(films, films.new),
    }


def figures(films: Films) -> dict[str, float]:
    """Mean and largest change of density, largest shift of a logit and of its distribution, FVU on both sides."""
    return _figures(films)


def plain(drift: Drift, films: Films, labels: list[str], names: dict[int, str], top: int) -> dict[str, Any]:
    """A comparison as plain data: verdict, families, neurons and labels, largest shifts first.

    Args:
        drift: The comparison.
        films: What was compared.
        labels: Names of the logits.
        names: Names of the neurons that have one.
        top: Most neurons.
    """
    density, distribution = drift.tests["density"], drift.tests["distribution"]
    neurons = np.argsort(-np.abs(density.z), kind="stable")[:top].tolist()
    order = np.argsort(-np.abs(drift.shift), kind="stable").tolist()

    def bounds(neuron: int, rows: Bool[np.ndarray, " m"]) -> list[float]:
        return list(interval(films.codes, neuron, films.groups, rows))

    return {
        "verdict": drift.verdict,
        "p": drift.p,
        "alpha": ALPHA,
        "films": {"fitted": drift.films[0], "new": drift.films[1]},
        "patients": {"fitted": drift.patients[0], "new": drift.patients[1]},
        "families": {
            name: {"largest_z": one.largest, "chance_median": one.chance[0], "chance_95": one.chance[1], "p": one.p_any}
            for name, one in drift.tests.items()
        },
        "figures": figures(films),
        "two_random_halves": drift.halves,
        "neurons": [
            {
                "neuron": j,
                "name": names.get(j),
                "density_fitted": float(drift.density[0][j]),
                "interval_fitted": bounds(j, ~films.new),
                "density_new": float(drift.density[1][j]),
                "interval_new": bounds(j, films.new),
                "z": float(density.z[j]),
                "p": float(density.p[j]),
            }
            for j in neurons
        ],
        "labels": [
            {
                "label": labels[j],
                "shift": float(drift.shift[j]),
                "p": float(drift.tests["logit"].p[j]),
                "ks": float(distribution.difference[j]),
                "p_ks": float(distribution.p[j]),
            }
            for j in order
        ],
    }
