"""Age, sex and race of MIMIC's patients, from two tables of MIMIC-IV laid beside those of MIMIC-CXR-JPG.

    patients.csv[.gz]      subject_id, gender ∈ F | M, anchor_age, anchor_year, …    one row a patient
    admissions.csv[.gz]    subject_id, race, …    one row a stay

Either may be missing; then so are its columns. The words are those of the other adapters.
"""

from collections import Counter
from collections.abc import Sequence

from neuroconcepts_ray.catalog.sheets import column, number, read_in, read_sheet
from neuroconcepts_ray.catalog.trees import Tree

OLDEST = 91.0
"""MIMIC's age of everybody above 89."""

_SEXES = {"F": "female", "M": "male"}
_RACES = {"WHITE": "white", "BLACK": "black", "ASIAN": "asian", "HISPANIC": "hispanic"}
_UNKNOWN = ("", "UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER")


def describe(root: Tree, subjects: Sequence[str], dates: Sequence[str]) -> dict[str, list[str | float | None]]:
    """The columns that the tables give.

    Args:
        root: Tree that may hold the tables.
        subjects: Patient of each image.
        dates: StudyDate of each image (YYYYMMDD).

    Returns:
        age (years at the study: anchor_age + years since anchor_year, at most :data:`OLDEST`), sex (female, male) and
        race (white, black, asian, hispanic, other; what most stays say), None where unknown.

    Raises:
        InputError: A table is damaged.
        ConfigError: A table lacks a column.
    """
    columns: dict[str, list[str | float | None]] = {}
    if (name := find(root, "patients")) is not None:
        sheet = read_sheet(read_in(root, name, "catalog.root"), name)
        ids = column(sheet, "subject_id", name)
        fields = (column(sheet, field, name) for field in ("gender", "anchor_age", "anchor_year"))
        people = dict(zip(ids, zip(*fields, strict=True), strict=True))
        columns["age"] = [_age(people.get(who), date) for who, date in zip(subjects, dates, strict=True)]
        columns["sex"] = [_SEXES.get(people[who][0].upper()) if who in people else None for who in subjects]
    if (name := find(root, "admissions")) is not None:
        sheet = read_sheet(read_in(root, name, "catalog.root"), name)
        races = _races(column(sheet, "subject_id", name), column(sheet, "race", name))
        columns["race"] = [races.get(who) for who in subjects]
    return columns


def find(root: Tree, table: str) -> str | None:
    """The name of a table of MIMIC-IV in the root; None if it is not there."""
    return next((name for name in (f"{table}.csv.gz", f"{table}.csv") if name in root.names()), None)


def _age(person: tuple[str, str, str] | None, date: str) -> float | None:
    if person is None:
        return None
    age, anchor, year = number(person[1]), number(person[2]), number(date[:4])
    return None if age is None or anchor is None or year is None else min(age + year - anchor, OLDEST)


def _races(subjects: Sequence[str], races: Sequence[str]) -> dict[str, str]:
    """The race that most of a patient's stays give; of equally many the first in the alphabet."""
    told: dict[str, Counter[str]] = {}
    for subject, race in zip(subjects, races, strict=True):
        if race.upper() not in _UNKNOWN:
            # WHITE - RUSSIAN, BLACK/AFRICAN AMERICAN, HISPANIC OR LATINO
            first = race.upper().replace("/", " ").split()[0]
            told.setdefault(subject, Counter())[_RACES.get(first, "other")] += 1
    return {subject: min(counts, key=lambda race: (-counts[race], race)) for subject, counts in told.items()}
