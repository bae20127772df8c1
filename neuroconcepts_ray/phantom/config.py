"""What a phantom archive holds."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from neuroconcepts_ray.config import POLICY, StrictModel

ALGORITHM = 2
"""Raised whenever the same config would give other bytes."""

Share = Annotated[float, Field(ge=0, le=1)]


class PhantomConfig(StrictModel):
    """A synthetic archive; every file is a function of this config, and of its patient alone."""

    listed_by: ClassVar[str] = "neuroconcepts config --phantom"

    layout: Literal["mimic-cxr-jpg", "ddsm", "ham10000", "fairvlmed", "r2gen"] = "mimic-cxr-jpg"
    """Whose layout the archive has, and with it what is on the images: the chest (mimic-cxr-jpg, r2gen), the breast
    (ddsm), the skin (ham10000) or the fundus (fairvlmed). A patient is then a case, a lesion or a subject."""
    patients: Annotated[int, Field(ge=1, le=70_000)] = 1200
    """Number of patients. The first 100 of 110 patients have the same files as 100 patients."""
    first: Annotated[int, Field(ge=0, le=180_000)] = 0
    """Number of the first patient: archives of one seed whose numbers do not meet are of one world, with nobody in
    common."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of everything that is drawn: prevalences, shapes, textures, words, patients."""
    height: Annotated[int, Field(ge=32, le=3056)] = 152
    """Rows of a film, in pixels."""
    width: Annotated[int, Field(ge=32, le=3056)] = 128
    """Columns of a film, in pixels."""
    studies_max: Annotated[int, Field(ge=1, le=8)] = 3
    """A patient has from 1 to this many studies, all numbers equally likely."""
    lateral: Share = 0.15
    """Share of studies with a lateral film beside the frontal one."""
    portable: Share = 0.45
    """Share of studies whose frontal film is AP; the others are PA."""
    validate_share: Share = 0.2
    """Share of patients in the published split `validate`."""
    test_share: Share = 0.2
    """Share of patients in the published split `test`."""
    shortcuts: Annotated[float, Field(ge=-1, le=1)] = 0.5
    """How firmly each artefact (boxed mark, drain, grain, border) follows the finding that it is tied to: it is on
    (1 + s)/2 of the films with the finding and (1 − s)/2 of those without. Negative: the tie is reversed, as in an
    archive out of distribution. 0: no tie."""
    confounds: Share = 0.5
    """How much age, sex and race each move the liability of one finding, in standard deviations."""
    uncertain: Annotated[float, Field(ge=0, le=0.5)] = 0.03
    """Share of present findings that the report only suspects."""
    omitted: Annotated[float, Field(ge=0, le=0.5)] = 0.10
    """Share of present findings that the report does not mention."""
    negated: Share = 0.35
    """Share of absent findings that the report denies; the others it passes over."""
    text: Share = 0.1
    """Share of films with burned-in text."""
    labels: Literal["reports", "random"] = "reports"
    """What the label tables hold. reports: what a labeller reads in the reports. random: drawn for each study apart, at
    the same rates (a null archive: whoever finds something has deceived himself)."""
    reports: Literal["films", "independent"] = "films"
    """What the reports tell. films: what is planted. independent: what another study of that view might show, while the
    labels stay those of the true report (a null archive for names)."""
    twins: Annotated[int, Field(ge=0, le=1000)] = 0
    """Pairs of films for each factor, alike but for that factor, of patients who are not in the archive; written to a
    folder of their own."""
    quality: Annotated[int, Field(ge=50, le=100)] = 95
    """JPEG quality; MIMIC-CXR-JPG has 95."""
    processes: Annotated[int, Field(ge=1), POLICY] = 1
    """Processes that draw films; the bytes do not depend on it."""

    @model_validator(mode="after")
    def _twins_are_of_the_chest(self) -> "PhantomConfig":
        if self.twins and self.layout not in ("mimic-cxr-jpg", "r2gen"):
            raise ValueError(f"twins are drawn of chest films alone; the layout {self.layout} has none")
        return self

    @model_validator(mode="after")
    def _independent_reports_need_reports(self) -> "PhantomConfig":
        if self.reports == "independent" and self.layout in ("ddsm", "ham10000"):
            raise ValueError(f"reports: independent makes no sense in the layout {self.layout}, which has no reports")
        return self

    @model_validator(mode="after")
    def _splits_are_shares_of_one_archive(self) -> "PhantomConfig":
        if self.validate_share + self.test_share > 1:
            raise ValueError("validate_share and test_share are together more than 1")
        return self
