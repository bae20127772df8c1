"""What rebuilds a classifier around its weights; read without torch."""

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from neuroconcepts_ray.config import StrictModel, validate
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import canonical_json

Task = Literal["multilabel", "multiclass", "binary"]

WEIGHTS = "weights.safetensors"
CARD = "model.json"

FACTORY = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
"""A callable of an installed package: ``package.module:function``."""


class Card(StrictModel):
    """``model.json``: all that rebuilds the classifier around its weights."""

    backbone: str | None = None
    """The timm model."""
    factory: Annotated[str, Field(pattern=f"^{FACTORY}$")] | None = None
    """Instead of a timm model: ``package.module:function`` that returns the network."""
    backbone_kwargs: dict[str, JsonValue] = {}
    """Further arguments of either."""
    labels: Annotated[list[str], Field(min_length=1)]
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

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        if (self.backbone is None) == (self.factory is None):
            raise ValueError("a card has either a backbone or a factory")
        if len(self.mean) not in (1, 3) or len(self.std) not in (1, 3) or min(self.std) <= 0:
            raise ValueError("mean and std take one value or three, those of std above 0")
        return self

    @property
    def network(self) -> str:
        """The timm model or the factory, for people."""
        return self.backbone or self.factory or ""

    @property
    def libraries(self) -> tuple[str, ...]:
        """The distribution that the network's code comes from, where it is one: its version matters."""
        package = "timm" if self.factory is None else self.factory.partition(":")[0].partition(".")[0]
        try:
            version(package)
        except PackageNotFoundError:
            return ()
        return (package,)

    def to_json(self) -> bytes:
        """The card as canonical JSON, without what it does not have."""
        plain = self.model_dump(mode="json")
        return canonical_json({name: value for name, value in plain.items() if value is not None})


def load_card(lake: Lake, manifest: Manifest) -> Card:
    """The card of a classifier.

    Args:
        lake: The lake.
        manifest: Of kind ``classifier``.
    """
    plain = json.loads(lake.read(manifest.part(CARD)))
    plain["pixels"].setdefault("jpeg_margin", 0.0)  # a card from before there was one: its films were decoded in full
    return validate(Card, plain)
