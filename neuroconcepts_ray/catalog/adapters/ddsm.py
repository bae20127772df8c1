"""Adapter ``ddsm``: the digitised DDSM films and patches that DeepMiner published.

    ddsm_raw/cancer_09-B_3134_1.RIGHT_MLO.LJPEG.1.jpg    CLASS_VOLUME-SITE_CASE_1.SIDE_VIEW.LJPEG.1.jpg
    ddsm_raw_image_lists/{train,val,test}.txt            one name a line
    ddsm_patches/N/<film>-x1750_y1750_w700_h700_imgfrac0.25_stridefrac0.5.jpg      or below ddsm_3class/images/
    ddsm_labels/3class/{train,val,test}.txt              N/<patch>.jpg and 0 | 1 | 2 a line; or in ddsm_3class/
    ddsm_masks/3class/{benigns,benign_without_callbacks,cancers}/<film>.png

In a patch's name x is the row and y the column. A case is a group and a study.
"""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from neuroconcepts_ray.catalog.archive import UNLABELLED, Archive, choose_labels
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.trees import Entry, Tree, is_image
from neuroconcepts_ray.errors import EnvironmentFault, InputError, LeakageError

CLASSES = ("normal", "benign", "cancer")
"""0, 1 and 2 of the lists of labels; benign_without_callback counts as benign."""

PARTS = {"train": "train", "val": "validate", "test": "test"}
FILMS, FILM_LISTS = ("ddsm_raw",), ("ddsm_raw_image_lists",)
PATCHES, PATCH_LISTS = ("ddsm_patches", "ddsm_3class/images"), ("ddsm_labels/3class", "ddsm_3class")
MASKS = "ddsm_masks/3class"

LISTED = {
    "images": 8336 + 1040 + 1044,
    "images of train": 8336,
    "images of validate": 1040,
    "images of test": 1044,
}
"""Films of the three published lists."""

_NAME = re.compile(
    r"(?P<film>(?P<pathology>normal|benign_without_callback|benign|cancer)_(?P<volume>\d+)-(?P<site>[A-Z])_(?P<case>\d+)_1"
    r"\.(?P<side>LEFT|RIGHT)_(?P<view>CC|MLO)\.LJPEG\.1)"
    r"(?:-x(?P<row>\d+)_y(?P<column>\d+)_w(?P<width>\d+)_h(?P<height>\d+)_imgfrac[\d.]+_stridefrac[\d.]*\d)?"
)


@dataclass(frozen=True)
class Lists:
    """The three lists of films or patches.

    Attributes:
        part: Part of the published split, by name without its ending.
        truth: Class, by the same; empty where the lists give none.
    """

    part: dict[str, str]
    truth: dict[str, int]


def scan(
    config: CatalogConfig,
    root: Tree,
    reports: Tree | None,  # noqa: ARG001 - every adapter is called alike
    key: HashKey,
) -> Archive:
    """Look at DeepMiner's DDSM once.

    Files whose names do not say what they are are left out and counted as ``junk``, a second file of the same name as
    ``twice``, films of classes that ``config.labels`` does not list as ``class``, of other views as ``view``; patches
    without a label, and files that the published split is asked for and does not name, as ``unlisted``; names of the
    lists without a file as ``missing``.

    Args:
        config: Labels, views, split and the ``ddsm`` section.
        root: The folder that holds ``ddsm_raw`` or ``ddsm_patches``, and the lists.
        reports: Unused.
        key: Keys the image ids.

    Raises:
        InputError: No such folder, no list of labels, or a list that is damaged or contradicts another.
        LeakageError: The lists put a film or patch into two parts of the split.
        ConfigError: A label that is no class.
    """
    patches = config.ddsm.what == "patches"
    lists = _lists(root, PATCH_LISTS if patches else FILM_LISTS, config.split == "published")
    film_truth = _film_truth(root) if config.ddsm.truth == "film" and not patches else None
    if patches and not lists.truth:
        raise InputError(
            "patches have their labels from lists, and there are none",
            limit=" or ".join(PATCH_LISTS),
            where="catalog.root",
            remedy="Unpack ddsm_labels.tar.gz beside the patches",
        )
    labels = choose_labels(config.labels, CLASSES)
    left_out = dict.fromkeys(("junk", "twice", "unlisted", "class", "view", "missing"), 0)
    archive = Archive(labels=labels, task="multiclass", left_out=left_out, raw=np.empty((0, len(labels)), np.int8))
    archive.published_counts = dict(LISTED) if not patches else {}
    masks = {_stem(entry.key): entry.key for entry in (root.walk(MASKS) if root.is_dir(MASKS) else ())}
    raw, rows, seen = [], [], set[str]()
    for file in sorted(_files(root, PATCHES if patches else FILMS), key=lambda file: file.key):
        name = _stem(file.key)
        match = _NAME.fullmatch(name) if is_image(file.key) else None
        if match is None or (match["row"] is not None) != patches:
            left_out["junk"] += 1
            continue
        if name in seen:
            left_out["twice"] += 1
            continue
        seen.add(name)
        truth = lists.truth.get(name) if patches else (film_truth or {}).get(name)
        if truth is None and film_truth is None and not patches:
            truth = CLASSES.index(match["pathology"].partition("_")[0])
        view = f"{match['side']}_{match['view']}"
        if (truth is None and patches) or (config.split == "published" and lists.part and name not in lists.part):
            left_out["unlisted"] += 1
        elif truth is not None and CLASSES[truth] not in labels:
            left_out["class"] += 1
        elif config.views and view not in config.views:
            left_out["view"] += 1
        else:
            case = f"{match['pathology']}_{match['volume']}-{match['site']}_{match['case']}"
            archive.image_ids.append(key.hash("image", name))
            archive.files.append(file)
            archive.patients.append(case)
            archive.study_ids.append(case)
            archive.views.append(view)
            archive.published.append(lists.part.get(name, ""))
            raw.append([UNLABELLED if truth is None else CLASSES[truth] == label for label in labels])
            rows.append(match)
    left_out["missing"] = len((lists.part.keys() | lists.truth.keys()) - seen)
    archive.raw = np.array(raw, np.int8).reshape(len(raw), len(labels))
    archive.columns = {name: [row[name] for row in rows] for name in ("side", "site", "pathology")}
    if patches:
        archive.columns |= {name: [float(row[name]) for row in rows] for name in ("row", "column", "width", "height")}
        archive.columns["whole"] = [key.hash("image", row["film"]) for row in rows]
    archive.phi_columns = {"masks": [masks.get(row["film"]) for row in rows]}
    return archive


