"""Batch TopK (Bussmann, Leask & Nanda 2024, arXiv:2412.06410): k latents fire per input on average over a batch."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.activation import Activation, JumpReLU
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.ramp import AT_ONCE, Ramp
from neuroconcepts_ray.sae.objective import Bare, Losses, Moment, Weights, pre_activations

DECAY = 0.99
"""Of the moving average of the smallest value that fires: about the last hundred batches."""


def batch_topk(pre: Float[Tensor, "b n"], k: int, moment: Moment) -> tuple[Float[Tensor, "b n"], Float[Tensor, ""]]:
    """The rows·k largest of ReLU(pre) over the batches of all workers, and the smallest of them.

    Values equal to the smallest all fire, so that the choice does not depend on which worker holds which row.

    Args:
        pre: This worker's pre-activations; every worker has as many rows.
        k: Latents per input, on average.
        moment: For the rows of the whole batch, and the other workers.

    Returns:
        Codes, and the smallest positive value that fired over all workers (∞ where none is positive).
    """
    positive = pre.relu()
    most = moment.rows * k
    mine = positive.detach().flatten()
    # No worker can hold more of the largest than all of them together.
    candidates = mine.topk(min(most, len(mine)), sorted=False).values
    largest = moment.peers.gather(candidates).topk(most, sorted=False).values
    smallest = torch.where(largest > 0, largest, torch.inf).min()
    # Where fewer than rows·k are positive, the smallest that fires is the smallest positive one: all of them fire.
    return torch.where(positive >= smallest, positive, 0), smallest


def averaged(buffers: Weights, smallest: Float[Tensor, ""], decay: float) -> None:
    """Move the average of thresholds in place; a batch without any positive value leaves it as it is.

    As in Adam the average starts at zero and its weight with it: θ/weight is unbiased from the first batch.
    """
    seen = torch.isfinite(smallest)
    for name, value in (("theta", smallest), ("weight", torch.ones_like(smallest))):
        old = buffers[name]
        old.copy_(torch.where(seen, old.lerp(value.to(old), 1 - decay), old))


def threshold(buffers: Weights, n: int) -> JumpReLU:
    """JumpReLU with θ = E over batches of the smallest value that fires, for all latents."""
    theta = buffers["theta"] / buffers["weight"].clamp_min(torch.finfo(torch.float32).tiny)
    return JumpReLU(theta.expand(n).clone())


@dataclass(frozen=True)
class BatchTopKObjective(Bare):
    """Mean squared error of the rows·k largest of the batch, and AuxK for the dead.

    Attributes:
        k: How many fire for one input on average.
        aux: The auxiliary loss.
        decay: Of the moving average of the smallest value that fires.
        warmup: Of k.
    """

    k: int
    aux: AuxK
    decay: float = DECAY
    warmup: Ramp = AT_ONCE

    def at(self, step: int) -> "BatchTopKObjective":
        """With k as it is at a step."""
        return replace(self, k=round(self.warmup.at(step, float(self.k))))

    def buffers(self, n: int, device: torch.device) -> Weights:  # noqa: ARG002
        """The moving average of the smallest value that fires, and the weight of it."""
        return {"theta": torch.zeros((), device=device), "weight": torch.zeros((), device=device)}

    def losses(self, w: Weights, x: Float[Tensor, "b d"], moment: Moment) -> Losses:
        """‖x − x̂‖² / (b d) + AuxK."""
        pre = pre_activations(w, x)
        z, smallest = batch_topk(pre, self.k, moment)
        residual = x - (z @ w["W_dec"] + w["b_dec"])
        reconstruction = residual.square().sum() / (moment.rows * x.shape[1])
        total = reconstruction + self.aux.loss(pre, residual, w["W_dec"], moment.dead, moment.peers)
        fires = z > 0
        observed = {"smallest": smallest}
        return Losses(total, reconstruction.detach(), fires.sum() / moment.rows, fires.any(dim=0), observed)

    def observe(self, buffers: Weights, losses: Losses) -> None:
        """Average the smallest value that fires."""
        averaged(buffers, losses.observed["smallest"], self.decay)

    def fitted(self, w: Weights, buffers: Weights) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"], Activation]:
        """Encoder and bias as they are, one threshold for all latents."""
        return w["W_enc"], w["b_enc"], threshold(buffers, len(w["b_enc"]))
