"""A catalog's images a few rows at a time: what cuts and loads an archive never holds all of it.

Rows come from Parquet as they are asked for, a row group at a time; ids, digests and keys of 377,110 images would take
hundreds of megabytes as Python objects, in the driver and in each of its loaders.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from neuroconcepts_ray.catalog.sources import Source
from neuroconcepts_ray.catalog.tombstones import ROLE
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.lake.shards import TOMBSTONE, Row, Start


class _Rows:
    """Some columns of a part; the row group that was read last is held, for who goes on reads on."""

    def __init__(self, lake: Lake, part: Part, columns: list[str]) -> None:
        self.source = lake.checked(part)
        self.columns = columns
        with pq.ParquetFile(self.source) as file:
            self.metadata: pq.FileMetaData = file.metadata
        counts = [self.metadata.row_group(group).num_rows for group in range(self.metadata.num_row_groups)]
        self.starts: list[int] = [sum(counts[:group]) for group in range(len(counts) + 1)]
        self.held: tuple[int, pa.Table] | None = None

    def _group(self, group: int) -> pa.Table:
        if self.held is None or self.held[0] != group:
            # Open while it is read and no longer: an open file would keep a disk from being unmounted.
            with pq.ParquetFile(self.source, metadata=self.metadata) as file:
                self.held = group, file.read_row_group(group, self.columns, use_threads=False)
        return self.held[1]

    def some(self, start: int, stop: int) -> list[tuple[Any, ...]]:
        """Rows start … stop − 1, each as the values of its columns."""
        found: list[tuple[Any, ...]] = []
        for group, (first, after) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            if first < stop and after > start:
                rows = self._group(group).slice(max(start - first, 0), min(stop, after) - max(start, first))
                found += zip(*(rows[name].to_pylist() for name in self.columns), strict=True)
        return found


class Films:
    """The images of a catalog and where their bytes are, by where they stand.

    Args:
        lake: The lake.
        catalog: A catalog's manifest.
    """

    def __init__(self, lake: Lake, catalog: Manifest) -> None:
        self.partitions = [int(rows) for rows in catalog.facts["partitions"]]
        self._lake, self._catalog = lake, catalog
        self._open: tuple[int, _Rows, _Rows] | None = None

    def _partition(self, number: int) -> tuple[_Rows, _Rows]:
        if self._open is None or self._open[0] != number:
            parts = (self._catalog.part(f"{name}-{number:04}.parquet") for name in ("images", "sources"))
            images, sources = parts
            self._open = (
                number,
                _Rows(self._lake, images, ["image_id", "role"]),
                _Rows(self._lake, sources, ["image_id", "key", "size", "sha256"]),
            )
        return self._open[1], self._open[2]

    def some(self, start: Start, size: int) -> tuple[list[Row], dict[str, Source]]:
        """The rows from a start on, and the source of each image that is no tombstone.

        Args:
            start: Of the first row.
            size: How many; fewer where the partition ends.

        Returns:
            Rows in the catalog's order, and sources by image_id.

        Raises:
            InputError: Images and sources of the catalog do not belong together.
        """
        images, sources = self._partition(start.partition)
        places = images.some(start.row, start.row + size)
        ids = [image_id for image_id, role in places if role != ROLE]
        found = {
            image_id: Source(key, size, sha256, image_id)
            for image_id, key, size, sha256 in sources.some(start.source, start.source + len(ids))
        }
        if list(found) != ids:
            raise InputError("the catalog's images and sources do not belong together", remedy="Run `catalog` again")
        rows = [Row(image_id, TOMBSTONE if role == ROLE else found[image_id].sha256) for image_id, role in places]
        return rows, found

    def each(self, size: int) -> Iterator[tuple[Start, list[Row]]]:
        """All rows in the catalog's order, ``size`` at a time, of one partition each."""
        for number, rows in enumerate(self.partitions):
            source = 0
            for row in range(0, rows, size):
                start = Start(number, row, source)
                found, sources = self.some(start, size)
                source += len(sources)
                yield start, found
