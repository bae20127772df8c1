"""Deterministic shards: the same rows in the same order, whoever makes them."""

from collections.abc import Iterator, Sequence

from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.lake.recipe import digest

MAX_SHARD_BYTES = 96 * 1024 * 1024
"""Decoded bytes of a shard: below Ray Data's block size, so that a shard stays one block."""


TOMBSTONE = ""
"""Source of a row that only keeps the place of an erased image."""


class Row(StrictModel):
    """One image of a shard."""

    image_id: str
    """The image."""
    source: str
    """Content digest of what the row is made from."""


class Shard(StrictModel):
    """Some rows of a frozen partition, named by recipe and content."""

    key: str
    """H(recipe, row ids, source digests)."""
    rows: list[Row]
    """The rows, in the catalog's order."""

    @property
    def live(self) -> list[int]:
        """Numbers of the rows that are no tombstones."""
        return [number for number, row in enumerate(self.rows) if row.source != TOMBSTONE]


def cut(rows: Sequence[Row], recipe: str, bytes_per_row: int, max_rows: int) -> Iterator[Shard]:
    """Cut one frozen partition into shards of at most 96 MB decoded and at most ``max_rows``.

    Args:
        rows: The partition's rows in order.
        recipe: Digest of the recipe that the shards are made by.
        bytes_per_row: Decoded size of a row.
        max_rows: Upper bound on rows; part of the recipe, for batches inside a shard are fixed.
    """
    size = rows_a_shard(bytes_per_row, max_rows)
    for start in range(0, len(rows), size):
        some = list(rows[start : start + size])
        key = digest([recipe, [[row.image_id, row.source] for row in some]])
        yield Shard(key=key, rows=some)


def rows_a_shard(bytes_per_row: int, max_rows: int) -> int:
    """Rows of every shard of a partition but its last.

    Args:
        bytes_per_row: Decoded size of a row.
        max_rows: Upper bound on rows.
    """
    return max(1, min(max_rows, MAX_SHARD_BYTES // max(1, bytes_per_row)))
