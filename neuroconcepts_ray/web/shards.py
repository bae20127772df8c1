"""One index over several shards: who holds which segments, what a shard answers, and how the answers become one.

Every shard ranks by the counts of the whole index, and scores are sums over one image's code, so the best of the
shards' best are the best of all. Nothing here knows how a question travels.
"""

import difflib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from neuroconcepts_ray.errors import EnvironmentFault, NeuroconceptsError, fault, from_fields
from neuroconcepts_ray.naming.tables import Name
from neuroconcepts_ray.retrieval.index import Index, check_columns, unknown_image
from neuroconcepts_ray.retrieval.ranking import Example, Filters, Found, Ranking, Statistics, Weighting, Weights, merge
from neuroconcepts_ray.retrieval.snapshot import open_index, read_snapshot
from neuroconcepts_ray.web.follow import Followed, Version, warm

KEPT = 2
"""Versions that a shard keeps open: the newest, and the one that running queries began with."""


def deal(segments: Sequence[tuple[str, int]], shards: int) -> list[list[str]]:
    """Deal segments over shards, the largest first, each to the shard with the fewest images.

    A function of the segments alone; small new ones do not move the large old ones.

    Args:
        segments: Key and images of each.
        shards: Number of shards.
    """
    held: list[list[str]] = [[] for _ in range(shards)]
    images = [0] * shards
    for key, rows in sorted(segments, key=lambda one: (-one[1], one[0])):
        at = min(range(shards), key=lambda shard: (images[shard], shard))
        held[at].append(key)
        images[at] += rows
    return held


@dataclass(frozen=True)
class Search:
    """The best of a shard's allowed images."""

    ranking: Ranking
    weighting: Weighting
    filters: Filters
    top: int

    def ask(self, index: Index) -> list[Found]:
        """Found, best first."""
        return index.search(self.ranking, self.weighting, self.filters, self.top)


@dataclass(frozen=True)
class Find:
    """The codes of images, None for those that are not here."""

    image_ids: tuple[str, ...]

    def ask(self, index: Index) -> list[Example | None]:
        """One for each image."""
        return [index.find(image_id) for image_id in self.image_ids]


@dataclass(frozen=True)
class Close:
    """Ids like a misspelt one."""

    image_id: str

    def ask(self, index: Index) -> list[str]:
        """At most three."""
        return index.close(self.image_id)


@dataclass(frozen=True)
class Known:
    """Which of some values occur in a column."""

    column: str
    values: frozenset[str]

    def ask(self, index: Index) -> tuple[frozenset[str], list[str]]:
        """They, and the first 20 of all that occur."""
        return index.known(self.column, self.values)


Question = Search | Find | Close | Known


@dataclass(frozen=True)
class Reply:
    """What a shard says; errors travel as data.

    Attributes:
        value: The answer.
        error: Fields of the error that the question deserves.
        closed: Why the shard cannot open that version at all.
    """

    value: Any = None
    error: Mapping[str, Any] | None = None
    closed: str | None = None


class Shard:
    """The segments of one shard, opened by version.

    Args:
        followed: The index.
        number: Which shard.
        shards: How many there are.
        cache: Folder on this machine for what has been fetched and checked.
    """

    def __init__(self, followed: Followed, number: int, shards: int, cache: Path) -> None:
        self.followed, self.number, self.shards, self.cache = followed, number, shards, cache
        self._opened: OrderedDict[Version, Index] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, version: Version) -> Index:
        """The shard's part of a version: opened, warmed and kept; the oldest is let go of by its last query.

        Raises:
            InputError: It is gone or damaged.
        """
        index = self._opened.get(version)
        if index is not None:
            return index
        with self._lock:
            index = self._opened.get(version)
            if index is None:
                state = self.followed.state(version)
                snapshot = read_snapshot(self.followed.lake, state.manifest)
                mine = deal(snapshot.segments, self.shards)[self.number]
                index = open_index(self.followed.lake, state.manifest, self.cache, only=mine)
                warm(index)
                self._opened[version] = index
                while len(self._opened) > KEPT:
                    del self._opened[min(self._opened, key=lambda one: one.number)]
            return index

    def columns(self, version: Version) -> tuple[str, ...] | None:
        """Columns of the shard's images, None where it has no segment; opens the version."""
        index = self.open(version)
        return index.columns if index.segments else None

    def answer(self, version: Version, question: Question) -> Reply:
        """Answer a question; never raises."""
        try:
            index = self.open(version)
        except NeuroconceptsError as error:
            return Reply(closed=error.what)
        try:
            return Reply(question.ask(index))
        except NeuroconceptsError as error:
            return Reply(error=error.fields())
        except Exception as error:  # a fault of ours must not end a replica, nor the other questions of a batch
            return Reply(error=fault(error).fields())


