"""Write the archive: films, tables and reports in MIMIC-CXR-JPG's layout, the truth in another place.

Films, reports and truth are written patient block by patient block, the six tables last, so an archive without
tables is not finished. A finished one is left alone; a greater ``patients`` draws the new patients only.
"""

import csv
import gzip
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa

from neuroconcepts_ray.config import recipe_fields
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.phantom.config import ALGORITHM, PhantomConfig
from neuroconcepts_ray.phantom.draw import Patient, Study, draw_patient
from neuroconcepts_ray.phantom.films import render
from neuroconcepts_ray.phantom.jpeg import encode
from neuroconcepts_ray.phantom.mentions import LABELS
from neuroconcepts_ray.phantom.null import archived_labels, archived_text
from neuroconcepts_ray.phantom.people import ADMISSIONS, PATIENTS, admission_row, patient_row
from neuroconcepts_ray.phantom.truth import SCHEMA, truth_rows

BLOCK = 50
"""Patients that are drawn and recorded together."""

STATE = "phantom.json"
"""In the truth root: which config the archive is of, and how many of its patients are finished."""

TABLES = ("split", "metadata", "chexpert", "negbio", "patients", "admissions")
_OF_MIMIC_IV = ("patients", "admissions")
_METADATA = (
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)
_CODES = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral"}


def table_path(root: Path, table: str) -> Path:
    """Where one of the tables lies; those of MIMIC-IV have its names."""
    return root / (f"{table}.csv.gz" if table in _OF_MIMIC_IV else f"mimic-cxr-2.0.0-{table}.csv.gz")


def study_key(patient: Patient, study: Study) -> str:
    """``files/p10/p10000032/s50414267``: the folder of a study's films, and its report without ``.txt``."""
    subject = str(patient.subject_id)
    return f"files/p{subject[:2]}/p{subject}/s{study.study_id}"


