"""A catalog's rows as Arrow tables, their digest, and what of them a parent catalog has already."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from neuroconcepts_ray.catalog.archive import Archive, apply_policy
from neuroconcepts_ray.catalog.config import ROLES, CatalogConfig, Role
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.roles import check_disjoint
from neuroconcepts_ray.catalog.tables import LABEL
from neuroconcepts_ray.catalog.trees import Entry
from neuroconcepts_ray.lake.recipe import DIGEST_CHARS, canonical_json


@dataclass(frozen=True)
class Rows:
    """Everything that a catalog says, in one deterministic order.

    Attributes:
        images: image_id, study, group, view, role, the adapter's columns, label:<name> …; sorted by group, study,
            image_id.
        sources: image_id, key, size, sha256, patient, study_id, the adapter's PHI columns; the same order. PHI.
        reports: study, sha256 of the report's bytes; sorted by study.
        texts: Each report's file, or its text, in the order of ``reports``. PHI.
    """

    images: pa.Table
    sources: pa.Table
    reports: pa.Table
    texts: list[Entry | str]


def make_rows(
    archive: Archive,
    roles: Sequence[Role],
    config: CatalogConfig,
    key: HashKey,
    image_sha256: Sequence[str],
    report_sha256: Sequence[str],
) -> Rows:
    """Hash the identifiers, apply the policies and sort.

    Args:
        archive: What the adapter found.
        roles: The role of each image.
        config: Policies.
        key: Keys the hashes.
        image_sha256: Digest of each image's file.
        report_sha256: Digest of each report's file, in the order of ``archive.reports``.

    Raises:
        LeakageError: A group has two roles.
    """
    group_of = {patient: key.hash("group", patient) for patient in set(archive.patients)}
    study_of = {study: key.hash("study", study) for study in set(archive.study_ids)}
    groups = [group_of[patient] for patient in archive.patients]
    studies = [study_of[study] for study in archive.study_ids]
    check_disjoint(groups, roles)
    y, masked = apply_policy(archive.raw, config)
    labels = {LABEL + name: pa.array(y[:, i], pa.int8(), mask=masked[:, i]) for i, name in enumerate(archive.labels)}
    images = pa.table(
        {
            "image_id": _strings(archive.image_ids),
            "study": _strings(studies),
            "group": _strings(groups),
            "view": _strings(archive.views),
            "role": _strings(roles),
            **{name: _column(values) for name, values in archive.columns.items()},
            **labels,
        }
    )
    sources = pa.table(
        {
            "image_id": _strings(archive.image_ids),
            "key": _strings([file.key for file in archive.files]),
            "size": pa.array([file.size for file in archive.files], pa.int64()),
            "sha256": _strings(image_sha256),
            "patient": _strings(archive.patients),
            "study_id": _strings(archive.study_ids),
            **{name: _column(values) for name, values in archive.phi_columns.items()},
        }
    )
    order = sorted(range(len(groups)), key=lambda i: (groups[i], studies[i], archive.image_ids[i]))
    texts = sorted(
        (
            (study_of[study], digest, text)
            for (study, text), digest in zip(archive.reports.items(), report_sha256, strict=True)
        ),
        key=itemgetter(0),
    )
    reports = pa.table(
        {"study": _strings([text[0] for text in texts]), "sha256": _strings([text[1] for text in texts])}
    )
    return Rows(_take(images, order), _take(sources, order), reports, [text[2] for text in texts])


def archive_digest(rows: Rows, counts: Mapping[str, Any]) -> str:
    """Digest of an archive as it was catalogued: every row, every source's key, size and SHA-256, every report.

    Args:
        rows: The rows.
        counts: What was counted and left out.

    Returns:
        32 hexadecimal digits; absolute paths and times have no part in it.
    """
    hasher = hashlib.sha256(canonical_json(dict(counts)))
    for table in (rows.images, rows.sources, rows.reports):
        for name in table.column_names:
            hasher.update(canonical_json([name, table[name].to_pylist()]))
    return hasher.hexdigest()[:DIGEST_CHARS]


def row_counts(rows: Rows) -> dict[str, Any]:
    """Images, studies, groups, images by role, reports, studies without one."""
    roles = rows.images["role"].to_pylist()
    studies = len(set(rows.images["study"].to_pylist()))
    return {
        "images": rows.images.num_rows,
        "studies": studies,
        "groups": len(set(rows.images["group"].to_pylist())),
        "roles": {role: roles.count(role) for role in ROLES},
        "reports": rows.reports.num_rows,
        "studies_without_report": studies - rows.reports.num_rows,
    }


def beyond(rows: Rows, parent_images: pa.Table, parent_sources: pa.Table, parent_reports: pa.Table) -> Rows | None:
    """The rows that a parent catalog does not have, if it has all its own unchanged.

    Args:
        rows: The archive as it is now.
        parent_images: All images of the parent.
        parent_sources: All its sources.
        parent_reports: Its reports' study and sha256.

    Returns:
        The new rows, perhaps none; None where a row of the parent changed or went.
    """
    if parent_images.column_names != rows.images.column_names:
        return None
    new_images = _beyond(rows.images, parent_images, "image_id")
    new_reports = _beyond(rows.reports, parent_reports, "study")
    new_sources = _beyond(rows.sources, parent_sources, "image_id")
    if new_images is None or new_sources is None or new_reports is None:
        return None
    return Rows(
        _take(rows.images, new_images),
        _take(rows.sources, new_images),
        _take(rows.reports, new_reports),
        [rows.texts[i] for i in new_reports],
    )


def _beyond(now: pa.Table, before: pa.Table, by: str) -> list[int] | None:
    place = {identifier: row for row, identifier in enumerate(now[by].to_pylist())}
    kept = [place.pop(identifier, -1) for identifier in before[by].to_pylist()]
    if -1 in kept or not _take(now, kept).equals(before.select(now.column_names)):
        return None
    return list(place.values())


def cut_partitions(rows: Rows, most: int) -> list[Rows]:
    """Cut rows into partitions of at most ``most`` images; a report goes with its study's first image here.

    Reports of studies that are not among the rows (they came after their films) go with the first partition.
    """
    count = max(1, -(-rows.images.num_rows // most))
    first: dict[str, int] = {}
    for row, study in enumerate(rows.images["study"].to_pylist()):
        first.setdefault(study, row // most)
    home = np.array([first.get(study, 0) for study in rows.reports["study"].to_pylist()], dtype=np.int64)
    parts = []
    for number in range(count):
        here = np.flatnonzero(home == number).tolist()
        parts.append(
            Rows(
                rows.images.slice(number * most, most),
                rows.sources.slice(number * most, most),
                _take(rows.reports, here),
                [rows.texts[i] for i in here],
            )
        )
    return parts


def _strings(values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.string())


def _column(values: Sequence[Any]) -> pa.Array:
    """A column of numbers as float64, of anything else as text; None is null."""
    numeric = all(value is None or isinstance(value, (int, float)) for value in values)
    return pa.array(values, pa.float64() if numeric else pa.string())


def _take(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    return table.take(pa.array(rows, pa.int64()))
