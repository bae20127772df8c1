"""Sections of a catalog's config that belong to one adapter each."""

from typing import Literal

from pydantic import Field

from neuroconcepts_ray.config import StrictModel


class DdsmConfig(StrictModel):
    """What of DeepMiner's DDSM is catalogued."""

    what: Literal["images", "patches"] = "images"
    """Whole films, or the patches that were cut from them."""
    truth: Literal["case", "film"] = "case"
    """images: what a film's class is. case: that of its case, as its name says (so has DeepMiner), though the other
    breast of a cancer case shows none. film: the gravest of its own patches in the lists of labels."""


class CbisConfig(StrictModel):
    """What of CBIS-DDSM is catalogued."""

    what: Literal["images", "patches"] = "images"
    """Whole mammograms, or the crop of each abnormality."""
    classes: Literal["binary", "pathology"] = "binary"
    """binary: the one label malignant. pathology: three classes, of which an image has its gravest."""
    validate_share: float = Field(default=0.2, ge=0, lt=1)
    """split: published knows train and test alone; this share of the patients of train becomes validate."""


class DicomConfig(StrictModel):
    """Which DICOM files are catalogued."""

    modalities: list[str] = []
    """Modalities that are kept, such as [CR, DX]; empty: all that have pixels. "" is a file that does not say."""
    body_parts: list[str] = []
    """Body parts that are kept, such as [CHEST]; empty: all. "" is a file that does not say."""
    burned_in: Literal["keep", "drop"] = "keep"
    """What becomes of files whose header says that text is burned into the pixels; they are counted either way."""
