"""What an adapter finds in an archive: one entry per image, and labels as the archive has them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int8

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.trees import Entry
from neuroconcepts_ray.errors import ConfigError, InputError

PRESENT, ABSENT, UNCERTAIN, BLANK, UNLABELLED = 1, 0, -1, -2, -3
"""Labels as the archive has them; UNLABELLED: the labeller never saw the study."""

Task = Literal["multilabel", "multiclass", "binary"]

MOST_WORDS = 100
"""Different words of a column that a manifest tells; a column of ids would fill it."""

LABEL_KINDS = {"present": PRESENT, "absent": ABSENT, "uncertain": UNCERTAIN, "blank": BLANK, "unlabelled": UNLABELLED}
"""The codes by their names."""


@dataclass
class Archive:
    """An archive as one look at it finds it; all lists are per image.

    Attributes:
        labels: Names of the columns of ``raw``.
        task: multilabel, multiclass or binary.
        left_out: How many files or rows did not become an image, by reason.
        raw: PRESENT, ABSENT, UNCERTAIN, BLANK or UNLABELLED.
        reports: Each study's report, by the archive's study id: its file below the reports' folder, or its text where
            it stands in a table.
        ungrouped: Images that no group_pattern matched.
        counted: What else the adapter counted, by its name; nothing of it was left out.
        columns: Further columns of the images, such as age, sex, race, site, one value an image; None where unknown.
            No value may tell who the patient is.
        phi_columns: The same for what may: it stays below phi_root, beside the sources.
        aliases: Further names of the images by which split files may know them, where there are any; no path of theirs.
        grouped_by: What a group is: patient, lesion, study, image or file.
        published_counts: What the archive's makers say it holds, by the name of the count, to be told beside ours.
    """

    labels: list[str]
    task: Task
    left_out: dict[str, int]
    raw: Int8[np.ndarray, "n l"]
    image_ids: list[str] = field(default_factory=list)
    files: list[Entry] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    study_ids: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    reports: dict[str, Entry | str] = field(default_factory=dict)
    ungrouped: int = 0
    counted: dict[str, int] = field(default_factory=dict)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    phi_columns: dict[str, list[Any]] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    grouped_by: str = "patient"
    published_counts: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse an archive that contradicts itself.

        Raises:
            InputError: No image; an image id twice; a study of two patients.
        """
        if not self.image_ids:
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.left_out.items()) if count)
            raise InputError(
                "no image is left to catalogue",
                value=f"left out: {reasons}" if reasons else "an archive without images",
                remedy="Check catalog.root, catalog.adapter, catalog.views and catalog.labels",
                where="catalog.root",
            )
        twice = len(self.image_ids) - len(set(self.image_ids))
        if twice:
            raise InputError("image ids stand in the archive more than once", value=twice, limit=0)
        pairs = set(zip(self.study_ids, self.patients, strict=True))
        shared = len(pairs) - len(set(self.study_ids))
        if shared:
            raise InputError("studies belong to more than one patient", value=shared, limit=0)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all images but some, from every list alike; reports of studies without an image go too."""
        self.raw = self.raw[np.array(rows, dtype=np.intp)]
        for values in (
            self.image_ids,
            self.files,
            self.patients,
            self.study_ids,
            self.views,
            self.published,
            self.aliases,
            *self.columns.values(),
            *self.phi_columns.values(),
        ):
            if values:
                values[:] = [values[row] for row in rows]  # type: ignore[index]
        studies = set(self.study_ids)
        self.reports = {study: text for study, text in self.reports.items() if study in studies}


def apply_policy(
    raw: Int8[np.ndarray, "n l"], config: CatalogConfig
) -> tuple[Int8[np.ndarray, "n l"], Bool[np.ndarray, "n l"]]:
    """Labels as 1 and 0, and which of them are masked.

    Args:
        raw: As the archive has them.
        config: Policies for uncertain and blank labels.

    Returns:
        Labels (0 where masked) and the mask.
    """
    masked = raw == UNLABELLED
    y = (raw == PRESENT).astype(np.int8)
    if config.uncertain == "mask":
        masked |= raw == UNCERTAIN
    elif config.uncertain == "ones":
        y[raw == UNCERTAIN] = 1
    if config.blank == "mask":
        masked |= raw == BLANK
    return y, masked


def label_counts(labels: Sequence[str], raw: Int8[np.ndarray, "n l"]) -> dict[str, dict[str, int]]:
    """Images by label and by what the archive says of it, before any policy."""
    return {
        label: {kind: int((raw[:, column] == code).sum()) for kind, code in LABEL_KINDS.items()}
        for column, label in enumerate(labels)
    }


def summary(values: Sequence[Any]) -> dict[str, Any]:
    """What a further column holds: range of its numbers or images by word, and for how many images nothing is known.

    Of more than :data:`MOST_WORDS` words the most frequent are told, and how many ``more`` there are.
    """
    known = [value for value in values if value is not None]
    found: dict[str, Any] = {"unknown": len(values) - len(known)}
    if known and not any(isinstance(value, str) for value in known):
        return found | {"least": float(min(known)), "most": float(max(known))}
    words = Counter(map(str, known))
    told = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:MOST_WORDS]
    return found | {"words": dict(sorted(told))} | ({"more": len(words) - len(told)} if len(words) > len(told) else {})


def choose_labels(wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    """The labels that a config asks for, all if it names none.

    Raises:
        ConfigError: One that the archive does not have.
    """
    unknown = [label for label in wanted if label not in there]
    if unknown:
        raise ConfigError(
            "labels that the archive does not have",
            value=", ".join(unknown),
            limit=", ".join(there),
            where="catalog.labels",
        )
    return list(wanted or there)


def no_view_is_wanted(config: CatalogConfig) -> bool:
    """Whether the views that a config asks for leave nothing of an archive that knows no views."""
    return bool(config.views) and "" not in config.views


def one_hot(
    found: Sequence[str], classes: Sequence[str], positive: str | None
) -> tuple[list[str], Task, Int8[np.ndarray, "n l"]]:
    """Labels, task and codes of images that each have one class.

    Args:
        found: The class of each image; empty where it is not known.
        classes: The classes in order.
        positive: Of exactly two classes the one that counts as present; None for a multi-class task.

    Returns:
        Names of the labels; ``binary`` or ``multiclass``; int8 [n, l] of PRESENT, ABSENT or UNLABELLED.

    Raises:
        ConfigError: ``positive`` is not one of exactly two classes.
    """
    if positive is not None and (len(classes) != 2 or positive not in classes):
        raise ConfigError(
            "a positive class needs exactly two classes, of which it is one",
            value=positive,
            limit=", ".join(classes),
            where="catalog.positive",
        )
    labels = list(classes) if positive is None else [positive]
    place = {name: row for row, name in enumerate(labels)}
    codes = np.full((len(found), len(labels)), ABSENT, dtype=np.int8)
    for row, name in enumerate(found):
        if name == "":
            codes[row] = UNLABELLED
        elif name in place:
            codes[row, place[name]] = PRESENT
    return labels, "multiclass" if positive is None else "binary", codes


def text_of_each_study(pairs: Iterable[tuple[str, str]]) -> dict[str, Entry | str]:
    """One report a study of texts that may stand at each of its images; blank ones are no reports.

    Raises:
        InputError: Studies with several texts; none is quoted.
    """
    texts: dict[str, Entry | str] = {}
    torn = set()
    for study, text in pairs:
        if text.strip() and texts.setdefault(study, text) != text:
            torn.add(study)
    if torn:
        raise InputError(
            "studies have several reports that differ",
            value=f"{len(torn)} studies",
            limit="one report a study",
            remedy="Take a finer study, so that each has one report",
        )
    return texts
