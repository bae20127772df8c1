"""Adapter ``folder``: one folder per class, with or without one per part of a split.

    ROOT/CLASS/ID.ext            or
    ROOT/SPLIT/CLASS/ID.ext      SPLIT ∈ train | val | valid | validate | validation | test, in any case

Names may carry patients, so image_id is a keyed hash of the path. The patient is what ``group_pattern`` finds in the
name; an image is a study of its own and has no view.
"""

import re

from neuroconcepts_ray.catalog.archive import Archive, choose_labels, no_view_is_wanted, one_hot
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.trees import Entry, Tree, is_image
from neuroconcepts_ray.errors import InputError

SPLITS = {
    "train": "train",
    "val": "validate",
    "valid": "validate",
    "validate": "validate",
    "validation": "validate",
    "test": "test",
}


def scan(
    config: CatalogConfig,
    root: Tree,
    reports: Tree | None,  # noqa: ARG001 - every adapter is called alike
    key: HashKey,
) -> Archive:
    """Look at a tree of classes once.

    Files that are no images, or do not lie in a class, are left out and counted as ``junk``; images of classes that
    ``config.labels`` does not list, as ``class``. Images that ``group_pattern`` does not match are groups of their
    own, counted as ``ungrouped``.

    Args:
        config: Labels, positive, group_pattern, views.
        root: The archive's tree.
        reports: Unused.
        key: Keys the image ids.

    Raises:
        ConfigError: ``positive`` or ``labels`` do not fit the classes.
        InputError: No film lies in a class.
    """
    left_out = {"junk": 0, "class": 0, "view": 0}
    rows: list[tuple[Entry, str, str]] = []
    outside = 0
    for entry in root.walk():
        film = is_image(entry.key)
        place = _place(entry.key) if film else None
        if place is None:
            left_out["junk"] += 1
            outside += film
        else:
            rows.append((entry, *place))
    if not rows and outside:
        raise InputError(
            "films lie in the folder, but none in a class",
            value=f"{outside} films",
            limit="[SPLIT/]CLASS/ID.ext",
            where="catalog.root",
            remedy="Make a folder for each class, or name the files in a table and set `catalog.adapter: csv`",
        )
    classes = choose_labels(config.labels, sorted({row[2] for row in rows}))
    if no_view_is_wanted(config):
        left_out["view"], rows = len(rows), []
    kept = [row for row in rows if row[2] in classes]
    left_out["class"] = len(rows) - len(kept)
    labels, task, raw = one_hot([row[2] for row in kept], classes, config.positive)
    archive = Archive(labels=labels, task=task, left_out=left_out, raw=raw)
    pattern = re.compile(config.group_pattern) if config.group_pattern is not None else None
    for entry, part, _ in kept:
        archive.image_ids.append(key.hash("image", entry.key))
        archive.files.append(entry)
        patient = _patient(entry.key, pattern)
        archive.ungrouped += pattern is not None and patient is None
        archive.patients.append(patient or entry.key)
        archive.study_ids.append(entry.key)
        archive.views.append("")
        archive.published.append(part)
    archive.grouped_by = "image" if pattern is None else "patient"
    return archive


def _place(key: str) -> tuple[str, str] | None:
    """Part of the split ("" for none) and class of an image; None where it lies in no class."""
    parts = key.split("/")
    if any(part.startswith(".") for part in parts):
        return None
    if len(parts) == 3 and parts[0].lower() in SPLITS:
        return SPLITS[parts[0].lower()], parts[1]
    if len(parts) == 2 and parts[0].lower() not in SPLITS:
        return "", parts[0]
    return None


def _patient(key: str, pattern: re.Pattern[str] | None) -> str | None:
    match = pattern.search(key.rpartition("/")[2]) if pattern is not None else None
    return next((group for group in match.groups() if group), None) if match is not None else None
