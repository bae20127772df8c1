"""Which layers are tapped, and how the forward pass is done."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from neuroconcepts_ray.config import StrictModel, recipe_fields
from neuroconcepts_ray.imaging.config import ALGORITHM as DECODING
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe

ALGORITHM = 2
"""Raised whenever the same config would give other bytes."""

HEAD_TAPS = ("pre_logits", "logits")
"""Always mined: the float32 vector that the head takes, and the float32 logits made from it."""


class ActivationsConfig(StrictModel):
    """Taps of the classifier, pooled to one vector per image."""

    taps: list[str] = []
    """Module names of the network, such as layer3; ``pre_logits`` and ``logits`` are always mined."""
    reduction: Literal["mean", "max"] = "mean"
    """How a map [c, h, w] becomes a vector: mean or max over its positions."""
    tokens: Literal["mean", "class"] = "mean"
    """How tokens [t, c] become a vector: mean of the patch tokens, or the class token."""
    batch_size: int = Field(default=32, ge=1)
    """Images of a forward pass; fixed inside a shard, because rounding may depend on it."""
    shard_rows: int = Field(default=512, ge=1)
    """Most images of a shard; a shard never exceeds 96 MB of pixels either."""
    threads: int = Field(default=2, ge=1)
    """CPU threads of an actor; in the recipe, because float32 rounds differently with another number."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the backbone. auto: bfloat16 where the planning machine computes in it natively, else float32; on
    a cluster whose head differs from its workers say which. The head is float32 always."""

    @field_validator("taps")
    @classmethod
    def _names_once(cls, taps: list[str]) -> list[str]:
        for tap in taps:
            if not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*", tap):
                raise ValueError(f"not a module name: {tap!r}")
        if len(set(taps)) < len(taps):
            raise ValueError("a tap stands there twice")
        return taps

    @property
    def all_taps(self) -> list[str]:
        """The head's taps, then the others as configured."""
        return [*HEAD_TAPS, *(tap for tap in self.taps if tap not in HEAD_TAPS)]


@cache
def native_dtype() -> Literal["float32", "bfloat16"]:
    """What this machine computes in natively, found out without torch where there is no GPU."""
    if Path("/proc/driver/nvidia/version").exists():
        import torch

        if torch.cuda.is_available():
            return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return "float32"
    return "bfloat16" if flags & {"amx_bf16", "avx512_bf16"} else "float32"


def plan(config: ActivationsConfig, have: Mapping[str, Manifest]) -> dict[str, Plan]:
    """One artifact a tap: ``activations.<tap>``.

    A recipe holds its own tap only, so that a further tap leaves the others' artifacts where they are; and no
    catalog, so that a grown catalog finds the shards of its old partitions done.
    """
    dtype = native_dtype() if config.dtype == "auto" else config.dtype
    shared = recipe_fields(config) | {"dtype": dtype, "decoding": DECODING}
    del shared["taps"]
    plans = {}
    for tap in config.all_taps:
        fields = {**shared, "tap": tap}
        if tap in HEAD_TAPS:
            del fields["reduction"], fields["tokens"]
        recipe = Recipe("activations", ALGORITHM, fields, {"classifier": have["classifier"].content})
        inputs = {"catalog": have["catalog"].content, "classifier": have["classifier"].content}
        plans[f"activations.{tap}"] = Plan(recipe, inputs)
    return plans
