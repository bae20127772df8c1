"""How a sparse autoencoder is fitted, and the plan of its artifact."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroconcepts_ray.config import POLICY, StrictModel, recipe_fields
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe

ALGORITHM = 2
"""Raised whenever the same config and inputs would give other weights."""

FIT_ROLES = ("fit", "probe")
"""Roles whose images the SAE is trained on; not configurable, for every held-out figure rests on it."""

CHOICE_ROLE = "select"
"""The role that the artifact's own metrics are measured on."""


class SAEConfig(StrictModel):
    """The sparse autoencoder."""

    tap: str = "pre_logits"
    """Which activations it reads; `explain` takes logits apart only through `pre_logits`."""
    variant: Literal["topk"] = "topk"
    """Which member of the family."""
    expansion: int = Field(2, ge=1)
    """Latents per dimension of the activations. On a few thousand images 2 holds out better than 4; raise it with the
    archive."""
    latents: int | None = Field(None, ge=1)
    """Number of latents; overrides `expansion`."""
    k: int = Field(16, ge=1)
    """Latents that may fire for one image."""
    aux_k: int = Field(256, ge=0)
    """Dead latents that fit the residual in the auxiliary loss; 0 turns it off."""
    aux_coefficient: float = Field(1 / 32, ge=0)
    """Weight of the auxiliary loss."""
    dead_after: int = Field(5_000, ge=1)
    """A latent is dead once it has not fired for so many training samples."""
    steps: int = Field(600, ge=1)
    """Optimiser steps: with the default batch 153,600 samples, some 100 epochs of a small archive; of a large one
    give several epochs (`select.fvu` in the artifact's facts says when more is worse)."""
    batch_size: int = Field(256, ge=1)
    """Images a step, over all workers; bounded by the number of images."""
    lr: float | None = Field(None, gt=0)
    """Peak learning rate of Adam, for activations scaled to unit variance; none = 0.07/√d, by which a step turns a
    decoder row of unit norm equally far whatever d is (0.003 at d = 512)."""
    warmup: int = Field(50, ge=0)
    """Steps over which the learning rate rises linearly."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """The learning rate after the warm-up: falling to zero as half a cosine, or constant."""
    seed: int = Field(0, ge=0)
    """Seed of initial weights and of the order of images."""
    workers: int = Field(1, ge=1, le=1)
    """World size: part of the recipe, for sums over workers round differently. One, for now."""
    threads: int = Field(2, ge=1)
    """CPU threads of a worker; in the recipe, because sums on CPU round differently with another number."""
    checkpoint_every: Annotated[int, POLICY] = Field(250, ge=1)
    """Steps between checkpoints."""

    @model_validator(mode="after")
    def _fits(self) -> "SAEConfig":
        if self.latents is not None and self.k > self.latents:
            raise ValueError(f"k = {self.k} exceeds latents = {self.latents}")
        return self

    def peak_lr(self, d: int) -> float:
        """Peak learning rate over activations of dimension ``d``."""
        return self.lr if self.lr is not None else float(0.07 / d**0.5)

    def width(self, d: int) -> int:
        """Number of latents over activations of dimension ``d``."""
        return self.latents if self.latents is not None else self.expansion * d


def plan(config: SAEConfig, have: Mapping[str, Manifest]) -> dict[str, Plan]:
    """The artifact ``sae``: a function of the config, the catalog's roles and the tap's activations.

    Raises:
        ConfigError: The tap is not mined.
    """
    tap = f"activations.{config.tap}"
    if tap not in have:
        raise ConfigError(
            "the SAE's tap is not mined", value=config.tap, where="sae.tap", remedy="Add it to activations.taps"
        )
    inputs = {"catalog": have["catalog"].content, tap: have[tap].content}
    return {"sae": Plan(Recipe("sae", ALGORITHM, recipe_fields(config)), inputs)}
