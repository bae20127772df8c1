"""The archive is MIMIC's in layout, a function of its config, and grows without touching what is there."""

import csv
import gzip
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.phantom import archive
from neuroconcepts_ray.phantom.archive import write_archive
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import draw_patient
from neuroconcepts_ray.phantom.layouts import mimic
from neuroconcepts_ray.phantom.layouts.mimic import TABLES, file_name
from neuroconcepts_ray.phantom.scoring.truth import load_masks, load_truth
from neuroconcepts_ray.phantom.truth import FACTORS
from neuroconcepts_ray.phantom.world import FINDINGS

SMALL = PhantomConfig(patients=8, height=76, width=64, seed=3)


def rows(root: Path, table: str) -> list[dict[str, str]]:
    with gzip.open(root / file_name(table), "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def write(config: PhantomConfig, base: Path) -> int:
    return write_archive(config, base / "archive", base / "reports", base / "truth")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("phantom")
    assert write(SMALL, base) == SMALL.patients
    return base


def test_the_same_config_gives_the_same_bytes_by_any_number_of_processes(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "BLOCK", 5)
    write(SMALL.model_copy(update={"processes": 2}), tmp_path)
    for part in ("archive", "reports"):
        assert digests(tmp_path / part) == digests(written / part)


def test_another_seed_gives_other_films_of_the_same_shape(written: Path, tmp_path: Path) -> None:
    write(SMALL.model_copy(update={"seed": 4}), tmp_path)
    assert not set(digests(tmp_path / "archive").values()) & set(digests(written / "archive").values())


def test_more_patients_leave_the_old_ones_alone_and_draw_only_the_new(written: Path, tmp_path: Path) -> None:
    write(SMALL.model_copy(update={"patients": 6}), tmp_path)
    before = digests(tmp_path)
    old = {table: rows(tmp_path / "archive", table) for table in TABLES}
    assert write(SMALL, tmp_path) == 2
    after = digests(tmp_path)
    changed = {name for name in before if after[name] != before[name]}
    tables = {str((tmp_path / "archive" / file_name(table)).relative_to(tmp_path)) for table in TABLES}
    assert changed == tables | {"truth/phantom.json"}
    for table in TABLES:
        assert rows(tmp_path / "archive", table)[: len(old[table])] == old[table]
    assert digests(tmp_path / "archive") == digests(written / "archive")
    assert set(load_truth(tmp_path / "truth").image_ids) == set(load_truth(written / "truth").image_ids)


def test_a_finished_archive_is_left_alone(written: Path) -> None:
    before = digests(written)
    assert write(SMALL, written) == 0
    assert digests(written) == before


def test_an_interrupted_archive_has_no_tables_and_is_finished_by_the_same_command(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "BLOCK", 3)

    def stop(done: int, _: int) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(SMALL, tmp_path / "archive", tmp_path / "reports", tmp_path / "truth", stop)
    assert not any((tmp_path / "archive" / file_name(table)).exists() for table in TABLES)
    assert write(SMALL, tmp_path) == 2
    assert digests(tmp_path / "archive") == digests(written / "archive")


def test_no_table_is_written_before_all_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(SMALL.model_copy(update={"patients": 2}), tmp_path)
    before = digests(tmp_path / "archive")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mimic, "label_tables", stop)
        with pytest.raises(KeyboardInterrupt):
            write(SMALL, tmp_path)
    after = digests(tmp_path / "archive")
    assert {name: after[name] for name in before} == before
    assert write(SMALL, tmp_path) == 0
    assert set(digests(tmp_path / "archive")) == set(after)


def test_another_config_or_fewer_patients_in_the_same_place_is_refused(written: Path) -> None:
    with pytest.raises(ConfigError, match=r"another config.*seed=9.*seed=") as refused:
        write(SMALL.model_copy(update={"seed": 9}), written)
    assert refused.value.where == str((written / "truth").resolve())
    with pytest.raises(ConfigError, match="more patients"):
        write(SMALL.model_copy(update={"patients": 2}), written)


def test_the_truth_may_not_lie_inside_the_archive(tmp_path: Path) -> None:
    for public in ("archive", "reports"):
        with pytest.raises(ConfigError, match="truth"):
            write_archive(SMALL, tmp_path / "archive", tmp_path / "reports", tmp_path / public / "truth")
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_is_asked_for_and_a_damaged_state_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="a file stands"):
        write(SMALL, tmp_path / "file")
    (tmp_path / "truth").mkdir()
    for state in ("{", "[]", '{"config": ""}', "\xff"):
        (tmp_path / "truth" / archive.STATE).write_text(state, encoding="latin-1")
        with pytest.raises(ConfigError, match="does not tell which"):
            write(SMALL, tmp_path)
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"validate_share": 0.6, "test_share": 0.5}, "^validate_share and test_share are together more than 1"),
        ({"layout": "ddsm", "reports": "independent"}, "^reports: independent makes no sense"),
        ({"layout": "ham10000", "twins": 1}, "^twins are drawn of chest films alone"),
    ],
)
def test_what_makes_no_sense_together_is_refused_in_one_line(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        validate(PhantomConfig, wrong)


def test_the_layout_is_that_of_mimic_cxr_jpg(written: Path) -> None:
    films = [str(path.relative_to(written / "archive")) for path in (written / "archive").rglob("*.jpg")]
    pattern = r"files/p1\d/p1\d{7}/s5\d{7}/[0-9a-f]{8}(-[0-9a-f]{8}){4}\.jpg"
    assert films
    assert all(re.fullmatch(pattern, film) for film in films)
    split = rows(written / "archive", "split")
    named = {
        f"files/p{row['subject_id'][:2]}/p{row['subject_id']}/s{row['study_id']}/{row['dicom_id']}.jpg" for row in split
    }
    assert named == set(films)
    texts = {str(path.relative_to(written / "reports")) for path in (written / "reports").rglob("*.txt")}
    assert texts == {str(Path(film).parent) + ".txt" for film in films}
    with Image.open(written / "archive" / films[0]) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "L", (SMALL.width, SMALL.height))


