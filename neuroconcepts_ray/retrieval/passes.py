"""One pass over the postings of one query or several: who could be among the best, never who is."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from neuroconcepts_ray.retrieval import kernels
from neuroconcepts_ray.retrieval.forward import Forward
from neuroconcepts_ray.retrieval.postings import Postings
from neuroconcepts_ray.retrieval.ranking import Ranking

TOGETHER = 8
"""Queries that go through a block of rows together; each has accumulators of its own, 4 bytes an image."""


def ceilings(gate: Float32[np.ndarray, " m"]) -> Float32[np.ndarray, " c"]:
    """The largest gate of each chunk of rows."""
    starts = np.arange(0, len(gate), kernels.CHUNK)
    return np.maximum.reduceat(gate, starts) if len(gate) else gate


def candidates(
    postings: Postings,
    forward: Forward,
    rankings: Sequence[Ranking],
    barred: Sequence[Int64[np.ndarray, " _"]],
    gate: Float32[np.ndarray, " m"],
    ceiling: Float32[np.ndarray, " c"],
    top: int,
    lengths: Float64[np.ndarray, " m"] | None = None,
) -> list[Int64[np.ndarray, " _"]]:
    """Of each query the rows, ascending, that a pass cannot tell apart from the ``top`` best.

    Args:
        postings: The postings.
        forward: The forward codes of the same images.
        rankings: All of one kind; of BM25 one alone.
        barred: Rows that may not be found, query by query.
        gate: By what each row's sum is multiplied; 0 where it may not be found.
        ceiling: :func:`ceilings` of the gate, or above.
        top: Rows that are wanted of each.
        lengths: BM25's K_i.
    """
    kind = rankings[0].kind
    # A cosine is at most 1, so float32 is precise enough to choose by; other sums have no such bound.
    dtype = np.dtype(np.float32 if kind == "cosine" else np.float64)
    score = _scratch(len(rankings), len(ceiling) * kernels.CHUNK, dtype)
    peak = np.empty((len(rankings), len(ceiling)), dtype)
    bits = np.dtype(f"i{dtype.itemsize}")
    neurons = np.concatenate([one.neurons for one in rankings])
    share = np.concatenate([one.weights for one in rankings]).astype(dtype, copy=False)
    if lengths is not None:
        (one,) = rankings
        line, chunks = score[0], peak[0]
        kernels.sweep_bm25(*postings.lists, neurons, share, lengths, one.k1, line, line.view(bits), chunks.view(bits))
    else:
        ends = np.cumsum([0, *(len(one.neurons) for one in rankings)])
        kernels.sweep(*postings.lists, forward.cuts, neurons, share, ends, score, score.view(bits), peak.view(bits))
    best = np.empty(top, dtype)
    found = []
    for at, (one, rows) in enumerate(zip(rankings, barred, strict=True)):
        score[at][rows] = 0
        # Products, sums, norm and gate each round once; a float64 sum here is the very sum that scores.
        epsilon = dtype.type((len(one.neurons) + 4) * _EPS if kind == "cosine" else 0.0)
        found.append(kernels.select(score[at], gate, peak[at], ceiling, top, epsilon, best))
    return found


_EPS = float(np.finfo(np.float32).eps)

_KEPT = threading.local()


def _scratch(queries: int, rows: int, dtype: np.dtype[Any]) -> Float[np.ndarray, "q m"]:
    """Memory that a thread keeps, as it was left: fresh pages cost more than a query."""
    kept: dict[np.dtype[Any], np.ndarray] = _KEPT.__dict__.setdefault("arrays", {})
    if dtype not in kept or kept[dtype].size < queries * rows:
        kept[dtype] = np.empty(queries * rows, dtype)
    return kept[dtype][: queries * rows].reshape(queries, rows)