def write_archive(
    config: PhantomConfig,
    root: Path,
    reports_root: Path,
    truth_root: Path,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write what is not yet there.

    Args:
        config: What the archive holds.
        root: Root of films and tables.
        reports_root: Root of the reports tree.
        truth_root: Root of the truth; neither inside ``root`` nor inside ``reports_root``.
        progress: Called with (patients done, patients in all) now and then.

    Returns:
        Number of patients drawn now; 0 if the archive was finished.

    Raises:
        ConfigError: The truth would lie inside the archive, or the roots hold another config's archive.
    """
    root, reports_root, truth_root = (Path(path).resolve() for path in (root, reports_root, truth_root))
    for public in (root, reports_root):
        if truth_root.is_relative_to(public):
            raise ConfigError("the truth must not lie inside the archive", where="truth_root")
    digest = _digest(config)
    state = _read_state(truth_root)
    if state is not None and state["config"] != digest:
        raise ConfigError(
            "the folder holds the phantom of another config", where="phantom", remedy="Give another root, or remove it"
        )
    complete = all(table_path(root, table).exists() for table in TABLES)
    if state is not None and complete and state["patients"] == config.patients:
        return 0
    if state is None and complete:
        raise ConfigError(
            "the folder holds an archive whose truth is not here", where="phantom", remedy="Give another root"
        )
    done = _blocks_done(truth_root)
    if done > config.patients:
        raise ConfigError(
            "the archive holds more patients than asked for", value=config.patients, limit=f"at least {done}",
            where="phantom.patients", remedy="Give another root; patients can be appended, not taken away",
        )  # fmt: skip
    _write(truth_root / STATE, json.dumps({"config": digest, "patients": 0}).encode())
    bounds = [(start, min(start + BLOCK - start % BLOCK, config.patients)) for start in _starts(done, config.patients)]
    for start, _ in _run(config, root, reports_root, truth_root, bounds):
        done += min(BLOCK - start % BLOCK, config.patients - start)
        if progress is not None:
            progress(done, config.patients)
    for table, data in _tables(config):
        _write(table_path(root, table), data)
    _write(truth_root / STATE, json.dumps({"config": digest, "patients": config.patients}).encode())
    return sum(stop - start for start, stop in bounds)


def _starts(done: int, patients: int) -> Iterator[int]:
    while done < patients:
        yield done
        done += BLOCK - done % BLOCK


def _digest(config: PhantomConfig) -> str:
    fields = {key: value for key, value in recipe_fields(config).items() if key not in ("patients", "twins")}
    text = json.dumps({"algorithm": ALGORITHM, "config": fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_state(truth_root: Path) -> dict[str, object] | None:
    path = truth_root / STATE
    if not path.exists():
        return None
    state: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return state


def _blocks_done(truth_root: Path) -> int:
    """Patients of the unbroken run of blocks from 0; blocks after a gap are removed and drawn again."""
    done = 0
    for path in sorted(truth_root.glob("truth-*.parquet")):
        start, stop = (int(part) for part in path.stem.split("-")[1:])
        if start == done:
            done = stop
        else:
            path.unlink()
    return done


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def _run(
    config: PhantomConfig, root: Path, reports: Path, truth: Path, bounds: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    if config.processes == 1 or len(bounds) < 2:
        for start, stop in bounds:
            yield write_block(config, root, reports, truth, start, stop)
        return
    with ProcessPoolExecutor(min(config.processes, len(bounds)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(write_block, config, root, reports, truth, *bound) for bound in bounds]
        for future in as_completed(futures):
            yield future.result()


def write_block(
    config: PhantomConfig, root: Path, reports_root: Path, truth_root: Path, start: int, stop: int
) -> tuple[int, int]:
    """Draw the patients from ``start`` to before ``stop``: films and reports, then their truth as the receipt."""
    rows: list[dict[str, object]] = []
    for index in range(config.first + start, config.first + stop):
        patient = draw_patient(config, index)
        for study in patient.studies:
            key = study_key(patient, study)
            report = reports_root / f"{key}.txt"
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(archived_text(config, patient, study), encoding="utf-8")
            (root / key).mkdir(parents=True, exist_ok=True)
            for film in study.films:
                image, masks = render(config, patient, study, film)
                (root / key / f"{film.dicom_id}.jpg").write_bytes(encode(image, config.quality, film.key))
                rows.extend(truth_rows(patient, study, film, masks))
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    _write(truth_root / f"truth-{start:06d}-{stop:06d}.parquet", to_parquet(table))
    return start, stop


def _tables(config: PhantomConfig) -> Iterator[tuple[str, bytes]]:
    """The tables. What they say is drawn again: no film has to be opened for it."""
    split: list[Sequence[object]] = []
    metadata: list[Sequence[object]] = []
    labels: dict[str, list[Sequence[object]]] = {"chexpert": [], "negbio": []}
    people: list[Sequence[object]] = []
    stays: list[Sequence[object]] = []
    for index in range(config.first, config.first + config.patients):
        patient = draw_patient(config, index)
        people.append(patient_row(patient))
        stays.append(admission_row(patient))
        for study in patient.studies:
            for table, found in archived_labels(config, patient, study).items():
                labels[table].append([patient.subject_id, study.study_id, *_label_cells(found)])
            both = len(study.films) > 1
            for film in study.films:
                split.append([film.dicom_id, study.study_id, patient.subject_id, patient.split])
                step = "CHEST (PA AND LAT)" if both else f"CHEST ({'PORTABLE ' * (film.view == 'AP')}{film.view})"
                code, lie = _CODES[film.view], "Recumbent" if film.view == "AP" else "Erect"
                when = (study.date, f"{float(study.time):.3f}")
                ids = (film.dicom_id, patient.subject_id, study.study_id)
                metadata.append([*ids, step, film.view, config.height, config.width, *when, step, code, lie])
    yield "split", _csv(["dicom_id", "study_id", "subject_id", "split"], split)
    yield "metadata", _csv(_METADATA, metadata)
    for table, rows in labels.items():
        yield table, _csv(["subject_id", "study_id", *LABELS], rows)
    yield "patients", _csv(PATIENTS, people)
    yield "admissions", _csv(ADMISSIONS, stays)


def _label_cells(labels: Mapping[str, float]) -> list[str]:
    return [f"{labels[name]:.1f}" if name in labels else "" for name in LABELS]


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    buffer = io.BytesIO()
    # No name and no time in the gzip header: the same rows are the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(text.getvalue().encode())
    return buffer.getvalue()
