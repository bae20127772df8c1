"""The state of a training: everything that the next step depends on."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.objective import Weights


@dataclass
class Progress:
    """Everything that the next step depends on, so that a resumed run equals an uninterrupted one bit by bit.

    Attributes:
        weights: Weights in the space of centred and scaled inputs.
        m: Adam's first moments.
        v: Adam's second moments.
        idle: Training samples since each latent last fired.
        mean: What is taken off the activations: their mean, or zero for raw inputs.
        scale: What they are divided by: the root of the mean squared deviation, or one.
        step: Steps done.
        buffers: What the objective keeps beside its weights.
        average: The exponential moving average of weights and buffers; empty where there is none.
    """

    weights: Weights
    m: Weights
    v: Weights
    idle: Int[Tensor, " n"]
    mean: Float[Tensor, " d"]
    scale: Float[Tensor, ""]
    step: int
    buffers: Weights = field(default_factory=dict)
    average: Weights = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, not copied: what keeps them must copy."""
        named = {"idle": self.idle, "mean": self.mean, "scale": self.scale}
        groups = {"w": self.weights, "m": self.m, "v": self.v, "b": self.buffers, "a": self.average}
        for prefix, group in groups.items():
            named |= {f"{prefix}.{name}": tensor for name, tensor in group.items()}
        return named

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], step: int, device: str | torch.device = "cpu", *, copy: bool = True
    ) -> "Progress":
        """Read back :meth:`tensors`.

        Args:
            tensors: The tensors, which may be mapped from a file.
            step: Steps done.
            device: Where to train.
            copy: Whether each is copied, as training needs; for a look at the weights alone the moments of a mapped
                file are then never read.
        """
        own = {name: tensor.to(device, copy=copy) for name, tensor in tensors.items()}

        def group(prefix: str) -> Weights:
            return {name[2:]: tensor for name, tensor in own.items() if name.startswith(f"{prefix}.")}

        return cls(
            weights=group("w"),
            m=group("m"),
            v=group("v"),
            idle=own["idle"],
            mean=own["mean"],
            scale=own["scale"],
            step=step,
            buffers=group("b"),
            average=group("a"),
        )


def check_state(tensors: dict[str, Tensor], n: int, d: int) -> None:
    """Refuse a checkpoint of another width or dimension; it stays as it is.

    Raises:
        InputError: A tensor is missing or has another shape.
    """
    wanted = {"idle": (n,), "mean": (d,), "scale": ()}
    shapes = {"W_enc": (n, d), "b_enc": (n,), "W_dec": (n, d), "b_dec": (d,)}
    wanted |= {f"{prefix}.{name}": shape for prefix in "wmv" for name, shape in shapes.items()}
    for name, shape in wanted.items():
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != shape:
            raise InputError(
                "the checkpoint of a training does not fit its config and activations",
                value=found,
                limit=shape,
                where=name,
                remedy="Move the training's folder under training/ in the lake away, and run again: it begins anew",
            )
