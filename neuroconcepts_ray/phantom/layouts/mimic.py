"""MIMIC-CXR-JPG 2.x: ``files/p10/p10000032/s50414267/<dicom_id>.jpg``, its tables and two of MIMIC-IV's."""

from collections.abc import Iterator, Mapping, Sequence

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import Patient, Study, draw_patient
from neuroconcepts_ray.phantom.films import render
from neuroconcepts_ray.phantom.jpeg import encode
from neuroconcepts_ray.phantom.layouts.base import Layout, csv_bytes, gzipped
from neuroconcepts_ray.phantom.mentions import LABELS
from neuroconcepts_ray.phantom.null import archived_labels, archived_text
from neuroconcepts_ray.phantom.people import ADMISSIONS, PATIENTS, admission_row, patient_row
from neuroconcepts_ray.phantom.shelf import Shelf
from neuroconcepts_ray.phantom.truth import truth_rows

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


def file_name(table: str) -> str:
    """The file of one of the tables; those of MIMIC-IV have its names."""
    return f"{table}.csv.gz" if table in _OF_MIMIC_IV else f"mimic-cxr-2.0.0-{table}.csv.gz"


def study_key(patient: Patient, study: Study, top: str = "files") -> str:
    """``files/p10/p10000032/s50414267``: the folder of a study's films, and its report without ``.txt``."""
    subject = str(patient.subject_id)
    return f"{top}/p{subject[:2]}/p{subject}/s{study.study_id}"


def put_patient(config: PhantomConfig, index: int, shelf: Shelf) -> Iterator[dict[str, object]]:
    """Put one patient's films and reports on the shelf; yields the rows of their truth."""
    patient = draw_patient(config, index)
    for study in patient.studies:
        shelf.put_report(f"{study_key(patient, study)}.txt", archived_text(config, patient, study))
    yield from put_films(config, patient, shelf)


def put_films(config: PhantomConfig, patient: Patient, shelf: Shelf, top: str = "files") -> Iterator[dict[str, object]]:
    """Put one patient's films on the shelf, below ``top``; yields the rows of their truth."""
    for study in patient.studies:
        folder = study_key(patient, study, top)
        for film in study.films:
            image, masks = render(config, patient, study, film)
            shelf.put(f"{folder}/{film.dicom_id}.jpg", encode(image, config.quality, film.key))
            yield from truth_rows(patient, study, film, masks)


def tables(config: PhantomConfig) -> Iterator[tuple[str, bytes]]:
    """The tables. What they say is drawn again: no film has to be opened for it."""
    split: list[Sequence[object]] = []
    metadata: list[Sequence[object]] = []
    people: list[Sequence[object]] = []
    stays: list[Sequence[object]] = []
    for index in range(config.first, config.first + config.patients):
        patient = draw_patient(config, index)
        people.append(patient_row(patient))
        stays.append(admission_row(patient))
        for study in patient.studies:
            both = len(study.films) > 1
            for film in study.films:
                split.append([film.dicom_id, study.study_id, patient.subject_id, patient.split])
                step = "CHEST (PA AND LAT)" if both else f"CHEST ({'PORTABLE ' * (film.view == 'AP')}{film.view})"
                code, lie = _CODES[film.view], "Recumbent" if film.view == "AP" else "Erect"
                when = (study.date, f"{float(study.time):.3f}")
                ids = (film.dicom_id, patient.subject_id, study.study_id)
                metadata.append([*ids, step, film.view, config.height, config.width, *when, step, code, lie])
    yield file_name("split"), _csv(["dicom_id", "study_id", "subject_id", "split"], split)
    yield file_name("metadata"), _csv(_METADATA, metadata)
    yield from label_tables(config)
    yield file_name("patients"), _csv(PATIENTS, people)
    yield file_name("admissions"), _csv(ADMISSIONS, stays)


def label_tables(config: PhantomConfig) -> Iterator[tuple[str, bytes]]:
    """The labels that each reader finds in the reports."""
    labels: dict[str, list[Sequence[object]]] = {"chexpert": [], "negbio": []}
    for index in range(config.first, config.first + config.patients):
        patient = draw_patient(config, index)
        for study in patient.studies:
            for table, found in archived_labels(config, patient, study).items():
                labels[table].append([patient.subject_id, study.study_id, *_label_cells(found)])
    for table, rows in labels.items():
        yield file_name(table), _csv(["subject_id", "study_id", *LABELS], rows)


def _label_cells(labels: Mapping[str, float]) -> list[str]:
    return [f"{labels[name]:.1f}" if name in labels else "" for name in LABELS]


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    return gzipped(csv_bytes(header, rows))


LAYOUT = Layout(tuple(map(file_name, TABLES)), put_patient, tables)
