"""Labels, views and reports that changed after their films were catalogued: partitions keep their films and places.

What was mined depends on the films alone; so a label that comes a week late must not have an archive mined again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from neuroconcepts_ray.catalog.rows import Rows
from neuroconcepts_ray.catalog.tombstones import ROLE
from neuroconcepts_ray.catalog.trees import Entry

FIXED = ("image_id", "study", "group", "role")
"""Columns of an image that may not change, or models that were fitted before would have seen what they may not."""


@dataclass(frozen=True)
class Revision:
    """What became of a catalog's partitions.

    Attributes:
        changed: Partitions that say something else now, by number.
        new: What none of them has.
    """

    changed: dict[int, Rows]
    new: Rows


def revise(rows: Rows, partitions: Sequence[tuple[pa.Table, pa.Table, pa.Table]]) -> Revision | None:
    """A catalog's partitions as the archive has them now.

    Args:
        rows: The archive as it is now.
        partitions: Of the catalog before: images, sources, and reports with their texts.

    Returns:
        None where a film changed or went, or its study, patient or role.
    """
    image_at = {one: row for row, one in enumerate(rows.images["image_id"].to_pylist())}
    report_at = {one: row for row, one in enumerate(rows.reports["study"].to_pylist())}
    changed = {}
    for number, (images, sources, reports) in enumerate(partitions):
        if images.column_names != rows.images.column_names or not set(rows.sources.column_names) <= set(
            sources.column_names
        ):
            return None
        live = [row for row, role in enumerate(images["role"].to_pylist()) if role != ROLE]
        places = [image_at.pop(images["image_id"][row].as_py(), -1) for row in live]
        if -1 in places:
            return None
        now, before = _take(rows.images, places), _take(images, live)
        fixed, files = list(FIXED), ["image_id", "key", "sha256", "size"]
        if not now.select(fixed).equals(before.select(fixed)):
            return None
        now_sources = _take(rows.sources, places)
        if not now_sources.select(files).equals(sources.select(files)):
            return None
        kept = [one for one in reports["study"].to_pylist() if one in report_at]
        at = [report_at.pop(one) for one in kept]
        now_reports = _take(rows.reports, at)
        same = now_reports.equals(reports.select(now_reports.column_names))
        if same and now.equals(before) and now_sources.equals(sources.select(now_sources.column_names)):
            continue
        texts = dict(zip(reports["sha256"].to_pylist(), reports["text"].to_pylist(), strict=True))
        known: list[Entry | str] = [
            texts.get(digest, rows.texts[row])
            for digest, row in zip(now_reports["sha256"].to_pylist(), at, strict=True)
        ]
        changed[number] = Rows(_among(images, live, now), now_sources, now_reports, known)
    images_left, reports_left = list(image_at.values()), list(report_at.values())
    new = Rows(
        _take(rows.images, images_left),
        _take(rows.sources, images_left),
        _take(rows.reports, reports_left),
        [rows.texts[row] for row in reports_left],
    )
    return Revision(changed, new)


def _among(images: pa.Table, live: list[int], now: pa.Table) -> pa.Table:
    """The rows of now at the places of the live ones, tombstones where they were."""
    alive = set(live)
    dead = [row for row in range(images.num_rows) if row not in alive]
    order = sorted(range(images.num_rows), key=[*live, *dead].__getitem__)
    # A column of numbers, or of nothing, may hold words now; of a tombstone it holds nothing.
    graves = _take(images, dead).cast(now.schema)
    return _take(pa.concat_tables([now, graves]), order)


def _take(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    return table.take(pa.array(rows, pa.int64()))
