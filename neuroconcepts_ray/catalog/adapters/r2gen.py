"""Adapter ``r2gen``: the archives that report generation is trained on, as R2Gen lays them out.

    annotation.json    {"train": [record, …], "val": […], "test": […]}, a record being
                       {"id", "report", "image_path": [path, …] [, "study_id", "subject_id"]}
    images/<path>      the paths of image_path

IU X-Ray has a record a study (its images are two views) and no patients: the group is the study. MIMIC-CXR has a
record an image, with study_id and subject_id. The report stands at every record of its study.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neuroconcepts_ray.catalog.archive import Archive, no_view_is_wanted, text_of_each_study
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.labels_file import join_labels
from neuroconcepts_ray.catalog.sheets import read_in
from neuroconcepts_ray.catalog.trees import Entry, Tree, is_image
from neuroconcepts_ray.errors import ConfigError, InputError

PARTS = {"train": "train", "val": "validate", "test": "test"}

PUBLISHED = {
    "study": {
        "images": 5_910,
        "studies": 2_955,
        "images of train": 4_138,
        "images of validate": 592,
        "images of test": 1_180,
    },
    "patient": {"images of validate": 2_130, "images of test": 3_858},
}
"""By what a group is: of the study, IU X-Ray's; of the patient, MIMIC-CXR's."""

IDS = ("dicom_id", "image_id", "study_id", "id")
"""Columns of a labels_file that may say whose labels a row holds, the finest first."""

_NO_LABELS = ("subject_id", "split")
_DICOM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")


@dataclass(frozen=True)
class _Image:
    """One image of a record: its path below images/, what the record calls itself, study, patient, part, report."""

    path: str
    record: str
    study: str
    patient: str
    part: str
    report: str


def scan(
    config: CatalogConfig,
    root: Tree,
    reports: Tree | None,  # noqa: ARG001 - they stand in annotation.json
    key: HashKey,
) -> Archive:
    """Look at an archive in R2Gen's layout once.

    Images that are not on disk are left out and counted as ``missing``, those that no record names as ``unlisted``,
    other files below ``images/`` as ``junk``.

    Args:
        config: Labels, labels_file, views.
        root: Tree that holds ``annotation.json`` and ``images/``.
        reports: Unused.
        key: Keys the image ids, except MIMIC's, which are random already.

    Raises:
        InputError: annotation.json is damaged; a study's reports differ; labels hold other values.
        ConfigError: A file or a label is not there.
    """
    left_out = {"view": 0, "missing": 0, "unlisted": 0, "junk": 0}
    images = list(_records(read_in(root, "annotation.json", "catalog.root")))
    if not root.is_dir("images"):
        raise ConfigError("the archive has no folder `images`", where="catalog.root")
    files: dict[str, Entry] = {}
    for entry in root.walk("images"):
        if is_image(entry.key):
            files[entry.key] = entry
        else:
            left_out["junk"] += 1
    left_out["unlisted"] = len(files.keys() - {f"images/{image.path}" for image in images})
    if no_view_is_wanted(config):
        left_out["view"], images = len(images), []
    kept = [image for image in images if f"images/{image.path}" in files]
    left_out["missing"] = len(images) - len(kept)
    strays = sum(not image.patient for image in images)
    if 0 < strays < len(images):
        raise InputError(
            "records without a subject_id stand among others that have one",
            value=f"{strays} of {len(images)} images",
            where="annotation.json",
            remedy="Give every record its subject_id, or none: a patient must not be on both sides",
        )
    grouped_by = "study" if strays else "patient"
    archive = Archive(
        labels=[],
        task="multilabel",
        left_out=left_out,
        raw=np.empty((len(kept), 0), np.int8),
        image_ids=[_image_id(image, key) for image in kept],
        files=[files[f"images/{image.path}"] for image in kept],
        patients=[image.patient if grouped_by == "patient" else image.study for image in kept],
        study_ids=[image.study for image in kept],
        views=[""] * len(kept),
        published=[image.part for image in kept],
        reports=text_of_each_study((image.study, image.report) for image in kept),
        aliases=[image.record for image in kept],
        grouped_by=grouped_by,
        published_counts=dict(PUBLISHED[grouped_by]),
    )
    if config.labels_file is not None:
        names = {name: [image.study if name == "study_id" else image.record for image in kept] for name in IDS}
        archive.labels, archive.raw, _ = join_labels(config.labels_file, names, config.labels, _NO_LABELS)
    elif config.labels:
        raise ConfigError(
            "annotation.json has no labels", value=", ".join(config.labels), where="catalog.labels",
            remedy="Give them by catalog.labels_file",
        )  # fmt: skip
    return archive


def _records(data: bytes) -> Iterator[_Image]:
    broken = InputError(
        "annotation.json is damaged",
        limit='{"train": [{"id", "report", "image_path": […]}, …], "val": […], "test": […]}',
        where="annotation.json",
    )
    try:
        parts = json.loads(data)
        unknown = sorted(set(parts) - set(PARTS))
        if unknown:
            raise broken
        for part, records in parts.items():
            for record in records:
                name, report, paths = str(record["id"]), record["report"], record["image_path"]
                if not isinstance(report, str) or not isinstance(paths, list):
                    raise broken
                study, patient = (record.get(field) for field in ("study_id", "subject_id"))
                for path in paths:
                    yield _Image(
                        str(path).lstrip("/"),
                        name,
                        name if study is None else str(study),
                        "" if patient is None else str(patient),
                        PARTS[part],
                        report,
                    )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise broken from None


def _image_id(image: _Image, key: HashKey) -> str:
    """MIMIC's dicom_id as it is; of anything else, which may be an accession number, the path's keyed hash."""
    return image.record if _DICOM_ID.fullmatch(image.record) else key.hash("image", image.path)
