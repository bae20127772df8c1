"""What rebuilds a classifier around its weights; read without torch."""

import json
from typing import Literal

from neuroconcepts_ray.classifier.config import Scalar
from neuroconcepts_ray.config import StrictModel, validate
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest

Task = Literal["multilabel", "multiclass", "binary"]

WEIGHTS = "weights.safetensors"
CARD = "model.json"


class Card(StrictModel):
    """``model.json``: all that rebuilds the classifier around its weights."""

    backbone: str
    """The timm model."""
    backbone_kwargs: dict[str, Scalar] = {}
    """Its further arguments."""
    labels: list[str]
    """Names of the outputs."""
    task: Task
    """What the logits mean."""
    pixels: PixelConfig
    """How a film becomes pixels."""
    mean: list[float]
    """Subtracted from pixels in 0…1."""
    std: list[float]
    """What the centred pixels are divided by."""
    d: int
    """Width of ``pre_logits``."""
    head: str = ""
    """Name of the head among the weights; found by the classifier itself."""


def load_card(lake: Lake, manifest: Manifest) -> Card:
    """The card of a classifier.

    Args:
        lake: The lake.
        manifest: Of kind ``classifier``.
    """
    return validate(Card, json.loads(lake.read(manifest.part(CARD))))
