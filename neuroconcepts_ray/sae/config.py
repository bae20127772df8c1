"""How a sparse autoencoder is fitted, and the plan of its artifact."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroconcepts_ray.activations.config import check_vectors, native_dtype
from neuroconcepts_ray.config import PATH, POLICY, StrictModel, recipe_fields
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.sae.brought import check_fits, open_brought

ALGORITHM = 3
"""Raised whenever the same config and inputs would give other weights."""

FIT_ROLES = ("fit", "probe")
"""Roles whose images the SAE is trained on; not configurable, for every held-out figure rests on it."""

CHOICE_ROLE = "select"
"""The role that the artifact's own metrics are measured on."""


class SAEConfig(StrictModel):
    """The sparse autoencoder."""

    tap: str = "pre_logits"
    """Which activations it reads; `explain` takes logits apart only through `pre_logits`."""
    weights: Annotated[str | None, PATH] = None
    """A folder of `import-sae`: an SAE brought along, measured and used as it is; nothing is fitted, and all that is
    said here but `tap` is without effect. Its SHA-256 is in the recipe."""
    variant: Literal["topk", "batchtopk", "matryoshka", "jumprelu", "gated", "relu_l1"] = "topk"
    """Which of the family; docs/sae.md tells them apart. gated and relu_l1 take `penalty`, not `k`."""
    inputs: Literal["standard", "raw"] = "standard"
    """standard: centred, and scaled to unit variance over all dimensions, which is folded back into the saved weights.
    raw: as they come, with b_dec from zero."""
    bias: Literal["mean", "geometric_median"] = "mean"
    """What standard inputs are centred on, and so where b_dec begins."""
    init: Literal["data", "random"] = "data"
    """Where the weights begin: decoder rows between training images and noise and the encoder their transpose, or
    both at random."""
    expansion: int = Field(2, ge=1)
    """Latents per dimension of the activations. On a few thousand images 2 holds out better than 4; raise it with the
    archive."""
    latents: int | None = Field(None, ge=1)
    """Number of latents; overrides `expansion`."""
    k: int = Field(16, ge=1)
    """Latents that may fire for one image: in topk at most, in batchtopk and matryoshka on average over a batch, in
    jumprelu as the average that its penalty aims at. gated and relu_l1 have `penalty` alone."""
    k_start: int | None = Field(None, ge=1)
    """k at the first step, from which it moves linearly to `k` over `k_warmup` steps; none = `k` throughout."""
    k_warmup: int = Field(100, ge=1)
    """Steps until k is reached, where `k_start` is given."""
    prefixes: list[float] = Field([1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0], min_length=1)
    """Rising shares of the latents, the last of them 1: the first so many of a matryoshka reconstruct alone."""
    penalty: float | None = Field(None, ge=0)
    """Coefficient beside the mean squared error per dimension: of Σ|z| in relu_l1 and gated, none = 2/d; of
    (L0/k − 1)² in jumprelu, none = 1."""
    penalty_warmup: int = Field(0, ge=0)
    """Steps over which the penalty rises linearly from nothing."""
    bandwidth: float = Field(0.3, gt=0)
    """ε of the kernel that trains the thresholds of jumprelu, in units of its pre-activations."""
    aux_k: int = Field(256, ge=0)
    """Dead latents that fit the residual in the auxiliary loss; 0 turns it off. Fewer, with more weight (32 and 1/8),
    revive more of them; what that costs depends on the data (docs/sae.md)."""
    aux_coefficient: float = Field(1 / 32, ge=0)
    """Weight of the auxiliary loss."""
    dead_after: int = Field(5_000, ge=1)
    """A latent is dead once it has not fired for so many training samples."""
    resample_every: int = Field(0, ge=0)
    """Steps between resamplings, which put dead latents on images that the SAE reconstructs badly; 0 = never."""
    steps: int = Field(600, ge=1)
    """Optimiser steps: with the default batch 153,600 samples, some 100 epochs of a small archive; of a large one
    give several epochs (`select.fvu` in the artifact's facts says when more is worse)."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the training images; overrides `steps`."""
    batch_size: int = Field(256, ge=1)
    """Images a step, over all workers; bounded by the number of images."""
    lr: float | None = Field(None, gt=0)
    """Peak learning rate of Adam, for activations scaled to unit variance; none = 0.07/√d, by which a step turns a
    decoder row of unit norm equally far whatever d is (0.003 at d = 512)."""
    warmup: int = Field(50, ge=0)
    """Steps over which the learning rate rises linearly."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """The learning rate after the warm-up: falling to zero as half a cosine or as a line, or constant."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights, which then is the SAE; none keeps the last weights."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16: chooses which latents fire from a product in bfloat16 and computes their values in float32. auto:
    bfloat16 where the planning machine computes in it natively, else float32. The weights are float32 always."""
    seed: int = Field(0, ge=0)
    """Seed of the initial weights."""
    data_seed: int = Field(0, ge=0)
    """Seed of the order of images; the members of a sweep share it, and with it one stream."""
    workers: int = Field(1, ge=1)
    """World size of a data-parallel training: part of the recipe, for sums over workers round differently."""
    threads: int = Field(2, ge=1)
    """CPU threads of a worker; in the recipe, because sums on CPU round differently with another number."""
    checkpoint_every: Annotated[int, POLICY] = Field(250, ge=1)
    """Steps between checkpoints."""
    memory: Annotated[float, POLICY] = Field(4.0, gt=0)
    """GB of activations that a worker keeps in memory; what is larger streams from its disk. Changes no result."""

    @model_validator(mode="after")
    def _fits(self) -> "SAEConfig":
        if self.batch_size % self.workers:
            raise ValueError(f"batch_size = {self.batch_size} is not a multiple of workers = {self.workers}")
        if self.latents is not None and self.k > self.latents and self.counts:
            raise ValueError(f"k = {self.k} exceeds latents = {self.latents}")
        rising = all(a < b for a, b in zip([0.0, *self.prefixes], self.prefixes, strict=False))
        if not rising or self.prefixes[-1] != 1:
            raise ValueError(f"prefixes = {self.prefixes} do not rise from above 0 to 1")
        if self.bias != "mean" and self.inputs == "raw":
            raise ValueError(f"bias = {self.bias} is for standard inputs: raw ones have b_dec from zero")
        if self.epochs is None and self.k_start is not None and self.k_warmup > self.steps:
            raise ValueError(f"k_warmup = {self.k_warmup} exceeds steps = {self.steps}: k would not be reached")
        return self

    @property
    def counts(self) -> bool:
        """Whether the variant has a k."""
        return self.variant not in ("gated", "relu_l1")

    def resolve_steps(self, rows: int) -> "SAEConfig":
        """The config with ``steps`` in the place of ``epochs``, so that each row is seen so often on average.

        Args:
            rows: Training rows.

        Raises:
            ConfigError: k would not have come down to its value by then.
        """
        if self.epochs is None:
            return self
        steps = max(1, round(self.epochs * rows / min(self.batch_size, rows)))
        if self.k_start is not None and self.k_warmup > steps:
            raise ConfigError("k would not be reached", value=self.k_warmup, limit=f"≤ {steps}", where="sae.k_warmup")
        return self.model_copy(update={"steps": steps, "epochs": None})

    def peak_lr(self, d: int) -> float:
        """Peak learning rate over activations of dimension ``d``."""
        return self.lr if self.lr is not None else float(0.07 / d**0.5)

    def width(self, d: int) -> int:
        """Number of latents over activations of dimension ``d``."""
        return self.latents if self.latents is not None else self.expansion * d

    def check_width(self, n: int) -> None:
        """Refuse a k of more latents than there are.

        Args:
            n: Number of latents.

        Raises:
            ConfigError: `k` or `k_start` exceeds n.
        """
        for name, value in (("k", self.k), ("k_start", self.k_start)):
            if self.counts and value is not None and value > n:
                raise ConfigError(
                    f"{name} exceeds the number of latents", value=value, limit=f"≤ {n}", where=f"sae.{name}"
                )


def resolved(config: SAEConfig) -> SAEConfig:
    """The config with ``precision: auto`` decided for this machine, as the recipe has it."""
    return config if config.precision != "auto" else config.model_copy(update={"precision": native_dtype()})


def plan(config: SAEConfig, have: Mapping[str, Manifest]) -> dict[str, Plan]:
    """The artifact ``sae``: a function of the config, the catalog's roles and the tap's activations.

    Of an SAE brought along, its bytes take the place of the config; roles and activations are what it is measured on.

    Raises:
        ConfigError: The tap is not mined, k exceeds the number of latents, or an SAE brought along is not there or
            reads another tap.
        InputError: It reads vectors of another dimension.
    """
    tap = f"activations.{config.tap}"
    if tap not in have:
        raise ConfigError(
            "the SAE's tap is not mined", value=config.tap, where="sae.tap", remedy="Add it to activations.taps"
        )
    check_vectors(have[tap], "sae.tap")
    inputs = {"catalog": have["catalog"].content, tap: have[tap].content}
    if config.weights is not None:
        brought = open_brought(config.weights)
        check_fits(brought, config.tap, int(have[tap].facts["d"]))
        return {"sae": Plan(Recipe("sae", ALGORITHM, {"tap": config.tap}, brought.digests), inputs)}
    config.check_width(config.width(int(have[tap].facts["d"])))
    return {"sae": Plan(Recipe("sae", ALGORITHM, recipe_fields(resolved(config))), inputs)}
