"""Adapter ``csv``: any table that names image files; the ``csv`` section says what its columns mean.

image_id is the keyed hash of the path, unless a column of ids that tell nothing of patients is named.
"""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from neuroconcepts_ray.catalog.archive import Archive, choose_labels, one_hot, text_of_each_study
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.mapping import CsvMapping
from neuroconcepts_ray.catalog.sheets import column, label_codes, read_beside, read_in, read_sheet, shown_values
from neuroconcepts_ray.catalog.splits import part_of
from neuroconcepts_ray.catalog.trees import Entry, Tree, check_below, is_image
from neuroconcepts_ray.errors import ConfigError, InputError


@dataclass
class _Rows:
    """The table as it is mapped; a column that is not mapped has no values.

    Attributes:
        sheet: The table.
        mapping: What its columns mean.
        kept: Rows that become images.
    """

    sheet: pa.Table
    mapping: CsvMapping
    kept: list[int] = field(default_factory=list)

    def all(self, role: str) -> list[str] | None:
        """The values of the column that has a role in the mapping, of every row."""
        name = getattr(self.mapping, role)
        return None if name is None else column(self.sheet, name, f"catalog.csv.{role}")

    def some(self, role: str) -> list[str] | None:
        """The same of the rows that are kept."""
        values = self.all(role)
        return None if values is None else [values[row] for row in self.kept]

    def named(self, name: str, where: str) -> list[str]:
        """A column by its own name, of the rows that are kept."""
        values = column(self.sheet, name, where)
        return [values[row] for row in self.kept]


def scan(config: CatalogConfig, root: Tree, reports: Tree | None, key: HashKey) -> Archive:
    """Look at a table and its images once.

    Rows whose file is not there are left out and counted as ``missing``, images without a row as ``unlisted``, rows
    outside ``config.views`` as ``view``, rows of classes that ``config.labels`` does not list as ``class``, rows whose
    report's file is not there as ``report`` (they stay images).

    Args:
        config: The mapping, labels, views, positive.
        root: Tree of the images.
        reports: Tree of the reports' files, if it is another.
        key: Keys the image ids.

    Raises:
        ConfigError: A column that the table does not have.
        InputError: The table is damaged, or a column holds what it may not.
    """
    mapping = config.csv
    if mapping is None:
        raise ConfigError("the csv adapter needs a mapping", where="catalog.csv")
    where = "catalog.csv.file"
    outside = "://" in mapping.file or mapping.file.startswith("/")
    data = read_beside(mapping.file, where) if outside else read_in(root, mapping.file, where)
    rows = _Rows(read_sheet(data, where, mapping.separator), mapping)
    left_out = {"view": 0, "missing": 0, "unlisted": 0, "class": 0, "report": 0}
    files = {entry.key: entry for entry in root.walk() if is_image(entry.key)}
    paths = _paths(rows)
    left_out["unlisted"] = len(files.keys() - set(paths))
    classes = _classes(rows, config)
    views, kinds = rows.all("view") or [""] * len(paths), rows.all("class_column")
    for row, path in enumerate(paths):
        if config.views and views[row] not in config.views:
            left_out["view"] += 1
        elif classes is not None and kinds is not None and kinds[row] and kinds[row] not in classes:
            left_out["class"] += 1
        elif path not in files:
            left_out["missing"] += 1
        else:
            rows.kept.append(row)
    kept = [paths[row] for row in rows.kept]
    studies, patients = rows.some("study") or kept, rows.some("patient")
    ids = rows.some("image_id") or [key.hash("image", path) for path in kept]
    blank = sum(not value for values in (studies, patients or [], ids) for value in values)
    if blank:
        raise InputError(
            "rows without a patient, a study or an image_id", value=blank, limit=0, where="catalog.csv",
            remedy="Fill those columns, or leave them out of the mapping",
        )  # fmt: skip
    archive = Archive(
        labels=[],
        task="multilabel",
        left_out=left_out,
        raw=np.empty((len(kept), 0), np.int8),
        image_ids=ids,
        files=[files[path] for path in kept],
        patients=patients or list(studies),
        study_ids=list(studies),
        views=[views[row] for row in rows.kept],
        published=_parts(rows),
        columns={
            name: shown_values(rows.named(source, f"catalog.csv.columns.{name}"), source, f"catalog.csv.columns.{name}")
            for name, source in mapping.columns.items()
        },
        grouped_by="patient" if patients else "study" if mapping.study is not None else "image",
    )
    _label(archive, rows, config, classes)
    _report(archive, rows, reports or root)
    return archive


def _paths(rows: _Rows) -> list[str]:
    values = rows.all("image") or []
    bad = 0
    paths = []
    for value in values:
        path = str(PurePosixPath(value.replace("\\", "/"))) if value else ""
        try:
            check_below(path)
        except InputError:
            bad += 1
        paths.append(path)
    if bad:
        raise InputError(
            f"paths that are blank or leave the archive's root stand in the column {rows.mapping.image}",
            value=f"{bad} of {len(values)} rows",
            limit=0,
            where="catalog.csv.image",
            remedy="Paths are relative to catalog.root",
        )
    return paths


def _classes(rows: _Rows, config: CatalogConfig) -> list[str] | None:
    words = rows.all("class_column")
    if words is None:
        return None
    return choose_labels(config.labels, sorted(set(words) - {""}))


def _label(archive: Archive, rows: _Rows, config: CatalogConfig, classes: list[str] | None) -> None:
    if classes is not None:
        found = rows.some("class_column") or []
        archive.labels, archive.task, archive.raw = one_hot(found, classes, config.positive)
        return
    if config.positive is not None:
        raise ConfigError("a positive class needs csv.class_column", where="catalog.positive")
    archive.labels = choose_labels(config.labels, rows.mapping.labels)
    codes = [label_codes(rows.named(name, "catalog.csv.labels"), name, "catalog.csv.labels") for name in archive.labels]
    if codes:
        archive.raw = np.stack(codes, axis=1)
    if len(codes) == 1:
        archive.task = "binary"


def _parts(rows: _Rows) -> list[str]:
    values = rows.some("split")
    if values is None:
        return [""] * len(rows.kept)
    parts = [part_of(value) if value else "" for value in values]
    wrong = sum(part is None for part in parts)
    if wrong:
        raise InputError(
            f"unknown parts of a split stand in the column {rows.mapping.split}",
            value=f"{wrong} of {len(values)} rows",
            limit="train, val, test, fit, probe, select, verify",
            where="catalog.csv.split",
        )
    return [part or "" for part in parts]


def _report(archive: Archive, rows: _Rows, tree: Tree) -> None:
    texts, paths = rows.some("report"), rows.some("report_file")
    if texts is not None:
        archive.reports = text_of_each_study(zip(archive.study_ids, texts, strict=True))
    if paths is None:
        return
    there: dict[str, Entry] = {entry.key: entry for entry in tree.walk()}
    found: dict[str, Entry | str] = {}
    torn = set()
    for study, path in zip(archive.study_ids, paths, strict=True):
        entry = there.get(str(PurePosixPath(path.replace("\\", "/")))) if path else None
        if entry is None:
            archive.left_out["report"] += bool(path)
        elif found.setdefault(study, entry) != entry:
            torn.add(study)
    if torn:
        raise InputError("studies have several reports", value=f"{len(torn)} studies", limit="one report a study")
    archive.reports = found
