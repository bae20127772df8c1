"""A patient of a finished chain, and the search for anything of it in every byte that the product keeps."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from neuroconcepts_ray.catalog.tables import load_catalog, load_reports
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.pipeline import Pipeline


@dataclass(frozen=True)
class Patient:
    """What the archive and the lake call a patient.

    Attributes:
        id: As the archive writes it.
        group: Its keyed hash.
        images: Its images.
        studies: Keyed hashes of its studies.
        study_ids: As the archive writes them.
        sentences: The longest line of each report.
    """

    id: str
    group: str
    images: frozenset[str]
    studies: frozenset[str]
    study_ids: frozenset[str]
    sentences: frozenset[str]

    @property
    def needles(self) -> frozenset[str]:
        """Every string that must be found nowhere."""
        return self.images | self.studies | self.study_ids | self.sentences | {self.id, self.group}


def patients(line: Pipeline, role: str = "probe") -> list[Patient]:
    """The patients of a role, those with most images first."""
    manifest = line.artifacts("catalog")["catalog"]
    catalog, reports = load_catalog(line.lake, manifest), load_reports(line.lake, manifest)
    sources = {row["image_id"]: row for row in line.lake.tables(manifest, "sources-").to_pylist()}
    found = []
    for group in sorted(set(catalog.groups[catalog.roles == role].tolist())):
        rows = catalog.groups == group
        mine = [sources[image] for image in catalog.image_ids[rows].tolist()]
        studies = frozenset(catalog.studies[rows].tolist())
        (patient,) = {row["patient"] for row in mine}
        # A patient's reports may share short lines with others': the longest is long enough to be its own.
        lines = {study: max(reports[study].splitlines(), key=len).strip() for study in studies if study in reports}
        others = [text for study, text in reports.items() if study not in studies]
        own = frozenset(line for line in lines.values() if not any(line in text for text in others))
        found.append(
            Patient(
                patient,
                group,
                frozenset(row["image_id"] for row in mine),
                studies,
                frozenset(row["study_id"] for row in mine),
                own,
            )
        )
    return sorted(found, key=lambda one: (-len(one.images), one.group))


def everything(lake: Lake, cache: Path) -> Iterator[tuple[str, bytes]]:
    """Every object below both roots and the cache: its name, its bytes, and where it is a table all its values."""
    for store in (lake.store, lake.phi):
        for blob in store.scan():
            if not blob.key.endswith(".tmp"):
                yield blob.key, _opened(blob.key, store.read(blob.key))
    # What no listing tells, such as what a dead writer left hidden.
    for folder in (Path(lake.store.uri), Path(lake.phi.uri), cache):
        for path in folder.rglob("*") if folder.is_dir() else ():
            if path.is_file():
                yield str(path), _opened(path.name, path.read_bytes())


def _opened(name: str, data: bytes) -> bytes:
    text = name.encode() + b"\0" + data
    if data.endswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(data))
        plain = [field.name for field in table.schema if "fixed_shape" not in str(field.type)]
        text += json.dumps(table.select(plain).to_pylist(), ensure_ascii=False, default=bytes.hex).encode()
    return text


def held(lake: Lake, cache: Path, patient: Patient) -> dict[str, list[str]]:
    """Which objects hold which of a patient's needles."""
    needles = {needle: json.dumps(needle, ensure_ascii=False)[1:-1].encode() for needle in patient.needles}
    found: dict[str, list[str]] = {}
    for name, data in everything(lake, cache):
        some = [needle for needle, coded in needles.items() if coded in data or needle.encode() in data]
        if some:
            found[name] = some
    return found
