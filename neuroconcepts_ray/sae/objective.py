"""What a member of the family is to the trainer: its losses, its own parameters, and what it becomes."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuroconcepts_ray.sae.activation import Activation
from neuroconcepts_ray.sae.peers import ALONE, Peers

Weights = dict[str, Tensor]
"""W_enc [n, d], b_enc [n], W_dec [n, d], b_dec [d], and the member's own, such as log_theta [n]."""

SHARED = ("W_enc", "b_enc", "W_dec", "b_dec")


def pre_activations(w: Weights, x: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
    """(x − b_dec) W_encᵀ + b_enc."""
    return (x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]


@dataclass(frozen=True)
class Moment:
    """What a step knows beside weights and batch.

    Attributes:
        dead: Latents that count as dead.
        rows: Rows of the whole batch, over all workers.
        peers: The other workers.
    """

    dead: Bool[Tensor, " n"]
    rows: int
    peers: Peers = ALONE


@dataclass(frozen=True)
class Losses:
    """Loss of one batch and which latents fired. Sums are over this worker's rows, divided by the whole batch.

    Attributes:
        total: What is minimised.
        reconstruction: Mean over inputs and dimensions of (x − x̂)².
        l0: Mean number of latents that fire.
        fired: Latents with a positive value for at least one input.
        observed: What the member keeps beside its weights, such as the smallest value that fired.
    """

    total: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    l0: Float[Tensor, ""]
    fired: Bool[Tensor, " n"]
    observed: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Objective(Protocol):
    """A small frozen dataclass that owns the maths of one member of the family."""

    def at(self, step: int) -> "Objective":
        """The objective in force at a step, counted from 0: with k or the penalty where the warm-up has it."""

    def own(self, w: Weights, x: Float[Tensor, "b d"]) -> Weights:
        """Its own trained parameters [n] before the first step, given the four of all members and some inputs."""

    def buffers(self, n: int, device: torch.device) -> Weights:
        """What it keeps beside them and does not train."""

    def losses(self, w: Weights, x: Float[Tensor, "b d"], moment: Moment) -> Losses:
        """The losses of a batch, dense and differentiable: the specification that a faster step is held against."""

    def observe(self, buffers: Weights, losses: Losses) -> None:
        """Update the buffers in place after a step."""

    def fitted(self, w: Weights, buffers: Weights) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"], Activation]:
        """Encoder, its bias and the activation that encode as the trained member does."""


class Bare:
    """What a member does that has neither parameters nor buffers of its own."""

    def own(self, w: Weights, x: Float[Tensor, "b d"]) -> Weights:  # noqa: ARG002
        """None."""
        return {}

    def buffers(self, n: int, device: torch.device) -> Weights:  # noqa: ARG002
        """None."""
        return {}

    def observe(self, buffers: Weights, losses: Losses) -> None:
        """Nothing to keep."""
