"""Rows of MIMIC-IV's tables of patients and admissions, of what tells age, sex and race."""

from collections.abc import Sequence

from neuroconcepts_ray.phantom.draw import Patient

PATIENTS = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")
"""All columns of ``patients.csv.gz``."""

ADMISSIONS = ("subject_id", "hadm_id", "race")
"""Of ``admissions.csv.gz`` those that identify a stay and tell race."""

_GENDERS = {"female": "F", "male": "M"}
_RACES = {"asian": "ASIAN", "black": "BLACK/AFRICAN AMERICAN", "white": "WHITE"}


def patient_row(patient: Patient) -> Sequence[object]:
    """The row of :data:`PATIENTS`; the anchor is the first study, nobody has died."""
    year = patient.studies[0].date[:4]
    return patient.subject_id, _GENDERS[patient.sex], patient.age, year, "2011 - 2013", ""


def admission_row(patient: Patient) -> Sequence[object]:
    """A row of :data:`ADMISSIONS`."""
    return patient.subject_id, patient.subject_id + 10_000_000, _RACES[patient.race]
