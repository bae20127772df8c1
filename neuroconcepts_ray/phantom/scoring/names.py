"""How many of the names given are right, by the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from neuroconcepts_ray.phantom.meaning import denotes
from neuroconcepts_ray.phantom.scoring.factors import NO_FINDING, without_findings
from neuroconcepts_ray.stats import auroc

RIGHT_AUROC = 0.6
"""A name is right if its neuron tells the finding it denotes at least so well on role test."""


@dataclass(frozen=True)
class GivenName:
    """The name that some neuron was given; polarity "absent" means that it fires where the thing is not."""

    neuron: int
    name: str
    polarity: str


@dataclass(frozen=True)
class NamesRight:
    """How many names are right, and the neurons whose names are not."""

    given: int
    right: int
    wrong: tuple[int, ...]


def names_right(
    names: Sequence[GivenName],
    scores: Float[np.ndarray, "n m"],
    planted: Mapping[str, Bool[np.ndarray, " n"]],
    roles: Shaped[np.ndarray, " n"],
    *,
    at_least: float = RIGHT_AUROC,
) -> NamesRight:
    """Check names against the truth on role test.

    A name is right if its words denote planted findings and the neuron's AUROC for each of them is at least
    ``at_least`` in the name's polarity. "No Finding" is true of a film with nothing but support devices.

    Args:
        names: The names given.
        scores: Codes of n films over m neurons.
        planted: Finding → whether it is there.
        roles: Role of each film.
        at_least: Least AUROC.
    """
    test = roles == "test"
    truth = dict(planted)
    truth[NO_FINDING] = without_findings(planted)
    wrong = []
    for given in names:
        told = []
        for finding, positive in denotes(given.name).items():
            if finding in truth:
                value = auroc(scores[test, given.neuron], truth[finding][test])
                told.append(value if positive is (given.polarity == "present") else 1 - value)
        # NaN (a class is absent) is not at least anything.
        if not told or not all(value >= at_least for value in told):
            wrong.append(given.neuron)
    return NamesRight(len(names), len(names) - len(wrong), tuple(wrong))
