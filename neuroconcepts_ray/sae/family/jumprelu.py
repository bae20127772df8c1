"""JumpReLU with trained thresholds (Rajamanoharan et al. 2024, arXiv:2407.14435)."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuroconcepts_ray.sae.activation import Activation, JumpReLU
from neuroconcepts_ray.sae.family.batchtopk import batch_topk
from neuroconcepts_ray.sae.family.ramp import AT_ONCE, Ramp
from neuroconcepts_ray.sae.objective import Bare, Losses, Moment, Weights, pre_activations

L0_COEFFICIENT = 1.0
"""λ where the config has none, beside a squared error that is 1 for inputs of unit variance left unexplained."""


def rectangle(u: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """K(u) = H(u + ½) − H(u − ½)."""
    return ((u > -0.5) & (u <= 0.5)).to(u.dtype)


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, theta: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, theta)
        ctx.bandwidth = bandwidth
        return torch.where(pre > theta, pre, 0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, theta = ctx.saved_tensors
        (grad,) = grads
        kernel = rectangle((pre - theta) / ctx.bandwidth)
        return torch.where(pre > theta, grad, 0), -(theta / ctx.bandwidth) * (kernel * grad).sum(dim=0), None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, theta: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, theta)
        ctx.bandwidth = bandwidth
        return (pre > theta).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        pre, theta = ctx.saved_tensors
        (grad,) = grads
        return None, -(rectangle((pre - theta) / ctx.bandwidth) * grad).sum(dim=0) / ctx.bandwidth, None


def jump(pre: Float[Tensor, "b n"], theta: Float[Tensor, " n"], bandwidth: float) -> Float[Tensor, "b n"]:
    """pre·H(pre − θ), whose pseudo-derivative by θ is −(θ/ε) K((pre − θ)/ε)."""
    z: Tensor = _Jump.apply(pre, theta, bandwidth)
    return z


def above(pre: Float[Tensor, "b n"], theta: Float[Tensor, " n"], bandwidth: float) -> Float[Tensor, "b n"]:
    """H(pre − θ), whose pseudo-derivative by θ is −(1/ε) K((pre − θ)/ε) and by pre is zero."""
    fires: Tensor = _Step.apply(pre, theta, bandwidth)
    return fires


@dataclass(frozen=True)
class JumpReLUObjective(Bare):
    """Mean squared error plus λ(L0/k − 1)², with L0 the mean over the batch: thresholds move until k fire on average.

    The quadratic penalty is that of Gemma Scope 2's technical report; with the paper's linear λ·L0 the L0 that
    results depends on the data, and members of a sweep could not be compared at equal k. Adam moves log θ by about
    the learning rate a step, whatever the penalty: from the paper's θ = 0.001 it would never arrive in a short
    training. So every θ begins where k latents fire on average for a sample of the inputs.

    Attributes:
        k: The L0 aimed at.
        penalty: λ.
        bandwidth: ε of the kernel, in units of pre-activations.
        k_warmup: Of k.
        penalty_warmup: Of the penalty, from none of it to the whole.
        share: The part of the penalty in force.
    """

    k: int
    penalty: float
    bandwidth: float
    k_warmup: Ramp = AT_ONCE
    penalty_warmup: Ramp = AT_ONCE
    share: float = 1.0

    def at(self, step: int) -> "JumpReLUObjective":
        """With k and the share of the penalty at a step."""
        return replace(self, k=round(self.k_warmup.at(step, float(self.k))), share=self.penalty_warmup.at(step, 1.0))

    def own(self, w: Weights, x: Float[Tensor, "b d"]) -> Weights:
        """The same log θ for all latents: of the smallest of the rows·k largest pre-activations of a sample."""
        none = torch.zeros(len(w["b_enc"]), dtype=torch.bool, device=x.device)
        k = self.at(0).k
        smallest = batch_topk(pre_activations(w, x), k, Moment(none, len(x)))[1]
        smallest = torch.where(torch.isfinite(smallest), smallest, 1)  # nothing is positive
        return {"log_theta": smallest.log().expand(len(w["b_enc"])).clone()}

    def losses(self, w: Weights, x: Float[Tensor, "b d"], moment: Moment) -> Losses:
        """‖x − x̂‖² / (b d) + λ(L0/k − 1)²."""
        pre, theta = pre_activations(w, x), w["log_theta"].exp()
        z, fires = jump(pre, theta, self.bandwidth), above(pre, theta, self.bandwidth)
        residual = x - (z @ w["W_dec"] + w["b_dec"])
        reconstruction = residual.square().sum() / (moment.rows * x.shape[1])
        l0 = fires.sum() / moment.rows
        # Of a square of a sum over workers each adds its part of the sum times the slope of the square.
        excess = moment.peers.sum(l0.detach()) / self.k - 1
        value = excess.square() * len(x) / moment.rows
        l0_loss = value + 2 * excess / self.k * (l0 - l0.detach())
        total = reconstruction + self.share * self.penalty * l0_loss
        return Losses(total, reconstruction.detach(), l0.detach(), (z > 0).any(dim=0))

    def fitted(
        self,
        w: Weights,
        buffers: Weights,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"], Activation]:
        """As it is trained."""
        return w["W_enc"], w["b_enc"], JumpReLU(w["log_theta"].exp())