class Ask(Protocol):
    """How a question reaches shards."""

    def __call__(self, version: Version, question: Question, shards: Sequence[int]) -> Mapping[int, Reply | None]:
        """The reply of each shard, None where none came in time."""


@dataclass(frozen=True)
class View:
    """What a router knows of a version.

    Attributes:
        version: The version.
        statistics: Counts over the whole index.
        columns: Columns that every segment has.
        dealt: Segments of each shard.
        names: Names by neuron.
    """

    version: Version
    statistics: Statistics
    columns: tuple[str, ...]
    dealt: tuple[tuple[str, ...], ...]
    names: Mapping[int, Name]
    weights: dict[Weighting, Weights] = field(default_factory=dict)

    @property
    def holding(self) -> list[int]:
        """Shards that have segments."""
        return [shard for shard, keys in enumerate(self.dealt) if keys]


def shard_name(number: int) -> str:
    """What a shard is called."""
    return f"shard-{number}"


class Remote:
    """The index as one query meets it: a backend that asks all shards, and remembers who did not answer.

    Args:
        view: What is known of the version.
        ask: How a question reaches shards.
    """

    def __init__(self, view: View, ask: Ask) -> None:
        self.view, self._ask = view, ask
        self.statistics = view.statistics
        self._silent: set[int] = set()

    @property
    def n(self) -> int:
        """Number of neurons."""
        return len(self.statistics.frequency)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that every segment has."""
        return self.view.columns

    @property
    def missing(self) -> Sequence[str]:
        """Shards that did not answer."""
        return [shard_name(shard) for shard in sorted(self._silent)]

    def weights(self, weighting: Weighting) -> Weights:
        """The weights of a weighting over the whole index, made once a version."""
        if weighting not in self.view.weights:
            self.view.weights[weighting] = Weights.of(self.statistics, weighting)
        return self.view.weights[weighting]

    def known(self, column: str, values: frozenset[str]) -> tuple[frozenset[str], list[str]]:
        """Those of some values that occur in a column, and the first 20; all, where a shard is silent."""
        replies = self._all(Known(column, values))
        there: frozenset[str] = frozenset().union(*(found for found, _ in replies))
        some = sorted({value for _, values in replies for value in values})[:20]
        return (values if self._silent else there), some

    def examples(self, image_ids: Sequence[str]) -> list[Example]:
        """The codes of images.

        Raises:
            NotFound: The index does not have one; the closest ids are named.
            EnvironmentFault: A shard that may have it does not answer.
        """
        if not image_ids:
            return []
        replies = self._all(Find(tuple(image_ids)))
        found = [next((r[at] for r in replies if r[at] is not None), None) for at in range(len(image_ids))]
        for image_id, example in zip(image_ids, found, strict=True):
            if example is not None:
                continue
            if self._silent:
                raise EnvironmentFault(
                    "a shard that may have the image does not answer", remedy="Ask again in a moment"
                )
            near = sorted({one for reply in self._all(Close(image_id)) for one in reply})
            raise unknown_image(image_id, difflib.get_close_matches(image_id, near, n=3, cutoff=0.0))
        return [example for example in found if example is not None]

    def search(self, ranking: Ranking, weighting: Weighting, filters: Filters, top: int) -> list[Found]:
        """The best of all allowed images of the shards that answer.

        Raises:
            InputError: A filter on a column that the index does not have.
            EnvironmentFault: No shard answers.
        """
        if self.view.holding:
            check_columns(filters, self.columns)
        return merge(self._all(Search(ranking, weighting, filters, top)), top)

    def _all(self, question: Question) -> list[Any]:
        """The answers of the shards that give one; who was silent once is not waited for again in the same query."""
        asked = [shard for shard in self.view.holding if shard not in self._silent]
        replies = self._ask(self.view.version, question, asked) if asked else {}
        values = []
        for shard in asked:
            reply = replies.get(shard)
            if reply is None or reply.closed is not None:
                self._silent.add(shard)
            elif reply.error is not None:
                raise from_fields(dict(reply.error))
            else:
                values.append(reply.value)
        if self.view.holding and not values:
            raise EnvironmentFault("no shard of the index answers", remedy="Ask again in a moment")
        return values
