"""The auxiliary loss that revives dead latents."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuroconcepts_ray.sae.peers import ALONE, Peers


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
        peers: Peers = ALONE,
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
        whole = peers.sum(target.square().sum()).clamp_min(torch.finfo(left.dtype).tiny)
        return self.coefficient * share * left / whole
