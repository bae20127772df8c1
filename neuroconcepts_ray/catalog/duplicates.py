"""Films that an archive holds more than once: found, given one role, and written down by image_id alone."""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from neuroconcepts_ray.catalog.archive import Archive
from neuroconcepts_ray.catalog.config import ROLES, CatalogConfig
from neuroconcepts_ray.catalog.joined import Known, Settled
from neuroconcepts_ray.catalog.seen import Seen
from neuroconcepts_ray.catalog.tables import DUPLICATES
from neuroconcepts_ray.catalog.trees import Tree
from neuroconcepts_ray.distributed.progress import track
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest

LEFT_OUT = "near-duplicate"
"""Why a film is left out that would join patients whose roles can no longer change."""


@dataclass(frozen=True)
class Duplicate:
    """Two images that show the same film.

    Attributes:
        a: Row of one.
        b: Row of the other.
        distance: Bits of 256 by which their hashes differ; 0 where their files are the same.
        likeness: Correlation of their details.
    """

    a: int
    b: int
    distance: int
    likeness: float


@dataclass(frozen=True)
class Found:
    """All duplicates of an archive.

    Attributes:
        pairs: They, enough to join all images of the same film.
        unseen: Images that cannot be decoded or show nothing; only their bytes were compared.
    """

    pairs: list[Duplicate]
    unseen: int


def find_duplicates(archive: Archive, sha256: Sequence[str], tree: Tree, lake: Lake, config: CatalogConfig) -> Found:
    """Look at every film that was not looked at before, and compare.

    Args:
        archive: What the adapter found.
        sha256: Digest of each image's file.
        tree: The archive.
        lake: The lake; its PHI root remembers looks and comparisons.
        config: The archive's config.

    Raises:
        EnvironmentFault: A file cannot be read, or changed meanwhile.
    """
    if config.near_duplicates == "keep":
        return Found([], 0)
    rows: dict[str, list[int]] = defaultdict(list)
    for row in sorted(range(len(sha256)), key=archive.image_ids.__getitem__):
        rows[sha256[row]].append(row)
    seen = Seen(lake.phi, config.ref)
    with track("catalog: looks", len(rows), "films") as advance:
        seen.look_at(tree, {digest: archive.files[own[0]] for digest, own in rows.items()}, advance)
    pairs = [Duplicate(own[0], other, 0, 1.0) for own in rows.values() for other in own[1:]]
    for twin in seen.compare():
        if twin.a in rows and twin.b in rows:  # what was seen may be gone from the archive
            pairs.append(Duplicate(rows[twin.a][0], rows[twin.b][0], twin.distance, twin.likeness))
    known = seen.known
    return Found(pairs, sum(digest not in known for digest in sha256))


def known_of(lake: Lake, parent: Manifest) -> Known:
    """What a catalog's images and roles are, tombstones aside, and who had the same film as one who was erased."""
    table = lake.tables(parent, "images-", ["image_id", "group", "role"])
    columns = (table[name].to_pylist() for name in ("image_id", "group", "role"))
    live = [row for row in zip(*columns, strict=True) if row[2] in ROLES]
    moved = bool(parent.facts.get("near_duplicates", {}).get("moved_groups"))
    return Known(frozenset(row[0] for row in live), {row[1]: row[2] for row in live}, moved)


def apart(archive: Archive, settled: Settled) -> tuple[Archive, list[int]]:
    """The archive without the images that were left out, and the rows of those that were not."""
    gone = set(settled.left_out)
    rows = [row for row in range(len(archive.image_ids)) if row not in gone]
    if not gone:
        return archive, rows
    less = copy.deepcopy(archive)
    less.keep(rows)
    less.left_out = {**archive.left_out, LEFT_OUT: len(gone)}
    return less, rows


def duplicate_tables(
    archive: Archive, found: Found, settled: Settled, partition_of: Mapping[str, int], known: Known
) -> dict[int, pa.Table]:
    """The duplicates of each new partition: pairs of which the later image is in it.

    Args:
        archive: What the adapter found.
        found: Its duplicates.
        settled: Which of them count.
        partition_of: Partition of each new image.
        known: Images of older partitions.

    Returns:
        By partition, where there are any: image_id, other, distance int16, likeness float32; sorted.
    """
    counted = set(settled.pairs)
    rows: dict[int, list[tuple[str, str, int, float]]] = defaultdict(list)
    for pair in found.pairs:
        first, second = sorted((archive.image_ids[pair.a], archive.image_ids[pair.b]))
        here = [partition_of.get(image, -1) for image in (first, second)]
        old = [image in known.images for image in (first, second)]
        if (pair.a, pair.b) in counted and max(here) >= 0 and all(p >= 0 or k for p, k in zip(here, old, strict=True)):
            rows[max(here)].append((first, second, pair.distance, pair.likeness))
    return {
        partition: pa.table([pa.array(column) for column in zip(*sorted(some), strict=True)], DUPLICATES.names).cast(
            DUPLICATES
        )
        for partition, some in rows.items()
    }
