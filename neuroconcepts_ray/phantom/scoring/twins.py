"""What changes when one thing on a film is toggled and nothing else: counterfactual effect and shortcut reliance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neuroconcepts_ray.phantom.scoring.cells import DRAWS
from neuroconcepts_ray.stats import interval, resampling_weights


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Args:
        value: The figure.
        low: Lower bound.
        high: Upper bound.
        n: Pairs that it is of.
    """

    value: float
    low: float
    high: float
    n: int


def _weights(n: int, draws: int, seed: int) -> Float[np.ndarray, "draws n"]:
    return resampling_weights(np.arange(n), draws=draws, seed=seed) / n


def mean(values: Float[np.ndarray, " p"], *, draws: int = DRAWS) -> Estimate:
    """Mean over pairs; each pair is of a patient of its own."""
    low, high = interval(_weights(len(values), draws, 0) @ values).tolist()
    return Estimate(float(values.mean()), low, high, len(values))


def moves(change: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """1 where it rises when the thing is put in, 0 where it falls, one half where it does not move (chance: .5)."""
    right: Float[np.ndarray, " p"] = (np.sign(change) + 1) / 2
    return right


def reliance(shortcut: Float[np.ndarray, " p"], finding: Float[np.ndarray, " q"], *, draws: int = DRAWS) -> Estimate:
    """How much of a finding's own effect on its logit its shortcut has: mean of the one over mean of the other.

    0: the shortcut is not used; 1: it counts as much as the finding itself.

    Args:
        shortcut: Change of the finding's logit in each pair that differs by the shortcut.
        finding: Change of it in each pair that differs by the finding.
        draws: Resamples of pairs.
    """
    above = _weights(len(shortcut), draws, 0) @ shortcut
    below = _weights(len(finding), draws, 1) @ finding
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = interval(above / below).tolist()
        value = float(np.divide(shortcut.mean(), finding.mean()))
    return Estimate(value, low, high, len(shortcut))


@dataclass(frozen=True)
class Effect:
    """What toggling a factor does.

    Args:
        own: Mean change of the factor's own neuron, in its standard deviations.
        right: Share of pairs in which it moves the right way.
        others: Mean size of the change of the other factors' neurons; NaN where there are none.
    """

    own: Estimate
    right: Estimate
    others: Estimate


def effect(change: Float[np.ndarray, "p q"], own: int, others: Sequence[int], *, draws: int = DRAWS) -> Effect:
    """The effect of one factor.

    Args:
        change: In each pair that differs by it, how far the neurons rise when it is put in, each in its standard
            deviations.
        own: Column of the factor's own neuron.
        others: Columns of other factors' neurons.
        draws: Resamples of pairs.
    """
    beside = np.abs(change[:, list(others)]).mean(axis=1) if len(others) else np.full(len(change), np.nan)
    return Effect(
        mean(change[:, own], draws=draws), mean(moves(change[:, own]), draws=draws), mean(beside, draws=draws)
    )
