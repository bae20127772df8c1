"""TopK (Gao et al. 2024): the k largest pre-activations of each input fire."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.activation import Activation, TopK
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.ramp import AT_ONCE, Ramp
from neuroconcepts_ray.sae.objective import Bare, Losses, Moment, Weights, pre_activations


@dataclass(frozen=True)
class TopKObjective(Bare):
    """Mean squared error of the k largest, and AuxK for the dead.

    Attributes:
        k: How many may fire.
        aux: The auxiliary loss.
        warmup: Of k.
    """

    k: int
    aux: AuxK
    warmup: Ramp = AT_ONCE

    def at(self, step: int) -> "TopKObjective":
        """With k as it is at a step."""
        return replace(self, k=round(self.warmup.at(step, float(self.k))))

    def losses(self, w: Weights, x: Float[Tensor, "b d"], moment: Moment) -> Losses:
        """‖x − x̂‖² / (b d) + AuxK."""
        pre = pre_activations(w, x)
        z = TopK(self.k).dense(pre)
        residual = x - (z @ w["W_dec"] + w["b_dec"])
        reconstruction = residual.square().sum() / (moment.rows * x.shape[1])
        total = reconstruction + self.aux.loss(pre, residual, w["W_dec"], moment.dead, moment.peers)
        fires = z > 0
        return Losses(total, reconstruction.detach(), fires.sum() / moment.rows, fires.any(dim=0))

    def fitted(
        self,
        w: Weights,
        buffers: Weights,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"], Activation]:
        """Encoder and bias as they are, TopK with the final k."""
        return w["W_enc"], w["b_enc"], TopK(self.k)
