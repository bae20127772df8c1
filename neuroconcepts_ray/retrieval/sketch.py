"""An optional sketch of a segment: signs of random projections, whose nearest are scored again exactly. Approximate.

For segments beyond ten million images, or a GPU (which was not run). A sketch alone finds half of the true neighbours
or fewer, so its candidates are always ranked by their forward codes, and what is found carries no guess of its own:
recall is measured against the postings, and said. Under a restrictive filter too few allowed images come among the
candidates (recall 0.3 to 0.9 was measured at 1.4 % and below), so there the postings answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8
from scipy import sparse

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.retrieval import faiss_guard
from neuroconcepts_ray.retrieval.ranking import Ranking, Weights
from neuroconcepts_ray.retrieval.segment import EVERYBODY, NOBODY, Allowed, Segment

BITS = 512
"""Signs of an image: 64 bytes."""

CANDIDATES = 1000
"""Images that are scored again; at 512 bits a recall@20 of 0.9997 was measured on synthetic codes, at 500 0.996."""

ENOUGH = 0.3
"""Share of allowed images below which the postings answer."""

_ROWS = 8192


@dataclass(frozen=True)
class Sketch:
    """A segment with signs beside its postings.

    Attributes:
        segment: The segment.
        projection: Seeded Gaussian directions, one of ``BITS`` a column.
        signs: FAISS's ``IndexBinaryFlat`` over the signs of the segment's codes.
        candidates: Images that are scored again.
    """

    segment: Segment
    projection: Float32[np.ndarray, "n d"]
    signs: Any
    candidates: int

    @classmethod
    def of(cls, segment: Segment, *, bits: int = BITS, candidates: int = CANDIDATES, seed: int = 0) -> "Sketch":
        """Sketch a segment; equal seeds, equal sketches.

        Args:
            segment: The segment.
            bits: Signs of an image, a multiple of 8.
            candidates: Images that are scored again, at least 1,000.
            seed: Of the projection.

        Raises:
            ConfigError: Too few candidates for a recall worth having, or no whole bytes.
        """
        if candidates < CANDIDATES:
            raise ConfigError("a sketch needs more candidates", value=candidates, limit=f"at least {CANDIDATES}")
        if bits <= 0 or bits % 8:
            raise ConfigError("signs come in whole bytes", value=bits, limit="a multiple of 8 above 0")
        projection = np.random.default_rng(seed).standard_normal((segment.n, bits), dtype=np.float32)
        index = faiss_guard.load().IndexBinaryFlat(bits)
        codes = segment.forward.matrix()
        for first in range(0, len(segment), _ROWS):
            index.add(_signs(codes[first : first + _ROWS], projection))
        return cls(segment, projection, index, candidates)

    def search(
        self,
        ranking: Ranking,
        weights: Weights,
        top: int,
        allowed: Allowed = EVERYBODY,
        barred: Int64[np.ndarray, " b"] = NOBODY,
    ) -> tuple[Int64[np.ndarray, " h"], Float64[np.ndarray, " h"]]:
        """Allowed rows with their exact scores, best first; one that the signs do not bring near is missed.

        What the signs cannot stand for goes to the postings, which are exact: sums, BM25, weighted cosines, clauses,
        filters that leave less than ``ENOUGH``, and tops beyond a tenth of the candidates.

        Args:
            ranking: What scores, and what must or must not fire.
            weights: How neurons are weighted in the whole index.
            top: Most hits.
            allowed: Who may be a hit.
            barred: Rows that may not although they are allowed.
        """
        segment = self.segment
        if not self.answers(ranking, weights, top, allowed):
            return segment.search(ranking, weights, top, allowed, barred)
        faiss = faiss_guard.load()
        mask = segment.live() if allowed.mask is None else segment.live() & allowed.mask
        mask[barred] = False
        flags = np.packbits(mask, bitorder="little")
        chosen = faiss.IDSelectorBitmap(flags)
        query = sparse.csr_array(
            (ranking.weights.astype(np.float32), ranking.neurons, [0, len(ranking.neurons)]), shape=(1, segment.n)
        )
        asked = min(self.candidates, int(mask.sum()))
        _, near = self.signs.search(
            _signs(query, self.projection), max(asked, 1), params=faiss.SearchParameters(sel=chosen)
        )
        return segment.best(ranking, weights, top, np.sort(near[0][near[0] >= 0]).astype(np.int64))

    def answers(self, ranking: Ranking, weights: Weights, top: int, allowed: Allowed) -> bool:
        """Whether the signs answer, or the postings."""
        plain = ranking.kind == "cosine" and weights.omega is None and not ranking.must and not ranking.must_not
        wide = allowed.mask is None or float(allowed.mask.mean()) >= ENOUGH
        return plain and wide and 10 * top <= self.candidates

    def recall(self, rankings: Sequence[Ranking], weights: Weights, top: int) -> float:
        """Mean share of the exact best that are found; ties with the last place count."""
        shares = []
        for one in rankings:
            _, exact = self.segment.search(one, weights, top)
            _, found = self.search(one, weights, top)
            if len(exact):
                shares.append(float((found >= exact[-1] - 1e-12).sum() / len(exact)))
        return float(np.mean(shares)) if shares else 1.0


def _signs(codes: sparse.csr_array, projection: Float32[np.ndarray, "n d"]) -> UInt8[np.ndarray, "m b"]:
    signs: UInt8[np.ndarray, "m b"] = np.packbits(np.asarray(codes @ projection) > 0, axis=1)
    return signs
