"""A tiny archive in MIMIC-CXR-JPG's layout, written by the tests themselves, and a lake in memory."""

import csv
import functools
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray.catalog import job
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.store import MemoryStore
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import draw_patient
from neuroconcepts_ray.phantom.films import render

LABELS = ["Atelectasis", "Edema", "No Finding"]


@functools.cache
def film(seed: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(sink, "PNG")
    return sink.getvalue()


@functools.cache
def chest(number: int) -> Image.Image:
    """A film of the phantom's patient of that number."""
    config = PhantomConfig(seed=11, height=256, width=200)
    patient = draw_patient(config, number)
    study = patient.studies[0]
    return Image.fromarray(render(config, patient, study, study.films[0])[0])


@dataclass
class Mimic:
    """An archive that a test may change and write again."""

    root: Path
    films: list[dict[str, str]] = field(default_factory=list)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        subject: str,
        study: str,
        image_id: str,
        *,
        split: str = "train",
        view: str = "AP",
        labels: tuple[str, str, str] | None = ("1.0", "", "0.0"),
        report: str | None = "FINDINGS: none.",
        data: bytes | None = None,
        date: str = "21500101",
    ) -> None:
        ids = {"dicom_id": image_id, "subject_id": subject, "study_id": study}
        self.films.append({**ids, "ViewPosition": view, "split": split, "StudyDate": date})
        path = self.path(subject, study, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(film(len(self.films)) if data is None else data)
        if labels is not None:
            self.labels[study] = {"subject_id": subject, "study_id": study, **dict(zip(LABELS, labels, strict=True))}
        if report is not None:
            text = self.root / f"reports/files/p{subject[:2]}/p{subject}/s{study}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(report)

    def path(self, subject: str, study: str, image_id: str) -> Path:
        return self.root / f"files/p{subject[:2]}/p{subject}/s{study}/{image_id}.jpg"

    def write(self) -> "Mimic":
        ids = ["dicom_id", "subject_id", "study_id"]
        self._table("metadata", [*ids, "ViewPosition", "StudyDate"], self.films)
        self._table("split", [*ids, "split"], self.films)
        self._table("chexpert", ["subject_id", "study_id", *LABELS], list(self.labels.values()))
        return self

    def _table(self, kind: str, columns: list[str], rows: list[dict[str, str]]) -> None:
        with gzip.open(self.root / f"mimic-cxr-2.1.0-{kind}.csv.gz", "wt", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    def config(self, **fields: object) -> CatalogConfig:
        return validate(CatalogConfig, {"root": str(self.root), "reports": str(self.root / "reports"), **fields})


@pytest.fixture
def mimic(tmp_path: Path) -> Mimic:
    """Forty patients, two studies each, two films a study."""
    root = tmp_path / "archive"
    root.mkdir()
    archive = Mimic(root)
    for patient in range(40):
        split = "train" if patient < 28 else "validate" if patient < 36 else "test"
        for study in range(2):
            number = str(50000000 + 2 * patient + study)
            for view in ("AP", "LATERAL"):
                archive.add(str(10000000 + patient), number, f"{patient:02d}-{study}-{view}", split=split, view=view)
    return archive.write()


@pytest.fixture
def lake() -> Lake:
    return Lake(MemoryStore("memory://lake"), MemoryStore("memory://phi"))


Run = Callable[[CatalogConfig], Manifest]


@pytest.fixture
def run(lake: Lake) -> Run:
    return lambda config: job.run(config, {}, lake, ComputeConfig())["catalog"]
