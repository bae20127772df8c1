"""Whether films are packed, and the plan of their pixels."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from neuroconcepts_ray.config import POLICY, StrictModel, recipe_fields
from neuroconcepts_ray.imaging.config import ALGORITHM as DECODING
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe

ALGORITHM = 1
"""Raised whenever the same config and films would give other bytes."""


class PixelsConfig(StrictModel):
    """Decode and resize every film once, to what the classifier sees; later passes then decode nothing."""

    pack: Annotated[bool, POLICY] = False
    """Whether `run` packs; the verb `pack` does in any case. What is packed is read wherever it fits; it changes no
    result."""
    shard_rows: int = Field(default=512, ge=1)
    """Most films of a shard, which is read whole: best a multiple of activations.shard_rows, or equal to it."""


def plan(config: PixelsConfig, have: Mapping[str, Manifest], geometry: PixelConfig) -> dict[str, Plan]:
    """The one artifact of this stage: ``pixels``.

    The recipe holds no catalog, so that of a grown one only new films are packed, and no classifier: only how it sees.

    Args:
        config: How shards are cut.
        have: ``catalog``.
        geometry: How the classifier sees a film.
    """
    fields = {**recipe_fields(config), "geometry": recipe_fields(geometry), "decoding": DECODING}
    return {"pixels": Plan(Recipe("pixels", ALGORITHM, fields), {"catalog": have["catalog"].content})}


def fits(manifest: Manifest, geometry: PixelConfig) -> bool:
    """Whether packed pixels are what decoding would give today for a network that sees so.

    Args:
        manifest: Of kind ``pixels``.
        geometry: How the network sees a film.
    """
    body = manifest.recipe_body
    made = (body["algorithm"], body["config"]["geometry"], body["config"]["decoding"])
    return made == (ALGORITHM, recipe_fields(geometry), DECODING)
