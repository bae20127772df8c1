"""Timing: interleaved, in milliseconds, on one thread; and the bare passes that a search is held against."""

import os
import time
from collections.abc import Callable, Mapping

import numpy as np
from numba import njit

ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "POLARS_MAX_THREADS",
    )
}


def interleaved(
    ways: Mapping[str, Callable[[int], object]], queries: int, turn: int = 20
) -> dict[str, dict[str, float]]:
    """p50 and p95 of each way, which take turns of ``turn`` queries: what disturbs one disturbs all, and none finds
    the postings of a query in the cache because another has just read them.
    """
    for way in ways.values():
        way(0)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for first in range(0, queries, turn):
        for name, way in ways.items():
            for at in range(first, min(first + turn, queries)):
                began = time.perf_counter()
                way(at)
                spent[name].append(1e3 * (time.perf_counter() - began))
    return {
        name: {"p50_ms": float(np.median(ms)), "p95_ms": float(np.percentile(ms, 95))} for name, ms in spent.items()
    }


def best_of(work: Callable[[], object], times: int = 5) -> float:
    """Median milliseconds of a few goes."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        spent.append(1e3 * (time.perf_counter() - began))
    return float(np.median(spent))


def load() -> float:
    """Processes that want a processor, averaged over the last minute."""
    return os.getloadavg()[0]


def resident_mb() -> float:
    """This process's memory that is not another's file cache: anonymous and mapped pages that are in."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@njit(nogil=True)
def read(words, values, starts, sizes, neurons):  # noqa: ANN001, ANN201
    """The floor: every row number and activation of the lists, one after the other."""
    total, rows = 0.0, 0
    for t in range(len(neurons)):
        first, m = starts[neurons[t]], sizes[neurons[t]]
        v, r = values[first : first + m], words[first + m : first + 3 * m]
        for p in range(m):
            total += v[p]
            rows ^= r[2 * p]
    return total, rows


@njit(nogil=True, fastmath=True)
def read_vectorised(words, values, starts, sizes, neurons):  # noqa: ANN001, ANN201
    """The same, in whatever order and width the compiler likes: what memory alone would allow."""
    total, rows = np.float32(0), np.uint32(0)
    for t in range(len(neurons)):
        first, m = starts[neurons[t]], sizes[neurons[t]]
        v, r = values[first : first + m], words[first + m : first + 3 * m]
        for p in range(m):
            total += v[p]
            rows ^= r[2 * p]
    return total, rows


@njit(nogil=True)
def scatter(words, values, starts, sizes, neurons, weights, score):  # noqa: ANN001, ANN201
    """A bare scatter-add, without clearing, choosing or scoring."""
    for t in range(len(neurons)):
        first, m, w = starts[neurons[t]], sizes[neurons[t]], weights[t]
        v, r = values[first : first + m], words[first + m : first + 3 * m]
        for p in range(m):
            score[r[2 * p]] += w * v[p]
