"""Erased patients: rows that only keep a place, so that nobody else's bytes change, and films that are left out.

A tombstone keeps the position of an erased image in its frozen partition, and nothing else of it. Of the patient there
remains one keyed hash of its own kind, by which later looks at the archive leave the films out.
"""

from collections.abc import Collection
from dataclasses import fields
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from neuroconcepts_ray.catalog.archive import Archive
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.lake.lake import Lake

ROLE = "erased"
"""The role of a tombstone: none of the five, so that whoever asks for a role never meets one."""

FOLDER = "erasures"
"""One record for each erased patient; below phi_root, what an erasure under way must remember."""


def token(key: HashKey, group: str) -> str:
    """What remains of an erased patient.

    Args:
        key: The lake's key.
        group: Keyed hash of the patient.
    """
    return key.hash("erased", group)


def tokens(lake: Lake) -> set[str]:
    """Tokens of all patients that were erased from a lake."""
    return {PurePosixPath(name).stem for name in lake.store.list(FOLDER)}


def check_finished(lake: Lake) -> None:
    """Refuse to work on a lake in which an erasure was interrupted.

    Raises:
        EnvironmentFault: One was.
    """
    if next(iter(lake.phi.list(FOLDER)), None) is not None:
        raise EnvironmentFault(
            "an erasure was interrupted, and is to be finished first",
            remedy="Run the same `neuroconcepts erase` command again; it continues",
        )


def leave_out(archive: Archive, key: HashKey, erased: Collection[str]) -> None:
    """Take the films and reports of erased patients out of what an adapter found, and count them.

    Args:
        archive: What was found; changed in place.
        key: The lake's key.
        erased: Tokens of erased patients.
    """
    if not erased:
        return
    gone = {one for one in set(archive.patients) if token(key, key.hash("group", one)) in erased}
    count = len(archive.patients)
    kept = [row for row, patient in enumerate(archive.patients) if patient not in gone]
    if len(kept) == count:
        return
    studies = {archive.study_ids[row] for row in kept}
    archive.reports = {
        study: report
        for study, report in archive.reports.items()
        if study in studies or study not in set(archive.study_ids)
    }

    def some(values: Any) -> Any:
        if isinstance(values, np.ndarray):
            return values[kept]
        return [values[row] for row in kept] if isinstance(values, list) and len(values) == count else values

    for field in fields(archive):
        value = getattr(archive, field.name)
        if field.name == "labels":
            continue
        if isinstance(value, dict):
            setattr(archive, field.name, {name: some(column) for name, column in value.items()})
        else:
            setattr(archive, field.name, some(value))
    archive.left_out = {**archive.left_out, ROLE: count - len(kept)}


def live(images: pa.Table) -> pa.Table:
    """A catalog's rows without tombstones."""
    return images.filter(pc.not_equal(images["role"], ROLE))


def bury(images: pa.Table, dead: Bool[np.ndarray, " m"], partition: int) -> pa.Table:
    """A partition's images with some of them made tombstones, which keep their places.

    Args:
        images: Rows of a frozen partition.
        dead: Which of them.
        partition: Its number.
    """
    mask = pa.array(dead)
    places = pa.array([f"{ROLE}.{partition:04d}.{row}" for row in range(len(dead))], pa.string())
    blank = {"image_id": places, "role": pa.array([ROLE] * len(dead), pa.string())}
    blank |= {name: pa.array([""] * len(dead), pa.string()) for name in ("study", "group", "view")}
    columns = {}
    for field in images.schema:
        new = blank.get(field.name, pa.nulls(len(dead), field.type))
        columns[field.name] = pc.if_else(mask, new, images[field.name].combine_chunks())
    return pa.table(columns, schema=images.schema)
