"""The head alone, W and b, for whoever takes logits apart: read without timm or torch, so that an answer comes soon."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load

from neuroconcepts_ray.classifier.card import WEIGHTS, load_card
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest


@dataclass(frozen=True)
class Head:
    """logits = W f + b, with f the activations of ``pre_logits``.

    Attributes:
        W: One row a label, float32.
        b: The biases, float32; zeros where the backbone has none.
        labels: Names of the outputs.
        task: ``multilabel``, ``multiclass`` or ``binary``.
    """

    W: Float[np.ndarray, "l d"]
    b: Float[np.ndarray, " l"]
    labels: list[str]
    task: str


def load_head(lake: Lake, manifest: Manifest) -> Head:
    """The head of a classifier.

    Args:
        lake: The lake.
        manifest: Of kind ``classifier``.
    """
    card = load_card(lake, manifest)
    weights = load(lake.read(manifest.part(WEIGHTS)))
    w = weights[f"{card.head}.weight"].astype(np.float32)
    b = weights.get(f"{card.head}.bias", np.zeros(len(w), np.float32)).astype(np.float32)
    return Head(w, b, card.labels, card.task)
