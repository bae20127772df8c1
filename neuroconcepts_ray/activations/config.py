"""Which layers are tapped, what is kept of them, and how the forward pass is done."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from neuroconcepts_ray.activations.taps import HEAD_TAPS as HEAD_TAPS
from neuroconcepts_ray.activations.taps import Tap
from neuroconcepts_ray.config import POLICY, StrictModel, recipe_fields
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.imaging.config import ALGORITHM as DECODING
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe

ALGORITHM = 2
"""Raised whenever the same config would give other bytes."""

KEPT: dict[str | None, tuple[str, ...]] = {
    None: ("reduction", "tokens"),
    "positions": ("positions", "seed", "stored"),
    "grid": ("stored",),
    "codes": ("top",),
    "patches": ("reduction", "tokens", "patches", "stored"),
}
"""Fields that say how a way of keeping is done; of no meaning to the others, and so not in their recipes."""


class PatchConfig(StrictModel):
    """How an image is cut into patches."""

    size: float = Field(default=0.25, ge=0.001, lt=1)
    """Side of a patch, as a share of the side of the square that the image is fitted to. The classifier sees each patch
    at its own size, so the image is decoded that much larger."""
    stride: float = Field(default=0.5, ge=0.05, le=1)
    """From one patch to the next, as a share of the patch's side; a little less where the last would not end at the
    edge."""


class ActivationsConfig(StrictModel):
    """Taps of the classifier, and what one forward pass keeps of them."""

    taps: list[str] = []
    """Module names of the network, such as layer3; ``pre_logits`` and ``logits`` are always mined. A name alone is
    pooled as `reduction` and `tokens` say; layer3:mean, layer3:max and layer3:class say it themselves;
    layer3:positions, layer3:grid and layer3:codes keep places; layer3:patches and pre_logits:patches keep a vector of
    each patch (docs/mining.md)."""
    reduction: Literal["mean", "max"] = "mean"
    """How a map [c, h, w] becomes a vector: mean or max over its positions."""
    tokens: Literal["mean", "class"] = "mean"
    """How tokens [t, c] become a vector: mean of the patch tokens, or the class token."""
    positions: int = Field(default=16, ge=1)
    """Of a tap :positions, how many of an image's positions are kept."""
    seed: int = Field(default=0, ge=0)
    """Seed of that sample, which depends on it and on the image alone."""
    stored: Literal["float16", "float32"] = "float16"
    """How positions, grids and patches are stored; a value that is not finite as float16 is an error."""
    grid_budget: Annotated[int | None, POLICY, Field(ge=1)] = None
    """Most bytes that the artifact of a tap :grid may take before compression; such a tap needs it said."""
    sae: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """Of taps :codes, the SAE: its content as `status --json` has it."""
    patches: PatchConfig | None = None
    """Of a tap :patches, their size and stride; such a tap needs it said."""
    top: int = Field(default=32, ge=1)
    """Of a tap :codes, how many neurons of an image are kept: the largest."""
    batch_size: int = Field(default=32, ge=1)
    """Images of a forward pass; fixed inside a shard, because rounding may depend on it."""
    shard_rows: int = Field(default=512, ge=1)
    """Most images of a shard; a shard never exceeds 96 MB of pixels either."""
    threads: int = Field(default=2, ge=1)
    """CPU threads of an actor; in the recipe, because float32 rounds differently with another number."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the backbone. auto: bfloat16 where the planning machine computes in it natively, else float32; on
    a cluster whose head differs from its workers say which. The head is float32 always."""

    compile: bool = False
    """Compile the backbone (torch.compile); needs a C++ compiler on every machine, rounds otherwise, and pays off on
    long runs. All taps' modules are then in each recipe, for the graph depends on what it gives. Uploads are not
    compiled."""

    @model_validator(mode="after")
    def _consistent(self) -> "ActivationsConfig":
        pooled = self.reduction == self.tokens == "mean"
        seen: dict[str, str] = {}
        for name in self.taps:
            tap = Tap.parse(name)
            same = f"{name}:mean" if pooled and tap.keep is None and tap.module not in HEAD_TAPS else name
            if same in seen:
                twice = "a tap stands there twice" if seen[same] == name else "two taps are the same"
                raise ValueError(f"{twice}: {', '.join(dict.fromkeys([seen[same], name]))}")
            seen[same] = name
        keeps = {tap.keep: tap.name for tap in self.parsed}
        if "grid" in keeps and self.grid_budget is None:
            raise ValueError(f"{keeps['grid']} needs grid_budget: the most bytes that it may take")
        if "codes" in keeps and self.sae is None:
            raise ValueError(f"{keeps['codes']} needs sae: the content of a finished SAE (`status --json`)")
        if "patches" in keeps and self.patches is None:
            raise ValueError(f"{keeps['patches']} needs patches, such as {{size: 0.25, stride: 0.5}}")
        return self

    @property
    def parsed(self) -> list[Tap]:
        """The head's taps, then the others as configured."""
        return [Tap.parse(name) for name in self.all_taps]

    @property
    def modules(self) -> list[str]:
        """The modules whose output is asked for, but for the head's."""
        return sorted({tap.module for tap in self.parsed} - set(HEAD_TAPS))

    @property
    def all_taps(self) -> list[str]:
        """Their names."""
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
    if config.compile:  # what the graph gives decides how it is fused, and so how it rounds
        shared["modules"] = config.modules
    plans = {}
    for tap in config.parsed:
        models = {"classifier": have["classifier"].content}
        if tap.keep == "codes":
            models["sae"] = str(config.sae)
        recipe = Recipe("activations", ALGORITHM, _fields(tap, shared), models)
        inputs = {"catalog": have["catalog"].content, "classifier": have["classifier"].content}
        plans[f"activations.{tap.name}"] = Plan(recipe, inputs)
    return plans


def _fields(tap: Tap, shared: Mapping[str, Any]) -> dict[str, Any]:
    """What of the config decides one tap's bytes."""
    others = {name for names in KEPT.values() for name in names} | {"taps", "sae"}
    wanted = set(KEPT.get(tap.keep, ()))
    if tap.module in HEAD_TAPS:  # a vector already
        wanted -= {"reduction", "tokens"}
    fields = {name: value for name, value in shared.items() if name not in others or name in wanted}
    if not fields["compile"]:
        del fields["compile"]
    return fields | {"tap": tap.module} | ({} if tap.keep is None else {"keep": tap.keep})


def check_vectors(activations: Manifest, where: str) -> None:
    """Refuse activations of which more than one vector an image is kept.

    Raises:
        ConfigError: Names the tap.
    """
    if not {"grid", "shape"}.isdisjoint(activations.facts):
        raise ConfigError(
            "a tap is needed of which one vector an image is kept",
            value=activations.facts["tap"],
            where=where,
            remedy=f"Take {_vector(str(activations.facts['tap']).partition(':')[0])}, for instance",
        )


def _vector(module: str) -> str:
    return module if module in HEAD_TAPS else f"{module}:mean"
