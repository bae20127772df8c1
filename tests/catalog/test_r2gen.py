"""R2Gen's annotation.json becomes one row an image and one report a study, its published parts checked for leaks."""

import json
from pathlib import Path

import numpy as np
import pytest

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.tables import caveats, load_catalog, load_reports
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.targets import outputs, truth
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError, InputError, LeakageError
from neuroconcepts_ray.lake.lake import Lake

from .archives import dicom_id, iu, mimic_records, put, r2gen, table
from .conftest import Run, film

ALLOWED = {"train": {"fit", "probe"}, "val": {"select", "verify"}, "test": {"test"}}


def config(root: Path, **fields: object) -> CatalogConfig:
    return validate(CatalogConfig, {"root": str(root), "adapter": "r2gen", **fields})


def test_iu_xray_has_two_images_a_study_and_the_study_is_the_group(tmp_path: Path, run: Run, lake: Lake) -> None:
    manifest = run(config(r2gen(tmp_path / "iu", iu())))
    catalog = load_catalog(lake, manifest)
    reports = load_reports(lake, manifest)
    assert (len(catalog), len(set(catalog.studies)), len(set(catalog.groups))) == (24, 12, 12)
    assert sorted(reports.values()) == sorted(one["report"] for records in iu().values() for one in records)
    assert set(reports) == set(catalog.studies)
    sizes = {"train": 12, "val": 6, "test": 6}
    for part, size in sizes.items():
        assert int(np.isin(catalog.roles, list(ALLOWED[part])).sum()) == size
    assert manifest.facts["grouped_by"] == "study"
    assert any("a group is one study" in line for line in caveats(manifest.facts))
    # An id that may be an accession number is shown nowhere outside phi_root.
    assert not any("CXR" in image_id for image_id in catalog.image_ids)


def test_mimics_records_have_a_patient_and_their_report_at_every_view(tmp_path: Path, run: Run, lake: Lake) -> None:
    manifest = run(config(r2gen(tmp_path / "mimic", mimic_records())))
    catalog = load_catalog(lake, manifest)
    assert sorted(catalog.image_ids) == sorted(dicom_id(number) for number in range(24))
    assert (len(set(catalog.groups)), manifest.facts["reports"], manifest.facts["grouped_by"]) == (12, 12, "patient")
    assert caveats(manifest.facts) == []


def test_a_patient_in_two_parts_is_refused_or_moved_whole_and_told(tmp_path: Path, run: Run, lake: Lake) -> None:
    parts = mimic_records()
    stray = {**parts["train"][0], "id": dicom_id(900), "study_id": 50009999, "report": "another day ."}
    stray["image_path"] = [f"p10/p10000000/s50009999/{dicom_id(900)}.jpg"]
    parts["test"].append(stray)
    root = r2gen(tmp_path / "mimic", parts)
    with pytest.raises(LeakageError, match=r"1 of 12 groups.*split_leaks: mark") as caught:
        run(config(root))
    assert "10000000" not in caught.value.message
    manifest = run(config(root, split_leaks="mark"))
    catalog = load_catalog(lake, manifest)
    assert catalog.roles[catalog.image_ids == dicom_id(900)][0] in ALLOWED["train"]
    assert manifest.facts["torn"] == {"groups": 1, "moved": {"test": 1}}
    assert any("tore 1 of 12 groups" in line and "1 from test" in line for line in caveats(manifest.facts))


def test_missing_unlisted_and_junk_files_are_counted(tmp_path: Path, run: Run) -> None:
    root = r2gen(tmp_path / "iu", iu(), without=["CXR3_IM-0003/1.png"])
    put(root / "images/CXR99_IM-0099/0.png", film(3))
    put(root / "images/notes.txt", b"x")
    assert run(config(root)).facts["left_out"] == {"view": 0, "missing": 1, "unlisted": 1, "junk": 1}


