"""Adam, the learning rate, and decoder rows of unit norm."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def remove_parallel(grad: Float[Tensor, "n d"], W_dec: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The gradient without its part along each (unit) decoder row: length is no freedom of the decoder."""
    return torch.addcmul(grad, torch.linalg.vecdot(grad, W_dec)[:, None], W_dec, value=-1)


def normalise(W_dec: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Each decoder row scaled to unit norm."""
    norm = torch.linalg.vector_norm(W_dec, dim=1, keepdim=True)
    unit: Tensor = W_dec / norm.clamp_min(torch.finfo(W_dec.dtype).tiny)
    return unit


def learning_rate(
    step: int, *, peak: float, warmup: int, steps: int, schedule: Literal["cosine", "linear", "constant"]
) -> float:
    """The learning rate of a step, counted from 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015) with its usual constants."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def constants(self, lr: float, step: int) -> tuple[float, float]:
        """Size and ε of w −= size · m / (√v + ε) at a step counted from 1.

        m/c₁ / (√(v/c₂) + ε) = (√c₂/c₁) m / (√v + ε√c₂): one pass over memory less.
        """
        c1, c2 = 1 - self.beta1**step, math.sqrt(1 - self.beta2**step)
        return lr * c2 / c1, self.epsilon * c2

    def update(self, w: Tensor, m: Tensor, v: Tensor, grad: Tensor, *, lr: float, step: int) -> None:
        """Update a weight and its two moments in place; ``step`` counts from 1."""
        m.lerp_(grad, 1 - self.beta1)
        v.mul_(self.beta2).addcmul_(grad, grad, value=1 - self.beta2)
        size, epsilon = self.constants(lr, step)
        w.addcdiv_(m, v.sqrt().add_(epsilon), value=-size)
