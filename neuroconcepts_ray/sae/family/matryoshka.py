"""Matryoshka (Bussmann et al. 2025, arXiv:2503.17547): every prefix of the latents reconstructs."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.activation import Activation
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.batchtopk import DECAY, averaged, batch_topk, threshold
from neuroconcepts_ray.sae.family.ramp import AT_ONCE, Ramp
from neuroconcepts_ray.sae.objective import Losses, Moment, Weights, pre_activations


@dataclass(frozen=True)
class MatryoshkaObjective:
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

    k: int
    prefixes: tuple[int, ...]
    aux: AuxK
    decay: float = DECAY
    warmup: Ramp = AT_ONCE

    def at(self, step: int) -> "MatryoshkaObjective":
        """With k as it is at a step."""
        return replace(self, k=round(self.warmup.at(step, float(self.k))))

    def own(self, w: Weights, x: Float[Tensor, "b d"]) -> Weights:  # noqa: ARG002
        """No parameters of its own."""
        return {}

    def buffers(self, n: int, device: torch.device) -> Weights:  # noqa: ARG002
        """The moving average of the smallest value that fires, and the weight of it."""
        return {"theta": torch.zeros((), device=device), "weight": torch.zeros((), device=device)}

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

    def observe(self, buffers: Weights, losses: Losses) -> None:
        """Average the smallest value that fires."""
        averaged(buffers, losses.observed["smallest"], self.decay)

    def fitted(self, w: Weights, buffers: Weights) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"], Activation]:
        """Encoder and bias as they are, one threshold for all latents."""
        return w["W_enc"], w["b_enc"], threshold(buffers, len(w["b_enc"]))
