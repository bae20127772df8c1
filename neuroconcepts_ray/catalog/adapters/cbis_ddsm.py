"""Adapter ``cbis-ddsm``: the curated subset of DDSM, as TCIA or as Kaggle has it.

    {mass,calc}_case_description_{train,test}_set.csv      in the root, csv/, metadata/ or CBIS-DDSM/
    TCIA, by its Data Retriever or by the paths in the tables, wherever below the root:
        Mass-Training_P_00001_LEFT_CC/<study>/<series>/1-1.dcm            the mammogram
        Mass-Training_P_00001_LEFT_CC_1/<study>/<series>/{1-1,1-2}.dcm    crop and mask of its abnormality 1
    Kaggle: csv/dicom_info.csv (PatientID, image_path, Rows, Columns, BitsStored) and jpeg/<series>/1-*.jpg

TCIA's PatientID is one a view; the patient is the tables' patient_id, the same for masses and calcifications.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neuroconcepts_ray.catalog.adapters.cbis_files import Files, find_files
from neuroconcepts_ray.catalog.archive import Archive, choose_labels
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.trees import Entry, Tree
from neuroconcepts_ray.errors import EnvironmentFault, InputError

FOLDERS = ("", "csv", "metadata", "CBIS-DDSM")
PATHOLOGIES = ("BENIGN_WITHOUT_CALLBACK", "BENIGN", "MALIGNANT")
"""From the mildest to the gravest."""

CLASSES = ("benign_without_callback", "benign", "malignant")

PUBLISHED = {"images": {"images": 3103, "groups": 1566}, "patches": {"images": 3568, "groups": 1566}}
"""What TCIA's tables hold: mammograms and abnormalities, of 1,566 patients."""

_COLUMNS = {
    "patient": ("patient_id",),
    "density": ("breast_density", "breast density"),
    "side": ("left or right breast",),
    "view": ("image view",),
    "number": ("abnormality id",),
    "kind": ("abnormality type",),
    "assessment": ("assessment",),
    "pathology": ("pathology",),
    "subtlety": ("subtlety",),
    "image": ("image file path",),
    "crop": ("cropped image file path",),
}
_DESCRIPTORS = ("mass shape", "mass margins", "calc type", "calc distribution")


@dataclass(frozen=True)
class Abnormality:
    """A row of a table.

    Attributes:
        part: train or test.
        patient: As ``P_00001``.
        view: As ``LEFT_CC``.
        number: Of the abnormality in its image.
        kind: mass or calcification.
        image: Name of the folder of its mammogram, which names the image: ``Mass-Training_P_00001_LEFT_CC``.
        path: The mammogram's path as the table has it.
        crop: Name of the folder of its crop and mask.
        gravity: Place of its pathology in :data:`PATHOLOGIES`.
        numbers: density, assessment, subtlety.
        descriptors: Shape, margins, calcification type and distribution, as published; empty where there is none.
    """

    part: str
    patient: str
    view: str
    number: str
    kind: str
    image: str
    path: str
    crop: str
    gravity: int
    numbers: dict[str, float | None]
    descriptors: dict[str, str]


def scan(
    config: CatalogConfig,
    root: Tree,
    reports: Tree | None,  # noqa: ARG001 - every adapter is called alike
    key: HashKey,
) -> Archive:
    """Look at CBIS-DDSM once.

    An image is as grave as the gravest abnormality that either pair of tables knows in that view of that breast: a
    mammogram with a mass and calcifications is published twice, once for each.

    Mammograms or crops whose file is not there are left out and counted as ``missing``, files that no table speaks of
    as ``unlisted``, files that are no images as ``junk``, rows for the same crop as ``twice``, other views as
    ``view``, classes that ``config.labels`` does not list as ``class``.
    ``counted`` tells mammograms ``published_twice``.

    Args:
        config: Labels, views, split, seed and the ``cbis`` section.
        root: The archive.
        reports: Unused.
        key: Keys the image ids.

    Raises:
        InputError: A table is missing, damaged or lacks a column.
        ConfigError: A label that is no class.
    """
    abnormalities = _tables(root)
    wanted = {one.crop for one in abnormalities} | {one.image for one in abnormalities}
    files = find_files(root, wanted)
    patches = config.cbis.what == "patches"
    gravest: dict[tuple[str, str], int] = {}
    of_image: dict[str, list[Abnormality]] = {}
    of_crop: dict[str, list[Abnormality]] = {}
    for one in abnormalities:
        place = (one.patient, one.view)
        gravest[place] = max(one.gravity, gravest.get(place, 0))
        of_image.setdefault(one.image, []).append(one)
        of_crop.setdefault(one.crop, []).append(one)
    left_out = dict.fromkeys(("junk", "unlisted", "missing", "twice", "class", "view"), 0)
    left_out["junk"], left_out["unlisted"] = files.junk, files.unlisted
    classes = choose_labels(config.labels, ["malignant"] if config.cbis.classes == "binary" else list(CLASSES))
    rows: list[tuple[str, Entry, list[Abnormality], int]] = []
    for name, those in (of_crop if patches else of_image).items():
        one = those[0]
        film = files.crop(name, one.image) if patches else files.image(name, one.path)
        gravity = max(other.gravity for other in those) if patches else gravest[one.patient, one.view]
        left_out["twice"] += len(those) - 1 if patches else 0
        if config.views and one.view not in config.views:
            left_out["view"] += 1
        elif config.cbis.classes == "pathology" and CLASSES[gravity] not in classes:
            left_out["class"] += 1
        elif film is None:
            left_out["missing"] += 1
        else:
            rows.append((name, film, those, gravity))
    firsts = [those[0] for _, _, those, _ in rows]
    breasts = {(one.patient, one.view) for one in firsts}
    return Archive(
        labels=classes,
        task="binary" if config.cbis.classes == "binary" else "multiclass",
        left_out=left_out,
        raw=np.array([[CLASSES[row[3]] == label for label in classes] for row in rows], np.int8).reshape(
            -1, len(classes)
        ),
        image_ids=[key.hash("image", name) for name, _, _, _ in rows],
        files=[film for _, film, _, _ in rows],
        patients=[one.patient for one in firsts],
        study_ids=[one.patient for one in firsts],
        views=[one.view for one in firsts],
        published=_parts(config, firsts, key),
        columns=_columns([those[:1] if patches else those for _, _, those, _ in rows], key if patches else None),
        phi_columns={"masks": [_masks(files, those) for _, _, those, _ in rows]},
        counted={"published_twice": 0 if patches else len(firsts) - len(breasts)},
        published_counts=PUBLISHED[config.cbis.what],
    )


