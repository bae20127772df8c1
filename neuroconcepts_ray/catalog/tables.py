"""Readers of a catalog: its rows as arrays, its sources, its reports, and where an image stands among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Shaped

from neuroconcepts_ray.catalog.mapping import RESERVED
from neuroconcepts_ray.catalog.roles import check_disjoint
from neuroconcepts_ray.catalog.sources import Source
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest

LABEL = "label:"
"""Prefix of the label columns."""


@dataclass(frozen=True)
class Catalog:
    """A catalog's rows, in the order of its partitions.

    Attributes:
        image_ids: One per image, unique.
        studies: Keyed hash of each image's study.
        groups: Keyed hash of each image's patient (or lesion): what roles, bootstraps and exclusions go by.
        views: Such as ``AP``; empty where the archive does not know.
        roles: One of fit, probe, select, verify, test.
        labels: Names of the columns of ``y``.
        y: 1 present, 0 absent, NaN masked; the policies for uncertain and blank labels are applied.
        task: ``multilabel``, ``multiclass`` (one 1 a row) or ``binary`` (one column).
        partitions: The rows of each frozen partition.
        columns: Whatever else the archive tells, such as age, sex, site: words ("" unknown) or numbers (NaN unknown).
    """

    image_ids: Shaped[np.ndarray, "n"]
    studies: Shaped[np.ndarray, "n"]
    groups: Shaped[np.ndarray, "n"]
    views: Shaped[np.ndarray, "n"]
    roles: Shaped[np.ndarray, "n"]
    labels: list[str]
    y: Float[np.ndarray, "n l"]
    task: str
    partitions: list[slice]
    columns: dict[str, Shaped[np.ndarray, "n"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_ids)


def load_catalog(lake: Lake, manifest: Manifest) -> Catalog:
    """The rows of a catalog.

    Args:
        lake: The lake.
        manifest: A catalog's manifest.

    Returns:
        All rows; ``y`` is float32.

    Raises:
        InputError: A part is missing or was altered.
        LeakageError: A group has more than one role; every figure is computed from these rows.
    """
    table = lake.tables(manifest, "images-")
    labels = [str(label) for label in manifest.facts["labels"]]
    y = np.empty((table.num_rows, len(labels)), dtype=np.float32)
    for column, label in enumerate(labels):
        # Null becomes NaN only in a floating type.
        y[:, column] = table[LABEL + label].cast(pa.float32()).to_numpy()
    check_disjoint(_strings(table, "group").tolist(), _strings(table, "role").tolist())
    slices, start = [], 0
    for rows in manifest.facts["partitions"]:
        slices.append(slice(start, start + rows))
        start += rows
    return Catalog(
        image_ids=_strings(table, "image_id"),
        studies=_strings(table, "study"),
        groups=_strings(table, "group"),
        views=_strings(table, "view"),
        roles=_strings(table, "role"),
        labels=labels,
        y=y,
        task=str(manifest.facts["task"]),
        partitions=slices,
        columns={
            name: _values(table, name)
            for name in table.column_names
            if name not in RESERVED and not name.startswith(LABEL)
        },
    )


def caveats(facts: Mapping[str, Any]) -> list[str]:
    """What a reader of any score over a catalog must know of its labels, groups and split; plain sentences.

    Args:
        facts: The facts of a catalog's manifest.
    """
    policy = facts["policy"]
    said: list[str] = []
    doubtful = any(counts["uncertain"] or counts["blank"] for counts in facts["label_counts"].values())
    if facts["labels"] and (facts["task"] == "multilabel" or doubtful):
        uncertain = {"mask": "are masked", "zeros": "count as absent", "ones": "count as present"}[policy["uncertain"]]
        blank = {"zero": "count as absent", "mask": "are masked"}[policy["blank"]]
        said.append(f"Uncertain labels {uncertain}; blank ones {blank}.")
    by = facts.get("grouped_by", "patient")
    if by not in ("patient", "file"):
        said.append(f"No patients are known: a group is one {by}, so two of one patient may be on both sides.")
    torn = facts.get("torn", {}).get("groups", 0)
    if torn:
        moved = ", ".join(f"{count} from {part}" for part, count in facts["torn"]["moved"].items())
        said.append(
            f"The split tore {torn} of {facts['groups']} groups; each went whole to its part nearest to training "
            f"(images moved: {moved}), so figures are not comparable with those by the split as published."
        )
    return said


def load_sources(lake: Lake, manifest: Manifest) -> dict[str, Source]:
    """Where each image's bytes are, by image_id, in the catalog's order (from phi_root: keys may carry ids)."""
    table = lake.tables(manifest, "sources-", ["image_id", "key", "size", "sha256"])
    columns = (table[name].to_pylist() for name in ("key", "size", "sha256", "image_id"))
    return {row[3]: Source(*row) for row in zip(*columns, strict=True)}


def load_reports(lake: Lake, manifest: Manifest) -> dict[str, str]:
    """The text of each study's report, by the study's keyed hash (from phi_root)."""
    table = lake.tables(manifest, "reports-", ["study", "text"])
    return dict(zip(table["study"].to_pylist(), table["text"].to_pylist(), strict=True))


def positions(image_ids: Shaped[np.ndarray, " m"], known: Shaped[np.ndarray, " n"]) -> np.ndarray:
    """The row of ``known`` that holds each of ``image_ids``.

    Raises:
        InputError: An image that ``known`` lacks.
    """
    order = np.argsort(known, kind="stable")
    at = order[np.minimum(np.searchsorted(known, image_ids, sorter=order), len(known) - 1)] if len(known) else order
    if len(known) == 0 or not np.array_equal(known[at], image_ids):
        missing = image_ids[known[at] != image_ids][0] if len(known) else image_ids[0]
        raise InputError("an image is not in the catalog", value=missing, remedy="Run `mine` on this catalog again")
    return np.asarray(at)


def _values(table: pa.Table, name: str) -> Shaped[np.ndarray, "n"]:
    kind = table[name].type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return np.asarray(table[name].cast(pa.float64()).to_numpy())
    return np.array([value or "" for value in table[name].to_pylist()], dtype=np.str_)


def _strings(table: pa.Table, name: str) -> Shaped[np.ndarray, "n"]:
    return np.array(table[name].to_pylist(), dtype=np.str_)
