"""An opened index: segments that answer as one, whole or as the shard of a larger one."""

import difflib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from neuroconcepts_ray.errors import InputError, NotFound
from neuroconcepts_ray.retrieval.ranking import Example, Filters, Found, Ranking, Statistics, Weighting, Weights, merge
from neuroconcepts_ray.retrieval.segment import Segment
from neuroconcepts_ray.retrieval.tables import IMAGE_ID


@runtime_checkable
class Backend(Protocol):
    """What answers rankings: an index here, or a router over the shards of one."""

    statistics: Statistics

    @property
    def n(self) -> int:
        """Number of neurons."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that every segment has."""

    @property
    def missing(self) -> Sequence[str]:
        """Shards that did not answer; none where there are no shards."""

    def weights(self, weighting: Weighting) -> Weights:
        """The weights of a weighting over the whole index."""

    def known(self, column: str, values: frozenset[str]) -> tuple[frozenset[str], list[str]]:
        """Those of some values that occur in a column, and the first 20 of all that do."""

    def examples(self, image_ids: Sequence[str]) -> list[Example]:
        """The codes of images; NotFound for one that the index does not have."""

    def search(self, ranking: Ranking, weighting: Weighting, filters: Filters, top: int) -> list[Found]:
        """The best of all allowed images."""


class Index:
    """Segments, searched one after the other and merged.

    Args:
        segments: Opened segments, of one space.
        statistics: Counts over the live images of the whole index, of which these segments may be a shard.
    """

    def __init__(self, segments: Sequence[Segment], statistics: Statistics) -> None:
        self.segments = list(segments)
        self.statistics = statistics
        self.missing: Sequence[str] = ()
        self._weights: dict[Weighting, Weights] = {}
        self._columns = _columns(self.segments)

    def __len__(self) -> int:
        return sum(len(segment) - len(segment.removed) for segment in self.segments)

    @property
    def n(self) -> int:
        """Number of neurons."""
        return len(self.statistics.frequency)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that every segment has, so that all can be filtered by them."""
        return self._columns

    def values(self, column: str) -> list[str]:
        """The values that occur in a column, sorted."""
        return sorted({value for segment in self.segments for value in segment.images.values(column)})

    def known(self, column: str, values: frozenset[str]) -> tuple[frozenset[str], list[str]]:
        """Those of some values that occur in a column, and the first 20 of all that do."""
        there = self.values(column)
        return values & frozenset(there), there[:20]

    def find(self, image_id: str) -> Example | None:
        """The code of an image that still stands, or None."""
        for segment in self.segments:
            row = segment.find(image_id)
            if row is not None:
                neurons, values = segment.forward.code(row)
                study, group = (segment.images.value(name, row) for name in ("study", "group"))
                return Example(image_id, neurons, values.astype(np.float64), study, group)
        return None

    def examples(self, image_ids: Sequence[str]) -> list[Example]:
        """The codes of images.

        Raises:
            NotFound: The index does not have one; the closest ids are named.
        """
        found = []
        for image_id in image_ids:
            example = self.find(image_id)
            if example is None:
                raise unknown_image(image_id, self.close(image_id))
            found.append(example)
        return found

    def close(self, image_id: str) -> list[str]:
        """The ids most like a misspelt one, among those near it in the alphabet."""
        near = [
            one for segment in self.segments for one in segment.images.near(image_id) if segment.find(one) is not None
        ]
        return difflib.get_close_matches(image_id, near, n=3, cutoff=0.0)

    def weights(self, weighting: Weighting) -> Weights:
        """The weights of a weighting over the whole index, made once."""
        if weighting not in self._weights:
            self._weights[weighting] = Weights.of(self.statistics, weighting)
        return self._weights[weighting]

    def search(self, ranking: Ranking, weighting: Weighting, filters: Filters, top: int) -> list[Found]:
        """The best ``top`` of all allowed images: by score, ties by image_id.

        Args:
            ranking: What scores.
            weighting: How neurons weigh.
            filters: Who may be a hit.
            top: Most hits.

        Raises:
            InputError: A filter on a column that the index does not have.
        """
        if self.segments:
            check_columns(filters, self.columns)
        weights = self.weights(weighting)
        return merge([self._segment(one, ranking, weights, filters, top) for one in self.segments], top)

    def search_many(
        self, rankings: Sequence[Ranking], weighting: Weighting, filters: Sequence[Filters], top: int
    ) -> list[list[Found]]:
        """:meth:`search` of many rankings, those of equal filters several in one pass: for whole roles at once.

        Args:
            rankings: What scores, each.
            weighting: How neurons weigh.
            filters: Who may be a hit, each; they may differ in whose images are barred at no cost.
            top: Most hits of each.

        Raises:
            InputError: A filter on a column that the index does not have.
        """
        weights = self.weights(weighting)
        alike: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for at, one in enumerate(filters):
            alike.setdefault((one.key, one.show), []).append(at)
        parts: list[list[list[Found]]] = [[] for _ in rankings]
        for places in alike.values():
            if self.segments:
                check_columns(filters[places[0]], self.columns)
            asked = [rankings[at] for at in places]
            for segment in self.segments:
                allowed = segment.allowed(filters[places[0]])
                barred = [segment.barred(filters[at]) for at in places]
                hits = segment.search_many(asked, weights, top, allowed, barred)
                for at, (rows, scores) in zip(places, hits, strict=True):
                    parts[at].append(_found(segment, rows, scores, weights, filters[at].show))
        return [merge(part, top) for part in parts]

    def _segment(self, segment: Segment, ranking: Ranking, weights: Weights, filters: Filters, top: int) -> list[Found]:
        rows, scores = segment.search(ranking, weights, top, segment.allowed(filters), segment.barred(filters))
        return _found(segment, rows, scores, weights, filters.show)


def _found(
    segment: Segment,
    rows: Int64[np.ndarray, " h"],
    scores: Float64[np.ndarray, " h"],
    weights: Weights,
    show: Sequence[str],
) -> list[Found]:
    """Rows with all that an answer needs of them, looked up column by column."""
    columns = [segment.images.some(name, rows) for name in show]
    metadata = [dict(zip(show, values, strict=True)) for values in zip(*columns, strict=True)] or [{} for _ in rows]
    return [
        Found(image_id, score, neurons, values, norm, shown, group)
        for image_id, score, (neurons, values), norm, shown, group in zip(
            segment.images.names(rows),
            scores.tolist(),
            segment.forward.codes(rows),
            segment.norms(weights)[rows].tolist(),
            metadata,
            segment.images.some("group", rows),
            strict=True,
        )
    ]


def _columns(segments: Sequence[Segment]) -> tuple[str, ...]:
    if not segments:
        return ()
    shared = set.intersection(*(set(segment.images.columns) for segment in segments))
    return tuple(name for name in segments[0].images.columns if name in shared)


def check_columns(filters: Filters, columns: Sequence[str]) -> None:
    """Refuse a filter on a column that an index does not have.

    Args:
        filters: The filters.
        columns: Columns that every segment has.

    Raises:
        InputError: There is one.
    """
    unknown = [name for name in (*dict(filters.columns), *filters.show) if name not in columns or name == IMAGE_ID]
    if unknown:
        shown = ", ".join(name for name in columns if name not in (IMAGE_ID, "study", "group"))
        raise InputError("the images have no such column", value=unknown[0], limit=shown)


def unknown_image(image_id: str, close: Sequence[str]) -> NotFound:
    """The error of an image that the index does not have."""
    remedy = f"Closest: {', '.join(close)}" if close else "The index is empty"
    return NotFound("the index does not have this image", value=image_id, remedy=remedy)
