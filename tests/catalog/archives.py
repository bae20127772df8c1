"""Tiny archives in the layouts of others, written by the tests themselves."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .conftest import film

DX = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")

HAM_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], separator: str = ",") -> None:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, columns, delimiter=separator, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    put(path, sink.getvalue().encode())


def ham_rows(lesions: int = 40) -> list[dict[str, str]]:
    """Two images of every third lesion; ages of 30 to 69, every tenth unknown."""
    rows = []
    for lesion in range(lesions):
        for copy in range(2 if lesion % 3 == 0 else 1):
            rows.append(
                {
                    "lesion_id": f"HAM_{lesion:07d}",
                    "image_id": f"ISIC_{24000 + 2 * lesion + copy:07d}",
                    "dx": DX[lesion % 7],
                    "dx_type": ("histo", "follow_up", "consensus", "confocal")[lesion % 4],
                    "age": "" if lesion % 10 == 9 else f"{30 + lesion}.0",
                    "sex": ("male", "female", "unknown")[lesion % 3],
                    "localization": ("back", "face", "unknown")[lesion % 3],
                    "dataset": "vidir_modern",
                }
            )
    return rows


def ham(root: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Kaggle's layout: two folders of images and a CSV."""
    for number, row in enumerate(rows):
        put(root / f"HAM10000_images_part_{1 + number % 2}" / f"{row['image_id']}.jpg", film(number % 9))
    table(root / "HAM10000_metadata.csv", HAM_COLUMNS, rows)
    return root


def npz(**values: Any) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **values)
    return sink.getvalue()


def subject(number: int, **values: Any) -> dict[str, Any]:
    """What an npz of FairVLMed holds."""
    return {
        "slo_fundus": np.full((4, 5), number, np.uint8),
        "md": -3.5,
        "tds": np.zeros(52),
        "age": 50.0 + number,
        "gender": number % 2,
        "race": number % 3,
        "ethnicity": (0, 1, -1)[number % 3],
        "language": number % 3,
        "maritalstatus": 0,
        "glaucoma": number % 2,
        "note": f"original note {number}",
    } | values


FAIR_COLUMNS = (
    "filename",
    "age",
    "gender",
    "race",
    "ethnicity",
    "language",
    "maritalstatus",
    "note",
    "glaucoma",
    "use",
)


def fair(root: Path, subjects: int = 20) -> Path:
    parts = ["Training"] * 14 + ["Validation"] * 2 + ["Test"] * 4
    rows, notes = [], []
    for number in range(subjects):
        part, name = parts[number % 20], f"data_{number:05d}.npz"
        put(root / part / name, npz(**subject(number)))
        rows.append(
            {
                "filename": name,
                "age": 50.0 + number,
                "gender": ("Female", "Male")[number % 2],
                "race": ("Asian", "Black", "White")[number % 3],
                "ethnicity": ("Non-Hispanic", "Hispanic", "Unknown")[number % 3],
                "language": ("English", "Spanish", "Other")[number % 3],
                "glaucoma": ("no", "yes")[number % 2],
                "use": part.lower(),
            }
        )
        notes.append({"file": name, "length": 3, "note": f"summary, of {number}"})
    table(root / "data_summary.csv", FAIR_COLUMNS, rows)
    table(root / "gpt-4_summarized_notes.csv", ("file", "length", "note"), notes)
    return root


def dicom_id(number: int) -> str:
    return "-".join([f"{number:08x}"] * 5)


def r2gen(root: Path, parts: Mapping[str, Sequence[Mapping[str, Any]]], *, without: Sequence[str] = ()) -> Path:
    """annotation.json and images/, but for the paths left out."""
    put(root / "annotation.json", json.dumps(parts).encode())
    for records in parts.values():
        for record in records:
            for path in record["image_path"]:
                if path not in without:
                    put(root / "images" / path, film(len(path)))
    return root


def iu(studies: int = 12) -> dict[str, list[dict[str, Any]]]:
    """IU X-Ray: a record a study, of two views."""
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for number in range(studies):
        name = f"CXR{number}_IM-{number:04d}"
        part = "train" if number % 4 < 2 else "val" if number % 4 == 2 else "test"
        paths = [f"{name}/0.png", f"{name}/1.png"]
        parts[part].append(
            {"id": name, "report": f"the heart is normal . {number}", "image_path": paths, "split": part}
        )
    return parts


def mimic_records(patients: int = 12) -> dict[str, list[dict[str, Any]]]:
    """MIMIC-CXR: a record an image, two views a study; the report stands at both."""
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for patient in range(patients):
        part = "train" if patient % 4 < 2 else "val" if patient % 4 == 2 else "test"
        for view in range(2):
            image_id, subject_id, study_id = dicom_id(2 * patient + view), 10000000 + patient, 50000000 + patient
            path = f"p10/p{subject_id}/s{study_id}/{image_id}.jpg"
            parts[part].append(
                {
                    "id": image_id,
                    "study_id": study_id,
                    "subject_id": subject_id,
                    "report": f"no effusion in patient {patient} .",
                    "image_path": [path],
                    "split": part,
                }
            )
    return parts
