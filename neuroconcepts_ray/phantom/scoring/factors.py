"""What the truth is asked: one question a factor, where it makes sense, in the order of its kinds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from neuroconcepts_ray.phantom.scoring.truth import Truth
from neuroconcepts_ray.phantom.truth import FACTORS, SPICULATED
from neuroconcepts_ray.phantom.world import BELOW_NOISE, DEVICES, FINDINGS

NO_FINDING = "No Finding"

VISIBLE = tuple(name for name in FINDINGS if name not in BELOW_NOISE)
"""Labelled findings with a visible sign: what a black box can learn."""

INVISIBLE = (*BELOW_NOISE, "Pneumonia")
"""Labels without a visible sign: whoever tells them has read something else."""

PARENT = {SPICULATED: "Lung Lesion"} | dict.fromkeys(DEVICES, "Support Devices")
"""Attribute → the finding that has it."""

KINDS = ("labelled", "unreported", "attribute", "side", "zone", "shortcut", "artefact", "invisible")
"""Kinds of questions. labelled: visible findings, which the classifier was trained on. unreported, attribute, side,
zone: visible, told by no label. shortcut: tied to a finding. artefact: tied to nothing. invisible: the control."""

UNLABELLED = ("unreported", "attribute", "side", "zone")
"""Kinds that nothing was trained on and that no label tells; one may tell what goes with them, as age with calcium."""

_ZONES = ("upper", "mid", "lower")
_KIND = {"finding": "labelled", "unseen": "invisible"}


@dataclass(frozen=True)
class Question:
    """Something that is so or not so in each film.

    Args:
        name: Such as "Edema", "tube" or "Lung Lesion: left".
        kind: One of :data:`KINDS`.
        y: 1 yes, 0 no, NaN where the question makes no sense; one a film.
    """

    name: str
    kind: str
    y: Float[np.ndarray, " n"]


def without_findings(planted: Mapping[str, Bool[np.ndarray, " m"]]) -> Bool[np.ndarray, " m"]:
    """Films with nothing but support devices: what "No Finding" means."""
    counted = [there for name, there in planted.items() if name != "Support Devices"]
    healthy: Bool[np.ndarray, " m"] = ~np.any(counted, axis=0)
    return healthy


def questions(
    truth: Truth, image_ids: Shaped[np.ndarray, " n"], frontal: Bool[np.ndarray, " n"]
) -> tuple[Question, ...]:
    """All questions about some films.

    An attribute is asked among the films with its finding, for elsewhere the finding's own neuron would answer. A side
    is asked among frontal films with the finding on one side, a zone between the uppermost and the lowest that occur.

    Args:
        truth: The truth.
        image_ids: The films.
        frontal: Which of them are not lateral.
    """
    rows = truth.rows(image_ids)
    present = {name: truth.present[rows, column] for column, name in enumerate(truth.factors)}
    asked = []
    for name, kind in FACTORS.items():
        y = present[name]
        if name in PARENT:
            y = np.where(present[PARENT[name]] == 1, y, np.nan)
        if kind != "context":
            asked.append(Question(name, "invisible" if name in BELOW_NOISE else _KIND.get(kind, kind), y))
    for name in VISIBLE:
        column = truth.factors.index(name)
        asked += _places(name, truth.side[rows, column], truth.zone[rows, column], frontal)
    return tuple(sorted(asked, key=lambda question: KINDS.index(question.kind)))


def _places(
    name: str, side: Shaped[np.ndarray, " n"], zone: Shaped[np.ndarray, " n"], frontal: Bool[np.ndarray, " n"]
) -> Iterator[Question]:
    if {"left", "right"} <= set(side.tolist()):
        y = np.select([frontal & (side == "left"), frontal & (side == "right")], [1.0, 0.0], np.nan)
        yield Question(f"{name}: left", "side", y)
    found = [place for place in _ZONES if place in set(zone.tolist())]
    if len(found) > 1:
        y = np.select([zone == found[0], zone == found[-1]], [1.0, 0.0], np.nan)
        yield Question(f"{name}: {found[0]}, not {found[-1]}", "zone", y)
