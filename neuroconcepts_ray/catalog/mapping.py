"""What the columns of somebody's table mean: the ``csv`` section of a catalog."""

from typing import Annotated

from pydantic import Field, model_validator

from neuroconcepts_ray.config import POLICY, StrictModel

RESERVED = frozenset({"image_id", "study", "group", "view", "role"})
"""Columns that every catalog has already."""


class CsvMapping(StrictModel):
    """A table that names image files, and what its columns mean."""

    file: Annotated[str, POLICY]
    """The table: relative to ``catalog.root``, or an absolute path or URI."""
    separator: str = Field(default=",", pattern=r"^[\t -!#-~]\z")
    """What stands between two values: one ASCII character."""
    image: str
    """Column of the image's path, relative to ``catalog.root``."""
    image_id: str | None = None
    """Column of ids that are shown everywhere, so they must tell nothing of a patient; without it, each path's keyed
    hash."""
    patient: str | None = None
    """Column of the patient, who is the group; without it each study, or each image, is a group of its own."""
    study: str | None = None
    """Column of the study; without it each image is a study of its own."""
    view: str | None = None
    """Column of the view."""
    split: str | None = None
    """Column of the published part: train, val or test, or one of the five roles."""
    report: str | None = None
    """Column of the report's text."""
    report_file: str | None = None
    """Column of the report's file, relative to ``catalog.reports``, or to ``catalog.root`` where that is absent."""
    labels: list[str] = []
    """Columns of labels: 1 present, 0 absent, -1 uncertain, blank."""
    class_column: str | None = None
    """The one column whose words are classes that exclude each other, instead of ``labels``."""
    columns: dict[str, str] = {}
    """Further columns to keep, such as {age: Age, sex: Gender}: name in the catalog, and column of the table. They are
    shown everywhere, so none may tell who a patient is; only numbers, and words of few kinds, are taken."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "CsvMapping":
        if self.labels and self.class_column is not None:
            raise ValueError("labels and class_column exclude each other")
        if self.report is not None and self.report_file is not None:
            raise ValueError("report and report_file exclude each other")
        for name, column in self.columns.items():
            if name in RESERVED or name.startswith("label:") or not name:
                raise ValueError(f"columns: the name {name!r} is taken; choose another")
            if column in (self.patient, self.study, self.image, self.report, self.report_file):
                raise ValueError(
                    f"columns: {column!r} may tell who a patient is, and these columns are shown everywhere"
                )
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: one stands there twice")
        return self
