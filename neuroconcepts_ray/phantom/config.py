"""What a phantom archive holds."""

from typing import Annotated

from pydantic import Field

from neuroconcepts_ray.config import POLICY, StrictModel

ALGORITHM = 1
"""Raised whenever the same config would give other bytes."""


class PhantomConfig(StrictModel):
    """A synthetic archive; every file is a function of this config, and of its patient alone."""

    patients: Annotated[int, Field(ge=1, le=70_000)] = 1200
    """Number of patients. The first 100 of 110 patients have the same files as 100 patients."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of everything that is drawn."""
    height: Annotated[int, Field(ge=32, le=3056)] = 152
    """Rows of a film, in pixels."""
    width: Annotated[int, Field(ge=32, le=3056)] = 128
    """Columns of a film, in pixels."""
    studies_max: Annotated[int, Field(ge=1, le=8)] = 3
    """A patient has from 1 to this many studies, all numbers equally likely."""
    lateral: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of studies with a lateral film beside the frontal one."""
    portable: Annotated[float, Field(ge=0, le=1)] = 0.45
    """Share of studies whose frontal film is AP; the others are PA."""
    validate_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of patients in the published split `validate`."""
    test_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of patients in the published split `test`."""
    uncertain: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of present findings that the report only suspects (label -1.0)."""
    omitted: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of present findings that the report does not mention (label blank)."""
    negated: Annotated[float, Field(ge=0, le=1)] = 0.35
    """Share of absent findings that the report denies (label 0.0); the others are left blank."""
    quality: Annotated[int, Field(ge=50, le=100)] = 95
    """JPEG quality; MIMIC-CXR-JPG has 95."""
    processes: Annotated[int, Field(ge=1), POLICY] = 1
    """Processes that draw films; the bytes do not depend on it."""
