"""A split that people bring is taken as it is, told what does not fit, and never lets a group be on both sides."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconcepts_ray.catalog.config import ROLES
from neuroconcepts_ray.catalog.roles import NEARNESS, mend
from neuroconcepts_ray.catalog.splits import read_split
from neuroconcepts_ray.catalog.tables import caveats, load_catalog
from neuroconcepts_ray.errors import ConfigError, InputError, LeakageError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest

from .archives import fair, ham, ham_rows, mimic_records, table
from .conftest import Mimic, Run
from .test_fairvlmed import config as fair_config
from .test_ham10000 import config as ham_config

HELD = {"train": {"fit", "probe"}, "val": {"select", "verify"}, "test": {"test"}}


def parts_by_lesion() -> dict[str, str]:
    return {row["image_id"]: ("train", "val", "test")[int(row["lesion_id"][4:]) % 3] for row in ham_rows()}


def as_lists(parts: dict[str, str]) -> dict[str, list[str]]:
    return {part: [name for name, its in parts.items() if its == part] for part in ("train", "val", "test")}


def check(lake: Lake, manifest: Manifest, parts: dict[str, str]) -> None:
    catalog = load_catalog(lake, manifest)
    assert set(catalog.image_ids) == set(parts)
    for image_id, role in zip(catalog.image_ids, catalog.roles, strict=True):
        assert role in HELD[parts[image_id]]


def test_csv_and_both_forms_of_json_say_the_same(tmp_path: Path, run: Run, lake: Lake) -> None:
    root, parts = ham(tmp_path / "ham", ham_rows()), parts_by_lesion()
    table(tmp_path / "a.csv", ("image_id", "split"), [{"image_id": i, "split": p} for i, p in parts.items()])
    lists = as_lists(parts)
    (tmp_path / "b.json").write_text(json.dumps(lists))
    # By class, and by file names in folders.
    by_class = {part: {"nv": [f"x/{i}.jpg" for i in ids[::2]], "rest": ids[1::2]} for part, ids in lists.items()}
    (tmp_path / "c.json").write_text(json.dumps(by_class))
    made = [
        run(ham_config(root, split="file", split_file=str(tmp_path / name))) for name in ("a.csv", "b.json", "c.json")
    ]
    for manifest in made:
        check(lake, manifest, parts)
        assert manifest.facts["split_file"] == {"by": "image", "ids": len(parts), "not_in_archive": 0}
    assert len({manifest.content for manifest in made}) == 1


def test_ids_not_in_the_archive_and_images_not_in_the_file_are_counted(tmp_path: Path, run: Run, lake: Lake) -> None:
    root, parts = ham(tmp_path / "ham", ham_rows()), parts_by_lesion()
    lists = as_lists(dict(list(parts.items())[5:]))
    lists["test"] += ["ISIC_7777777", "ISIC_8888888"]
    (tmp_path / "split.json").write_text(json.dumps(lists))
    manifest = run(ham_config(root, split="file", split_file=str(tmp_path / "split.json")))
    assert manifest.facts["left_out"]["split"] == 5
    assert manifest.facts["split_file"]["not_in_archive"] == 2
    check(lake, manifest, dict(list(parts.items())[5:]))


def test_a_split_by_image_that_tears_lesions_is_refused_or_each_goes_whole_to_where_it_trains(
    tmp_path: Path, run: Run, lake: Lake
) -> None:
    root, rows = ham(tmp_path / "ham", ham_rows()), ham_rows()
    # As the published HAM splits do: image by image.
    parts = {row["image_id"]: ("train", "val", "test")[number % 3] for number, row in enumerate(rows)}
    (tmp_path / "split.json").write_text(json.dumps(as_lists(parts)))
    fields: dict[str, Any] = {"split": "file", "split_file": str(tmp_path / "split.json")}
    of_lesion: dict[str, set[str]] = {}
    for row in rows:
        of_lesion.setdefault(row["lesion_id"], set()).add(parts[row["image_id"]])
    torn = sum(len(some) > 1 for some in of_lesion.values())
    assert torn > 5
    with pytest.raises(LeakageError, match=rf"split file.*{torn} of 40 groups.*split_leaks: mark"):
        run(ham_config(root, **fields))
    manifest = run(ham_config(root, **fields, split_leaks="mark"))
    order = ["train", "val", "test"]
    mended = {row["image_id"]: min(of_lesion[row["lesion_id"]], key=order.index) for row in rows}
    check(lake, manifest, mended)
    moved = [parts[image_id] for image_id, part in mended.items() if part != parts[image_id]]
    assert manifest.facts["torn"] == {
        "groups": torn,
        "moved": {"test": moved.count("test"), "validate": moved.count("val")},
    }
    assert any(f"tore {torn} of 40 groups" in line for line in caveats(manifest.facts))


def test_five_roles_are_taken_as_they_are(tmp_path: Path, run: Run, lake: Lake) -> None:
    root, rows = ham(tmp_path / "ham", ham_rows()), ham_rows()
    roles = {row["image_id"]: ROLES[int(row["lesion_id"][4:]) % 5] for row in rows}
    table(tmp_path / "a.csv", ("image", "role"), [{"image": i, "role": r} for i, r in roles.items()])
    catalog = load_catalog(lake, run(ham_config(root, split="file", split_file=str(tmp_path / "a.csv"))))
    assert dict(zip(catalog.image_ids.tolist(), catalog.roles.tolist(), strict=True)) == roles


def test_patients_studies_and_r2gens_own_annotation_split_another_archive(
    mimic: Mimic, run: Run, lake: Lake, tmp_path: Path
) -> None:
    half = {row["subject_id"]: "train" if int(row["subject_id"]) % 2 else "test" for row in mimic.films}

    def roles(name: str, **fields: object) -> dict[str, set[str]]:
        manifest = run(mimic.config(split="file", split_file=str(tmp_path / name), **fields))
        catalog = load_catalog(lake, manifest)
        found: dict[str, set[str]] = {}
        for image_id, role in zip(catalog.image_ids.tolist(), catalog.roles.tolist(), strict=True):
            found.setdefault(str(10000000 + int(image_id[:2])), set()).add(role)
        return found

    table(tmp_path / "patients.csv", ("subject_id", "split"), [{"subject_id": s, "split": p} for s, p in half.items()])
    (tmp_path / "letters.json").write_text(json.dumps({p: [f"p{s}" for s in half if half[s] == p] for p in HELD}))
    (tmp_path / "r2gen.json").write_text(json.dumps(mimic_records(12)))
    for name in ("patients.csv", "letters.json"):
        found = roles(name)
        assert len(found) == 40
        assert all(some <= HELD[half[subject]] for subject, some in found.items())
    annotated = roles("r2gen.json", split_by="patient")
    parts = {str(one["subject_id"]): part for part, records in mimic_records(12).items() for one in records}
    assert set(annotated) == set(parts)
    assert all(some <= HELD[parts[subject]] for subject, some in annotated.items())
    with pytest.raises(InputError, match="no id of the split file"):
        roles("r2gen.json", split_by="image")


def test_names_of_exported_fundus_images_fit_their_npz(tmp_path: Path, run: Run) -> None:
    lists = {
        "train": {"yes": [f"Training/slo_fundus_{n:05d}.jpg" for n in range(12)]},
        "test": {"no": ["slo_fundus_00019.jpg"]},
    }
    (tmp_path / "split.json").write_text(json.dumps(lists))
    facts = run(fair_config(fair(tmp_path / "fair"), split="file", split_file=str(tmp_path / "split.json"))).facts
    assert (facts["images"], facts["left_out"]["split"], facts["parts"]) == (13, 7, {"test": 1, "train": 12})


def test_a_file_of_no_known_form_is_refused() -> None:
    for data, match in (
        (pickle.dumps({"train": ["a"]}), "pickle.*JSON"),
        (b'{"train": "a"}', "damaged"),
        (b'{"train": ' + b"[" * 100_000, "damaged"),
        (b"", "empty"),
        (b'{"train": [{"name": "a"}]}', "damaged"),
        (b'{"holdout": ["a"]}', "unknown parts.*1 words"),
        (b'{"train": ["a"], "test": ["a"]}', "several parts.*1"),
        (b"image_id,split\na,elsewhere\n", "unknown parts"),
        (b"image_id,split\na,train\na,test\n", "several parts"),
    ):
        with pytest.raises(InputError, match=match):
            read_split(data)
    with pytest.raises(ConfigError, match=r"no column of parts \(got image_id, x; allowed: split"):
        read_split(b"image_id,x\na,train\n")
    with pytest.raises(ConfigError, match="no column of ids"):
        read_split(b"who,split\na,train\n")
    assert read_split(b"subject_id;split\n7;dev\n").part == {"7": "validate"}


def test_split_and_its_file_go_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="go together"):
        ham_config(tmp_path, split="file")
    with pytest.raises(ConfigError, match="go together"):
        ham_config(tmp_path, split_file="x.csv")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(NEARNESS)), max_size=40))
def test_mending_gives_every_group_one_part_and_moves_nothing_towards_test(pairs: list[tuple[str, str]]) -> None:
    groups, parts = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    mended, torn = mend(groups, parts)
    assert len(set(zip(groups, mended, strict=True))) == len(set(groups))
    assert all(NEARNESS.index(after) <= NEARNESS.index(before) for before, after in zip(parts, mended, strict=True))
    assert set(zip(groups, mended, strict=True)) <= set(pairs)
    assert sum(torn.moved.values()) == sum(a != b for a, b in zip(parts, mended, strict=True))
    assert torn.groups == sum(len({part for one, part in pairs if one == group}) > 1 for group in set(groups))