def _parts(config: CatalogConfig, ones: Sequence[Abnormality], key: HashKey) -> list[str]:
    """The part of each image; some patients of train are validate, by their hash, for the archive has none."""

    def part(one: Abnormality) -> str:
        u = int(key.hash("validate", f"{config.seed} {one.patient}"), 16) / 16**16
        return "validate" if one.part == "train" and u < config.cbis.validate_share else one.part

    return [part(one) for one in ones]


def _columns(rows: Sequence[Sequence[Abnormality]], whole: HashKey | None) -> dict[str, list[object]]:
    """Columns of images: of several abnormalities the highest number, and descriptors one after another."""
    columns: dict[str, list[object]] = {
        "side": [row[0].view.partition("_")[0] for row in rows],
        "kind": [_each(one.kind for one in row) for row in rows],
        "abnormalities": [float(len(row)) for row in rows],
    }
    for name in ("density", "assessment", "subtlety"):
        known = [[value for one in row if (value := one.numbers[name]) is not None] for row in rows]
        columns[name] = [max(values, default=None) for values in known]
    for name in _DESCRIPTORS:
        columns[name.replace(" ", "_")] = [_each(one.descriptors[name] for one in row) for row in rows]
    if whole is not None:
        columns["whole"] = [whole.hash("image", row[0].image) for row in rows]
    return columns


def _each(values: Iterable[str]) -> str | None:
    return "; ".join(dict.fromkeys(value for value in values if value)) or None


def _masks(files: Files, those: Sequence[Abnormality]) -> str | None:
    """The masks' paths as a JSON list, in the order of the abnormalities."""
    found = [mask.key for one in those if (mask := files.mask(one.crop, one.image)) is not None]
    return json.dumps(found) if found else None


def _tables(root: Tree) -> list[Abnormality]:
    found: list[Abnormality] = []
    for folder in FOLDERS:
        names = set(root.names(folder))
        for kind in ("mass", "calc"):
            for part in ("train", "test"):
                name = f"{kind}_case_description_{part}_set.csv"
                if name in names:
                    found += _rows(root, f"{folder}/{name}".strip("/"), part)
        if found:
            return found
    raise InputError(
        "the archive has none of the tables of cases",
        limit="{mass,calc}_case_description_{train,test}_set.csv",
        where="catalog.root",
        remedy="Download the four csv files of CBIS-DDSM beside the images",
    )


def _rows(root: Tree, key: str, part: str) -> list[Abnormality]:
    """The rows of a table; no cell of a damaged one is quoted."""
    try:
        reader = csv.DictReader(io.StringIO(root.read(key).decode("utf-8-sig"), newline=""))
        rows = [{name: (cell or "").strip() for name, cell in row.items() if name} for row in reader]
        header = reader.fieldnames or []
    except EnvironmentFault:
        raise
    except (csv.Error, UnicodeDecodeError, AttributeError):
        raise InputError("a table of cases is damaged", where=key) from None
    column = {ours: next((name for name in theirs if name in header), "") for ours, theirs in _COLUMNS.items()}
    lacking = [_COLUMNS[ours][0] for ours, name in column.items() if not name]
    if lacking:
        raise InputError("a table of cases lacks a column", value=", ".join(lacking), where=key)
    try:
        return [_abnormality({ours: row[name] for ours, name in column.items()}, row, part) for row in rows]
    except (ValueError, KeyError, IndexError):
        raise InputError(
            "a row of a table of cases is damaged or says a pathology of its own",
            limit=", ".join(PATHOLOGIES),
            where=key,
            remedy="Download the table again",
        ) from None


def _abnormality(cells: dict[str, str], row: dict[str, str], part: str) -> Abnormality:
    image, crop = (cells[name].replace("\\", "/").lstrip("/").partition("/")[0] for name in ("image", "crop"))
    if not image or not crop or not cells["patient"]:
        raise ValueError
    return Abnormality(
        part=part,
        patient=cells["patient"],
        view=f"{cells['side']}_{cells['view']}",
        number=cells["number"],
        kind=cells["kind"],
        image=image,
        path=cells["image"].replace("\\", "/"),
        crop=crop,
        gravity=PATHOLOGIES.index(cells["pathology"]),
        numbers={name: float(cells[name]) if cells[name] else None for name in ("density", "assessment", "subtlety")},
        descriptors={name: row.get(name, "") for name in _DESCRIPTORS},
    )
