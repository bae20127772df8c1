"""What an adapter finds in an archive: one entry per image, and labels as the archive has them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int8

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.trees import Entry
from neuroconcepts_ray.errors import ConfigError, InputError

PRESENT, ABSENT, UNCERTAIN, BLANK, UNLABELLED = 1, 0, -1, -2, -3
"""Labels as the archive has them; UNLABELLED: the labeller never saw the study."""


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
        reports_left_out: How many reports are of no study of the archive, or a further one of a study, by reason.
        ungrouped: Images that no group_pattern matched.
        columns: Further columns of the images, such as age, sex, race, site, one value an image; None where unknown.
            No value may tell who the patient is.
        phi_columns: The same for what may: it stays below phi_root, beside the sources.
        published_counts: What the archive's makers say it holds, by the name of the count, to be told beside ours.
    """

    labels: list[str]
    task: Literal["multilabel", "multiclass", "binary"]
    left_out: dict[str, int]
    raw: Int8[np.ndarray, "n l"]
    image_ids: list[str] = field(default_factory=list)
    files: list[Entry] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    study_ids: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    reports: dict[str, Entry | str] = field(default_factory=dict)
    reports_left_out: dict[str, int] = field(default_factory=dict)
    ungrouped: int = 0
    columns: dict[str, list[Any]] = field(default_factory=dict)
    phi_columns: dict[str, list[Any]] = field(default_factory=dict)
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
    kinds = {"present": PRESENT, "absent": ABSENT, "uncertain": UNCERTAIN, "blank": BLANK, "unlabelled": UNLABELLED}
    return {
        label: {kind: int((raw[:, column] == code).sum()) for kind, code in kinds.items()}
        for column, label in enumerate(labels)
    }


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
