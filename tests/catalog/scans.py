"""Tiny archives of mammograms and of a hospital's DICOM files, for the page that speaks of them."""

from pathlib import Path

from .dicoms import dicom
from .test_cbis_ddsm import Cbis
from .test_ddsm import ddsm_archive

__all__ = ["ddsm_archive", "hospital", "mammograms"]


def mammograms(root: Path) -> Path:
    archive = Cbis(root, "kaggle")
    for patient in range(40):
        archive.add(f"P_{patient:05}", pathology=("BENIGN", "MALIGNANT")[patient % 2])
    archive.write()
    return root


def hospital(root: Path) -> Path:
    root.mkdir(parents=True)
    for patient in range(40):
        tags = {"PatientID": f"{patient}", "StudyInstanceUID": f"1.2.{patient}", "BodyPartExamined": "CHEST"}
        (root / f"IM{patient:04}").write_bytes(dicom(f"1.1.{patient}", **tags))
    rows = "".join(f"1.2.{patient},{patient % 2}\n" for patient in range(40))
    (root.parent / "labels.csv").write_text(f"StudyInstanceUID,Edema\n{rows}")
    return root
