"""The head alone, W and b, for whoever takes logits apart: read without timm or torch, so that an answer comes soon."""

import json
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load

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
    card = json.loads(lake.read(manifest.part("model.json")))
    weights = load(lake.read(manifest.part("weights.safetensors")))
    w = weights[f"{card['head']}.weight"].astype(np.float32)
    b = weights.get(f"{card['head']}.bias", np.zeros(len(w), np.float32)).astype(np.float32)
    return Head(w, b, list(card["labels"]), str(card["task"]))
