"""An index in the lake: immutable segments, and a manifest that says which of them count and which images are gone.

A *base* is what the `index` stage makes of a catalog and its codes. Adding, removing and compacting each commit a new
manifest over mostly the same segments, and move a ref; whoever has an older one open goes on with it undisturbed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64
from safetensors.numpy import load, save
from scipy import sparse

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.lake.recipe import Plan
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.retrieval import faiss_guard, flat, forward, postings
from neuroconcepts_ray.retrieval.fetch import fetch
from neuroconcepts_ray.retrieval.flat import Flat
from neuroconcepts_ray.retrieval.forward import Forward
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.postings import Postings
from neuroconcepts_ray.retrieval.ranking import Statistics
from neuroconcepts_ray.retrieval.segment import Segment
from neuroconcepts_ray.retrieval.tables import IMAGE_ID, Images, images_table

POSTINGS = "postings.faiss"
FORWARD = "forward.safetensors"
IMAGES = "images.parquet"
FILES = (POSTINGS, FORWARD, IMAGES)
"""Files of a segment; in a manifest each is called ``<segment>.<file>``."""

DENSE = "dense.faiss"
"""A further file of a segment of units: their full standardised vectors."""

REMOVED = "removed.parquet"
"""Tombstones: ``image_id``, and the ``segment`` and ``row`` where it lies (empty and -1 once compaction dropped it)."""

STATISTICS = "statistics.safetensors"
"""``frequency`` [n]: live images in which each neuron fires."""


@dataclass(frozen=True)
class Draft:
    """A segment before it is put into the lake.

    Attributes:
        key: Digest of what it is made of.
        files: Bytes by file: equal images and codes, equal bytes.
        rows: Images.
        frequency: Images in which each neuron fires.
    """

    key: str
    files: Mapping[str, bytes]
    rows: int
    frequency: Int64[np.ndarray, " n"]

    @classmethod
    def of(
        cls, key: str, codes: sparse.csr_array, rows: pa.Table, dense: Float32[np.ndarray, "m n"] | None = None
    ) -> "Draft":
        """Draft a segment.

        Args:
            key: Digest of what it is made of.
            codes: [m, n], row by row those of ``rows``.
            rows: The catalog's rows of these images.
            dense: Their full vectors, of unit length, where the space has such.

        Raises:
            InputError: An image twice, or more rows than a segment takes.
        """
        ids = rows[IMAGE_ID].to_pylist()
        if len(set(ids)) < len(ids) or len(ids) > postings.MAX_ROWS:
            raise InputError("a segment takes each image once", value=f"{len(ids)} rows of {len(set(ids))} images")
        order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
        ordered = sparse.csr_array(codes)[order]
        files = {
            POSTINGS: postings.build(ordered),
            FORWARD: forward.build(ordered),
            IMAGES: to_parquet(images_table(rows)),
        }
        if dense is not None:
            files[DENSE] = flat.build(dense[order])
        return cls(key, files, len(ids), np.bincount(ordered.indices, minlength=codes.shape[1]).astype(np.int64))

    def put(self, lake: Lake, plan: Plan) -> list[Part]:
        """Write the files, in their order; they count once a receipt or manifest names them."""
        return [
            lake.put_part(plan, f"{self.key}.{file}", data, rows=self.rows if file == IMAGES else 0)
            for file, data in self.files.items()
        ]

    def open(self) -> Segment:
        """The segment from memory, as a reader of the lake will have it."""
        codes = Forward.open(self.files[FORWARD], n=len(self.frequency))
        lists = Postings.open(self.files[POSTINGS], rows=self.rows, sizes=codes.sizes)
        dense = self.files.get(DENSE)
        vectors = None if dense is None else Flat.open(dense, rows=self.rows, n=len(self.frequency))
        return Segment(self.key, lists, codes, Images(self.files[IMAGES], self.rows), dense=vectors)


@dataclass(frozen=True)
class Snapshot:
    """What a manifest of an index says.

    Attributes:
        segments: Key and rows of each segment, in order.
        removed: Tombstones, by image_id: segment and row; ("", -1) where no segment has it any more.
        statistics: Counts over the live images.
    """

    segments: tuple[tuple[str, int], ...]
    removed: Mapping[str, tuple[str, int]]
    statistics: Statistics

    @property
    def images(self) -> int:
        """Live images."""
        return self.statistics.images

    def facts(self) -> dict[str, Any]:
        """As the manifest's facts."""
        return {
            "images": self.images,
            "neurons": len(self.statistics.frequency),
            "postings": self.statistics.postings,
            "segments": [[key, rows] for key, rows in self.segments],
            "removed": len(self.removed),
        }


