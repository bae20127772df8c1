"""R2Gen's MIMIC-CXR: the chest films and reports of :mod:`.mimic`, the latter cleaned, in one annotation.json."""

import json
import re
from collections.abc import Iterator

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import draw_patient
from neuroconcepts_ray.phantom.layouts import mimic
from neuroconcepts_ray.phantom.layouts.base import Layout
from neuroconcepts_ray.phantom.null import archived_text
from neuroconcepts_ray.phantom.shelf import Shelf

ANNOTATION, LABELS = "annotation.json", "mimic-cxr-2.0.0-chexpert.csv.gz"
PARTS = {"train": "train", "validate": "val", "test": "test"}
_HEADING = re.compile(r"(?m)^ *(?:FINAL REPORT|[A-Z /]+:|\d+\.(?= ))")


def cleaned(text: str) -> str:
    """A report as R2Gen has it: findings and impression without headings and numbers, lower case, stops set apart."""
    told = re.split(r"(?m)^ *(?:FINDINGS|IMPRESSION):", text)[1:] or [text]
    plain = re.sub(r"[^a-z0-9., -]+", " ", _HEADING.sub(" ", " ".join(told)).lower())
    return re.sub(r" +", " ", re.sub(r"([.,])(?= |$)", r" \1", re.sub(r" +", " ", plain))).strip()


def put_patient(config: PhantomConfig, index: int, shelf: Shelf) -> Iterator[dict[str, object]]:
    """Put one patient's films on the shelf, below ``images``; yields the rows of their truth."""
    return mimic.put_films(config, draw_patient(config, index), shelf, "images")


def closing(config: PhantomConfig) -> Iterator[tuple[str, bytes]]:
    """annotation.json, and beside it MIMIC's table of labels, which ``catalog.labels_file`` takes."""
    parts: dict[str, list[dict[str, object]]] = {part: [] for part in PARTS.values()}
    for index in range(config.first, config.first + config.patients):
        patient = draw_patient(config, index)
        part = PARTS[patient.split]
        for study in patient.studies:
            report, key = cleaned(archived_text(config, patient, study)), mimic.study_key(patient, study, "")
            for film in study.films:
                parts[part].append({
                    "id": film.dicom_id, "study_id": study.study_id, "subject_id": patient.subject_id,
                    "report": report, "image_path": [f"{key.lstrip('/')}/{film.dicom_id}.jpg"], "split": part,
                })  # fmt: skip
    yield ANNOTATION, json.dumps(parts).encode()
    yield LABELS, dict(mimic.label_tables(config))[LABELS]


LAYOUT = Layout((ANNOTATION, LABELS), put_patient, closing)
