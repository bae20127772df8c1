"""A folder per class becomes one row an image, its name hashed."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.tables import load_catalog, load_sources
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError, InputError, LeakageError
from neuroconcepts_ray.lake.lake import Lake

from .conftest import Run, film


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "films"
    for at, part in enumerate(("Train", "val", "test")):
        for number, kind in enumerate(("normal", "sick")):
            for patient in range(10):
                path = root / part / kind / f"{part.lower()}{patient}_{number}.JPG"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(film(100 * at + 10 * number + patient))
    return root


def config(root: Path, **fields: object) -> CatalogConfig:
    return validate(CatalogConfig, {"root": str(root), "adapter": "folder", **fields})


def test_classes_become_labels_and_split_folders_become_roles(tree: Path, run: Run, lake: Lake) -> None:
    manifest = run(config(tree))
    catalog = load_catalog(lake, manifest)
    sources = load_sources(lake, manifest)
    assert (catalog.task, catalog.labels, len(catalog)) == ("multiclass", ["normal", "sick"], 60)
    assert np.array_equal(catalog.y.sum(axis=1), np.ones(60))
    allowed = {"Train": {"fit", "probe"}, "val": {"select", "verify"}, "test": {"test"}}
    for image_id, role, y in zip(catalog.image_ids, catalog.roles, catalog.y, strict=True):
        part, kind, _ = sources[image_id].key.split("/")
        assert role in allowed[part]
        assert catalog.labels[int(y.argmax())] == kind
        assert re.fullmatch("[0-9a-f]{16}", image_id)
    assert set(catalog.views) == {""}


def test_a_pattern_finds_the_patient_in_the_name(tree: Path, run: Run) -> None:
    (tree / "test" / "sick" / "nobody.png").write_bytes(film(399))
    manifest = run(config(tree, group_pattern=r"^(\w+?)_"))
    assert manifest.facts["groups"] == 31
    assert manifest.facts["ungrouped"] == 1
    assert run(config(tree)).facts["groups"] == 61


def test_a_patient_in_two_parts_of_the_split_is_refused(tree: Path, run: Run) -> None:
    (tree / "test" / "sick" / "train3_9.png").write_bytes(film(399))
    with pytest.raises(LeakageError, match="1 of 30 groups") as caught:
        run(config(tree, group_pattern=r"^(\w+?)_"))
    assert "train3" not in caught.value.message
    run(config(tree, group_pattern=r"^(\w+?)_", split="hash"))


def test_one_positive_class_of_two_makes_the_task_binary(tree: Path, run: Run, lake: Lake) -> None:
    catalog = load_catalog(lake, run(config(tree, positive="sick")))
    assert (catalog.task, catalog.labels) == ("binary", ["sick"])
    assert catalog.y.sum() == 30
    with pytest.raises(ConfigError, match="positive"):
        run(config(tree, positive="ill"))


def test_without_split_folders_roles_go_by_hash(tmp_path: Path, run: Run) -> None:
    for kind in ("a", "b"):
        (tmp_path / "flat" / kind).mkdir(parents=True)
        for number in range(20):
            (tmp_path / "flat" / kind / f"{number}.png").write_bytes(film(10 * len(kind) + number))
    with pytest.raises(InputError, match="split: hash"):
        run(config(tmp_path / "flat"))
    facts = run(config(tmp_path / "flat", split="hash")).facts
    assert (facts["images"], facts["groups"]) == (40, 40)


def test_junk_is_skipped_and_counted(tree: Path, run: Run) -> None:
    for junk in ("README.md", "Train/stray.png", "Train/normal/.DS_Store", "Train/normal/deep/x.png", ".git/a.png"):
        (tree / junk).parent.mkdir(parents=True, exist_ok=True)
        (tree / junk).write_bytes(b"x")
    (tree / "Train" / "normal" / "dangling.png").symlink_to(tree / "nowhere.png")
    (tree / "Train" / "circle").symlink_to(tree)
    facts = run(config(tree)).facts
    assert facts["images"] == 60
    assert facts["left_out"]["junk"] == 5


@pytest.mark.parametrize("name", [b"M\xfcller.png", b"sick\\unpacked.png"], ids=["Latin-1", "backslash"])
def test_a_name_by_which_no_file_can_be_read_again_is_counted_and_the_others_stay(
    tree: Path, run: Run, name: bytes
) -> None:
    (tree / "Train" / "normal" / os.fsdecode(name)).write_bytes(film(999))
    facts = run(config(tree)).facts
    assert (facts["images"], facts["left_out"]["junk"]) == (60, 1)


def test_only_the_listed_classes_are_kept(tree: Path, run: Run) -> None:
    facts = run(config(tree, labels=["sick"])).facts
    assert (facts["images"], facts["left_out"]["class"]) == (30, 30)


def test_names_do_not_leave_phi_root(tree: Path, run: Run, lake: Lake) -> None:
    manifest = run(config(tree))
    assert "train3" not in str(lake.tables(manifest, "images-").to_pydict()) + manifest.model_dump_json()


def test_an_empty_folder_has_nothing_to_catalogue(tmp_path: Path, run: Run) -> None:
    with pytest.raises(InputError, match="no image is left"):
        run(config(tmp_path))


def test_films_without_a_class_are_told_how_classes_lie(tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.png").write_bytes(film(1))
    with pytest.raises(InputError, match=r"1 films; allowed: \[SPLIT/\]CLASS/ID\.ext"):
        run(config(tmp_path))
