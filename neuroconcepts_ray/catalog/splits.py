"""A split that people bring: which image, study or patient is in which part, read from CSV or JSON."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from neuroconcepts_ray.catalog.archive import Archive
from neuroconcepts_ray.catalog.config import ROLES, CatalogConfig
from neuroconcepts_ray.catalog.sheets import column, headings, read_beside, read_sheet
from neuroconcepts_ray.errors import ConfigError, InputError

_PARTS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validate": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing"),
    **{role: (role,) for role in ROLES if role != "test"},
}
_PART_OF = {word: part for part, words in _PARTS.items() for word in words}

ID_COLUMNS = {
    "image": ("image_id", "dicom_id", "image", "image_path", "path", "file", "filename", "file_name", "name", "id"),
    "study": ("study_id", "study"),
    "patient": ("patient_id", "subject_id", "patient", "subject", "lesion_id"),
}
"""By what a row speaks of: names of its column of ids; where several are there, the finest counts."""

PART_COLUMNS = ("split", "part", "role", "set", "fold", "partition", "subset")

_FIELD = "catalog.split_file"


def part_of(word: str) -> str | None:
    """A part by any of its usual words: train, validate, test or one of the five roles; None for other words."""
    return _PART_OF.get(word.strip().lower())


@dataclass(frozen=True)
class Split:
    """A split as a file says it.

    Attributes:
        part: The part of each id.
        by: What the ids are: image, study, patient; empty where the file does not say.
    """

    part: dict[str, str]
    by: str


def read_split(data: bytes, by: str = "") -> Split:
    """A split file.

    CSV: a column of ids (:data:`ID_COLUMNS`) and one of parts (:data:`PART_COLUMNS`). JSON: ``{part: ids}``, where ids
    are a list of texts, or of records with ``id`` (R2Gen's annotation.json), or such lists by class (CFN's form).

    Args:
        data: The file's bytes.
        by: What the ids are, if it is known.

    Raises:
        InputError: The file is of neither form, names an unknown part, or an id in two parts.
    """
    if data[:1] == b"\x80":
        raise InputError(
            "the split file is a pickle, which could run whatever its maker wished",
            where=_FIELD,
            remedy="Have someone who trusts its maker write it as JSON: {part: [id, …]} or {part: {class: [id, …]}}",
        )
    if data.lstrip()[:1] == b"{":
        pairs, found = list(_from_json(data, by)), by
    else:
        pairs, found = _from_table(data, by)
    parts: dict[str, str] = {}
    unknown = {word for _, word in pairs if part_of(word) is None}
    if unknown:  # which they are is not said: in a file of another form they may be patients
        limit = ", ".join(_PARTS)
        raise InputError("unknown parts in the split file", value=f"{len(unknown)} words", limit=limit, where=_FIELD)
    torn = set()
    for name, word in pairs:
        part = _PART_OF[word.strip().lower()]
        if parts.setdefault(name, part) != part:
            torn.add(name)
    if torn:
        raise InputError("ids of the split file stand in several parts", value=len(torn), limit=0, where=_FIELD)
    return Split(parts, found)


def _from_table(data: bytes, by: str) -> tuple[list[tuple[str, str]], str]:
    head = data.partition(b"\n")[0]
    sheet = read_sheet(data, _FIELD, "\t" if b"\t" in head else ";" if b";" in head else ",")
    lower = {name.lower(): name for name in sheet.column_names}
    part = next((lower[name] for name in PART_COLUMNS if name in lower), None)
    wanted = {by: ID_COLUMNS[by]} if by else ID_COLUMNS
    ids = next(((kind, lower[name]) for kind, names in wanted.items() for name in names if name in lower), None)
    if part is None or ids is None:
        raise ConfigError(
            f"the split file has no column of {'parts' if part is None else 'ids'}",
            value=headings(sheet),
            limit=", ".join(PART_COLUMNS if part is None else [name for names in wanted.values() for name in names]),
            where=_FIELD,
        )
    return list(zip(column(sheet, ids[1], _FIELD), column(sheet, part, _FIELD), strict=True)), ids[0]


def _from_json(data: bytes, by: str) -> Iterator[tuple[str, str]]:
    broken = InputError("the split file is damaged", limit="{part: [id, …]} or CSV", where=_FIELD)
    field = {"image": "id", "study": "study_id", "patient": "subject_id"}.get(by, "id")
    try:
        for word, ids in json.loads(data).items():
            lists = list(ids.values()) if isinstance(ids, dict) else [ids]
            for some in lists:
                if not isinstance(some, list):
                    raise broken
                for one in some:
                    yield str(one[field] if isinstance(one, dict) else one), word
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise broken from None


def use_split(archive: Archive, config: CatalogConfig) -> dict[str, int | str]:
    """Give an archive the parts of ``config.split_file``; images that it does not name are dropped and counted.

    Args:
        archive: Changed in place: ``published``, and ``left_out["split"]``.
        config: split_file and split_by.

    Returns:
        What the ids are, how many there are, and how many of them the archive does not have.

    Raises:
        InputError: No id is the archive's, or an id fits images of several studies.
        ConfigError: There is no such file.
    """
    if config.split_file is None:
        raise ConfigError("split: file needs a split_file", where=_FIELD)
    split = read_split(read_beside(config.split_file, _FIELD), config.split_by or "")
    ways = {"image": _by_image, "study": _by_study, "patient": _by_patient}
    tried = {kind: ways[kind](archive, split.part) for kind in ([split.by] if split.by else ways)}
    by, (parts, used, vague) = max(tried.items(), key=lambda item: len(item[1][1]))
    if vague:
        raise InputError(
            "ids of the split file fit images of several studies",
            value=vague,
            limit=0,
            where=_FIELD,
            remedy="Give paths relative to catalog.root",
        )
    if not used:
        raise InputError(
            "no id of the split file is the archive's",
            value=f"{len(split.part)} ids",
            where=_FIELD,
            remedy="Set catalog.split_by to what they are: image, study or patient",
        )
    archive.left_out["split"] = parts.count("")
    archive.published = parts
    archive.keep([row for row, part in enumerate(parts) if part])
    return {"by": by, "ids": len(split.part), "not_in_archive": len(split.part) - len(used)}


_Found = tuple[list[str], set[str], int]
"""The part of each image, the ids that were used, and how many fit images of several studies."""


def _by_image(archive: Archive, part: dict[str, str]) -> _Found:
    """An image is known by its id, alias, path, file name or the stem of that; the first that fits counts."""
    keys = [file.key for file in archive.files]
    parts, vague, left = [""] * len(keys), 0, dict(part)
    ways: list[tuple[list[str], Callable[[str], str]]] = [
        (archive.image_ids, str),
        (archive.aliases, str),
        (keys, str),
        ([_base(key) for key in keys], _base),
        ([_stem(key) for key in keys], _stem),
        (archive.aliases, _stem),
    ]
    for known, asked in ways:
        if not left:
            break
        rows_of: dict[str, list[int]] = {}
        for row, name in enumerate(known):
            rows_of.setdefault(name, []).append(row)
        for one in [one for one in left if asked(one) in rows_of]:
            rows, word = rows_of[asked(one)], left.pop(one)
            # Several images of one record, as IU X-Ray has them, are meant together; several folders' 0.png are not.
            vague += len({archive.study_ids[row] for row in rows}) > 1
            for row in rows:
                parts[row] = word
    return parts, part.keys() - left.keys(), vague


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    base = _base(name)
    return base.rpartition(".")[0] or base


def _by_study(archive: Archive, part: dict[str, str]) -> _Found:
    return _by(archive.study_ids, "s", part)


def _by_patient(archive: Archive, part: dict[str, str]) -> _Found:
    return _by(archive.patients, "p", part)


def _by(names: list[str], letter: str, part: dict[str, str]) -> _Found:
    """MIMIC's folders write a letter before the number that its tables have."""
    known = set(names)
    plain = {(one if one in known else one.removeprefix(letter)): one for one in part}
    used = {one for name, one in plain.items() if name in known}
    return [part[plain[name]] if name in plain else "" for name in names], used, 0