def test_the_tables_have_the_columns_and_the_value_forms_of_the_real_ones(written: Path, shared_data: Path) -> None:
    for table in ("split", "metadata", "chexpert"):
        real = rows(shared_data / "mimic_cxr_jpg", table)
        assert list(rows(written / "archive", table)[0]) == list(real[0])


def test_labels_are_of_studies_and_splits_of_patients(written: Path) -> None:
    root = written / "archive"
    labels, negbio = rows(root, "chexpert"), rows(root, "negbio")
    assert [row["study_id"] for row in labels] == [row["study_id"] for row in negbio]
    cells = {value for row in labels + negbio for key, value in row.items() if not key.endswith("_id")}
    assert cells <= {"1.0", "0.0", "-1.0", ""}
    split = rows(root, "split")
    assert {row["study_id"] for row in split} == {row["study_id"] for row in labels}
    assert len({(row["subject_id"], row["split"]) for row in split}) == len({row["subject_id"] for row in split})
    assert {row["split"] for row in split} <= {"train", "validate", "test"}
    metadata = rows(root, "metadata")
    assert {row["ViewPosition"] for row in metadata} <= {"AP", "PA", "LATERAL"}
    assert [row["dicom_id"] for row in metadata] == [row["dicom_id"] for row in split]
    assert all(re.fullmatch(r"2[1-2]\d{6}", row["StudyDate"]) for row in metadata)


def test_the_tables_of_people_have_the_columns_of_mimic_iv_and_one_row_a_patient(written: Path) -> None:
    people, stays = rows(written / "archive", "patients"), rows(written / "archive", "admissions")
    assert list(people[0]) == ["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"]
    assert {"subject_id", "hadm_id", "race"} <= set(stays[0])
    subjects = {row["subject_id"] for row in rows(written / "archive", "split")}
    patients = [draw_patient(SMALL, index) for index in range(SMALL.patients)]
    assert [row["subject_id"] for row in people] == [row["subject_id"] for row in stays]
    assert {row["subject_id"] for row in people} == subjects
    for row, stay, patient in zip(people, stays, patients, strict=True):
        assert (row["gender"], float(row["anchor_age"])) == (patient.sex[0].upper(), patient.age)
        assert stay["race"].lower().startswith(patient.race)


def test_gzip_headers_hold_neither_name_nor_time(written: Path) -> None:
    for table in TABLES:
        header = (written / "archive" / file_name(table)).read_bytes()[:10]
        assert header[3:8] == b"\0\0\0\0\0"


def test_the_truth_knows_every_film_and_whatever_is_on_it_has_its_mask(written: Path) -> None:
    truth = load_truth(written / "truth")
    assert sorted(truth.image_ids) == sorted(row["dicom_id"] for row in rows(written / "archive", "split"))
    for column, name in enumerate(truth.factors):
        masks = dict(load_masks(written / "truth", name))
        seen = FACTORS[name] not in ("unseen", "context")
        there = truth.image_ids[truth.present[:, column] == 1] if seen else []
        assert set(masks) == set(there)
        for mask in masks.values():
            assert mask.shape == (SMALL.height, SMALL.width)
            assert mask.any()
            assert mask.mean() < 0.6 or name == "Grain"


def test_findings_of_a_study_are_the_truth_of_each_of_its_films(written: Path) -> None:
    truth = load_truth(written / "truth")
    for index in range(SMALL.patients):
        for study in draw_patient(SMALL, index).studies:
            there = {finding.name for finding in study.findings}
            for film in study.films:
                planted = truth.planted([film.dicom_id])
                assert {name for name, present in planted.items() if present.all()} == there


def test_prevalences_are_those_configured_and_mildly_correlated() -> None:
    config = PhantomConfig(patients=600)
    table = np.array(
        [
            [name in {f.name for f in study.findings} for name in FINDINGS]
            for index in range(config.patients)
            for study in draw_patient(config, index).studies
        ]
    )
    assert np.all(table.mean(axis=0) > 0.12)
    assert np.all(table.mean(axis=0) < 0.30)
    r = np.corrcoef(table.T)
    heart, water = FINDINGS.index("Cardiomegaly"), FINDINGS.index("Edema")
    assert 0.02 < r[heart, water] < 0.3
