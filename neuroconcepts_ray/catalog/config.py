"""Which archive is read, what its labels mean, and how its groups get their roles."""

import math
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from neuroconcepts_ray.catalog.adapter_config import CbisConfig, DdsmConfig, DicomConfig
from neuroconcepts_ray.catalog.adapters import TABLE, adapter
from neuroconcepts_ray.catalog.mapping import CsvMapping
from neuroconcepts_ray.config import PATH, POLICY, PathStr, StrictModel

ALGORITHM = 3
"""Raised by hand whenever the same archive and config would give other bytes."""

SCALE = "scale"
"""Fact of a catalog: SHA-256 of its first partition's images as they were frozen, before anything was erased."""

Role = Literal["fit", "probe", "select", "verify", "test"]

ROLES: tuple[Role, ...] = ("fit", "probe", "select", "verify", "test")
"""The five roles, in the order in which a run comes to them."""


class Shares(StrictModel):
    """Share of the groups that each role gets by ``split: hash``; they sum to 1."""

    fit: float = Field(default=0.5, ge=0, le=1)
    """Trains the classifier."""
    probe: float = Field(default=0.2, ge=0, le=1)
    """CAVs and the evidence for names; unseen by the classifier."""
    select: float = Field(default=0.1, ge=0, le=1)
    """Early stop, thresholds, every choice."""
    verify: float = Field(default=0.1, ge=0, le=1)
    """Whether a name holds."""
    test: float = Field(default=0.1, ge=0, le=1)
    """Opened by the report alone."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Shares":
        total = math.fsum(getattr(self, role) for role in ROLES)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares must sum to 1, they sum to {total:g}")
        return self


class CatalogConfig(StrictModel):
    """An archive and how it is read."""

    root: PathStr
    """Folder of the archive."""
    adapter: str = "mimic-cxr-jpg"
    """Layout of the archive; `docs/archives.md` tells each. mimic-cxr-jpg: the 2.x tree with its csv.gz tables.
    folder: [SPLIT/]CLASS/ID.ext. ham10000, r2gen, fairvlmed, ddsm, cbis-ddsm: as published. dicom: a folder of
    DICOM files. csv: any table that names image files."""
    name: Annotated[str | None, POLICY] = None
    """Name of the ref ``catalog-<name>`` that points to the newest catalog; the adapter's name if absent."""
    reports: Annotated[str | None, PATH] = None
    """Folder of the reports (mimic-cxr-jpg: files/pXX/pSUBJECT/sSTUDY.txt below it; csv: what csv.report_file is
    relative to); none if absent."""
    views: list[str] = []
    """Views that are kept, such as [AP, PA]; empty: all. An image whose view the archive does not know has the view
    "" and is left out by any list that does not hold ""."""
    labels: list[str] = []
    """Labels in their order; empty: all that the archive has (mimic-cxr-jpg: the table's 14 in its order; folder: the
    classes, sorted). A folder archive keeps only images of the classes listed."""
    labeller: Literal["chexpert", "negbio"] = "chexpert"
    """mimic-cxr-jpg: which of the two label tables is read."""
    uncertain: Literal["mask", "zeros", "ones"] = "mask"
    """What a label of -1 counts as. mask: left out of loss and scores. zeros: absent. ones: present."""
    blank: Literal["zero", "mask"] = "zero"
    """What a label that the report does not mention counts as. zero: absent. mask: left out. Studies that the label
    table lacks altogether were never read by the labeller: they are always masked, and counted."""
    positive: str | None = None
    """folder, ham10000, csv: of exactly two classes the one that counts as present, which makes the task binary with
    this one label; without it, two classes are a multi-class task of two."""
    group_pattern: str | None = None
    """folder: regular expression searched in the file name; its first group that matched is the patient. Files that
    it does not match, and all files without it, are groups of their own."""
    injected: Literal["refuse", "drop", "keep"] = "refuse"
    """ham10000: what becomes of rows that others have put into the metadata, known by a foreign id, dx or dx_type."""
    labels_file: Annotated[str | None, PATH] = None
    """r2gen, dicom: CSV with an id column (r2gen: dicom_id, image_id, study_id or id; dicom: SOPInstanceUID,
    StudyInstanceUID or PatientID) and a column of 1, 0, -1 or blank a label, such as MIMIC's chexpert table; without it
    the catalog has no labels, which is enough for weights brought along."""
    notes: Literal["summarized", "original", "none"] = "summarized"
    """fairvlmed: which clinical notes are the reports."""
    csv: CsvMapping | None = None
    """csv: the table, and what its columns mean."""
    ddsm: DdsmConfig = DdsmConfig()
    """ddsm: films or patches."""
    cbis: CbisConfig = CbisConfig()
    """cbis-ddsm: mammograms or crops."""
    dicom: DicomConfig = DicomConfig()
    """dicom: which files."""
    split: Literal["published", "hash", "file"] = "published"
    """published: the archive's train gives fit and probe, validate gives select and verify, test is test. hash: every
    group by its hash, whatever the archive says. file: as published, but by ``split_file``."""
    split_file: Annotated[str | None, PATH] = None
    """split: file. CSV with an id column and a part column, or JSON {part: [id, …]}; parts are train, val, test, or the
    five roles. Images that it does not name are left out."""
    split_by: Literal["image", "study", "patient"] | None = None
    """What the ids of split_file are; found if absent."""
    split_leaks: Literal["refuse", "mark"] = "refuse"
    """What a split is worth that puts a group into several parts. refuse: an error. mark: each such group goes as a
    whole to its part nearest to training, is counted, and every score says so."""
    probe_share: float = Field(default=0.2, ge=0, lt=1)
    """published, file: share of the groups of train that are probe."""
    shares: Shares = Shares()
    """hash: share of the groups for each role."""
    seed: int = Field(default=0, ge=0)
    """Changes which groups get which role."""
    near_duplicates: Literal["join", "refuse", "keep"] = "join"
    """Films that are filed under several patients, found by their bytes and by how they look. join: those patients get
    one role, the nearest to fit, and a new film that would join patients whose roles can no longer change is left out.
    refuse: an error if their roles differ. keep: nothing is looked for, and the same film may be in fit and in test."""
    hash_key_file: Annotated[str | None, PATH] = None
    """File whose bytes (16 or more) key the hashes of patients and studies; if absent, ``hash.key`` below phi_root,
    made at random on first use. The same key gives the same groups in every lake."""
    partition_rows: int = Field(default=65536, ge=1)
    """Most rows that a frozen partition holds."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise ValueError("a name holds A-Z a-z 0-9 _ . - and does not start with . or -")
        return name

    @field_validator("group_pattern")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
            if groups < 1:
                raise ValueError("the pattern needs a group in parentheses, which is the patient")
        return pattern

    @field_validator("adapter")
    @classmethod
    def _is_an_adapter(cls, name: str) -> str:
        known = [entry.name for entry in TABLE]
        if name not in known:
            raise ValueError(f"no such adapter; there are {', '.join(known)}")
        return name

    @model_validator(mode="after")
    def _fields_fit_the_adapter(self) -> "CatalogConfig":
        own = adapter(self.adapter).fields
        for entry in TABLE:
            for name in sorted(entry.fields - own):
                if getattr(self, name) != type(self).model_fields[name].get_default(call_default_factory=True):
                    takers = [other.name for other in TABLE if name in other.fields]
                    raise ValueError(f"{name}: the {self.adapter} adapter has none; it belongs to {', '.join(takers)}")
        if self.adapter == "csv" and self.csv is None:
            raise ValueError("csv: the csv adapter needs a section that says what the table's columns mean")
        if self.split == "published" and not adapter(self.adapter).splits:
            raise ValueError(
                f"split: {self.adapter} archives publish no split; set split: hash, or split: file with a split_file"
            )
        if (self.split == "file") != (self.split_file is not None):
            raise ValueError("split_file: split: file and split_file go together")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: one stands there twice")
        return self

    @property
    def ref(self) -> str:
        """The ref that points to the newest catalog of this archive."""
        return f"catalog-{self.name or self.adapter}"
