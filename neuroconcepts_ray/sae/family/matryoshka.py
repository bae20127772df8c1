"""Matryoshka (Bussmann et al. 2025, arXiv:2503.17547): every prefix of the latents reconstructs."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.family.batchtopk import BatchTopKObjective, batch_topk
from neuroconcepts_ray.sae.objective import Losses, Moment, Weights, pre_activations


@dataclass(frozen=True)
class MatryoshkaObjective(BatchTopKObjective):
    """Batch TopK whose loss is the mean over prefixes of the error that the first m latents alone leave.

    The paper sums over prefixes; the mean has the same minimum, and keeps learning rate, AuxK and loss on the scale
    of the other members.

    Attributes:
        k: How many fire for one input on average, over all latents.
        prefixes: Numbers of latents, rising, the last of them n.
        aux: The auxiliary loss, on what all latents leave.
        decay: Of the moving average of the smallest value that fires.
        warmup: Of k.
    """

    prefixes: tuple[int, ...] = field(kw_only=True)

    def losses(self, w: Weights, x: Float[Tensor, "b d"], moment: Moment) -> Losses:
        """Mean over prefixes m of ‖x − z₁…ₘ W_dec,₁…ₘ − b_dec‖² / (b d), and AuxK."""
        pre = pre_activations(w, x)
        z, smallest = batch_topk(pre, self.k, moment)
        residual, start = x - w["b_dec"], 0
        errors = []
        for end in self.prefixes:
            residual = residual - z[:, start:end] @ w["W_dec"][start:end]
            errors.append(residual.square().sum() / (moment.rows * x.shape[1]))
            start = end
        loss = torch.stack(errors).mean()
        total = loss + self.aux.loss(pre, residual, w["W_dec"], moment.dead, moment.peers)
        fires = z > 0
        observed = {"smallest": smallest}
        return Losses(total, errors[-1].detach(), fires.sum() / moment.rows, fires.any(dim=0), observed)
