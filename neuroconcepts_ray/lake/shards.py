"""Deterministic shards: the same rows in the same order, whoever makes them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from neuroconcepts_ray.lake.recipe import digest

MAX_SHARD_BYTES = 96 * 1024 * 1024
"""Decoded bytes of a shard: below Ray Data's block size, so that a shard stays one block."""


TOMBSTONE = ""
"""Source of a row that only keeps the place of an erased image."""


class Row(NamedTuple):
    """One image of a shard.

    Attributes:
        image_id: The image.
        source: Content digest of what the row is made from.
    """

    image_id: str
    source: str


class Start(NamedTuple):
    """Where a shard's rows begin in a catalog.

    Attributes:
        partition: Number of the frozen partition.
        row: The first row, among the partition's places.
        source: The first source, among the partition's sources; tombstones have none.
    """

    partition: int
    row: int
    source: int


@dataclass(frozen=True)
class Slip:
    """A shard without its rows, which whoever works on it finds again: all that a driver holds of an archive.

    Attributes:
        key: H(recipe, row ids, source digests).
        size: How many rows it has.
        images: How many of them are no tombstones.
        start: Where its rows begin in their catalog.
    """

    key: str
    size: int
    images: int
    start: Start


@dataclass(frozen=True)
class Shard:
    """Some rows of a frozen partition, named by recipe and content.

    Attributes:
        key: H(recipe, row ids, source digests).
        rows: The rows, in the catalog's order.
        start: Where they begin, if it is a shard of a catalog's images.
    """

    key: str
    rows: list[Row]
    start: Start | None = None

    @property
    def live(self) -> list[int]:
        """Numbers of the rows that are no tombstones."""
        return [number for number, row in enumerate(self.rows) if row.source != TOMBSTONE]

    @property
    def size(self) -> int:
        """How many rows it has."""
        return len(self.rows)

    @property
    def images(self) -> int:
        """How many of them are no tombstones."""
        return len(self.live)

    def without(self, numbers: Sequence[int]) -> "Shard":
        """The same shard for whoever loads it, some rows passed over as tombstones are; all keep their places."""
        rows = list(self.rows)
        for number in numbers:
            rows[number] = rows[number]._replace(source=TOMBSTONE)
        return replace(self, rows=rows)


def shard_of(rows: Sequence[Row], recipe: str, start: Start | None = None) -> Shard:
    """The shard that some rows are under a recipe."""
    return Shard(digest([recipe, [[row.image_id, row.source] for row in rows]]), list(rows), start)


def shard_size(bytes_per_row: int, max_rows: int) -> int:
    """Rows of a shard: at most 96 MB decoded, and at most ``max_rows``."""
    return max(1, min(max_rows, MAX_SHARD_BYTES // max(1, bytes_per_row)))


def cut(rows: Sequence[Row], recipe: str, bytes_per_row: int, max_rows: int) -> Iterator[Shard]:
    """Cut one frozen partition into shards of at most 96 MB decoded and at most ``max_rows``.

    Args:
        rows: The partition's rows in order.
        recipe: Digest of the recipe that the shards are made by.
        bytes_per_row: Decoded size of a row.
        max_rows: Upper bound on rows; part of the recipe, for batches inside a shard are fixed.
    """
    size = shard_size(bytes_per_row, max_rows)
    for start in range(0, len(rows), size):
        yield shard_of(rows[start : start + size], recipe)
