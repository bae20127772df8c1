"""Ages, sexes and races of MIMIC-CXR-JPG come from the tables of MIMIC-IV, where somebody laid them beside it."""

import gzip
from pathlib import Path

import pytest

from neuroconcepts_ray.catalog.adapters.fairvlmed import WORDS
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.phantom.archive import write_archive
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import draw_patient

from .archives import table
from .conftest import Mimic, Run

PEOPLE = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")
STAYS = ("subject_id", "hadm_id", "admission_type", "race")


def lay(mimic: Mimic, people: list[tuple[str, str, str, str]], stays: list[tuple[str, str]]) -> Mimic:
    rows = [dict(zip(("subject_id", "gender", "anchor_age", "anchor_year"), row, strict=True)) for row in people]
    table(mimic.root / "patients.csv", PEOPLE, rows)
    table(mimic.root / "admissions.csv", STAYS, [{"subject_id": who, "race": race} for who, race in stays])
    return mimic


def columns(lake: Lake, run: Run, mimic: Mimic) -> dict[str, dict[str, object]]:
    """Column → image → value."""
    catalog = load_catalog(lake, run(mimic.config()))
    return {
        name: dict(zip(catalog.image_ids.tolist(), values.tolist(), strict=True))
        for name, values in catalog.columns.items()
    }


def test_an_archive_without_the_tables_has_no_such_columns(mimic: Mimic, run: Run, lake: Lake) -> None:
    assert columns(lake, run, mimic) == {}


def test_age_is_that_at_the_study_and_words_are_those_of_the_other_adapters(mimic: Mimic, run: Run, lake: Lake) -> None:
    mimic.add("10000000", "50009000", "later", date="21530601")
    mimic.write()
    people = [
        ("10000000", "F", "52", "2150"),
        ("10000001", "M", "88", "2144"),
        ("10000002", "", "91", "2150"),
        ("99999999", "M", "20", "2150"),
    ]
    stays = [
        ("10000000", "UNKNOWN"),
        ("10000000", "WHITE - RUSSIAN"),
        ("10000001", "BLACK/AFRICAN AMERICAN"),
        ("10000001", "OTHER"),
        ("10000001", "BLACK/CAPE VERDEAN"),
        ("10000002", "ASIAN - CHINESE"),
        ("10000003", "HISPANIC OR LATINO"),
        ("10000004", "AMERICAN INDIAN/ALASKA NATIVE"),
        ("10000005", "PATIENT DECLINED TO ANSWER"),
    ]
    found = columns(lake, run, lay(mimic, people, stays))
    first = [f"{number:02d}-0-AP" for number in range(7)]
    assert [found["sex"][image] for image in first] == ["female", "male", "", "", "", "", ""]
    assert [found["race"][image] for image in first] == ["white", "black", "asian", "hispanic", "other", "", ""]
    assert {found["sex"][first[0]], found["sex"][first[1]]} == set(WORDS["gender"])
    assert set(WORDS["race"]) <= set(found["race"].values())
    # 88 in 2144 is 94 in 2150: everybody above 89 is 91.
    assert [found["age"][image] for image in ("00-0-AP", "later", "01-0-AP", "02-0-AP")] == [52, 55, 91, 91]
    assert found["age"]["06-0-AP"] != found["age"]["06-0-AP"]


def test_either_table_may_come_alone_and_packed(mimic: Mimic, run: Run, lake: Lake) -> None:
    lay(mimic, [("10000000", "F", "52", "2150")], [("10000000", "WHITE")])
    data = (mimic.root / "admissions.csv").read_bytes()
    (mimic.root / "admissions.csv").unlink()
    assert set(columns(lake, run, mimic)) == {"age", "sex"}
    (mimic.root / "patients.csv").unlink()
    (mimic.root / "admissions.csv.gz").write_bytes(gzip.compress(data))
    assert set(columns(lake, run, mimic)) == {"race"}


def test_a_damaged_table_or_one_without_its_columns_is_an_error(mimic: Mimic, run: Run) -> None:
    (mimic.root / "patients.csv").write_text("subject_id,gender\n10000000,F\n")
    with pytest.raises(ConfigError, match="anchor_age"):
        run(mimic.config())
    (mimic.root / "patients.csv").write_text("subject_id,gender,anchor_age,anchor_year\n10000000\n")
    with pytest.raises(InputError, match="damaged") as error:
        run(mimic.config())
    assert "10000000" not in str(error.value)


def test_the_phantoms_people_are_those_that_were_drawn(run: Run, lake: Lake, tmp_path: Path, mimic: Mimic) -> None:
    config = PhantomConfig(seed=8, patients=6, height=48, width=40, studies_max=1)
    write_archive(config, tmp_path / "films", tmp_path / "reports", tmp_path / "truth")
    catalog = load_catalog(lake, run(mimic.config(root=str(tmp_path / "films"), reports=str(tmp_path / "reports"))))
    drawn = {
        film.dicom_id: (float(patient.age), patient.sex, patient.race)
        for patient in (draw_patient(config, index) for index in range(config.patients))
        for film in patient.studies[0].films
    }
    told = zip(*(catalog.columns[name].tolist() for name in ("age", "sex", "race")), strict=True)
    assert dict(zip(catalog.image_ids.tolist(), told, strict=True)) == drawn
