"""The parts that a sparse step is made of, and what passes between them."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuroconcepts_ray.sae.objective import Weights


@dataclass(frozen=True)
class Code:
    """Which latents fire for each input, as CSR.

    Attributes:
        start: Where the entries of each input begin, and where the last one's end.
        latents: The latent of each entry, ascending for one input.
        values: Its value; zeros fill up where fewer fire.
    """

    start: Int[Tensor, " b1"]
    latents: Int[Tensor, " m"]
    values: Float[Tensor, " m"]


@dataclass(frozen=True)
class Prefixes:
    """Numbers of latents that reconstruct alone, rising, the last of them n; and whose mean error is the loss.

    Attributes:
        ends: Those P numbers.
        level: The first prefix that holds a latent.
        scale: −2 / (P · rows · d): the loss is Σ_p ‖r_p‖² / (P · rows · d), with the rows of the whole batch.
    """

    ends: Int[Tensor, " p"]
    level: Int[Tensor, " n"]
    scale: float

    @classmethod
    def of(cls, ends: tuple[int, ...], x: Float[Tensor, "b d"], rows: int) -> "Prefixes":
        """For inputs and the rows of the whole batch."""
        counts = torch.tensor(ends, device=x.device)
        level = torch.bucketize(torch.arange(ends[-1], device=x.device), counts, right=True)
        return cls(counts, level.to(torch.int32), -2 / (len(ends) * rows * x.shape[1]))


@dataclass(frozen=True)
class Decoded:
    """What a code leaves of the inputs, with residuals r_p of P prefixes.

    Attributes:
        squares: ‖r_p‖² of each input.
        residual: Σ_{q ≥ p} r_q: for the last prefix what all latents leave.
        slopes: The gradient of the loss by the value of each entry.
        total: residual[:, 0] summed over inputs.
    """

    squares: Float[Tensor, "b p"]
    residual: Float[Tensor, "b p d"]
    slopes: Float[Tensor, " m"]
    total: Float[Tensor, " d"]


@dataclass(frozen=True)
class Grouped:
    """The entries that fire, by latent, inputs ascending for each.

    Attributes:
        begin: Where the entries of each latent begin, and where the last one's end.
        rows: The input of each entry.
        values: Its value.
        slopes: The gradient of the loss by it.
        bias: The gradient of the loss by b_enc: slopes summed.
    """

    begin: Int[Tensor, " n1"]
    rows: Int[Tensor, " f"]
    values: Float[Tensor, " f"]
    slopes: Float[Tensor, " f"]
    bias: Float[Tensor, " n"]

    @property
    def fired(self) -> Bool[Tensor, " n"]:
        """Latents that fire for at least one input."""
        return self.begin[1:] > self.begin[:-1]


@dataclass(frozen=True)
class Extra:
    """Gradients of the auxiliary loss, for dead rows alone.

    Attributes:
        at: Which of the rows below is a latent's, or −1.
        W_enc: Gradients of encoder rows.
        W_dec: Gradients of decoder rows.
    """

    at: Int[Tensor, " n"]
    W_enc: Float[Tensor, "a d"]
    W_dec: Float[Tensor, "a d"]

    @classmethod
    def none(cls, W_enc: Float[Tensor, "n d"]) -> "Extra":
        """Nothing is dead."""
        empty = W_enc.new_empty(0, W_enc.shape[1])
        return cls(torch.full((len(W_enc),), -1, device=W_enc.device), empty, empty)


@dataclass(frozen=True)
class Backward:
    """All that the gradients of both matrices are made of.

    Attributes:
        x: Inputs less b_dec.
        decoded: The residuals.
        grouped: The entries by latent.
        prefixes: The prefixes.
        extra: The auxiliary loss.
    """

    x: Float[Tensor, "b d"]
    decoded: Decoded
    grouped: Grouped
    prefixes: Prefixes
    extra: Extra


@dataclass(frozen=True)
class Slots:
    """A training's weights and Adam's moments, which change in place, and the constants of one step.

    Attributes:
        w: Weights.
        m: First moments.
        v: Second moments.
        lr: The learning rate.
        step: Counted from 1.
    """

    w: Weights
    m: Weights
    v: Weights
    lr: float
    step: int


@runtime_checkable
class Engine(Protocol):
    """The parts of a step. Inputs come less b_dec; what is returned may be overwritten by the next step."""

    def inputs(self, w: Weights, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Inputs less b_dec."""

    def topk(self, w: Weights, x: Float[Tensor, "b d"], k: int, screen: bool) -> Code:
        """The k largest positive pre-activations of each input.

        Args:
            w: The weights.
            x: The inputs.
            k: How many.
            screen: Whether a product in bfloat16 chooses; values are of the weights' precision in any case.
        """

    def candidates(self, w: Weights, x: Float[Tensor, "b d"], most: int, screen: bool) -> Code:
        """All positive pre-activations of these inputs that are among the ``most`` largest of them, and maybe more.

        With ``screen`` the values are still those of bfloat16.
        """

    def rescore(self, w: Weights, x: Float[Tensor, "b d"], code: Code) -> Code:
        """The code with values ReLU(x · W_enc + b_enc) in the weights' precision."""

    def decode(self, w: Weights, x: Float[Tensor, "b d"], code: Code, prefixes: Prefixes) -> Decoded:
        """Residuals of all prefixes, and the gradients by each value."""

    def group(self, code: Code, decoded: Decoded, n: int) -> Grouped:
        """Entries by latent."""

    def gradients(self, w: Weights, backward: Backward) -> tuple[Weights, Float[Tensor, " d"]]:
        """Gradients of W_enc and W_dec, and Σ_j ∂L/∂b_enc,j W_enc,j without the auxiliary loss."""

    def step(self, slots: Slots, grads: Weights) -> None:
        """Adam on W_enc and W_dec in place, W_dec without the gradient along its unit rows, and to unit rows."""

    def gradients_and_step(self, slots: Slots, backward: Backward) -> Float[Tensor, " d"]:
        """Both in one pass over the weights; returns what :meth:`gradients` returns second."""
