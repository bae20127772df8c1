"""Adapter ``mimic-cxr-jpg``: the 2.x tree with its tables, as PhysioNet publishes it.

    mimic-cxr-2.*-metadata.csv.gz    dicom_id, subject_id, study_id, ViewPosition, …   one row per image
    mimic-cxr-2.*-split.csv.gz       dicom_id, …, split ∈ train | validate | test
    mimic-cxr-2.*-chexpert.csv.gz    subject_id, study_id, 14 labels ∈ 1 | 0 | −1 | blank    one row per study
    files/p10/p10000032/s50414267/<dicom_id>.jpg
    and, in a tree of its own,  files/p10/p10000032/s50414267.txt
    and, where they were laid beside it, MIMIC-IV's patients.csv.gz and admissions.csv.gz: age, sex, race

image_id is the dicom_id, group the subject, study the study.
"""

import fnmatch
import gzip
import re
import zlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Int8
from pyarrow import csv

from neuroconcepts_ray.catalog.adapters import mimic_people
from neuroconcepts_ray.catalog.archive import BLANK, UNLABELLED, Archive, choose_labels
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.trees import Entry, Tree, is_image
from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, InputError

_IDS = ("dicom_id", "subject_id", "study_id")

PUBLISHED = {
    "images": 377_110,
    "studies": 227_835,
    "groups": 65_379,
    "images of train": 368_960,
    "images of validate": 2_991,
    "images of test": 5_159,
}
"""What MIMIC-CXR-JPG 2.x holds by its own tables (the 64,588 patients of its web page are an older count)."""


def scan(
    config: CatalogConfig,
    root: Tree,
    reports: Tree | None,
    _: HashKey,
) -> Archive:
    """Look at a MIMIC-CXR-JPG tree once.

    Rows whose film is not on disk are left out and counted as ``missing``, films without a row as ``unlisted``, other
    files below ``files/`` as ``junk``, rows outside ``config.views`` as ``view``. Reports of studies that no table
    lists are left out and counted as ``no study``; of several files of one study, sSTUDY.txt in its patient's folder is
    the report, the others count as ``further``.

    Args:
        config: Views, labels, labeller, split.
        root: Tree that holds the tables and ``files/``.
        reports: Tree that holds the reports' ``files/``.
        _: Unused; dicom_ids are random already.

    Raises:
        InputError: A table is missing, damaged or contradicts another.
        ConfigError: A label that the table does not have.
    """
    metadata = _table(root, "metadata", [*_IDS, "ViewPosition"])
    left_out = {"view": 0, "missing": 0, "unlisted": 0, "junk": 0}
    films: dict[str, Entry] = {}
    for entry in _files(root):
        if is_image(entry.key):
            films[entry.key] = entry
        else:
            left_out["junk"] += 1

    archive = Archive(
        labels=[],
        task="multilabel",
        left_out=left_out,
        raw=np.empty((0, 0), np.int8),
        published_counts=dict(PUBLISHED),
    )
    columns = (metadata[name].to_pylist() for name in (*_IDS, "ViewPosition"))
    wanted, listed = frozenset(config.views), set[str]()
    for image_id, subject, study, view in zip(*columns, strict=True):
        key = f"files/p{subject[:2]}/p{subject}/s{study}/{image_id}.jpg"
        film = films.get(key)
        listed.add(key)
        if wanted and view not in wanted:
            left_out["view"] += 1
        elif film is None:
            left_out["missing"] += 1
        else:
            archive.image_ids.append(image_id)
            archive.files.append(film)
            archive.patients.append(subject)
            archive.study_ids.append(study)
            archive.views.append(view)
    left_out["unlisted"] = len(films.keys() - listed)
    archive.published = (
        _published(root, archive.image_ids) if config.split == "published" else [""] * len(archive.image_ids)
    )
    archive.columns = mimic_people.describe(root, archive.patients, _dates(root, archive.image_ids))
    archive.labels, archive.raw = _labels(root, config, archive.study_ids)
    if reports is not None:
        subjects = zip(metadata["study_id"].to_pylist(), metadata["subject_id"].to_pylist(), strict=True)
        _reports(reports, dict(subjects), archive)
    return archive


def _files(root: Tree) -> list[Entry]:
    if not root.is_dir("files"):
        raise InputError(
            "the archive has no folder `files`", where="catalog.root", remedy="Point catalog.root at the tables' folder"
        )
    return list(root.walk("files"))