def read_snapshot(lake: Lake, manifest: Manifest) -> Snapshot:
    """What a manifest says, without opening a segment.

    Raises:
        InputError: It is no index of this format.
    """
    try:
        segments = tuple((str(key), int(rows)) for key, rows in manifest.facts["segments"])
        frequency = load(lake.read(manifest.part(STATISTICS)))["frequency"]
        images = int(manifest.facts["images"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("this is no index of today's format", value=manifest.artifact, remedy=postings.REDO) from error
    removed: dict[str, tuple[str, int]] = {}
    if manifest.facts["removed"]:
        table = lake.table(manifest.part(REMOVED))
        columns = (table[name].to_pylist() for name in (IMAGE_ID, "segment", "row"))
        removed = {image_id: (segment, row) for image_id, segment, row in zip(*columns, strict=True)}
    return Snapshot(segments, removed, Statistics(images, frequency))


def commit_snapshot(
    lake: Lake, plan: Plan, name: str, snapshot: Snapshot, parts: Sequence[Part], facts: Mapping[str, Any]
) -> Manifest:
    """Commit a snapshot over segments whose files are in the lake.

    Args:
        lake: The lake.
        plan: The manifest's plan.
        name: Its role in the pipeline.
        snapshot: What it says.
        parts: Files of all its segments.
        facts: Further facts.
    """
    files = [lake.put_part(plan, STATISTICS, save({"frequency": snapshot.statistics.frequency}))]
    if snapshot.removed:
        table = pa.table(
            {
                IMAGE_ID: pa.array(list(snapshot.removed), pa.string()),
                "segment": pa.array([segment for segment, _ in snapshot.removed.values()], pa.string()),
                "row": pa.array([row for _, row in snapshot.removed.values()], pa.int64()),
            }
        )
        files.append(lake.put_part(plan, REMOVED, to_parquet(table.sort_by(IMAGE_ID)), rows=table.num_rows))
    profile = {"faiss": str(faiss_guard.load().__version__)}
    everything = {**facts, **snapshot.facts()}
    return lake.commit_manifest(plan, name, [*parts, *files], facts=everything, profile=profile)


def segment_parts(manifest: Manifest, key: str) -> list[Part]:
    """The files of a segment.

    Raises:
        InputError: The manifest lacks one.
    """
    try:
        there = {part.name for part in manifest.parts}
        dense = (DENSE,) if f"{key}.{DENSE}" in there else ()
        return [manifest.part(f"{key}.{file}") for file in (*FILES, *dense)]
    except KeyError as error:
        raise InputError("a segment's file is not in the manifest", where=str(error), remedy=postings.REDO) from error


def open_segment(lake: Lake, manifest: Manifest, key: str, rows: int, n: int, cache: Path) -> Segment:
    """Fetch a segment where it has not been, and map it.

    Raises:
        InputError: A file is gone, damaged, or not what it claims to be.
        DigestError: A file was altered.
    """
    lists, codes, images, *further = segment_parts(manifest, key)
    opened = Forward.open(fetch(lake, codes, cache, lambda path: Forward.open(path, n=n).check()), n=n)
    if len(opened) != rows:
        raise InputError("a segment has other images than its manifest says", value=len(opened), limit=rows, where=key)

    def open_postings(path: Path) -> Postings:
        return Postings.open(path, rows=rows, sizes=opened.sizes)

    path = fetch(lake, lists, cache, lambda path: open_postings(path).check(opened.cuts))
    dense = [Flat.open(fetch(lake, part, cache), rows=rows, n=n) for part in further]
    return Segment(
        key, open_postings(path), opened, Images(fetch(lake, images, cache), rows), dense=next(iter(dense), None)
    )


def open_index(
    lake: Lake,
    manifest: Manifest,
    cache: Path,
    *,
    only: Sequence[str] | None = None,
    gone: Sequence[str] = (),
    held: Sequence[Segment] = (),
) -> Index:
    """Open a committed index.

    Args:
        lake: The lake.
        manifest: Of kind ``index``.
        cache: Folder for what has been fetched and checked.
        only: Keys of segments to open, where this is one shard of several; None for all.
        gone: Images that a newer state of the index has removed, beside the manifest's own tombstones.
        held: Segments that are open already, in another state: what is immutable of them is shared.

    Raises:
        InputError: See :func:`open_segment`.
    """
    snapshot = read_snapshot(lake, manifest)
    n = len(snapshot.statistics.frequency)
    there = {segment.key: segment for segment in held}
    segments = [
        there[key].bare() if key in there else open_segment(lake, manifest, key, rows, n, cache)
        for key, rows in snapshot.segments
        if only is None or key in only
    ]
    for segment in segments:
        segment.bury([row for key, row in snapshot.removed.values() if key == segment.key])
    statistics = snapshot.statistics
    more = [image_id for image_id in gone if image_id not in snapshot.removed]
    if more:
        statistics = bury(segments, statistics, more)
    return Index(segments, statistics)


def bury(segments: Sequence[Segment], statistics: Statistics, image_ids: Sequence[str]) -> Statistics:
    """Put tombstones on images, and take them out of the counts.

    Args:
        segments: All segments of an index; theirs are the tombstones.
        statistics: Its counts so far.
        image_ids: The images; unknown ones are passed over.
    """
    frequency, images = statistics.frequency.copy(), statistics.images
    for segment in segments:
        rows = np.unique(segment.images.places(image_ids))
        rows = rows[(rows >= 0) & segment.live()[rows]]
        for neurons, _ in segment.forward.codes(rows):
            frequency[neurons] -= 1
        images -= len(rows)
        segment.bury(rows.tolist())
    return Statistics(images, frequency)
