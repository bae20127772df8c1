"""What the classifier is and how it is trained."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from neuroconcepts_ray.classifier.brought import check_agrees, imported_card, open_brought
from neuroconcepts_ray.config import PATH, StrictModel, recipe_fields
from neuroconcepts_ray.imaging.config import ALGORITHM as DECODING
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe

ALGORITHM = 2
"""Raised whenever the same config would give other bytes."""

Share = Annotated[float, Field(ge=0, lt=1)]


class AugmentConfig(StrictModel):
    """Random changes of the films that are trained on; a finding must survive them."""

    flip: bool = False
    """Mirror left and right. Off, because a chest is not symmetric and films carry lateral markers."""
    shift: Share = 0.05
    """Largest shift, as a share of the side."""
    rotate: float = Field(default=5.0, ge=0, le=180)
    """Largest rotation in degrees."""
    scale: Share = 0.05
    """Largest change of scale, as a share."""
    contrast: Share = 0.15
    """Largest change of contrast about the film's mean, as a share."""
    brightness: Share = 0.1
    """Largest change of brightness, as a share of white."""


class ClassifierConfig(StrictModel):
    """The backbone, its pixels, and either how it is trained or the weights that are brought along."""

    backbone: str = "resnet18"
    """Any timm model that ends in one linear layer, such as densenet121, convnext_tiny or vit_small_patch16_224."""
    backbone_kwargs: dict[str, JsonValue] = {}
    """Further arguments of the timm model, such as {channels: [16, 32, 64, 128]} for a narrow ResNet."""
    pixels: PixelConfig = PixelConfig()
    """How a film becomes the pixels that the backbone sees."""
    mean: list[float] = Field(default=[0.5], min_length=1, max_length=3)
    """Subtracted from pixels in 0…1: one value, or one each for red, green and blue."""
    std: list[Annotated[float, Field(gt=0)]] = Field(default=[0.25], min_length=1, max_length=3)
    """What the centred pixels are divided by: one value or three."""
    labels: list[str] | None = None
    """The outputs in order; by default all labels of the catalog in its order."""
    weights: Annotated[str | None, PATH] = None
    """A safetensors file of the timm model's parameters, or a folder of `import-model`, whose card then says what is
    said here of backbone, pixels, mean, std and labels; nothing is trained. Its SHA-256 is in the recipe."""
    epochs: int = Field(default=30, ge=1)
    """Passes over the films of role fit at most."""
    patience: int = Field(default=8, ge=1)
    """Epochs without a better figure on role select after which training ends."""
    batch_size: int = Field(default=32, ge=1)
    """Films of a step, over all workers."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup: Share = 0.05
    """Share of all steps in which the learning rate rises linearly; afterwards it falls as a cosine to zero."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Decoupled weight decay of matrices and kernels; norms and biases have none."""
    label_smoothing: Share = 0.0
    """Share of a target that is spread over the alternatives."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of the films that are trained on."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of training; the head is float32 always."""
    seed: int = 0
    """Seed of the initial weights, the order of films and the augmentation."""
    workers: int = Field(default=1, ge=1)
    """Ranks that train together; in the recipe, because sums over ranks round differently."""
    threads: int = Field(default=2, ge=1)
    """CPU threads of a rank; in the recipe, because gradients on CPU round differently with another number."""

    @model_validator(mode="after")
    def _consistent(self) -> "ClassifierConfig":
        for name in ("mean", "std"):
            if len(getattr(self, name)) == 2:
                raise ValueError(f"{name} takes one value or three")
        if self.batch_size < self.workers:
            raise ValueError("batch_size must be at least the number of workers")
        if self.labels is not None and (not self.labels or len(set(self.labels)) < len(self.labels)):
            raise ValueError("labels must be distinct and at least one")
        return self


TRAINING = frozenset(
    {"epochs", "patience", "lr", "warmup", "weight_decay", "label_smoothing", "augment", "dtype", "seed", "batch_size"}
)
"""Fields that change nothing where weights are brought along."""


def geometry(config: ClassifierConfig) -> PixelConfig:
    """How the classifier will see a film: as the config says, or the card of an imported model."""
    card = None if config.weights is None else imported_card(config.weights)
    return config.pixels if card is None else card.pixels


def plan(config: ClassifierConfig, have: Mapping[str, Manifest]) -> dict[str, Plan]:
    """The one artifact of this stage: ``classifier``."""
    fields = recipe_fields(config)
    models = {}
    if config.weights is not None:
        fields = {name: value for name, value in fields.items() if name not in TRAINING}
        brought = open_brought(config.weights)
        models["weights"] = brought.sha256
        if brought.card is not None:
            check_agrees(brought.card, config)
            fields |= brought.card.model_dump(mode="json", exclude={"d", "head"})
    recipe = Recipe("classifier", ALGORITHM, {**fields, "decoding": DECODING}, models)
    return {"classifier": Plan(recipe, {"catalog": have["catalog"].content})}
