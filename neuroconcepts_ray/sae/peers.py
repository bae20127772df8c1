"""The workers of one training, as a step sees them: sums and maxima over all of them."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Peers(Protocol):
    """Collective operations; each returns the same on every worker."""

    @property
    def rank(self) -> int:
        """Which of them this one is."""

    @property
    def size(self) -> int:
        """How many there are."""

    def sum(self, tensor: Tensor) -> Tensor:
        """Elementwise sum over workers."""

    def max(self, tensor: Tensor) -> Tensor:
        """Elementwise maximum over workers."""

    def gather(self, tensor: Tensor) -> Tensor:
        """Tensors of equal shape, one below the other in the order of ranks."""


class Alone:
    """A training of one worker."""

    rank, size = 0, 1

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def max(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor


ALONE = Alone()
