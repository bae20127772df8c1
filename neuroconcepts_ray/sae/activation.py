"""Which pre-activations fire once training is over: the k largest of an input, or those above a threshold."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class TopK:
    """z = TopK(ReLU(pre)): the k largest positive pre-activations, all others zero (Makhzani & Frey 2013).

    Both TopK and ReLU are positively homogeneous, z(s·pre) = s·z(pre) for s > 0, which is what lets
    :func:`neuroconcepts_ray.sae.fold.fold` move the scale of the data into the weights exactly.

    Attributes:
        k: How many may fire.
    """

    k: int

    def sparse(self, pre: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"]]:
        """Values (zero where fewer than k are positive) and their latents, in no promised order."""
        top = pre.topk(self.k, dim=1, sorted=False)
        return top.values.relu(), top.indices

    def dense(self, pre: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """The same as one row over all latents."""
        values, indices = self.sparse(pre)
        return torch.zeros_like(pre).scatter(1, indices, values)

    def scaled(self, s: Float[Tensor, ""]) -> "TopK":  # noqa: ARG002
        """The same for pre-activations s times as large: TopK is homogeneous."""
        return self

    def to(self, device: str | torch.device) -> "TopK":  # noqa: ARG002
        """The same on another device."""
        return self


@dataclass(frozen=True)
class JumpReLU:
    """z = pre·[pre > θ] with θ ≥ 0 for each latent (Rajamanoharan et al. 2024); ReLU is θ = 0.

    Batch TopK ends as one θ for all latents, and a gated SAE as one for each.

    Attributes:
        theta: Thresholds.
    """

    theta: Float[Tensor, " n"]

    def dense(self, pre: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Codes as one row over all latents."""
        return torch.where(pre > self.theta, pre, 0)

    def scaled(self, s: Float[Tensor, ""]) -> "JumpReLU":
        """The same for pre-activations s times as large, s > 0."""
        return JumpReLU(self.theta * s)

    def to(self, device: str | torch.device) -> "JumpReLU":
        """The same on another device."""
        return JumpReLU(self.theta.to(device))


Activation = TopK | JumpReLU
