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
    return mean_of([values], draws=draws)


def mean_of(factors: Sequence[Float[np.ndarray, "_"]], *, draws: int = DRAWS) -> Estimate:
    """Mean over factors of their means over pairs; the pairs of each factor are resampled apart."""
    drawn = [_weights(len(values), draws, at) @ values for at, values in enumerate(factors)]
    low, high = interval(np.mean(drawn, axis=0)).tolist()
    return Estimate(float(np.mean([values.mean() for values in factors])), low, high, sum(map(len, factors)))


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


def in_deviations(change: Float[np.ndarray, "p q"], spread: Float[np.ndarray, " q"]) -> Float[np.ndarray, "p q"]:
    """Changes of neurons in their standard deviations.

    A neuron that never fires on role test has none. It is not left out, or a method would profit from neurons that
    do nothing: its changes stay as they are, and are 0 where it does not fire on the twins either.

    Args:
        change: How far each neuron rises in each pair.
        spread: Standard deviation of each over role test.
    """
    scaled: Float[np.ndarray, "p q"] = change / np.where(spread > 0, spread, 1.0)
    return scaled


@dataclass(frozen=True)
class Effect:
    """What toggling a factor does in each of its pairs, in standard deviations of the neurons.

    Args:
        own: How far the factor's own neuron rises when it is put in.
        others: Mean size of the change of the other factors' neurons; NaN where there are none.
    """

    own: Float[np.ndarray, " p"]
    others: Float[np.ndarray, " p"]

    @property
    def figures(self) -> dict[str, Float[np.ndarray, " p"]]:
        """By name: own, others, right (:func:`moves`) and margin, own less others."""
        return {"own": self.own, "right": moves(self.own), "others": self.others, "margin": self.own - self.others}


def effect(change: Float[np.ndarray, "p q"], own: int, others: Sequence[int]) -> Effect:
    """The effect of one factor.

    Args:
        change: How far each neuron rises in each pair that differs by the factor, in its standard deviations.
        own: Column of the factor's own neuron.
        others: Columns of other factors' neurons.
    """
    beside = np.abs(change[:, list(others)]).mean(axis=1) if len(others) else np.full(len(change), np.nan)
    return Effect(change[:, own], beside)
