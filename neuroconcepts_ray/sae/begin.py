"""The state before the first step: the data's mean and scale, and the first weights."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Rows
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.objective import Weights
from neuroconcepts_ray.sae.optimise import normalise
from neuroconcepts_ray.sae.progress import Progress

SAMPLE = 1024
"""Rows that a member may look at to begin its own parameters."""

QUIET = 0.1
"""Norm of the first encoder rows of members without a k: half of all latents fire at first, and at norm 1 their sum is
n/(2d) times the input, from which L1 needs long to come down (planted data, d = 128, n = 512, 600 steps of ReLU+L1:
held-out FVU .405 at L0 59 from norm 1, .266 at L0 24 from 0.1)."""


def geometric_median(rows: Rows, start: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """argmin_y Σ‖xᵢ − y‖ by Weiszfeld's iteration (1937) from a start such as the mean, in float64.

    It ends where a step is shorter than 1e-6 of the mean distance, or after 200 passes; a step never raises the sum.
    """
    y = start.double()
    for _ in range(200):
        weighted, weights, distances = torch.zeros_like(y), y.new_zeros(()), y.new_zeros(())
        for block in rows.blocks():
            x = block.double()
            distance = torch.linalg.vector_norm(x - y, dim=1)
            # A row that y lies on would have infinite weight.
            weight = 1 / distance.clamp_min(torch.finfo(torch.float32).tiny)
            weighted, weights, distances = weighted + weight @ x, weights + weight.sum(), distances + distance.sum()
        step = weighted / weights - y
        y = y + step
        if torch.linalg.vector_norm(step) <= 1e-6 * distances / len(rows):
            break
    return y.float()


def moments(
    rows: Rows, tap: str, bias: Literal["mean", "geometric_median"] = "mean"
) -> tuple[Float[Tensor, " d"], Float[Tensor, ""]]:
    """Centre of all rows, and the root of the mean squared deviation from it over rows and dimensions.

    Args:
        rows: All training rows.
        tap: Where they come from, for the error.
        bias: What the centre is: their mean, or their geometric median, which outliers hardly move.

    Raises:
        InputError: Fewer than two rows, values that are not finite, or no variance at all.
    """
    if len(rows) < 2:
        raise InputError("too few images to fit an SAE on", value=len(rows), limit="≥ 2 with role fit or probe")
    # Nothing of a block is kept: small things that stay between blocks would scatter those over ever more memory.
    total, squares = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for block in rows.blocks():
        total = total + block.sum(dim=0, dtype=torch.float64)
    centre = (total / len(rows)).float()
    if bias == "geometric_median" and torch.isfinite(centre).all():
        centre = geometric_median(rows, centre)
    for block in rows.blocks():
        squares = squares + (block - centre).square_().sum(dtype=torch.float64)
    scale = (squares / (len(rows) * rows.d)).sqrt()
    if not torch.isfinite(scale):
        raise InputError("activations are not finite", where=f"activations.{tap}")
    if scale == 0:
        raise InputError("activations do not vary", value=0, limit="> 0", where=f"activations.{tap}")
    return centre, scale.float()


def first_weights(
    rows: Rows, config: SAEConfig, n: int, mean: Float[Tensor, " d"], rng: np.random.Generator
) -> Weights:
    """The four weights before the first step; see :func:`begin`."""
    d, device = rows.d, mean.device
    noise = normalise(torch.from_numpy(rng.standard_normal((n, d), dtype=np.float32))).to(device)
    if config.init == "random":
        bound = 1 / d**0.5
        uniform = torch.from_numpy(rng.uniform(-bound, bound, (n, d + 1)).astype(np.float32)).to(device)
        W_dec, W_enc, b_enc = noise, uniform[:, :d].contiguous(), uniform[:, d].contiguous()
    else:
        chosen = rows.take(rng.integers(0, len(rows), n))
        between = noise + normalise(chosen - mean)
        # Where d = 1 the two may cancel, and a row of zeros has no direction.
        W_dec = normalise(torch.where(between.any(dim=1, keepdim=True), between, noise))
        W_enc, b_enc = W_dec * (1.0 if config.counts else QUIET), torch.zeros(n, device=device)
    return {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": torch.zeros(d, device=device)}


def encoder_scale(w: Weights, x: Float[Tensor, "b d"], k: int) -> Float[Tensor, ""]:
    """The factor of W_enc with which the first reconstruction by k latents is closest to x: Σ⟨x, x̂⟩ / Σ‖x̂‖².

    Decoder rows are no orthogonal basis: unit encoder rows explain what several share several times, and x̂ overshoots
    (the factor is .44 over a planted dictionary, .15 where few directions are strong). The first steps then shrink the
    codes instead of turning the rows. TopK is homogeneous, so that the factor is that of the codes. Biases are zero.
    """
    z = TopK(k).dense((x - w["b_dec"]) @ w["W_enc"].T)
    x_hat = z @ w["W_dec"]
    norm = x_hat.square().sum()
    return torch.where(norm > 0, (x * x_hat).sum() / norm, 1.0)


def begin(rows: Rows, config: SAEConfig) -> Progress:
    """The state before the first step: decoder rows between data and noise, the encoder their transpose, biases zero.

    A row is the direction of the sum of a random unit vector and the unit vector of a centred training image. Of rows
    of noise alone half never fire where activations have few strong directions, and those of data alone start out so
    alike that they learn slowly (pooled ResNet features of 1,587 films, n = 1,024, k = 16: dead 49 %, 0 %, here 0 %;
    held-out FVU .100, .152, .124 after 300 steps). ``init: random`` is what the common libraries have: decoder rows of
    noise, encoder and its bias uniform within ±1/√d as a linear layer of PyTorch begins.

    Raises:
        ConfigError: More latents may fire than there are, or prefixes that come to the same number of latents.
        InputError: Fewer than two rows, values that are not finite, or no variance at all.
    """
    n = config.width(rows.d)
    made = objective(config, n)
    mean, scale = moments(rows, config.tap, config.bias)
    if config.inputs == "raw":
        mean, scale = torch.zeros_like(mean), torch.ones_like(scale)
    device = mean.device
    rng = np.random.default_rng([config.seed, 0])
    weights = first_weights(rows, config, n, mean, rng)
    some = (rows.take(rng.integers(0, len(rows), SAMPLE)) - mean) / scale
    if config.init == "data" and config.counts:
        weights["W_enc"] *= encoder_scale(weights, some, config.k)
    weights |= made.own(weights, some)
    buffers = made.buffers(n, device)
    return Progress(
        weights=weights,
        m={name: torch.zeros_like(tensor) for name, tensor in weights.items()},
        v={name: torch.zeros_like(tensor) for name, tensor in weights.items()},
        idle=torch.zeros(n, dtype=torch.int64, device=device),
        mean=mean,
        scale=scale,
        step=0,
        buffers=buffers,
        average={name: tensor.clone() for name, tensor in (weights | buffers).items()} if config.ema else {},
    )
