"""The rows that an SAE is trained on, and their order: a function of (seed, epoch, step) alone."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = 1024
"""Rows that are looked at together where all are: the same wherever they are kept, for sums round by it."""

Order = Iterator[Int[np.ndarray, " b"]]


def batches(rows: int, size: int, seed: int, start: int) -> Order:
    """Row numbers of step ``start``, ``start`` + 1, …: a function of (seed, epoch, step) alone.

    Each epoch is a permutation of its own, cut into whole batches; the rest of fewer than ``size`` rows sits out that
    epoch.
    """
    size = min(size, rows)
    per_epoch = rows // size
    epoch, position = divmod(start, per_epoch)
    small = np.int32 if rows <= np.iinfo(np.int32).max else np.int64  # the same order in half the memory
    while True:
        order = np.random.default_rng([seed, 1, epoch]).permutation(np.arange(rows, dtype=small))
        for i in range(position, per_epoch):
            # A copy: what is read ahead must not keep the order of an epoch that is over.
            yield order[i * size : (i + 1) * size].astype(np.int64)
        del order
        epoch, position = epoch + 1, 0


@runtime_checkable
class Rows(Protocol):
    """Activations of all training rows, wherever they are kept."""

    @property
    def d(self) -> int:
        """Dimension of a row."""

    def __len__(self) -> int:
        """How many there are."""

    def take(self, numbers: Int[np.ndarray, " b"]) -> Float[Tensor, "b d"]:
        """These rows, on the device."""

    def blocks(self) -> Iterator[Float[Tensor, "b d"]]:
        """All rows in their order, :data:`BLOCK` at a time."""

    def batches(self, order: Order) -> Iterator[Float[Tensor, "b d"]]:
        """The rows of each entry of ``order``, which may be read ahead."""


class Resident:
    """Rows that stay on the device.

    Args:
        x: The rows, on the device to train on.
    """

    def __init__(self, x: Float[Tensor, "m d"]) -> None:
        self.x = x

    @property
    def d(self) -> int:
        """Dimension of a row."""
        return self.x.shape[1]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.x)

    def take(self, numbers: Int[np.ndarray, " b"]) -> Float[Tensor, "b d"]:
        """These rows."""
        return self.x[torch.from_numpy(numbers).to(self.x.device)]

    def blocks(self) -> Iterator[Float[Tensor, "b d"]]:
        """All rows in their order."""
        return (self.x[start : start + BLOCK] for start in range(0, len(self.x), BLOCK))

    def batches(self, order: Order) -> Iterator[Float[Tensor, "b d"]]:
        """The rows of each entry of ``order``."""
        return (self.take(numbers) for numbers in order)
