"""Adapter ``ham10000``: dermatoscopic images of HAM10000, as Kaggle or Dataverse give them.

    HAM10000_metadata.csv | .tab      lesion_id, image_id, dx, dx_type, age, sex, localization [, dataset]
    …/ISIC_0024306.jpg                in HAM10000_images_part_1 and _2, or in whatever folders

image_id is ISIC's. There is no patient: the group, and the study, is the lesion, of which one in four has several
images.
"""

import re
from collections import Counter

from neuroconcepts_ray.catalog.archive import Archive, choose_labels, no_view_is_wanted, one_hot
from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.sheets import column, number, read_in, read_sheet, shown_values
from neuroconcepts_ray.catalog.trees import Entry, Tree, is_image
from neuroconcepts_ray.errors import ConfigError, InputError

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
"""The seven diagnoses, in the order of a classifier's outputs."""

CONFIRMED_BY = frozenset({"histo", "follow_up", "consensus", "confocal"})

PUBLISHED = {
    "images": 10_015,
    "groups": 7_470,
    "label akiec": 327,
    "label bcc": 514,
    "label bkl": 1_099,
    "label df": 115,
    "label mel": 1_113,
    "label nv": 6_705,
    "label vasc": 142,
}

_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
_WHERE = "HAM10000_metadata"


def scan(
    config: CatalogConfig,
    root: Tree,
    reports: Tree | None,  # noqa: ARG001 - every adapter is called alike
    key: HashKey,  # noqa: ARG001 - ISIC's ids tell of no patient
) -> Archive:
    """Look at HAM10000 once.

    Rows whose image is not there are left out and counted as ``missing``, images without a row as ``unlisted``, a
    second copy of an image as ``duplicate``, other files as ``junk``, rows of classes that ``config.labels`` does not
    list as ``class``, injected rows that are dropped as ``injected``.

    Args:
        config: Labels, positive, injected, views.
        root: The archive's tree.
        reports: Unused.
        key: Unused.

    Raises:
        InputError: The metadata are damaged, or hold rows that others put there.
        ConfigError: There are no metadata, or labels that do not fit.
    """
    left_out = dict.fromkeys(("view", "missing", "unlisted", "duplicate", "junk", "class", "injected"), 0)
    sheet = _metadata(root)
    files: dict[str, Entry] = {}
    for entry in sorted(root.walk(), key=lambda entry: entry.key):
        name = entry.key.rpartition("/")[2]
        if name.startswith(_WHERE):
            continue
        if not is_image(entry.key):
            left_out["junk"] += 1
        elif files.setdefault(name.rpartition(".")[0], entry) is not entry:
            left_out["duplicate"] += 1
    rows = list(zip(*(sheet[name] for name in _COLUMNS), strict=True))
    left_out["unlisted"] = len(files.keys() - set(sheet["image_id"]))

    foreign = [_foreign(image_id, dx, by) for _, image_id, dx, by, *_ in rows]
    _refuse(foreign, config)
    if config.injected == "drop":
        left_out["injected"] = sum(bool(reason) for reason in foreign)
        rows = [row for row, reason in zip(rows, foreign, strict=True) if not reason]
    others = sorted({dx for _, _, dx, *_ in rows} - set(CLASSES))
    classes = choose_labels(config.labels, [*CLASSES, *others])

    kept: list[tuple[str, ...]] = []
    for row in rows:
        if no_view_is_wanted(config):
            left_out["view"] += 1
        elif row[2] not in classes:
            left_out["class"] += 1
        elif row[1] not in files:
            left_out["missing"] += 1
        else:
            kept.append(row)
    labels, task, raw = one_hot([row[2] for row in kept], classes, config.positive)
    lesions = [row[0] for row in kept]
    return Archive(
        labels=labels,
        task=task,
        left_out=left_out,
        raw=raw,
        image_ids=[row[1] for row in kept],
        files=[files[row[1]] for row in kept],
        patients=lesions,
        study_ids=list(lesions),
        views=[""] * len(kept),
        published=[""] * len(kept),
        columns={
            "age": [number(row[4]) for row in kept],
            "sex": shown_values([row[5].lower() for row in kept], "sex", _WHERE),
            "site": shown_values([row[6].lower() for row in kept], "localization", _WHERE),
            "dx_type": shown_values([row[3] for row in kept], "dx_type", _WHERE),
        },
        grouped_by="lesion",
        published_counts=dict(PUBLISHED),
    )


def _metadata(root: Tree) -> dict[str, list[str]]:
    names = [name for name in root.names() if name in (_WHERE, f"{_WHERE}.csv", f"{_WHERE}.tab")]
    if len(names) != 1:
        raise ConfigError(
            f"the archive must hold exactly one {_WHERE}.csv or .tab",
            value=len(names),
            limit=1,
            where="catalog.root",
            remedy="Point catalog.root at the folder of the download",
        )
    data = read_in(root, names[0], "catalog.root")
    separator = "\t" if b"\t" in data.partition(b"\n")[0] else ","
    sheet = read_sheet(data, names[0], separator)
    return {name: column(sheet, name, names[0]) for name in _COLUMNS}


def _foreign(image_id: str, dx: str, confirmed_by: str) -> str:
    """Why a row is none of HAM10000's; empty where it is."""
    if not re.fullmatch(r"ISIC_\d{7}", image_id):
        return "an image_id that is not ISIC's"
    if dx not in CLASSES:
        return "a dx outside the seven"
    return "" if confirmed_by in CONFIRMED_BY else "an unknown dx_type"


def _refuse(foreign: list[str], config: CatalogConfig) -> None:
    reasons = Counter(reason for reason in foreign if reason)
    if reasons and config.injected == "refuse":
        raise InputError(
            "rows were put into the metadata that are none of HAM10000's",
            value=", ".join(f"{count} with {reason}" for reason, count in sorted(reasons.items())),
            limit=0,
            where="catalog.injected",
            remedy="Get the metadata from their publisher, or set catalog.injected: drop (or keep)",
        )
