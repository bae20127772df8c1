"""Flat index of dense or signed vectors: every allowed row is compared, so the nearest are exact at any selectivity.

The file is FAISS's ``IndexFlatIP`` over unit rows, whose inner products are cosines. FAISS's float32 pass, filtered
before it searches, only finds who is worth scoring; scores are float64 sums over the neurons in ascending order, so an
image scores the same in whatever segment it lies, and ties fall by row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.retrieval import faiss_guard
from neuroconcepts_ray.retrieval.postings import REDO, read_faiss

SLACK = 16
"""Rows asked of the float32 pass beyond those wanted, before it is known how many it cannot tell apart."""

BLOCK = 4096
"""Rows that are scored in float64 at once."""


def unit(x: Float[np.ndarray, "*m n"]) -> Float32[np.ndarray, "*m n"]:
    """Rows of length 1, rounded once to float32; rows of zeros stay as they are.

    Args:
        x: Vectors along the last axis.
    """
    wide = x.astype(np.float64)
    length = np.sqrt(np.square(wide).sum(axis=-1, keepdims=True))
    return np.divide(wide, length, out=np.zeros_like(wide), where=length > 0).astype(np.float32)


def build(x: Float[np.ndarray, "m n"]) -> bytes:
    """The bytes of a FAISS file over the unit rows of ``x``; equal vectors, equal bytes.

    Args:
        x: One row an image, in the segment's order.
    """
    faiss = faiss_guard.load()
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(unit(x))
    data: bytes = faiss.serialize_index(index).tobytes()
    return data


@dataclass(frozen=True)
class Flat:
    """An opened flat index.

    Attributes:
        index: FAISS's index.
        vectors: Its unit rows, where they lie.
    """

    index: Any
    vectors: Float32[np.ndarray, "m n"]

    @classmethod
    def open(cls, source: bytes | Path, *, rows: int, n: int) -> "Flat":
        """Open a file whose digest has been checked; a path is mapped, not read.

        Args:
            source: What :func:`build` made, or the file that holds it.
            rows: Images that it must be about.
            n: Neurons that it must be about.

        Raises:
            InputError: The bytes are no flat index, or that of another archive or space.
        """
        faiss = faiss_guard.load()
        if isinstance(source, bytes):
            data = np.frombuffer(source, np.uint8)
        else:
            data = np.asarray(np.memmap(source, np.uint8, "r"))
        index = read_faiss(source, data, faiss.IO_FLAG_MMAP_IFC)
        if not isinstance(index, faiss.IndexFlatIP):
            raise InputError("this FAISS index holds no flat vectors", value=type(index).__name__, remedy=REDO)
        if (index.ntotal, index.d) != (rows, n):
            raise InputError(
                "the dense vectors are of other images or another space",
                value=f"{index.ntotal} × {index.d}",
                limit=f"{rows} × {n}",
                remedy=REDO,
            )
        # The vectors close the file.
        vectors = data[len(data) - 4 * rows * n :].view(np.float32).reshape(rows, n)
        return cls(index, vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def scores(
        self, query: Float[np.ndarray, " n"], rows: Int64[np.ndarray, " r"] | None = None
    ) -> Float64[np.ndarray, " r"]:
        """Cosines of some rows, or of all, with a query.

        Args:
            query: Any length but 0.
            rows: Which rows.
        """
        wanted = np.arange(len(self)) if rows is None else rows
        q = unit(query).astype(np.float64)
        out = np.empty(len(wanted))
        for start in range(0, len(wanted), BLOCK):
            some = wanted[start : start + BLOCK]
            # Products and their sum apart: a matrix product would round by how many rows there are.
            out[start : start + len(some)] = (self.vectors[some].astype(np.float64) * q).sum(axis=1)
        return out

    def search(
        self, query: Float[np.ndarray, " n"], top: int, allowed: Bool[np.ndarray, " m"] | None = None
    ) -> tuple[Int64[np.ndarray, " h"], Float64[np.ndarray, " h"]]:
        """The allowed rows of highest cosine, exactly, best first, ties in row order.

        Args:
            query: Any length; one of 0 finds nothing.
            top: Most hits.
            allowed: One flag a row; None where everybody may.
        """
        if not np.any(query):
            return np.zeros(0, np.int64), np.zeros(0)
        rows = self._candidates(unit(query), top, allowed)
        scores = self.scores(query, rows)
        order = np.lexsort((rows, -scores))[:top]
        return rows[order], scores[order]

    def _candidates(
        self, query: Float32[np.ndarray, " n"], top: int, allowed: Bool[np.ndarray, " m"] | None
    ) -> Int64[np.ndarray, " c"]:
        """Rows that could be among the best: all that the float32 pass cannot tell apart from them."""
        faiss = faiss_guard.load()
        count = len(self) if allowed is None else int(allowed.sum())
        # Products and sums of unit vectors each round once, and no partial sum exceeds 1.
        epsilon = 2 * (self.vectors.shape[1] + 4) * float(np.finfo(np.float32).eps)
        # Kept by name while FAISS reads it through a pointer.
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        params = None if selector is None else faiss.SearchParameters(sel=selector)
        asked = min(count, top + SLACK)
        while asked:
            found, rows = self.index.search(query[None], asked, params=params)
            # Fewer come back than were asked for only if FAISS left some out; those are marked -1.
            kept = rows[0] >= 0
            best = found[0][kept]
            if asked == count or best[-1] < best[min(top, len(best)) - 1] - epsilon:
                return rows[0][kept].astype(np.int64)
            asked = min(count, 2 * asked)
        return np.zeros(0, np.int64)
