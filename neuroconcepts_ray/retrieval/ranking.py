"""What a query comes down to: neurons with weights, what must and must not fire, and how neurons weigh in the index.

Plain arrays, so that one ranking made once is worked off alike by every segment, here or on another machine.
"""

import functools
import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

Weighting = Literal["none", "idf", "bm25"]

Kind = Literal["cosine", "sum", "bm25"]

Clause = tuple[tuple[int, ...], float]
"""Neurons of which one must fire, and with how much at least."""

K1 = 1.2
"""BM25's k₁: how soon a larger activation stops counting for more (Robertson and Zaragoza 2009, §3.5: 1.2 to 2)."""

B = 0.75
"""BM25's b: how far an image in which many neurons fire is held against itself (the same: 0.5 to 0.8)."""


@dataclass(frozen=True)
class Statistics:
    """Counts over all live images of an index, the same for each of its segments.

    Attributes:
        images: Live images M.
        frequency: Live images in which each neuron fires, df_j.
    """

    images: int
    frequency: Int64[np.ndarray, " n"]

    @property
    def postings(self) -> int:
        """Neurons that fire, summed over the live images."""
        return int(self.frequency.sum())

    @functools.cached_property
    def idf(self) -> Float64[np.ndarray, " n"]:
        """ln(1 + (M − df_j + ½) / (df_j + ½)), which is never negative (Robertson and Zaragoza 2009, Lucene's form)."""
        df = self.frequency.astype(np.float64)
        idf: Float64[np.ndarray, " n"] = np.log1p((self.images - df + 0.5) / (df + 0.5))
        return idf


@dataclass(frozen=True)
class Weights:
    """How neurons are weighted in the whole index.

    Attributes:
        key: Names them in caches.
        omega: ω_j, by which query and image are scaled before their cosine; None for all 1.
        mean_length: Mean number of neurons that fire in an image.
    """

    key: str
    omega: Float64[np.ndarray, " n"] | None
    mean_length: float

    @classmethod
    def of(cls, statistics: Statistics, weighting: Weighting) -> "Weights":
        """The weights of a weighting over an index."""
        mean = statistics.postings / max(1, statistics.images)
        if weighting == "idf":
            return cls("idf", statistics.idf, max(mean, 1e-9))
        return cls("none", None, max(mean, 1e-9))


@dataclass(frozen=True)
class Ranking:
    """A query as every segment works it off.

    Attributes:
        kind: ``cosine``: Σ_j w_j z_ij / ‖ω ∘ z_i‖. ``sum``: Σ_j w_j z_ij. ``bm25``: Σ_j w_j z_ij (k₁+1) / (z_ij + K_i).
        neurons: Neurons that score, ascending.
        weights: w_j of each; for a cosine they hold ω² and 1/‖ω ∘ q‖ already.
        must: Of each clause, one neuron must fire with at least so much.
        must_not: Neurons that must not fire with so much or more.
        least: Scores at or below it are no hits: 0, or for weights of both signs what rounding could make of 0.
        k1: BM25's k₁.
        b: BM25's b.
    """

    kind: Kind
    neurons: Int64[np.ndarray, " t"]
    weights: Float64[np.ndarray, " t"]
    must: tuple[Clause, ...] = ()
    must_not: tuple[tuple[int, float], ...] = ()
    least: float = 0.0
    k1: float = K1
    b: float = B

    @classmethod
    def of(
        cls,
        kind: Kind,
        query: dict[int, float],
        *,
        must: tuple[Clause, ...] = (),
        must_not: tuple[tuple[int, float], ...] = (),
    ) -> "Ranking":
        """A ranking of neurons with weights; those of weight 0 are left out.

        Args:
            kind: How a score is made.
            query: Weight by neuron.
            must: See the attributes.
            must_not: See the attributes.
        """
        neurons = np.array(sorted(j for j, w in query.items() if w != 0), np.int64)
        weights = np.array([query[j] for j in neurons.tolist()], np.float64)
        signed = bool(len(weights)) and float(weights.min()) < 0
        scale = 1.0 if kind == "cosine" else float(np.abs(weights).sum())
        least = (MIXED_COSINE if kind == "cosine" else MIXED_SUM) * scale if signed else 0.0
        return cls(kind, neurons, weights, must, must_not, least)


MIXED_COSINE = 1e-5
"""Least cosine of a query with weights of both signs: the float32 pass cannot tell less from 0."""

MIXED_SUM = 1e-9
"""The same for sums, which are float64 throughout, as a share of Σ|w_j|."""


@dataclass(frozen=True)
class Example:
    """An image as an example: its code, and whose it is.

    Attributes:
        image_id: The image; empty for one that is not in the index.
        neurons: Neurons that fire, ascending.
        values: Their activations.
        study: Keyed hash of its study; empty where unknown.
        group: Keyed hash of its patient; empty where unknown.
    """

    image_id: str
    neurons: Int64[np.ndarray, " k"]
    values: Float64[np.ndarray, " k"]
    study: str = ""
    group: str = ""


@dataclass(frozen=True)
class Filters:
    """Who may be a hit, as every segment works it off.

    Attributes:
        columns: Allowed values of metadata columns; all must hold.
        ids: Only these images; None for all.
        barred: Column and value of what may not be a hit: the query's own patient, study or image.
        show: Columns that come with each hit.
    """

    columns: tuple[tuple[str, frozenset[str]], ...] = ()
    ids: frozenset[str] | None = None
    barred: tuple[tuple[str, str], ...] = ()
    show: tuple[str, ...] = ("view", "role")

    @property
    def key(self) -> str:
        """Names the mask of columns and ids in caches; empty where everybody may."""
        if not self.columns and self.ids is None:
            return ""
        said = repr(
            (sorted((name, sorted(values)) for name, values in self.columns), sorted(self.ids or ()), self.ids is None)
        )
        # Of a fixed length: caches keep it, and 100,000 ids are megabytes.
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


class Found(NamedTuple):
    """A row that a segment found, with all that the answer needs of it.

    Attributes:
        image_id: The image.
        score: Its score.
        neurons: Neurons that fire in it, ascending.
        values: Their activations.
        norm: ‖ω ∘ z_i‖.
        metadata: The columns that were to be shown.
        group: Keyed hash of its patient.
        folded: Near-duplicates that were folded into it.
    """

    image_id: str
    score: float
    neurons: Int64[np.ndarray, " k"]
    values: Float64[np.ndarray, " k"]
    norm: float
    metadata: dict[str, str]
    group: str
    folded: tuple[str, ...] = ()


def merge(parts: list[list[Found]], top: int) -> list[Found]:
    """The best of several segments' or shards' findings: by score, ties by image_id.

    Args:
        parts: Findings, each with its own best ``top`` among them.
        top: Most hits.
    """
    return sorted((one for part in parts for one in part), key=lambda one: (-one.score, one.image_id))[:top]
