"""Adapter ``fairvlmed``: Harvard-FairVLMed, fundus images with notes and demographics, one subject a file.

    Training | Validation | Test / data_XXXXX.npz        slo_fundus, age, gender, race, …, glaucoma, note
                                 / slo_fundus_XXXXX.jpg  the same images exported, where somebody did that
    data_summary.csv                filename, age, gender, race, ethnicity, language, …, glaucoma
    gpt-4_summarized_notes.csv      the file's name first, its note third
    original_notes.csv              the same of the notes as they were written

What data_summary.csv does not say of a file is read from its npz.
"""

import re
from collections.abc import Mapping

import numpy as np

from neuroconcepts_ray.catalog.archive import ABSENT, PRESENT, UNLABELLED, Archive, choose_labels, no_view_is_wanted
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.npz import read_values
from neuroconcepts_ray.catalog.sheets import column, number, read_in, read_sheet, shown_values
from neuroconcepts_ray.catalog.trees import Entry, Tree
from neuroconcepts_ray.errors import ConfigError, InputError

PARTS = {"training": "train", "validation": "validate", "test": "test"}

PUBLISHED = {
    "images": 10_000,
    "groups": 10_000,
    "images of train": 7_000,
    "images of validate": 1_000,
    "images of test": 2_000,
}

WORDS = {
    "gender": ("female", "male"),
    "race": ("asian", "black", "white"),
    "ethnicity": ("non-hispanic", "hispanic"),
    "language": ("english", "spanish", "other"),
    "glaucoma": ("no", "yes"),
}
"""What the codes 0, 1, … of an npz mean; -1 is unknown."""

NOTES = {"summarized": "gpt-4_summarized_notes.csv", "original": "original_notes.csv"}

_FILE = re.compile(r"(?:data|slo_fundus)_(\d+)\.(?:npz|jpe?g|png)", re.IGNORECASE)
_SUMMARY = "data_summary.csv"
_FIELDS = ("age", *WORDS)


def scan(
    config: CatalogConfig,
    root: Tree,
    reports: Tree | None,  # noqa: ARG001 - they stand in tables
    key: HashKey,  # noqa: ARG001 - the files are merely numbered
) -> Archive:
    """Look at FairVLMed once.

    Files that are no images of it are left out and counted as ``junk``, a second form of an image as ``duplicate``,
    npz files that had to be read and are damaged as ``damaged``, rows of data_summary.csv without a file as
    ``missing``.

    Args:
        config: Notes, labels, views.
        root: The archive's tree.
        reports: Unused.
        key: Unused.

    Raises:
        InputError: A table is damaged.
        ConfigError: The notes that were asked for are not there.
    """
    left_out = {"view": 0, "junk": 0, "duplicate": 0, "damaged": 0, "missing": 0}
    labels = choose_labels(config.labels, ["glaucoma"])
    names = root.names()
    summary = _summary(root) if _SUMMARY in names else {}
    texts = _notes(root, names, config.notes)
    from_npz = config.notes == "original" and NOTES["original"] not in names

    found: dict[tuple[str, str], Entry] = {}
    for entry in sorted(root.walk(), key=lambda entry: (not entry.key.lower().endswith(".npz"), entry.key)):
        if entry.key in (_SUMMARY, *NOTES.values()):
            continue
        folder, _, name = entry.key.rpartition("/")
        match = _FILE.fullmatch(name)
        part = PARTS.get(folder.lower())
        if match is None or part is None:
            left_out["junk"] += 1
        elif found.setdefault((part, match[1]), entry) is not entry:
            left_out["duplicate"] += 1
    left_out["missing"] = len(summary.keys() - {number_ for _, number_ in found})
    if no_view_is_wanted(config):
        left_out["view"], found = len(found), {}

    archive = Archive(
        labels=labels,
        task="binary",
        left_out=left_out,
        raw=np.empty((0, 1), np.int8),
        grouped_by="file",
        published_counts=dict(PUBLISHED),
    )
    rows: list[dict[str, str]] = []
    for (part, digits), entry in sorted(found.items(), key=lambda item: item[1].key):
        facts = dict(summary.get(digits, {}))
        missing = [name for name in _FIELDS if name not in facts]
        if (missing or from_npz) and entry.key.lower().endswith(".npz"):
            try:
                facts |= _from_npz(root, entry, [*missing, *(["note"] if from_npz else [])])
            except InputError:
                left_out["damaged"] += 1
                continue
        image_id = f"data_{digits}"
        archive.image_ids.append(image_id)
        archive.files.append(entry)
        archive.patients.append(image_id)
        archive.study_ids.append(image_id)
        archive.views.append("")
        archive.published.append(part)
        archive.aliases.append(f"slo_fundus_{digits}")
        note = facts.get("note", "") if from_npz else texts.get(digits, "")
        if note.strip():
            archive.reports[image_id] = note
        rows.append(facts)
    archive.columns = {
        "age": [number(row.get("age", "")) for row in rows],
        **{
            shown: shown_values([row.get(name, "").lower() for row in rows], name, _SUMMARY)
            for name, shown in (
                ("gender", "sex"),
                ("race", "race"),
                ("ethnicity", "ethnicity"),
                ("language", "language"),
            )
        },
    }
    codes = {"yes": PRESENT, "1": PRESENT, "1.0": PRESENT, "no": ABSENT, "0": ABSENT, "0.0": ABSENT}
    raw = [codes.get(row.get("glaucoma", "").lower(), UNLABELLED) for row in rows]
    archive.raw = np.array(raw, np.int8).reshape(len(rows), 1)
    return archive


def _digits(name: str) -> str | None:
    match = _FILE.fullmatch(name.strip().rpartition("/")[2])
    return match[1] if match else None


def _summary(root: Tree) -> dict[str, dict[str, str]]:
    """What data_summary.csv says of each file, by its digits; columns that it lacks are left to the npz."""
    sheet = read_sheet(read_in(root, _SUMMARY, "catalog.root"), _SUMMARY)
    files = column(sheet, "filename", _SUMMARY)
    there = {name: column(sheet, name, _SUMMARY) for name in _FIELDS if name in sheet.column_names}
    rows = {}
    for row, name in enumerate(files):
        digits = _digits(name)
        if digits is not None:
            rows[digits] = {field: values[row] for field, values in there.items()}
    return rows


def _notes(root: Tree, names: list[str], which: str) -> dict[str, str]:
    """Each file's note, by its digits."""
    if which == "none" or (which == "original" and NOTES[which] not in names):
        return {}
    table = NOTES[which]
    if table not in names:
        raise ConfigError(
            "the archive has no such notes", value=table, where="catalog.notes",
            remedy="Set catalog.notes: original (they stand in the npz files too), or none",
        )  # fmt: skip
    sheet = read_sheet(read_in(root, table, "catalog.root"), table)
    if len(sheet.column_names) < 3:
        raise InputError("a table of notes has too few columns", value=len(sheet.column_names), limit=3, where=table)
    files, notes = (sheet.column(place).to_pylist() for place in (0, 2))
    return {digits: note for name, note in zip(files, notes, strict=True) if (digits := _digits(name)) is not None}


def _from_npz(root: Tree, entry: Entry, names: list[str]) -> Mapping[str, str]:
    """Values of an npz as the words of the tables; unknown ones are blank."""
    said = {}
    for name, value in read_values(root.read(entry.key), names).items():
        words = WORDS.get(name)
        if words is None or isinstance(value, str):
            said[name] = str(value)
        else:
            said[name] = next((word for code, word in enumerate(words) if value == code), "")
    return said
