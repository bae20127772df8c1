"""The code spaces of a run, and the plans of their codes."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from neuroconcepts_ray.activations.config import check_vectors
from neuroconcepts_ray.catalog.config import SCALE
from neuroconcepts_ray.config import StrictModel, recipe_fields
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe

ALGORITHM = 1
"""Raised whenever the same config and inputs would give other codes."""

SCALE_PART = "images-0000.parquet"
"""The catalog part, its first frozen partition, whose images decide the normalisation of units."""


class SpaceConfig(StrictModel):
    """One code space: what its neurons are."""

    origin: Literal["latents", "units"]
    """latents: the coordinates of the SAE's codes; units: the dimensions of a tap, z-scored."""
    tap: str = "pre_logits"
    """The tap whose dimensions are the neurons of a space of units; latents take the SAE's tap."""
    top: int = Field(32, ge=1)
    """Of units, how many are kept for an image: the largest, where above their mean."""
    top_images: int = Field(20, ge=1)
    """Images remembered for each neuron."""
    batch_size: int = Field(512, ge=1)
    """Images encoded at once; fixed inside a shard, because rounding may depend on it."""


def _names(spaces: dict[str, SpaceConfig]) -> dict[str, SpaceConfig]:
    for name in spaces:
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise ValueError(f"not a name of a space: {name!r}; a-z, 0-9 and _ are allowed")
    return spaces


Spaces = Annotated[dict[str, SpaceConfig], AfterValidator(_names)]
"""Code spaces by name."""

DEFAULT_SPACES: dict[str, SpaceConfig] = {
    "latents": SpaceConfig(origin="latents"),
    "units": SpaceConfig(origin="units"),
}
"""The SAE's latents, and the units they are made from."""


def source_tap(space: SpaceConfig, have: Mapping[str, Manifest]) -> str:
    """The tap that a space is encoded from."""
    return str(have["sae"].facts["tap"]) if space.origin == "latents" else space.tap


def plan(config: Mapping[str, SpaceConfig], have: Mapping[str, Manifest]) -> dict[str, Plan]:
    """One artifact a space: ``codes.<space>``.

    A recipe holds what encodes, never the whole archive, so that a grown catalog finds the shards of its old
    partitions done: for latents the SAE; for units the images of the *first* partition and the recipe of their
    activations, which alone decide the normalisation (as the partition was frozen, whoever was erased from it since).

    Raises:
        ConfigError: A space of units over a tap that is not mined.
    """
    plans = {}
    for name, space in config.items():
        tap = f"activations.{source_tap(space, have)}"
        if tap not in have:
            raise ConfigError(
                "the tap of a space is not mined",
                value=space.tap,
                where=f"spaces.{name}.tap",
                remedy="Add it to activations.taps",
            )
        check_vectors(have[tap], f"spaces.{name}.tap")
        fields = recipe_fields(space) | {"space": name}
        if space.origin == "latents":
            del fields["tap"], fields["top"]
            models = {"sae": have["sae"].content}
        else:
            images = have["catalog"].facts.get(SCALE) or have["catalog"].part(SCALE_PART).sha256
            models = {"activations": have[tap].recipe, "images": images}
        inputs = {"catalog": have["catalog"].content, tap: have[tap].content}
        plans[f"codes.{name}"] = Plan(Recipe("codes", ALGORITHM, fields, models), inputs)
    return plans