def _stem(key: str) -> str:
    """A file's name without folder and last ending."""
    return key.rpartition("/")[2].rpartition(".")[0]


def _files(root: Tree, folders: tuple[str, ...]) -> list[Entry]:
    here = [folder for folder in folders if root.is_dir(folder)]
    if not here:
        raise InputError(
            "the archive lacks the folder of its films or patches",
            limit=" or ".join(folders),
            where="catalog.root",
            remedy="Point catalog.root at the folder that DeepMiner's archives were unpacked in",
        )
    return list(root.walk(here[0]))


def _lists(root: Tree, folders: tuple[str, ...], strict: bool) -> Lists:
    """The lists of the first folder that has any; a name in two parts is refused where the split is wanted."""
    folder = next((folder for folder in folders if {f"{part}.txt" for part in PARTS} & set(root.names(folder))), None)
    lists = Lists({}, {})
    torn: Counter[str] = Counter()
    for part in PARTS if folder is not None else ():
        if f"{part}.txt" not in root.names(folder or ""):
            continue
        for name, truth in _lines(root, f"{folder}/{part}.txt"):
            if lists.part.setdefault(name, PARTS[part]) != PARTS[part]:
                torn["names"] += 1
            if truth is not None and lists.truth.setdefault(name, truth) != truth:
                raise InputError("the lists give a patch two labels", where=folder)
    if torn and strict:
        raise LeakageError(
            "the published lists name the same film or patch in several parts",
            value=torn["names"],
            limit=0,
            where="catalog.split",
            remedy="Set `catalog.split: hash` to give every case its role by its hash",
        )
    return lists


def _lines(root: Tree, key: str) -> list[tuple[str, int | None]]:
    """Names without folder and ending, and their class where the list gives it; a damaged line is not quoted."""
    try:
        lines = [line.split() for line in root.read(key).decode("utf-8").splitlines() if line.strip()]
        return [(_stem(line[0]), _class(line[1]) if len(line) > 1 else None) for line in lines]
    except EnvironmentFault:
        raise
    except ValueError:
        raise InputError("a list is damaged", limit="a name and 0, 1 or 2 a line", where=key) from None


def _class(text: str) -> int:
    if text not in ("0", "1", "2"):
        raise ValueError
    return int(text)


def _film_truth(root: Tree) -> dict[str, int]:
    """The gravest class among each film's own patches."""
    truth: dict[str, int] = {}
    for name, of_patch in _lists(root, PATCH_LISTS, strict=False).truth.items():
        film = name.partition("-x")[0]
        truth[film] = max(of_patch, truth.get(film, 0))
    if not truth:
        raise InputError("films have their own class from the patches' lists, and there are none", where="catalog.ddsm")
    return truth
