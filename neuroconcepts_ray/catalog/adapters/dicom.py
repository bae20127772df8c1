"""Adapter ``dicom``: DICOM files, in whatever folders and under whatever names.

    ROOT/anything/anything.dcm   or without a suffix   or   STUDY/SERIES/INSTANCE as DICOMweb exports it

What a file is stands in its header alone, read without the pixels and by an allow-list. image_id is a keyed hash of
the SOP Instance UID, group the patient, study the study. Patients that share a study are one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int8

from neuroconcepts_ray.catalog.archive import Archive
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.headers import Header, read_headers
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.labels_file import join_labels
from neuroconcepts_ray.catalog.trees import Entry, Tree, is_named
from neuroconcepts_ray.errors import ConfigError

KINDS = ("AU", "DOC", "ECG", "FID", "HD", "KO", "PLAN", "PR", "REG", "RTPLAN", "RTRECORD", "RTSTRUCT", "SR")
"""Modalities without pixels that are counted by their own names (PS3.3 C.7.3.1.1.1)."""

IDS = ("SOPInstanceUID", "StudyInstanceUID", "PatientID")
"""Columns of a labels_file that may say whose labels a row holds, the finest first."""

_SIDES = {"L": "LEFT", "R": "RIGHT", "B": "BOTH"}
_SIDECARS = (".json", ".xml")

Found = list[tuple[Entry, Header]]


def scan(
    config: CatalogConfig,
    root: Tree,
    reports: Tree | None,  # noqa: ARG001 - every adapter is called alike
    key: HashKey,
) -> Archive:
    """Look at every file below the root once.

    Files whose names are not UTF-8 or hold a backslash are left out and counted as ``misnamed``, those that are not
    DICOM as ``junk`` (``sidecar``: .json and .xml beside them); objects
    without pixels as ``no_pixels``, those of :data:`KINDS` as ``no_pixels_SR`` and so on; what the config does not
    want as ``modality``, ``body_part``, ``view`` and ``burned_in``; further copies of the same object as ``twice``.
    A file that is DICOM but whose header cannot be read stays in, a group and study of its own, for mining to
    quarantine it by its cause.

    ``counted`` tells files with an ``unreadable_header``, ``shared_uid`` (other bytes under a SOP Instance UID that
    another file has; kept, under an id of their own), ``patients_joined`` by a study in common, ``burned_in_yes``,
    ``burned_in_unknown``, and the ``label_rows_unmatched`` by any image. ``ungrouped``: files without a patient, whose
    group is their study.

    Args:
        config: Views, labels, labels_file and the ``dicom`` section.
        root: The archive.
        reports: Unused.
        key: Keys the image ids.

    Raises:
        ConfigError: The labels' table is not there or lacks a column.
        InputError: The labels' table is damaged or speaks of no image.
        EnvironmentFault: A file cannot be read.
    """
    every = list(root.walk())
    files = sorted((file for file in every if is_named(file.key)), key=lambda file: file.key)
    headers = read_headers(root, files)
    left_out = dict.fromkeys(("junk", "sidecar", "no_pixels", "modality", "body_part", "view", "burned_in"), 0)
    left_out["misnamed"] = len(every) - len(files)
    found: Found = []
    for file, header in zip(files, headers, strict=True):
        reason = _unwanted(file, header, config)
        if header is None or reason is not None:
            left_out[reason or "junk"] = left_out.get(reason or "junk", 0) + 1
        else:
            found.append((file, header))
    unique, left_out["twice"], shared = _unique(root, found)
    uids = [header.identity.sop_uid if header.identity else "" for _, header, _ in unique]
    studies = [(header.identity.study_uid if header.identity else "") or file.key for file, header, _ in unique]
    given = [header.identity.patient_id if header.identity else "" for _, header, _ in unique]
    patients, joined = _join(given, studies)
    kept = [header for _, header, _ in unique]
    burned = [_burned_in(header) for header in kept]
    labels, raw, unmatched = _labels(config, dict(zip(IDS, (uids, studies, given), strict=True)))
    return Archive(
        labels=labels,
        task="multilabel",
        raw=raw,
        left_out=left_out,
        image_ids=[key.hash("image", name) for _, _, name in unique],
        files=[file for file, _, _ in unique],
        patients=patients,
        study_ids=studies,
        views=[_view(header) for header in kept],
        published=[""] * len(kept),
        ungrouped=sum(not patient for patient in given),
        aliases=uids,
        counted={
            "unreadable_header": sum(header.identity is None for header in kept),
            "shared_uid": shared,
            "patients_joined": joined,
            "burned_in_yes": burned.count("YES"),
            "burned_in_unknown": burned.count("unknown"),
            "label_rows_unmatched": unmatched,
        },
        columns={
            "modality": [header.text("Modality") or None for header in kept],
            "body_part": [header.text("BodyPartExamined") or None for header in kept],
            "age": [header.tags.get("PatientAge") for header in kept],
            "sex": [header.tags.get("PatientSex") for header in kept],
            "manufacturer": [header.tags.get("Manufacturer") for header in kept],
            "frames": [header.tags.get("NumberOfFrames") for header in kept],
            "photometric": [header.tags.get("PhotometricInterpretation") for header in kept],
            "burned_in": burned,
        },
    )


def _unwanted(file: Entry, header: Header | None, config: CatalogConfig) -> str | None:
    """Why a file does not become an image, if it does not."""
    if header is None:
        return "sidecar" if file.key.lower().endswith(_SIDECARS) else "junk"
    modality, wanted = header.text("Modality"), config.dicom
    if not header.pixels:
        return f"no_pixels_{modality}" if modality in KINDS else "no_pixels"
    if wanted.modalities and modality not in wanted.modalities:
        return "modality"
    if wanted.body_parts and header.text("BodyPartExamined") not in wanted.body_parts:
        return "body_part"
    if config.views and _view(header) not in config.views:
        return "view"
    return "burned_in" if wanted.burned_in == "drop" and _burned_in(header) == "YES" else None


def _view(header: Header) -> str:
    """The view, of a mammogram with its side in front: LEFT_CC."""
    view, side = header.text("ViewPosition"), _SIDES.get(header.text("Laterality"))
    return f"{side}_{view}" if header.text("Modality") == "MG" and side and view else view


def _burned_in(header: Header) -> str:
    said = header.text("BurnedInAnnotation")
    return said if said in ("YES", "NO") else "unknown"


def _unique(root: Tree, found: Found) -> tuple[list[tuple[Entry, Header, str]], int, int]:
    """Files with what their ids are made of, how many were copies of another, how many share their UID with others.

    Re-encoded or cropped copies often keep the SOP Instance UID, though they may not: the first by path has it, the
    others are told apart by their paths.
    """
    of_uid: dict[str, list[Entry]] = {}
    for file, header in found:
        if header.identity is not None and header.identity.sop_uid:
            of_uid.setdefault(header.identity.sop_uid, []).append(file)
    digests = {file.key: root.digest(file.key)[0] for files in of_uid.values() if len(files) > 1 for file in files}
    unique, seen, twice, shared = [], set[tuple[str, str]](), 0, 0
    for file, header in found:
        uid = header.identity.sop_uid if header.identity is not None else ""
        if not uid:
            unique.append((file, header, f"path {file.key}"))
            continue
        if (uid, digests.get(file.key, "")) in seen:
            twice += 1
            continue
        seen.add((uid, digests.get(file.key, "")))
        first = of_uid[uid][0] is file
        shared += not first
        unique.append((file, header, uid if first else f"{uid} {file.key}"))
    return unique, twice, shared


def _join(patients: Sequence[str], studies: Sequence[str]) -> tuple[list[str], int]:
    """The patient of every image, and how many patients were found to be another.

    A study is one person's: where two Patient IDs (a corrected one, a merged one) or none stand in it, all its images
    and all others of these patients are one group, named by the smallest of their ids, or by the smallest study where
    no image has any.
    """
    parent: dict[tuple[bool, str], tuple[bool, str]] = {}

    def root_of(node: tuple[bool, str]) -> tuple[bool, str]:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for patient, study in zip(patients, studies, strict=True):
        roots = sorted((root_of((True, study)), root_of((False, patient) if patient else (True, study))))
        parent[roots[1]] = roots[0]
    joined = [root_of((True, study)) for study in studies]
    named = {patient for patient in patients if patient}
    return [name if not of_study else f"study {name}" for of_study, name in joined], len(named) - len(
        {name for of_study, name in joined if not of_study}
    )


def _labels(config: CatalogConfig, ids: Mapping[str, Sequence[str]]) -> tuple[list[str], Int8[np.ndarray, "n l"], int]:
    """Labels, their values for every image, and how many rows of the table speak of none."""
    if config.labels_file is not None:
        return join_labels(config.labels_file, ids, config.labels)
    if config.labels:
        raise ConfigError(
            "DICOM headers have no labels",
            value=", ".join(config.labels),
            where="catalog.labels",
            remedy="Give them by catalog.labels_file",
        )
    return [], np.empty((len(next(iter(ids.values()))), 0), np.int8), 0
