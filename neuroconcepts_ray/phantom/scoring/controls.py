"""What every figure is held against: directions nobody learned, and linear models on what is there anyway."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neuroconcepts_ray.sae.controls import random_directions
from neuroconcepts_ray.sae.metrics import principal
from neuroconcepts_ray.stats import auroc

TRAIN = ("fit", "probe")
"""Roles that linear models and directions may be fitted on."""


def trains(roles: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Which films linear models and directions may be fitted on."""
    return np.isin(roles, TRAIN)


def random_weights(d: int, count: int, seed: int = 0) -> Float[np.ndarray, "d m"]:
    """Random unit directions as columns: what choosing the best of many gives by itself."""
    directions: Float[np.ndarray, "d m"] = random_directions(count, d, seed).T
    return directions


def principal_weights(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d d"]:
    """All principal directions of some activations as columns, the strongest first."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    directions: Float[np.ndarray, "d d"] = principal(centred.T @ centred, x.shape[1])[::-1].T
    return directions


def probes(
    activations: Float[np.ndarray, "n d"],
    labels: Mapping[str, Float[np.ndarray, " n"]],
    roles: Shaped[np.ndarray, " n"],
    *,
    strength: float = 0.01,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Linear probes: L2 logistic regressions on the standardised activations, fitted on fit and probe.

    Args:
        activations: What a probe may use.
        labels: Question → 1, 0, or NaN where it makes no sense.
        roles: Role of each film.
        strength: C.

    Returns:
        Question → score of every film; questions with one answer only are left out.
    """
    train = trains(roles)
    out = {}
    for name, y in labels.items():
        rows = train & ~np.isnan(y)
        if np.unique(y[rows]).size == 2:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
            out[name] = model.fit(activations[rows], y[rows] == 1).decision_function(activations)
    return out


def linear(
    features: Float[np.ndarray, "n p"],
    y: Float[np.ndarray, "n l"],
    roles: Shaped[np.ndarray, " n"],
    *,
    strengths: Sequence[float] = (1e-3, 1e-2, 1e-1),
) -> Float[np.ndarray, "n l"]:
    """The black box's controls: L2 logistic regression on pixels or on its own activations, on the same labels.

    Fitted on fit and probe; the strength is chosen for each label on role select, as the black box's epoch is: the
    control is given its chance.

    Args:
        features: Flattened small films (:func:`thumbnails`), or activations.
        y: Labels: 1, 0, NaN = masked.
        roles: Role of each film.
        strengths: Values of C to choose from.

    Returns:
        Score of every film for each label; 0 throughout for a label of one class only.
    """
    train, select = trains(roles), roles == "select"
    scaled = StandardScaler().fit(features[train]).transform(features)
    scores = np.zeros(y.shape)
    for column in range(y.shape[1]):
        known, there = ~np.isnan(y[:, column]), y[:, column] == 1
        if np.unique(there[train & known]).size < 2:
            continue
        best = -np.inf
        for strength in strengths:
            model = LogisticRegression(C=strength, max_iter=2000).fit(scaled[train & known], there[train & known])
            score = model.decision_function(scaled)
            chosen = float(np.nan_to_num(auroc(score[select & known], there[select & known])))
            if chosen > best:
                best, scores[:, column] = chosen, score
    return scores


def thumbnails(films: Sequence[UInt8[np.ndarray, "h w"]], side: int = 32) -> Float[np.ndarray, "n p"]:
    """Grey films shrunk to ``side`` × ``side`` by averaging, flattened, from 0 to 1."""
    small = [np.asarray(Image.fromarray(film).resize((side, side), Image.Resampling.BOX)) for film in films]
    return np.stack(small).reshape(len(films), -1).astype(np.float64) / 255
