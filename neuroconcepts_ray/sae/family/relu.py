"""ReLU with an L1 penalty (Bricken et al. 2023), as Concepts from Neurons trains it."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.activation import Activation, JumpReLU
from neuroconcepts_ray.sae.family.ramp import AT_ONCE, Ramp
from neuroconcepts_ray.sae.objective import Bare, Losses, Moment, Weights, pre_activations

CONCEPTS_FROM_NEURONS = {
    "variant": "relu_l1",
    "inputs": "raw",
    "init": "random",
    "expansion": 8,
    "penalty": 3e-5,
    "lr": 5e-4,
    "schedule": "constant",
    "warmup": 0,
    "batch_size": 4096,
    "epochs": 200.0,
}
"""The recipe of Concepts from Neurons as fields of the config: raw inputs, width 8·d, tied b_dec from zero,
mean_d (x − x̂)² + 3e-5·Σ|z|, Adam at 5e-4 without warm-up, decoder rows of unit norm, no resampling (theirs is set to
an interval that is never reached). Its epochs end with a batch of the rows that are left over; here an epoch is as
many samples in whole batches."""


def l1_coefficient(penalty: float | None, d: int) -> float:
    """The coefficient of Σ|z| beside the mean over d dimensions; none = 2/d.

    Of one latent that alone explains z of an input along its unit row, z²/d − λz is least at z − λd/2: λ = 2/d
    silences what is below 1, a standard deviation of inputs scaled to unit variance, whatever d is.
    """
    return 2 / d if penalty is None else penalty


@dataclass(frozen=True)
class ReLUObjective(Bare):
    """Mean over dimensions of the squared error, plus λ times the sum of codes.

    Attributes:
        penalty: λ, see :func:`l1_coefficient`.
        warmup: Of the penalty, from none of it to the whole.
        share: The part of the penalty in force.
    """

    penalty: float | None
    warmup: Ramp = AT_ONCE
    share: float = 1.0

    def at(self, step: int) -> "ReLUObjective":
        """With the share of the penalty at a step."""
        return replace(self, share=self.warmup.at(step, 1.0))

    def losses(self, w: Weights, x: Float[Tensor, "b d"], moment: Moment) -> Losses:
        """‖x − x̂‖² / (b d) + λ Σ|z| / b."""
        z = pre_activations(w, x).relu()
        residual = x - (z @ w["W_dec"] + w["b_dec"])
        reconstruction = residual.square().sum() / (moment.rows * x.shape[1])
        l1 = l1_coefficient(self.penalty, x.shape[1]) * z.sum() / moment.rows
        fires = z > 0
        return Losses(
            reconstruction + self.share * l1, reconstruction.detach(), fires.sum() / moment.rows, fires.any(dim=0)
        )

    def fitted(
        self,
        w: Weights,
        buffers: Weights,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"], Activation]:
        """Encoder and bias as they are; ReLU is JumpReLU with θ = 0."""
        return w["W_enc"], w["b_enc"], JumpReLU(torch.zeros_like(w["b_enc"]))
