"""Threads that share the calls of kernels which hold no GIL."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from typing import Any

import torch

PIECES = 32
"""Calls that the rows of a kernel are shared out in: the same for any number of threads, and so are their sums."""

LEAST = 64
"""Rows that are worth a call."""


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:  # noqa: ARG001 - threads do not survive a fork
    return ThreadPoolExecutor(threads, "sae")


def share(kernel: Callable[..., Any], size: int, *args: Any, numbered: bool = False) -> list[Any]:
    """``kernel(first, last, …)`` over 0 … size in pieces, each by whichever of torch's number of threads is free.

    Not numba's own threads: of its layers one ends the process when two threads start kernels at once, and the other
    hangs after a fork.

    Args:
        kernel: Called with the first row, the last (exclusive), the number of the piece where ``numbered``, and args.
        size: Rows.
        args: What else it takes.
        numbered: Whether it wants the number of the piece.

    Returns:
        What each piece returned, in order.
    """
    step = max(LEAST, -(-size // PIECES))
    pieces = -(-size // step)
    results: list[Any] = [None] * pieces
    # next() of it is one step of the interpreter: no two threads get the same piece.
    numbers = count()

    def work() -> None:
        while (piece := next(numbers)) < pieces:
            place = (piece,) if numbered else ()
            results[piece] = kernel(piece * step, min(size, (piece + 1) * step), *place, *args)

    others = min(torch.get_num_threads(), pieces) - 1
    if others > 0:
        waiting = [_pool(os.getpid(), others).submit(work) for _ in range(others)]
        work()
        for future in waiting:
            future.result()
    else:
        work()
    return results


def blocks(size: int, most: int) -> Iterator[slice]:
    """0 … size in slices of at most ``most``, as equal as they can be."""
    parts = -(-size // max(1, most))
    step = -(-size // max(1, parts))
    for first in range(0, size, max(1, step)):
        yield slice(first, min(size, first + step))
