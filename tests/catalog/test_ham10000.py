"""HAM10000 as Kaggle or Dataverse lay it out becomes one row an image, grouped by lesion."""

import json
from pathlib import Path

import fsspec
import numpy as np
import pytest

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake.lake import Lake

from .archives import DX, HAM_COLUMNS, ham, ham_rows, put, table
from .conftest import Run, film


def config(root: Path | str, **fields: object) -> CatalogConfig:
    return validate(CatalogConfig, {"root": str(root), "adapter": "ham10000", "split": "hash", **fields})


def test_every_image_is_one_row_with_its_lesion_class_and_columns(tmp_path: Path, run: Run, lake: Lake) -> None:
    rows = ham_rows()
    manifest = run(config(ham(tmp_path / "ham", rows)))
    catalog = load_catalog(lake, manifest)
    by_id = {row["image_id"]: row for row in rows}
    assert sorted(catalog.image_ids) == sorted(by_id)
    found = [by_id[image_id] for image_id in catalog.image_ids]
    assert len({(row["lesion_id"], group) for row, group in zip(found, catalog.groups, strict=True)}) == 40
    assert (catalog.task, catalog.labels) == ("multiclass", list(DX))
    assert [DX[place] for place in catalog.y.argmax(axis=1)] == [row["dx"] for row in found]
    assert (catalog.y.sum(axis=1) == 1).all()
    ages = [float(row["age"]) if row["age"] else np.nan for row in found]
    np.testing.assert_array_equal(catalog.columns["age"], ages)
    assert catalog.columns["sex"].tolist() == [row["sex"].replace("unknown", "") for row in found]
    assert catalog.columns["site"].tolist() == [row["localization"].replace("unknown", "") for row in found]
    assert catalog.columns["dx_type"].tolist() == [row["dx_type"] for row in found]
    assert manifest.facts["grouped_by"] == "lesion"
    assert manifest.facts["columns"]["age"] == {"unknown": 6, "least": 30.0, "most": 68.0}
    assert set(manifest.facts["left_out"].values()) == {0}


def test_dataverses_table_of_tabs_says_the_same(tmp_path: Path, run: Run) -> None:
    rows = ham_rows()
    first = run(config(ham(tmp_path / "ham", rows)))
    (tmp_path / "ham/HAM10000_metadata.csv").unlink()
    table(tmp_path / "ham/HAM10000_metadata.tab", [*HAM_COLUMNS, "dataset"], rows, "\t")
    assert run(config(tmp_path / "ham")).content == first.content


def test_behind_a_url_it_is_the_same_archive(tmp_path: Path, run: Run) -> None:
    root = ham(tmp_path / "ham", ham_rows())
    memory = fsspec.filesystem("memory")
    memory.put(str(root), "/test-ham10000", recursive=True)
    parts = {"train": [row["image_id"] for row in ham_rows() if int(row["lesion_id"][4:]) % 3], "test": []}
    (tmp_path / "split.json").write_text(json.dumps(parts))
    memory.put(str(tmp_path / "split.json"), "/test-splits/split.json")
    try:
        for here, there in (
            ({}, {}),
            ({"split_file": str(tmp_path / "split.json")}, {"split_file": "memory://test-splits/split.json"}),
        ):
            split = {"split": "file"} if here else {}
            first = run(config(root, **split, **here))
            assert run(config("memory://test-ham10000", **split, **there)).content == first.content
    finally:
        memory.rm("/test-ham10000", recursive=True)
        memory.rm("/test-splits", recursive=True)


def test_new_images_become_a_further_partition(tmp_path: Path, run: Run, lake: Lake) -> None:
    rows = ham_rows()
    before = run(config(ham(tmp_path / "ham", rows[:40])))
    after = run(config(ham(tmp_path / "ham", rows)))
    assert after.inputs["parent"] == before.content
    assert after.facts["partitions"] == [40, len(rows) - 40]
    assert after.parts[: len(before.parts)] == before.parts
    catalog = load_catalog(lake, after)
    assert len(catalog.columns["age"]) == len(catalog.columns["sex"]) == len(rows)


def test_copies_strangers_junk_and_missing_images_are_counted(tmp_path: Path, run: Run) -> None:
    root = ham(tmp_path / "ham", ham_rows())
    twin = next((root / "HAM10000_images_part_1").glob("*.jpg"))
    put(root / "ham10000_images_part_1" / twin.name, twin.read_bytes())
    put(root / "HAM10000_images_part_2" / "ISIC_0099999.jpg", film(1))
    put(root / "hmnist_8_8_L.csv", b"pixel0000,label\n1,2\n")
    next((root / "HAM10000_images_part_2").glob("ISIC_00240*.jpg")).unlink()
    left_out = run(config(root)).facts["left_out"]
    assert {reason: count for reason, count in left_out.items() if count} == {
        "duplicate": 1,
        "unlisted": 1,
        "junk": 1,
        "missing": 1,
    }


def test_injected_rows_are_refused_with_counts_dropped_or_kept(tmp_path: Path, run: Run, lake: Lake) -> None:
    strange = {"lesion_id": "HAM_9", "age": "3", "sex": "male", "localization": "back"}
    rows = [
        *ham_rows(),
        *({**strange, "image_id": f"ISIC_{n:07d}", "dx": "healthy", "dx_type": "user_added"} for n in range(3)),
        {**strange, "image_id": "healthy_1", "dx": "nv", "dx_type": "histo"},
        {**strange, "image_id": "ISIC_0000009", "dx": "nv", "dx_type": "guess"},
    ]
    root = ham(tmp_path / "ham", rows)
    said = r"3 with a dx outside the seven, 1 with an image_id that is not ISIC's, 1 with an unknown dx_type.*injected"
    with pytest.raises(InputError, match=said):
        run(config(root))
    dropped = run(config(root, injected="drop")).facts
    assert (dropped["left_out"]["injected"], dropped["images"]) == (5, len(rows) - 5)
    kept = run(config(root, injected="keep"))
    assert load_catalog(lake, kept).labels == [*DX, "healthy"]
    assert kept.facts["images"] == len(rows)


def test_two_classes_and_a_positive_one_make_a_binary_task(tmp_path: Path, run: Run, lake: Lake) -> None:
    root = ham(tmp_path / "ham", ham_rows())
    manifest = run(config(root, labels=["nv", "mel"], positive="mel"))
    catalog = load_catalog(lake, manifest)
    assert (catalog.task, catalog.labels) == ("binary", ["mel"])
    assert set(catalog.y[:, 0]) == {0, 1}
    assert manifest.facts["left_out"]["class"] == sum(row["dx"] not in ("nv", "mel") for row in ham_rows())
    with pytest.raises(ConfigError, match="exactly two classes"):
        run(config(root, positive="mel"))


def test_a_published_split_is_refused_with_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ham10000 archives publish no split; set split: hash"):
        config(tmp_path, split="published")


def test_without_metadata_or_with_a_column_less_it_is_clear_what_is_missing(tmp_path: Path, run: Run) -> None:
    root = ham(tmp_path / "ham", ham_rows())
    table(root / "HAM10000_metadata.csv", HAM_COLUMNS[:-1], ham_rows())
    with pytest.raises(ConfigError, match=r"localization.*allowed: lesion_id, image_id"):
        run(config(root))
    (root / "HAM10000_metadata.csv").unlink()
    with pytest.raises(ConfigError, match="exactly one HAM10000_metadata"):
        run(config(root))