def _table(root: Tree, kind: str, columns: list[str] | None = None) -> pa.Table:
    """One of the tables, identifiers as strings; a damaged row is not quoted, for it may hold a patient."""
    pattern = f"mimic-cxr-2.*-{kind}.csv.gz"
    names = root.names()
    found = fnmatch.filter(names, pattern) or fnmatch.filter(names, pattern.removesuffix(".gz"))
    if len(found) != 1:
        raise InputError(
            f"the archive must hold exactly one table {pattern}",
            value=len(found),
            limit=1,
            where="catalog.root",
            remedy="Point catalog.root at the folder of a MIMIC-CXR-JPG 2.x download",
        )
    strings = dict.fromkeys((*_IDS, "ViewPosition", "StudyDate", "split"), pa.string())
    options = csv.ConvertOptions(column_types=strings, include_columns=columns or [])
    try:
        data = root.read(found[0])
        plain = gzip.decompress(data) if found[0].endswith(".gz") else data
        table = csv.read_csv(pa.BufferReader(plain), convert_options=options)
    except EnvironmentFault:
        raise
    except (pa.ArrowInvalid, KeyError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise EnvironmentFault("a table of the archive cannot be read", where=found[0]) from None
        raise InputError(
            "a table of the archive is damaged or lacks a column",
            limit=f"columns {', '.join(columns)}" if columns else None,
            where=found[0],
            remedy="Compare its checksum with the publisher's SHA256SUMS and download it again",
        ) from None
    return table


def _published(root: Tree, image_ids: list[str]) -> list[str]:
    table = _table(root, "split", ["dicom_id", "split"])
    parts = dict(zip(table["dicom_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    return [parts.get(image_id, "") for image_id in image_ids]


def _dates(root: Tree, image_ids: list[str]) -> list[str]:
    """StudyDate of each image; all blank where no table needs them."""
    if mimic_people.find(root, "patients") is None:
        return [""] * len(image_ids)
    table = _table(root, "metadata", ["dicom_id", "StudyDate"])
    dates = dict(zip(table["dicom_id"].to_pylist(), table["StudyDate"].to_pylist(), strict=True))
    return [dates[image_id] or "" for image_id in image_ids]


def _labels(root: Tree, config: CatalogConfig, study_ids: list[str]) -> tuple[list[str], Int8[np.ndarray, "n l"]]:
    table = _table(root, config.labeller)
    labels = choose_labels(config.labels, [name for name in table.column_names if name not in _IDS])
    if "study_id" not in table.column_names:
        raise InputError("the label table has no column study_id", where=f"{config.labeller} table")
    known = table["study_id"].to_pylist()
    row_of = {study: row for row, study in enumerate(known)}
    if len(row_of) < len(known):
        raise InputError("studies stand in the label table twice", value=len(known) - len(row_of), limit=0)
    # One row more than the table: the one that studies without a row point to.
    codes = np.full((len(known) + 1, len(labels)), UNLABELLED, dtype=np.int8)
    for column, label in enumerate(labels):
        try:
            values = table[label].cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            values = np.array([np.inf])
        blank = np.isnan(values)
        if not np.isin(values[~blank], (1, 0, -1)).all():
            raise InputError("a label holds another value", value=label, limit="1, 0, -1 or blank", where="label table")
        codes[:-1, column] = np.where(blank, BLANK, values)
    return labels, codes[np.array([row_of.get(study, len(known)) for study in study_ids], dtype=np.intp)]


def _reports(root: Tree, studies: Mapping[str, str], archive: Archive) -> None:
    """Find each study's report; what is no report of a study, or a further one, is counted.

    Args:
        root: The reports' tree.
        studies: Subject of every study that the tables list, with or without a film here.
        archive: What was found; gets ``reports`` and ``reports_left_out``.
    """
    if not root.is_dir("files"):
        raise ConfigError(
            "the reports' folder has no folder `files`",
            where="catalog.reports",
            remedy="Point catalog.reports at the folder that holds files/pXX/pSUBJECT/sSTUDY.txt",
        )
    texts = {entry.key: entry for entry in root.walk("files") if entry.key.lower().endswith(".txt")}
    for study, subject in dict(zip(archive.study_ids, archive.patients, strict=True)).items():
        text = texts.get(_report_key(study, subject))
        if text is not None:
            archive.reports[study] = text
    listed = {_report_key(study, subject) for study, subject in studies.items()}
    others = [_STUDY.search(key) for key in texts.keys() - listed]
    further = sum(match is not None and match.group(1) in studies for match in others)
    archive.reports_left_out = {"no study": len(others) - further, "further": further}


def _report_key(study: str, subject: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}.txt"


_STUDY = re.compile(r"/s(\d+)[^/]*$")
