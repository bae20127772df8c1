"""A segment: some images' codes as postings and forward codes, with their metadata; immutable, searched exactly.

Every score that leaves here is a float64 sum over the forward code in ascending order of neurons, so an image scores
the same in whatever segment it lies. The float32 pass over the postings only finds who is worth scoring.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from neuroconcepts_ray.retrieval import kernels, passes
from neuroconcepts_ray.retrieval.flat import Flat
from neuroconcepts_ray.retrieval.forward import Forward
from neuroconcepts_ray.retrieval.postings import Postings
from neuroconcepts_ray.retrieval.ranking import Filters, Ranking, Weights
from neuroconcepts_ray.retrieval.tables import IMAGE_ID, Images

CACHED = 32
"""Gates kept by a segment: 4 bytes an image each."""

SHORT = 64
"""How many times longer than the shortest list all lists together may be for them to be read through, not galloped."""

NOBODY = np.zeros(0, np.int64)

MANY = 0.05
"""Share of a segment's images above which allowed ones are kept as flags alone."""

TINY, HUGE = 1e-30, 1e30
"""Norms between which float32 chooses safely: 1/‖z‖ and the products are then far from overflow and underflow."""

FEW = 0.5
"""Allowed images times their neurons, as a share of the query's postings, below which each is scored on its own."""


@dataclass(frozen=True)
class Allowed:
    """Who may be a hit.

    Attributes:
        key: Names the mask in the cache of gates; empty for no filter at all.
        mask: One flag a row; None where everybody may.
        rows: The same as rows, ascending, where they are few.
    """

    key: str = ""
    mask: Bool[np.ndarray, " m"] | None = None
    rows: Int64[np.ndarray, " r"] | None = None


EVERYBODY = Allowed()


