"""TopK (Makhzani & Frey 2013; Gao et al. 2024): at most k latents fire for one input."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class TopK:
    """z = TopK(ReLU(pre)): the k largest positive pre-activations, all others zero.

    Both TopK and ReLU are positively homogeneous, z(s·pre) = s·z(pre) for s > 0, which is what lets
    :func:`neuroconcepts_ray.sae.fit.fold` move the scale of the data into the weights exactly.

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


@dataclass(frozen=True)
class AuxK:
    """The auxiliary loss after Gao et al. 2024: dead latents learn to fit what the living ones left.

    e = x − x̂ (constant), ê = TopK_aux(pre over dead latents) W_dec, loss = ‖e − ê‖² / ‖e‖², weighted down while
    fewer than ``k`` latents are dead. The gradient goes through ``pre`` to the encoder; without that a dead latent's
    encoder row never moves and it stays dead. There is no ReLU here, unlike in the paper: it would cut off the very
    latents that are negative for every input (planted ones: 0 of 40 revived with it, 37 of 40 without).

    Attributes:
        k: Dead latents that may take part for one input.
        coefficient: Weight beside the main loss.
    """

    k: int
    coefficient: float

    def loss(
        self,
        pre: Float[Tensor, "b n"],
        residual: Float[Tensor, "b d"],
        W_dec: Float[Tensor, "n d"],
        dead: Bool[Tensor, " n"],
    ) -> Float[Tensor, ""]:
        """The weighted loss; zero, without gradient, where nothing is dead."""
        rows = dead.nonzero().squeeze(1)
        if not len(rows) or not self.k or not self.coefficient:
            return residual.new_zeros(())
        some = pre[:, rows]
        top = some.topk(min(self.k, len(rows)), dim=1, sorted=False)
        z = torch.zeros_like(some).scatter(1, top.indices, top.values)
        target = residual.detach()
        left = (target - z @ W_dec[rows]).square().sum()
        share = min(1.0, len(rows) / self.k)
        return self.coefficient * share * left / target.square().sum().clamp_min(torch.finfo(left.dtype).tiny)
