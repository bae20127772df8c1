"""One image explained, as plain data: prediction, the logit taken apart, concepts, report, neighbours. Pure.

The contributions are those of the deployed network: logit_y = Σ_j z_j·W_y·d_j + W_y·b_dec + W_y·(f − f̂) + b_y. A
contribution above 0 speaks for the label, below 0 against it. Apart from that, a neuron of a signed space may be active
below 0: it then reads "less of", because its name was tested on large activations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.naming.tables import Name
from neuroconcepts_ray.retrieval.answer import Hit, display_name

CONCEPTS = 4
"""Concepts that are shown; the rest stands as one sum beside them."""


@dataclass(frozen=True)
class Concept:
    """Neurons of one name, and what they contribute together.

    Attributes:
        name: The name; "unnamed (neuron j)" for a neuron without one, "less of …" where it is active below 0.
        named: Whether it is a name that held.
        neurons: The neurons, largest contribution first.
        activations: Their activations in this image.
        contribution: The sum of their terms of the logit.
        aurocs: Held-out AUROC of each neuron's name, with its interval; empty where unnamed.
    """

    name: str
    named: bool
    neurons: tuple[int, ...]
    activations: tuple[float, ...]
    contribution: float
    aurocs: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Explanation:
    """One image explained for one label.

    Attributes:
        image_id: The image.
        view: Its view.
        role: Its role.
        group: Keyed hash of its patient, as `erase` takes it.
        task: ``multilabel``, ``multiclass`` or ``binary``.
        labels: The labels of the classifier.
        logits: The stored logits.
        probabilities: Of each label.
        truth: Labels of the catalog: True, False, None where masked.
        label: The label that is taken apart.
        space: The code space.
        concepts: The strongest by size of contribution.
        others: Sum of all other neurons' terms.
        other_neurons: How many these are.
        bias_dec: W_y·b_dec.
        residual: W_y·(f − f̂): what the dictionary does not explain, computed on its own.
        b: b_y.
        total: The sum of all of these, in float64.
        logit: The network's stored logit of the label.
        error: |total − logit|.
        report: The study's report; None where there is none.
        neighbours: The most similar images of other patients.
    """

    image_id: str
    view: str
    role: str
    group: str
    task: str
    labels: tuple[str, ...]
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    truth: tuple[bool | None, ...]
    label: str
    space: str
    concepts: tuple[Concept, ...]
    others: float
    other_neurons: int
    bias_dec: float
    residual: float
    b: float
    total: float
    logit: float
    error: float
    report: str | None
    neighbours: tuple[Hit, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data; holds the report's text, so it belongs where reports belong."""
        return asdict(self) | {"neighbours": [hit.to_dict() for hit in self.neighbours]}


def probabilities(logits: Float[np.ndarray, " l"], task: str) -> Float[np.ndarray, " l"]:
    """Softmax over classes for ``multiclass``, else a sigmoid per label."""
    x = np.asarray(logits, dtype=np.float64)
    if task == "multiclass":
        shifted = np.exp(x - x.max())
        softmax: Float[np.ndarray, " l"] = shifted / shifted.sum()
        return softmax
    # exp of the negative size never overflows.
    small = np.exp(-np.abs(x))
    sigmoid: Float[np.ndarray, " l"] = np.where(x >= 0, 1, small) / (1 + small)
    return sigmoid


def choose_label(label: str | None, labels: Sequence[str], logits: Float[np.ndarray, " l"]) -> int:
    """The column of the label asked for, or of the highest logit.

    Raises:
        InputError: The classifier has no such label.
    """
    if label is None:
        return int(np.argmax(logits))
    if label not in labels:
        raise InputError("the classifier has no such label", value=label, limit=", ".join(labels))
    return list(labels).index(label)


def concepts(
    neurons: Int[np.ndarray, " k"],
    activations: Float[np.ndarray, " k"],
    terms: Float[np.ndarray, " k"],
    names: Mapping[int, Name],
) -> list[Concept]:
    """All concepts of an image, largest contribution (by size) first; neurons of one name are summed before ranking.

    Args:
        neurons: Neurons that fire.
        activations: Their activations.
        terms: Their terms of the logit.
        names: Names that held, by neuron.
    """
    order = np.lexsort((neurons, -np.abs(terms)))
    together: dict[tuple[str, bool], list[int]] = {}
    for at in order.tolist():
        name = display_name(int(neurons[at]), names)
        together.setdefault((name, bool(activations[at] < 0)), []).append(at)
    result = []
    for (name, less), members in together.items():
        held = [names[int(neurons[at])] for at in members if int(neurons[at]) in names]
        result.append(
            Concept(
                name=f"less of {name}" if less else name,
                named=bool(held),
                neurons=tuple(int(neurons[at]) for at in members),
                activations=tuple(float(activations[at]) for at in members),
                contribution=float(np.sum(terms[members].astype(np.float64))),
                aurocs=tuple((one.auroc, one.low, one.high) for one in held),
            )
        )
    return sorted(result, key=lambda one: (-abs(one.contribution), one.neurons))


def explain(
    *,
    image_id: str,
    view: str,
    role: str,
    group: str,
    task: str,
    labels: Sequence[str],
    logits: Float[np.ndarray, " l"],
    truth: Float[np.ndarray, " l"],
    label: int,
    space: str,
    neurons: Int[np.ndarray, " k"],
    activations: Float[np.ndarray, " k"],
    terms: Float[np.ndarray, " k"],
    bias_dec: float,
    residual: float,
    b: float,
    names: Mapping[int, Name],
    report: str | None,
    neighbours: Sequence[Hit],
    top: int = CONCEPTS,
) -> Explanation:
    """Put an explanation together.

    Args:
        image_id: The image.
        view: Its view.
        role: Its role.
        group: Keyed hash of its patient.
        task: The classifier's task.
        labels: Its labels.
        logits: The stored logits of the image.
        truth: 1, 0, NaN where masked.
        label: Column of the label to take apart.
        space: The code space.
        neurons: Neurons that fire.
        activations: Their activations.
        terms: z_j·W_y·d_j of each.
        bias_dec: W_y·b_dec.
        residual: W_y·(f − f̂).
        b: b_y.
        names: Names that held.
        report: The study's report.
        neighbours: Similar images.
        top: Concepts that are shown.
    """
    every = concepts(neurons, activations, terms, names)
    shown, rest = every[:top], every[top:]
    others = float(np.sum([one.contribution for one in rest], dtype=np.float64)) if rest else 0.0
    total = float(sum(one.contribution for one in shown)) + others + bias_dec + residual + b
    logit = float(logits[label])
    return Explanation(
        image_id=image_id,
        view=view,
        role=role,
        group=group,
        task=task,
        labels=tuple(labels),
        logits=tuple(float(value) for value in logits),
        probabilities=tuple(float(value) for value in probabilities(logits, task)),
        truth=tuple(None if np.isnan(value) else bool(value) for value in truth),
        label=labels[label],
        space=space,
        concepts=tuple(shown),
        others=others,
        other_neurons=sum(len(one.neurons) for one in rest),
        bias_dec=float(bias_dec),
        residual=float(residual),
        b=float(b),
        total=total,
        logit=logit,
        error=abs(total - logit),
        report=report,
        neighbours=tuple(neighbours),
    )
