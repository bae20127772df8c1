"""The search service: questions over one index; exact, filtered first, with reasons. A plain object, no server."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.naming.tables import Name, load_names
from neuroconcepts_ray.retrieval import dense
from neuroconcepts_ray.retrieval.answer import Answer, Hit, answer, fold
from neuroconcepts_ray.retrieval.changes import published
from neuroconcepts_ray.retrieval.fetch import default_cache
from neuroconcepts_ray.retrieval.index import Backend, Index
from neuroconcepts_ray.retrieval.query import DEEPEST, TOP, Exclude, Query, resolve
from neuroconcepts_ray.retrieval.ranking import Example, Filters, Found, Ranking
from neuroconcepts_ray.retrieval.tables import IMAGE_ID, bound


class SearchService:
    """Questions over one index.

    Args:
        index: The opened index, or a router over its shards.
        names: Names by neuron.
        dense: Rank plain likeness by the full vectors, where the index has them (see :mod:`dense`).
    """

    def __init__(self, index: Backend, names: Mapping[int, Name] | None = None, *, dense: bool = False) -> None:
        self.index = index
        self.dense = dense
        self.names: Mapping[int, Name] = {} if names is None else names

    @classmethod
    def open(
        cls,
        lake: Lake,
        index: Manifest,
        names: Manifest | None = None,
        cache: Path | None = None,
        *,
        dense: bool = False,
    ) -> "SearchService":
        """Open the newest state of an index, with the names of the same codes.

        Args:
            lake: The lake.
            index: What the `index` stage made; what was added to it, removed or compacted since, counts.
            names: Names of the same codes.
            cache: Folder for what has been fetched and checked.
            dense: See the class.

        Raises:
            InputError: The names were made from other codes, or a part is missing or damaged.
        """
        check_names(index, names)
        opened = published(lake, index).open(lake, cache or default_cache())
        return cls(opened, load_names(lake, names) if names is not None else None, dense=dense)

    def search(self, query: Query, given: Sequence[Example] = ()) -> Answer:
        """Answer a question.

        Args:
            query: The question.
            given: Further examples, such as an uploaded image's code.

        Raises:
            InputError: An unknown image, concept or column.
            ConfigError: Nothing to rank by, or a page too deep.
        """
        examples = [*self.index.examples(query.like), *given]
        opposites = self.index.examples(query.unlike)
        ranking, filters = self.resolve(query, examples, opposites)
        self._check(filters)
        if self.dense and dense.takes(query) and not given:
            ranking, search = dense.prepare(self.index, examples, opposites)
        else:
            search = functools.partial(self.index.search, ranking, query.weighting)
        found = self._found(query, search, filters)
        return answer(
            found,
            ranking,
            self.index.statistics,
            self.names,
            offset=query.offset,
            top=query.top,
            missing=tuple(self.index.missing),
        )

    def nearest(self, image_ids: Sequence[str], query: Query) -> list[list[Found]]:
        """The hits of many images, each asked alone, several in one pass over the index.

        Args:
            image_ids: The images.
            query: What is asked of each, its ``like`` empty.

        Raises:
            InputError: An unknown image or column.
        """
        asked = [self.resolve(query, [example], []) for example in self.index.examples(image_ids)]
        for _, filters in asked[:1]:
            self._check(filters)
        if query.fold is not None or not isinstance(self.index, Index):
            each = (functools.partial(self.index.search, ranking, query.weighting) for ranking, _ in asked)
            found = [self._found(query, search, filters) for search, (_, filters) in zip(each, asked, strict=True)]
        else:
            rankings, barred = [ranking for ranking, _ in asked], [filters for _, filters in asked]
            found = self.index.search_many(rankings, query.weighting, barred, query.depth)
        return [some[query.offset : query.offset + query.top] for some in found]

    def resolve(
        self, query: Query, examples: Sequence[Example], opposites: Sequence[Example]
    ) -> tuple[Ranking, Filters]:
        """What a query comes down to; see :func:`resolve`."""
        weights = self.index.weights(query.weighting)
        return resolve(query, examples, opposites, self.names, self.index.n, weights, self.index.statistics.idf)

    def _found(self, query: Query, search: Callable[[Filters, int], list[Found]], filters: Filters) -> list[Found]:
        depth = query.depth
        found = search(filters, depth)
        if query.fold is None:
            return found
        wanted, asked = depth, depth
        while True:
            kept = fold(found, query.fold)
            if len(kept) >= wanted or len(found) < asked or asked == DEEPEST:
                return kept
            asked = min(DEEPEST, 2 * asked)
            found = search(filters, asked)

    def _check(self, filters: Filters) -> None:
        """Refuse a value that no image has: a misspelt filter must not look like an empty archive."""
        for column, values in filters.columns:
            if column not in self.index.columns or column == IMAGE_ID:
                continue  # the index itself refuses those
            there, some = self.index.known(column, values)
            unknown = sorted(value for value in values - there if bound(value) is None)
            if unknown:
                raise InputError(f"no image of the index has this {column}", value=unknown[0], limit=", ".join(some))

    def code(self, image_id: str) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
        """The neurons that fire for an image, ascending, and their activations.

        Raises:
            InputError: Unknown image.
        """
        (example,) = self.index.examples([image_id])
        return example.neurons, example.values

    def like(
        self,
        image_id: str,
        *,
        top: int = TOP,
        exclude: Exclude = "group",
        view: str | None = None,
        role: str | None = None,
    ) -> list[Hit]:
        """The images whose codes are most like that of an image, by cosine, exactly.

        Args:
            image_id: The query.
            top: Most hits; fewer come back where fewer images share a neuron with the query.
            exclude: What of the query's own patient may not be a hit.
            view: Only hits of this view.
            role: Only hits of this role.

        Raises:
            InputError: Unknown image, view or role.
        """
        query = {"like": [image_id], "top": top, "exclude": exclude, "where": _where(view=view, role=role)}
        return list(self.search(validate(Query, query)).hits)

    def neuron(self, j: int, *, top: int = TOP, view: str | None = None, role: str | None = None) -> list[Hit]:
        """The images in which a neuron is strongest.

        Raises:
            InputError: No such neuron; unknown view or role.
        """
        query = {"any_of": [j], "top": top, "where": _where(view=view, role=role)}
        return list(self.search(validate(Query, query)).hits)


def check_names(index: Manifest, names: Manifest | None) -> None:
    """Refuse names of other codes than the index.

    Raises:
        InputError: They do not belong together.
    """
    if names is not None and names.inputs["codes"] != index.inputs["codes"]:
        raise InputError(
            "these names are of other codes than this index",
            value=names.name,
            limit=index.name,
            remedy="Run `name` and `index` again",
        )


def _where(**columns: str | None) -> dict[str, list[str]]:
    return {name: [value] for name, value in columns.items() if value is not None}
