"""The gated SAE (Rajamanoharan et al. 2024, arXiv:2404.16014): one path chooses what fires, another how strongly."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.activation import Activation, JumpReLU
from neuroconcepts_ray.sae.family.ramp import AT_ONCE, Ramp
from neuroconcepts_ray.sae.family.relu import l1_coefficient
from neuroconcepts_ray.sae.objective import Bare, Losses, Moment, Weights, pre_activations


@dataclass(frozen=True)
class GatedObjective(Bare):
    """π = (x − b_dec) W_gateᵀ + b_gate; z = [π > 0]·ReLU(exp(r_mag)·(x − b_dec) W_gateᵀ + b_mag).

    W_enc and b_enc are W_gate and b_gate; r_mag and b_mag are its own. L1 is on ReLU(π) alone, so that z does not
    shrink; an auxiliary reconstruction by ReLU(π) through a frozen decoder keeps the gate about what matters.

    Attributes:
        penalty: λ, see :func:`neuroconcepts_ray.sae.family.relu.l1_coefficient`.
        warmup: Of the penalty, from none of it to the whole.
        share: The part of the penalty in force.
    """

    penalty: float | None
    warmup: Ramp = AT_ONCE
    share: float = 1.0

    def at(self, step: int) -> "GatedObjective":
        """With the share of the penalty at a step."""
        return replace(self, share=self.warmup.at(step, 1.0))

    def own(self, w: Weights, x: Float[Tensor, "b d"]) -> Weights:  # noqa: ARG002
        """r_mag and b_mag zero: both paths begin alike."""
        return {"r_mag": torch.zeros_like(w["b_enc"]), "b_mag": torch.zeros_like(w["b_enc"])}

    def losses(self, w: Weights, x: Float[Tensor, "b d"], moment: Moment) -> Losses:
        """‖x − x̂(z)‖² / (b d) + λ Σ ReLU(π) / b + ‖x − x̂_frozen(ReLU(π))‖² / (b d), as in the paper, but over d."""
        gate = pre_activations(w, x)
        magnitude = w["r_mag"].exp() * (gate - w["b_enc"]) + w["b_mag"]
        z = torch.where(gate > 0, magnitude.relu(), 0)
        residual = x - (z @ w["W_dec"] + w["b_dec"])
        on = gate.relu()
        by_gate = x - (on @ w["W_dec"].detach() + w["b_dec"].detach())
        values = moment.rows * x.shape[1]
        reconstruction = residual.square().sum() / values
        l1 = l1_coefficient(self.penalty, x.shape[1]) * on.sum() / moment.rows
        fires = z > 0
        return Losses(
            reconstruction + self.share * l1 + by_gate.square().sum() / values,
            reconstruction.detach(),
            fires.sum() / moment.rows,
            fires.any(dim=0),
        )

    def fitted(
        self,
        w: Weights,
        buffers: Weights,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"], Activation]:
        """JumpReLU, exactly, as the paper notes of tied weights.

        With the magnitude m = exp(r)(π − b_gate) + b_mag, π > 0 is m > b_mag − exp(r) b_gate, and ReLU is m > 0: what
        fires is m > max(0, b_mag − exp(r) b_gate).
        """
        scale = w["r_mag"].exp()
        theta = (w["b_mag"] - scale * w["b_enc"]).clamp_min(0)
        return scale[:, None] * w["W_enc"], w["b_mag"], JumpReLU(theta)