def test_labels_come_from_a_table_by_study_or_record(tmp_path: Path, run: Run, lake: Lake) -> None:
    root = r2gen(tmp_path / "mimic", mimic_records())
    labels = [
        {
            "subject_id": 10000000 + n,
            "study_id": 50000000 + n,
            "Edema": ("1.0", "0.0", "-1.0", "")[n % 4],
            "Nodule": "0.0",
        }
        for n in range(11)
    ]
    table(tmp_path / "chexpert.csv", ("subject_id", "study_id", "Edema", "Nodule"), labels)
    manifest = run(config(root, labels_file=str(tmp_path / "chexpert.csv")))
    catalog = load_catalog(lake, manifest)
    assert catalog.labels == ["Edema", "Nodule"]
    for image_id, (edema, nodule) in zip(catalog.image_ids, catalog.y, strict=True):
        patient = int(image_id[:8], 16) // 2
        expected = np.nan if patient == 11 else (1, 0, np.nan, 0)[patient % 4]
        np.testing.assert_equal((edema, nodule), (expected, np.nan if patient == 11 else 0))
    assert manifest.facts["label_counts"]["Edema"] == {
        "present": 6,
        "absent": 6,
        "uncertain": 6,
        "blank": 4,
        "unlabelled": 2,
    }
    two = r2gen(tmp_path / "iu", iu())
    table(tmp_path / "iu.csv", ("id", "Edema"), [{"id": f"CXR{n}_IM-{n:04d}", "Edema": n % 2} for n in range(12)])
    assert run(config(two, labels_file=str(tmp_path / "iu.csv"))).facts["label_counts"]["Edema"]["present"] == 12


def test_a_labels_table_that_does_not_fit_is_refused_by_its_column(tmp_path: Path, run: Run) -> None:
    root, labels = r2gen(tmp_path / "iu", iu()), tmp_path / "labels.csv"
    table(labels, ("name", "Edema"), [{"name": "x", "Edema": "1"}])
    with pytest.raises(ConfigError, match=r"no column of ids.*name, Edema"):
        run(config(root, labels_file=str(labels)))
    table(labels, ("id", "Edema"), [{"id": "CXR1_IM-0001", "Edema": "yes"}])
    with pytest.raises(InputError, match=r"holds other values: Edema.*1 of 1 rows"):
        run(config(root, labels_file=str(labels)))
    table(labels, ("id", "Edema"), [{"id": "CXR1_IM-01", "Edema": "1"}])
    with pytest.raises(InputError, match="knows none of the images"):
        run(config(root, labels_file=str(labels)))
    with pytest.raises(ConfigError, match="labels_file"):
        run(config(root, labels=["Edema"]))


def test_without_labels_nothing_can_be_trained_but_brought_weights_can_be_mined(
    tmp_path: Path, run: Run, lake: Lake
) -> None:
    catalog = load_catalog(lake, run(config(r2gen(tmp_path / "iu", iu()))))
    assert (catalog.labels, catalog.y.shape) == ([], (24, 0))
    with pytest.raises(ConfigError, match=r"no labels.*classifier\.weights"):
        outputs(ClassifierConfig(), catalog)
    brought = ClassifierConfig(weights="w.safetensors", labels=["Edema", "Nodule"])
    assert outputs(brought, catalog) == ["Edema", "Nodule"]
    assert np.isnan(truth(catalog, outputs(brought, catalog))).all()
    with pytest.raises(ConfigError, match="no names"):
        outputs(ClassifierConfig(weights="w.safetensors"), catalog)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"train": [{"id": 1}]}',
        '{"extra": []}',
        '{"train": [{"id": 1, "report": null, "image_path": []}]}',
        '{"train": [{"id": 1, "report": "a", "image_path": "a.png"}]}',
    ],
)
def test_a_damaged_annotation_is_refused_without_quoting_it(tmp_path: Path, run: Run, text: str) -> None:
    root = r2gen(tmp_path / "iu", iu())
    (root / "annotation.json").write_text(text)
    with pytest.raises(InputError, match=r"annotation\.json is damaged"):
        run(config(root))


def test_a_path_that_leaves_the_archive_finds_nothing(tmp_path: Path, run: Run) -> None:
    parts = iu()
    parts["train"][0]["image_path"][0] = "../annotation.json"
    root = r2gen(tmp_path / "iu", iu())
    (root / "annotation.json").write_text(json.dumps(parts))
    assert run(config(root)).facts["left_out"]["missing"] == 1


def test_a_record_without_a_patient_among_others_with_one_is_refused(tmp_path: Path, run: Run) -> None:
    parts = mimic_records()
    parts["test"][0]["subject_id"] = None
    with pytest.raises(InputError, match="1 of 24 images"):
        run(config(r2gen(tmp_path / "mimic", parts)))


def test_a_study_with_two_reports_is_refused_without_quoting_them(tmp_path: Path, run: Run) -> None:
    parts = mimic_records()
    parts["train"][0]["report"] = "a secret"
    with pytest.raises(InputError, match="1 studies") as caught:
        run(config(r2gen(tmp_path / "mimic", parts)))
    assert "secret" not in caught.value.message
