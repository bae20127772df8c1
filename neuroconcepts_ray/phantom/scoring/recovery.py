"""What single neurons give back of each planted thing, as a share of what a linear probe can.

The neuron is chosen on role select and scored on role test. A neuron says yes by firing more. A principal component has
no sign of its own, so both signs are candidates; of a random direction w, −w was as likely to be drawn, so n draws are
n candidates, as many as there are latents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from neuroconcepts_ray.phantom.scoring.cells import DRAWS, Cells, cells
from neuroconcepts_ray.phantom.scoring.controls import probes
from neuroconcepts_ray.phantom.scoring.factors import Question
from neuroconcepts_ray.stats import MIN_EVALUABLE, auroc_table, evaluable, interval

LEAST_PROBE = 0.55
"""Lowest lower bound of a probe's AUROC that a share is taken of: below it there is nothing to recover."""


@dataclass(frozen=True)
class Candidates:
    """Neurons to choose from.

    Args:
        scores: Of n films over m neurons.
        signed: Whether either sign may be chosen.
    """

    scores: Float[np.ndarray, "n m"]
    signed: bool = False


@dataclass(frozen=True)
class Chosen:
    """The neuron chosen for each question, and the sign by which it says yes.

    Args:
        neurons: −1 where the question is not evaluable on role select.
        signs: 1 or −1.
    """

    neurons: Int[np.ndarray, " q"]
    signs: Float[np.ndarray, " q"]

    def scores(self, scores: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n q"]:
        """What the chosen neurons say of some films; 0 where none was chosen."""
        found: Float[np.ndarray, "n q"] = scores[:, self.neurons] * self.signs * (self.neurons >= 0)
        return found


def choose(
    candidates: Candidates,
    questions: Sequence[Question],
    roles: Shaped[np.ndarray, " n"],
    least: int = MIN_EVALUABLE,
) -> Chosen:
    """The neuron with the greatest AUROC on role select for each question."""
    select = roles == "select"
    neurons, signs = np.full(len(questions), -1), np.ones(len(questions))
    y = np.stack([question.y[select] for question in questions], axis=1)
    scores = candidates.scores[select]
    masks = ~np.isnan(y)
    # Questions with the same films share one ranking, which is what takes the time.
    together: dict[bytes, list[int]] = {}
    for at in range(len(questions)):
        if evaluable(y[masks[:, at], at] == 1, least):
            together.setdefault(masks[:, at].tobytes(), []).append(at)
    for columns in together.values():
        rows = masks[:, columns[0]]
        table = auroc_table(scores[rows], y[rows][:, columns] == 1)
        best = np.maximum(table, 1 - table) if candidates.signed else table
        neurons[columns] = best.argmax(axis=0)
        found = table[neurons[columns], np.arange(len(columns))]
        signs[columns] = np.where(candidates.signed & (found < 0.5), -1.0, 1.0)
    return Chosen(neurons, signs)


@dataclass(frozen=True)
class Recovery:
    """What each method gives back of each question.

    Args:
        questions: The questions.
        chosen: Method → the neuron of each question.
        probe: The probes on role test.
        found: Method → its neurons on role test.
    """

    questions: tuple[Question, ...]
    chosen: Mapping[str, Chosen]
    probe: Cells
    found: Mapping[str, Cells]

    @property
    def recoverable(self) -> Sequence[bool]:
        """Of each question whether the probe tells it, so that there is something to recover."""
        low = self.probe.bounds[0]
        usable = self.probe.usable & np.all([cell.usable for cell in self.found.values()], axis=0)
        recoverable: list[bool] = (usable & (np.nan_to_num(low) >= LEAST_PROBE)).tolist()
        return recoverable

    def share(self, method: str) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, "2 q"]]:
        """(AUROC − .5) / (probe − .5) of each question, and its interval; NaN where there is nothing to recover."""
        points, drawn = self._share(method)
        return points, interval(drawn)

    def mean_share(self, method: str, kinds: Sequence[str]) -> tuple[float, float, float, int]:
        """Mean share over the questions of some kinds, its interval, and the number of questions."""
        points, drawn = self._share(method)
        columns = self._columns(kinds)
        if not columns:
            return float("nan"), float("nan"), float("nan"), 0
        low, high = interval(drawn[:, columns].mean(axis=1)).tolist()
        return float(points[columns].mean()), low, high, len(columns)

    def less(self, method: str, other: str, kinds: Sequence[str]) -> tuple[float, float, float]:
        """Mean share of a method less that of another, with its interval over the same resamples."""
        (a, drawn_a), (b, drawn_b) = self._share(method), self._share(other)
        columns = self._columns(kinds)
        if not columns:
            return float("nan"), float("nan"), float("nan")
        low, high = interval((drawn_a - drawn_b)[:, columns].mean(axis=1)).tolist()
        return float((a - b)[columns].mean()), low, high

    def _columns(self, kinds: Sequence[str]) -> list[int]:
        able = self.recoverable
        return [at for at, question in enumerate(self.questions) if able[at] and question.kind in kinds]

    def _share(self, method: str) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, "draws q"]]:
        one = self.found[method]
        able = np.array(self.recoverable)
        with np.errstate(divide="ignore", invalid="ignore"):
            points = (one.auroc - 0.5) / (self.probe.auroc - 0.5)
            drawn = (one.draws - 0.5) / (self.probe.draws - 0.5)
        # In a draw where the probe is at exactly one half there is no share.
        return np.where(able, points, np.nan), np.where(able & np.isfinite(drawn), drawn, np.nan)


def recover(
    methods: Mapping[str, Candidates],
    activations: Float[np.ndarray, "n d"],
    questions: Sequence[Question],
    roles: Shaped[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"],
    *,
    least: int = MIN_EVALUABLE,
    draws: int = DRAWS,
) -> Recovery:
    """Choose on role select, score on role test, beside a probe fitted on the roles fit and probe.

    Args:
        methods: Name → neurons to choose from.
        activations: What the probe may use: the activations that the neurons are made of.
        questions: What is asked.
        roles: Role of each film.
        groups: Patient of each film.
        least: Fewest positives and negatives, in select and in test; fewer is not evaluable.
        draws: Resamples of patients.
    """
    test = roles == "test"
    names = [question.name for question in questions]
    y = np.stack([question.y[test] for question in questions], axis=1)
    fitted = probes(activations, {question.name: question.y for question in questions}, roles)
    nothing = np.zeros(len(roles))
    ceiling = np.stack([fitted.get(name, nothing)[test] for name in names], axis=1)
    chosen = {name: choose(one, questions, roles, least) for name, one in methods.items()}
    found = {}
    for name, one in methods.items():
        # What could not be chosen cannot be scored.
        asked = np.where(chosen[name].neurons >= 0, y, np.nan)
        found[name] = cells(chosen[name].scores(one.scores[test]), asked, groups[test], names, least=least, draws=draws)
    probe = cells(ceiling, y, groups[test], names, least=least, draws=draws)
    return Recovery(tuple(questions), chosen, probe, found)
