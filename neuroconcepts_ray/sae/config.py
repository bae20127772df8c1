"""How a sparse autoencoder is fitted, and the plan of its artifact."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroconcepts_ray.config import POLICY, StrictModel, recipe_fields
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe

ALGORITHM = 1
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
    expansion: int = Field(4, ge=1)
    """Latents per dimension of the activations."""
    latents: int | None = Field(None, ge=1)
    """Number of latents; overrides `expansion`."""
    k: int = Field(32, ge=1)
    """Latents that may fire for one image."""
    aux_k: int = Field(256, ge=0)
    """Dead latents that fit the residual in the auxiliary loss; 0 turns it off."""
    aux_coefficient: float = Field(1 / 32, ge=0)
    """Weight of the auxiliary loss."""
    dead_after: int = Field(10_000, ge=1)
    """A latent is dead once it has not fired for so many training samples."""
    steps: int = Field(1_000, ge=1)
    """Optimiser steps."""
    batch_size: int = Field(256, ge=1)
    """Images a step, over all workers; bounded by the number of images."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate of Adam, for activations scaled to unit variance."""
    warmup: int = Field(50, ge=0)
    """Steps over which the learning rate rises linearly."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """The learning rate after the warm-up: falling to zero as half a cosine, or constant."""
    seed: int = Field(0, ge=0)
    """Seed of initial weights and of the order of images."""
    workers: int = Field(1, ge=1, le=1)
    """World size: part of the recipe, for sums over workers round differently. One, for now."""
    checkpoint_every: Annotated[int, POLICY] = Field(250, ge=1)
    """Steps between checkpoints."""

    @model_validator(mode="after")
    def _fits(self) -> "SAEConfig":
        if self.latents is not None and self.k > self.latents:
            raise ValueError(f"k = {self.k} exceeds latents = {self.latents}")
        return self

    def width(self, d: int) -> int:
        """Number of latents over activations of dimension ``d``."""
        return self.latents if self.latents is not None else self.expansion * d


def plan(config: SAEConfig, have: Mapping[str, Manifest]) -> dict[str, Plan]:
    """The artifact ``sae``: a function of the config, the catalog's roles and the tap's activations."""
    tap = f"activations.{config.tap}"
    inputs = {"catalog": have["catalog"].content, tap: have[tap].content}
    return {"sae": Plan(Recipe("sae", ALGORITHM, recipe_fields(config)), inputs)}
