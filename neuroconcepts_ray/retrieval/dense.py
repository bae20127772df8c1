"""Likeness by the full vectors of units, of which the codes keep only the largest; queries by concepts stay with those.

The score is the cosine Σ_j q_j d_j / (‖q‖‖d‖) over all units, so the shares of a hit are those summands and sum to it.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.retrieval.flat import unit
from neuroconcepts_ray.retrieval.index import Backend, Index, check_columns
from neuroconcepts_ray.retrieval.query import NEGATIVE, Query
from neuroconcepts_ray.retrieval.ranking import Example, Filters, Found, Ranking, merge


def takes(query: Query) -> bool:
    """Whether a query is plain likeness: examples, and nothing said of concepts or weights."""
    concepts = [query.all_of, query.any_of, query.none_of, query.text, query.without, query.boost]
    return bool(query.like) and not any(concepts) and query.weighting == "none"


def prepare(
    index: Backend, examples: Sequence[Example], opposites: Sequence[Example]
) -> tuple[Ranking, Callable[[Filters, int], list[Found]]]:
    """What a likeness by full vectors comes down to: the mean unit vector of the examples less half the opposites'.

    Args:
        index: The index.
        examples: Images of it that hits shall be like.
        opposites: Images of it that they shall not be like.

    Raises:
        ConfigError: The index has no full vectors.
    """
    if not isinstance(index, Index) or any(segment.dense is None for segment in index.segments):
        raise ConfigError(
            "this index has no full vectors",
            remedy="Only spaces of units have them: run `index` again, or ask sparsely",
        )
    query = np.zeros(index.n)
    for some, sign in ((examples, 1.0), (opposites, -NEGATIVE)):
        for one in some:
            query += sign * vector(index, one.image_id) / len(some)
    direction = unit(query).astype(np.float64)
    ranking = Ranking.of("cosine", dict(enumerate(direction.tolist())))
    return ranking, functools.partial(search, index, direction)


def vector(index: Index, image_id: str) -> Float64[np.ndarray, " n"]:
    """The full vector of an image that stands, of unit length."""
    for segment in index.segments:
        row = segment.find(image_id)
        if row is not None and segment.dense is not None:
            full: Float64[np.ndarray, " n"] = segment.dense.vectors[row].astype(np.float64)
            return full
    raise ConfigError("this image has no full vector", value=image_id)


def search(index: Index, query: Float64[np.ndarray, " n"], filters: Filters, top: int) -> list[Found]:
    """The best ``top`` of all allowed images by cosine above 0, ties by image_id.

    Args:
        index: The index.
        query: Of unit length.
        filters: Who may be a hit.
        top: Most hits.

    Raises:
        InputError: A filter on a column that the index does not have.
    """
    if index.segments:
        check_columns(filters, index.columns)
    parts = []
    for segment in index.segments:
        if segment.dense is None:
            continue
        allowed = segment.allowed(filters)
        mask = segment.live() if allowed.mask is None else segment.live() & allowed.mask
        mask[segment.barred(filters)] = False
        rows, scores = segment.dense.search(query, top, mask)
        part = []
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            d = segment.dense.vectors[row].astype(np.float64)
            neurons = np.flatnonzero(d)
            if score > 0:
                part.append(
                    Found(
                        image_id=segment.images.ids[row].as_py(),
                        score=score,
                        neurons=neurons,
                        values=d[neurons],
                        norm=1.0,
                        metadata={name: segment.images.value(name, row) for name in filters.show},
                        group=segment.images.value("group", row),
                    )
                )
        parts.append(part)
    return merge(parts, top)
