"""One training step: autograd over a dense encoder and a sparse decoder, Adam, unit decoder rows."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from neuroconcepts_ray.sae.topk import AuxK, TopK

Weights = dict[str, Tensor]
"""W_enc [n, d], b_enc [n], W_dec [n, d], b_dec [d]."""


@dataclass(frozen=True)
class Losses:
    """Loss of one batch and which latents fired.

    Attributes:
        total: What is minimised.
        reconstruction: Mean over inputs and dimensions of (x − x̂)².
        fired: Latents with a positive value for at least one input.
    """

    total: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    fired: Bool[Tensor, " n"]


def losses(w: Weights, x: Float[Tensor, "b d"], topk: TopK, auxk: AuxK, dead: Bool[Tensor, " n"]) -> Losses:
    """The loss of a batch.

    Args:
        w: Weights.
        x: Inputs, centred and scaled.
        topk: Which latents fire.
        auxk: The auxiliary loss.
        dead: Latents that count as dead.
    """
    # b_dec is taken off after the product: its gradient then costs a matrix–vector product, not a matrix product.
    pre = torch.addmm(w["b_enc"] - w["W_enc"] @ w["b_dec"], x, w["W_enc"].T)
    values, indices = topk.sparse(pre)
    x_hat = F.embedding_bag(indices, w["W_dec"], per_sample_weights=values, mode="sum") + w["b_dec"]
    residual = x - x_hat
    reconstruction = residual.square().mean()
    total = reconstruction + auxk.loss(pre, residual, w["W_dec"], dead)
    fired = torch.zeros(len(pre.T), dtype=torch.bool, device=x.device)
    fired[indices[values > 0]] = True
    return Losses(total, reconstruction.detach(), fired)


def gradients(
    w: Weights, x: Float[Tensor, "b d"], topk: TopK, auxk: AuxK, dead: Bool[Tensor, " n"]
) -> tuple[Losses, Weights]:
    """The losses of a batch and the gradient of their total by each weight."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in w.items()}
    result = losses(leaves, x, topk, auxk, dead)
    return result, dict(zip(leaves, torch.autograd.grad(result.total, list(leaves.values())), strict=True))


def remove_parallel(grad: Float[Tensor, "n d"], W_dec: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The gradient without its part along each (unit) decoder row: length is no freedom of the decoder."""
    return torch.addcmul(grad, torch.linalg.vecdot(grad, W_dec)[:, None], W_dec, value=-1)


def normalise(W_dec: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Each decoder row scaled to unit norm."""
    norm = torch.linalg.vector_norm(W_dec, dim=1, keepdim=True)
    unit: Tensor = W_dec / norm.clamp_min(torch.finfo(W_dec.dtype).tiny)
    return unit


def learning_rate(step: int, *, peak: float, warmup: int, steps: int, schedule: Literal["cosine", "constant"]) -> float:
    """The learning rate of a step, counted from 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015) with its usual constants."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def update(self, w: Tensor, m: Tensor, v: Tensor, grad: Tensor, *, lr: float, step: int) -> None:
        """Update a weight and its two moments in place; ``step`` counts from 1."""
        m.lerp_(grad, 1 - self.beta1)
        v.mul_(self.beta2).addcmul_(grad, grad, value=1 - self.beta2)
        # m/c₁ / (√(v/c₂) + ε) = (√c₂/c₁) m / (√v + ε√c₂): one pass over memory less.
        c1, c2 = 1 - self.beta1**step, math.sqrt(1 - self.beta2**step)
        w.addcdiv_(m, v.sqrt().add_(self.epsilon * c2), value=-lr * c2 / c1)