@dataclass
class Segment:
    """One opened segment.

    Attributes:
        key: What it is made of.
        postings: Its postings.
        forward: Its forward codes.
        images: Its image table.
        removed: Rows that tombstones took, ascending.
        dense: The full vectors, of a space of units.
    """

    key: str
    postings: Postings
    forward: Forward
    images: Images
    removed: Int64[np.ndarray, " r"] = field(default_factory=lambda: np.zeros(0, np.int64))
    dense: Flat | None = None
    _gates: "OrderedDict[tuple[str, str], tuple[Float32[np.ndarray, ' m'], Float32[np.ndarray, ' c']]]" = field(
        default_factory=OrderedDict
    )
    _allowed: "OrderedDict[str, Allowed]" = field(default_factory=OrderedDict)
    _norms: "OrderedDict[str, Float64[np.ndarray, ' m']]" = field(default_factory=OrderedDict)
    _odd: "OrderedDict[str, Int64[np.ndarray, ' o']]" = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self.forward)

    @property
    def n(self) -> int:
        """Number of neurons."""
        return self.postings.n

    def bare(self) -> "Segment":
        """The same without tombstones: what is mapped and read is shared, what depends on who stands is not."""
        return Segment(self.key, self.postings, self.forward, self.images, dense=self.dense)

    def live(self) -> Bool[np.ndarray, " m"]:
        """Whether each row still stands."""
        mask = np.ones(len(self), bool)
        mask[self.removed] = False
        return mask

    def bury(self, rows: Sequence[int]) -> None:
        """Put tombstones on rows; what was cached about who stands is made anew."""
        if rows:
            self.removed = np.union1d(self.removed, np.array(rows, np.int64))
            self._gates.clear()
            self._allowed.clear()

    def find(self, image_id: str) -> int | None:
        """The row of an image that still stands, or None."""
        row = self.images.find(image_id)
        return None if row is None or row in self.removed else row

    def search(
        self,
        ranking: Ranking,
        weights: Weights,
        top: int,
        allowed: Allowed = EVERYBODY,
        barred: Int64[np.ndarray, " b"] = NOBODY,
    ) -> tuple[Int64[np.ndarray, " h"], Float64[np.ndarray, " h"]]:
        """The allowed rows of highest score, exactly, best first, ties in row order.

        Args:
            ranking: What scores, and what must or must not fire.
            weights: How neurons are weighted in the whole index.
            top: Most hits.
            allowed: Who may be a hit.
            barred: Rows that may not although they are allowed: a query's own patient.
        """
        rows = self._candidates(ranking, weights, top, allowed, barred)
        return self.best(ranking, weights, top, rows)

    def search_many(
        self,
        rankings: Sequence[Ranking],
        weights: Weights,
        top: int,
        allowed: Allowed = EVERYBODY,
        barred: Sequence[Int64[np.ndarray, " _"]] = (),
    ) -> list[tuple[Int64[np.ndarray, " _"], Float64[np.ndarray, " _"]]]:
        """:meth:`search` of each ranking, several in one pass where they allow it.

        Args:
            rankings: What scores, each.
            weights: How neurons are weighted in the whole index.
            top: Most hits of each.
            allowed: Who may be a hit of any.
            barred: Rows that may not, each; empty for none.
        """
        bars = list(barred) or [NOBODY] * len(rankings)
        rows: list[Int64[np.ndarray, " _"] | None] = [None] * len(rankings)
        plain = [at for at, one in enumerate(rankings) if self._together(one, allowed)]
        for first in range(0, len(plain), passes.TOGETHER):
            some = plain[first : first + passes.TOGETHER]
            gate, ceiling = self._gate("norm", weights, allowed)
            found = passes.candidates(
                self.postings,
                self.forward,
                [rankings[at] for at in some],
                [bars[at] for at in some],
                gate,
                ceiling,
                top,
            )
            for at, one in zip(some, found, strict=True):
                strays = self._strays(rankings[at], weights, allowed, bars[at])
                rows[at] = np.union1d(one, strays) if len(strays) else one
        return [
            self.search(one, weights, top, allowed, bar) if those is None else self.best(one, weights, top, those)
            for one, bar, those in zip(rankings, bars, rows, strict=True)
        ]

    def _together(self, ranking: Ranking, allowed: Allowed) -> bool:
        """Whether a ranking needs nothing but a pass that others may share."""
        return ranking.kind == "cosine" and not ranking.must and not ranking.must_not and allowed.rows is None

    def best(
        self, ranking: Ranking, weights: Weights, top: int, rows: Int64[np.ndarray, " c"]
    ) -> tuple[Int64[np.ndarray, " h"], Float64[np.ndarray, " h"]]:
        """Of some rows the best, exactly, best first, ties in row order."""
        scores = self.score(ranking, weights, rows)
        order = np.lexsort((rows, -scores))[:top]
        order = order[scores[order] > ranking.least]
        return rows[order], scores[order]

    def score(self, ranking: Ranking, weights: Weights, rows: Int64[np.ndarray, " r"]) -> Float64[np.ndarray, " r"]:
        """The score of some rows, in float64."""
        forward = self.forward
        out = np.empty(len(rows))
        query = np.zeros(self.n)
        query[ranking.neurons] = ranking.weights
        if ranking.kind == "bm25":
            length = self._lengths(weights, ranking)
            kernels.rescore_bm25(rows, forward.indptr, forward.neurons, forward.values, query, length, ranking.k1, out)
            return out
        kernels.rescore(rows, forward.indptr, forward.neurons, forward.values, query, out)
        if ranking.kind == "cosine":
            norms = self.norms(weights)[rows]
            out = np.divide(out, norms, out=np.zeros(len(rows)), where=norms > 0)
        return out

    def allowed(self, filters: Filters) -> Allowed:
        """The rows that a query's filters leave, before anything is scored.

        Raises:
            InputError: A column that the images do not have.
        """
        if not filters.key:
            return EVERYBODY

        def make() -> Allowed:
            mask = self.live()
            for column, values in filters.columns:
                mask &= self.images.mask(column, values)
            if filters.ids is not None:
                rows = self.images.places(sorted(filters.ids))
                some = np.zeros(len(self), bool)
                some[rows[rows >= 0]] = True
                mask &= some
            count = int(mask.sum())
            return Allowed(filters.key, mask, np.flatnonzero(mask) if count <= MANY * len(self) else None)

        return _remember(self._allowed, filters.key, make, CACHED)

    def barred(self, filters: Filters) -> Int64[np.ndarray, " b"]:
        """Rows of the query's own patient, study or image, ascending."""
        found = []
        for column, value in filters.barred:
            if column == IMAGE_ID:
                row = self.images.find(value)
                found.append(np.array([] if row is None else [row], np.int64))
            else:
                found.append(self.images.rows(column, value).astype(np.int64))
        return np.unique(np.concatenate(found)) if found else NOBODY

    def norms(self, weights: Weights) -> Float64[np.ndarray, " m"]:
        """‖ω ∘ z_i‖ of every row."""
        if weights.omega is None:
            return self.forward.norms
        omega = weights.omega

        def make() -> Float64[np.ndarray, " m"]:
            out = np.empty(len(self))
            kernels.weighted_norms(self.forward.indptr, self.forward.neurons, self.forward.values, omega, out)
            return out

        return _remember(self._norms, weights.key, make, 2)

    def _candidates(
        self,
        ranking: Ranking,
        weights: Weights,
        top: int,
        allowed: Allowed,
        not_these: Int64[np.ndarray, " b"],
    ) -> Int64[np.ndarray, " c"]:
        """Rows, ascending, that could be among the best; all that the float32 pass cannot tell apart from them."""
        postings = self.postings
        barred, below = _bounds(ranking.must_not)
        if ranking.must:
            return self._matching(ranking, barred, below, top, self._gate("open", weights, allowed)[0], not_these)
        touched = int(postings.sizes[ranking.neurons].sum())
        per_row = len(self.forward.neurons) / max(1, len(self))
        if allowed.rows is not None and len(allowed.rows) * per_row < FEW * touched:
            rows = self._not_firing(allowed.rows, barred, below)
            return np.setdiff1d(rows, not_these, assume_unique=True) if len(not_these) else rows
        gate, ceiling = self._gate("norm" if ranking.kind == "cosine" else "open", weights, allowed)
        if len(barred):
            gate = gate.copy()
            for j, bound in zip(barred.tolist(), below.tolist(), strict=True):
                ids, values = postings.posting(j)
                gate[ids[values >= bound]] = 0
        if len(ranking.neurons) == 1 and ranking.kind == "sum" and ranking.weights[0] > 0 and not len(not_these):
            j = int(ranking.neurons[0])
            start, size = int(postings.starts[j]), int(postings.sizes[j])
            best = np.empty(top, np.float32)
            return np.asarray(kernels.strongest(postings.words, postings.values, start, size, gate, top, best))
        lengths = self._lengths(weights, ranking) if ranking.kind == "bm25" else None
        (found,) = passes.candidates(postings, self.forward, [ranking], [not_these], gate, ceiling, top, lengths)
        strays = self._strays(ranking, weights, allowed, not_these) if ranking.kind == "cosine" else NOBODY
        return np.union1d(found, strays) if len(strays) else found

    def _strays(
        self, ranking: Ranking, weights: Weights, allowed: Allowed, not_these: Int64[np.ndarray, " b"]
    ) -> Int64[np.ndarray, " s"]:
        """Allowed rows, ascending, whose norm float32 cannot take the inverse of; they are scored without a pass."""

        def make() -> Int64[np.ndarray, " o"]:
            norms = self.norms(weights)
            return np.flatnonzero((norms > 0) & ((norms < TINY) | (norms > HUGE)))

        rows = _remember(self._odd, weights.key, make, 2)
        if not len(rows):
            return rows
        mask = self.live()[rows]
        if allowed.mask is not None:
            mask &= allowed.mask[rows]
        rows = np.setdiff1d(rows[mask], not_these, assume_unique=True)
        return self._not_firing(rows, *_bounds(ranking.must_not))

    def _matching(
        self,
        ranking: Ranking,
        barred: Int64[np.ndarray, " b"],
        below: Float32[np.ndarray, " b"],
        top: int,
        gate: Float32[np.ndarray, " m"],
        not_these: Int64[np.ndarray, " q"],
    ) -> Int64[np.ndarray, " k"]:
        """Rows in which every clause that must fire does, and none that must not; perhaps only the best of them."""
        if len(not_these):
            gate = gate.copy()
            gate[not_these] = 0
        lists = self.postings.lists
        single = tuple((neurons[0], least) for neurons, least in ranking.must if len(neurons) == 1)
        if len(single) == len(ranking.must) and self._tallies(ranking, single, barred):
            return self._tally(ranking, single, barred, below, top, gate)
        rows: Int64[np.ndarray, " k"] | None = None
        if single:
            rows = np.asarray(kernels.matching(*lists, *_bounds(single), barred, below, gate))
        for neurons, least in ranking.must:
            if len(neurons) == 1:
                continue
            fires = [ids[values >= np.float32(least)] for ids, values in map(self.postings.posting, neurons)]
            some = np.unique(np.concatenate(fires))
            rows = some[gate[some] > 0] if rows is None else np.intersect1d(rows, some, assume_unique=True)
        found = np.zeros(0, np.int64) if rows is None else rows
        return found if single else self._not_firing(found, barred, below)

    def _tallies(
        self, ranking: Ranking, single: tuple[tuple[int, float], ...], barred: Int64[np.ndarray, " b"]
    ) -> bool:
        """Whether all lists are read through: what must fire is what scores, and no list is by far the shortest."""
        wanted = [j for j, _ in single]
        sizes = self.postings.sizes
        through = int(sizes[wanted].sum() + sizes[barred].sum())
        scores = ranking.kind == "sum" and sorted(set(wanted)) == ranking.neurons.tolist() and len(wanted) < 100
        return scores and len(set(wanted)) == len(wanted) and through < SHORT * int(sizes[wanted].min())

    def _tally(
        self,
        ranking: Ranking,
        single: tuple[tuple[int, float], ...],
        barred: Int64[np.ndarray, " b"],
        below: Float32[np.ndarray, " b"],
        top: int,
        gate: Float32[np.ndarray, " m"],
    ) -> Int64[np.ndarray, " k"]:
        postings = self.postings
        wanted, least = _bounds(single)
        with scratch(len(self), np.dtype(np.uint16)) as marks, scratch(len(self), np.dtype(np.float64)) as score:
            kernels.tally(*postings.lists, wanted, least, barred, below, marks)
            kernels.accumulate(*postings.lists, ranking.neurons, ranking.weights, score)
            lead = int(wanted[np.argmin(postings.sizes[wanted])])
            start, size = int(postings.starts[lead]), int(postings.sizes[lead])
            best = np.empty(top)
            return np.asarray(
                kernels.strongest_together(postings.words, start, size, marks, len(wanted), score, gate, top, 0.0, best)
            )

    def _not_firing(
        self, rows: Int64[np.ndarray, " r"], barred: Int64[np.ndarray, " b"], below: Float32[np.ndarray, " b"]
    ) -> Int64[np.ndarray, " k"]:
        for j, bound in zip(barred.tolist(), below.tolist(), strict=True):
            ids, values = self.postings.posting(j)
            rows = np.setdiff1d(rows, ids[values >= bound], assume_unique=True)
        return rows

    def _lengths(self, weights: Weights, ranking: Ranking) -> Float64[np.ndarray, " m"]:
        """K_i = k₁ (1 − b + b |d_i| / mean |d|), with |d_i| the number of neurons that fire."""
        lengths = np.diff(self.forward.indptr)
        k: Float64[np.ndarray, " m"] = ranking.k1 * (1 - ranking.b + ranking.b * lengths / weights.mean_length)
        return k

    def _gate(
        self, what: str, weights: Weights, allowed: Allowed
    ) -> tuple[Float32[np.ndarray, " m"], Float32[np.ndarray, " c"]]:
        """1 (``open``) or 1/‖ω ∘ z_i‖ (``norm``) where a row may be a hit, else 0; and the largest of each chunk."""

        def make() -> tuple[Float32[np.ndarray, " m"], Float32[np.ndarray, " c"]]:
            mask = self.live() if allowed.mask is None else self.live() & allowed.mask
            if what == "open":
                gate = mask.astype(np.float32)
            else:
                norms = self.norms(weights)
                gate = np.divide(
                    1.0, norms, out=np.zeros(len(self)), where=mask & (norms >= TINY) & (norms <= HUGE)
                ).astype(np.float32)
            return gate, passes.ceilings(gate)

        key = (what if what == "open" else f"{what} {weights.key}", allowed.key)
        return _remember(self._gates, key, make, CACHED)


