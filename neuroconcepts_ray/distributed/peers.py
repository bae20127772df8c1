"""The workers of a data-parallel training over torch.distributed: gloo on CPU, NCCL on GPU.

An all-reduce adds in an order that the world size fixes, so results are the same for the same number of workers.
"""

import torch
import torch.distributed as dist
from torch import Tensor


class Group:
    """All ranks of the process group that Ray Train set up."""

    def __init__(self) -> None:
        self._rank, self._size = dist.get_rank(), dist.get_world_size()

    @property
    def rank(self) -> int:
        """Which of them this one is."""
        return self._rank

    @property
    def size(self) -> int:
        """How many there are."""
        return self._size

    def sum(self, tensor: Tensor) -> Tensor:
        """Elementwise sum over workers."""
        return self._reduced(tensor, dist.ReduceOp.SUM)

    def max(self, tensor: Tensor) -> Tensor:
        """Elementwise maximum over workers."""
        return self._reduced(tensor, dist.ReduceOp.MAX)

    def gather(self, tensor: Tensor) -> Tensor:
        """Tensors of equal shape, one below the other in the order of ranks."""
        tensor = tensor.detach().contiguous()
        parts = [torch.empty_like(tensor) for _ in range(self._size)]
        dist.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def _reduced(tensor: Tensor, op: dist.ReduceOp.RedOpType) -> Tensor:
        result = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result, op=op)
        return result
