"""Workers of one training as threads of this process."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Threads:
    """One of several workers; each operation waits for all of them."""

    def __init__(self, rank: int, size: int, board: list[Tensor], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, size
        self.board, self.barrier = board, barrier

    def _all(self, tensor: Tensor) -> list[Tensor]:
        self.board[self.rank] = tensor.detach().clone()
        self.barrier.wait(60)
        everything = list(self.board)
        self.barrier.wait(60)
        return everything

    def sum(self, tensor: Tensor) -> Tensor:
        return torch.stack(self._all(tensor)).sum(dim=0)

    def max(self, tensor: Tensor) -> Tensor:
        return torch.stack(self._all(tensor)).amax(dim=0)

    def gather(self, tensor: Tensor) -> Tensor:
        return torch.cat(self._all(tensor))


def together(work: Sequence[Callable[[Threads], T]]) -> list[T]:
    """Run one function for each worker at the same time, and return what each gave."""
    size = len(work)
    board, barrier = [torch.zeros(())] * size, threading.Barrier(size)
    with ThreadPoolExecutor(size) as pool:
        jobs = [pool.submit(one, Threads(rank, size, board, barrier)) for rank, one in enumerate(work)]
        return [job.result() for job in jobs]