_SCRATCH = threading.local()


@contextlib.contextmanager
def scratch(length: int, dtype: np.dtype[Any]) -> Iterator[np.ndarray]:
    """Zeros for the length of a query: a thread's own, kept, since fresh pages cost more than clearing old ones."""
    kept: dict[np.dtype[Any], np.ndarray] = _SCRATCH.__dict__.setdefault("arrays", {})
    if dtype not in kept or len(kept[dtype]) < length:
        kept[dtype] = np.empty(length, dtype)
    array = kept[dtype][:length]
    array.fill(0)
    yield array


K = TypeVar("K")
V = TypeVar("V")


def _bounds(
    clauses: tuple[tuple[int, float], ...],
) -> tuple[Int64[np.ndarray, " c"], Float32[np.ndarray, " c"]]:
    return np.array([j for j, _ in clauses], np.int64), np.array([bound for _, bound in clauses], np.float32)


_CACHES = threading.Lock()
"""Servers ask one segment from many threads; between looking a value up and marking it used another may evict it."""


def _remember(cache: "OrderedDict[K, V]", key: K, make: Callable[[], V], most: int) -> V:
    """The cached value, made where absent; the one unused for longest makes room."""
    with _CACHES:
        found = cache.get(key)
        if found is not None:
            cache.move_to_end(key)
            return found
    found = make()  # outside the lock: others need not wait, and two that make the same make equals
    with _CACHES:
        cache[key] = found
        while len(cache) > most:
            cache.popitem(last=False)
    return found
