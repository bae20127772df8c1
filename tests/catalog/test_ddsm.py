"""DeepMiner's DDSM: whole films and patches with their place, classes from names and lists."""

from pathlib import Path

import numpy as np
import pytest

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.tables import load_catalog, load_sources
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import InputError, LeakageError
from neuroconcepts_ray.lake.lake import Lake

from .conftest import Run, film

CASES = {
    "cancer_09-B_3134": "train",
    "cancer_15-B_3504": "train",
    "benign_01-A_0029": "val",
    "benign_without_callback_02-C_0456": "train",
    "normal_11-D_4001": "test",
}
VIEWS = ("LEFT_CC", "LEFT_MLO", "RIGHT_CC", "RIGHT_MLO")
PLACE = "x1750_y{column}_w700_h600_imgfrac0.25_stridefrac0.5"
FOLDERS = {"cancer": "cancers", "benign": "benigns", "benign_without_callback": "benign_without_callbacks"}


def config(root: Path, **fields: object) -> CatalogConfig:
    return validate(CatalogConfig, {"root": str(root), "adapter": "ddsm", **fields})


def put(root: Path, key: str, data: bytes | str) -> None:
    (root / key).parent.mkdir(parents=True, exist_ok=True)
    (root / key).write_bytes(data.encode() if isinstance(data, str) else data)


@pytest.fixture(params=["ddsm_patches ddsm_labels/3class", "ddsm_3class/images ddsm_3class"])
def ddsm(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return ddsm_archive(tmp_path, *request.param.split())


def ddsm_archive(root: Path, patches: str = "ddsm_patches", labels: str = "ddsm_labels/3class") -> Path:
    """Five cases of four films; each film has a patch at column 350 that shows nothing, and the left ones a finding."""
    films: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number, (case, part) in enumerate(CASES.items()):
        kind = case.partition("-")[0].rpartition("_")[0]
        for place, view in enumerate(VIEWS):
            name = f"{case}_1.{view}.LJPEG.1"
            put(root, f"ddsm_raw/{name}.jpg", film(10 * number + place))
            films[part].append(f"{name}.jpg")
            ill = {"normal": 0, "benign": 1, "cancer": 2}[kind.partition("_")[0]] if view.startswith("LEFT") else 0
            if ill:
                put(root, f"ddsm_masks/3class/{FOLDERS[kind]}/{name}.png", film(1))
            for column, truth in ((350, 0), (700, ill)):
                patch = f"{name}-{PLACE.format(column=column)}.jpg"
                put(root, f"{patches}/{number}/{patch}", film(100 + 20 * number + 2 * place + (column == 700)))
                lists[part].append(f"images/{number}/{patch} {truth}")
    for part in films:
        put(root, f"ddsm_raw_image_lists/{part}.txt", "\n".join(films[part]) + "\n")
        put(root, f"{labels}/{part}.txt", "\n".join(lists[part]) + "\n")
    return root


def test_a_film_has_class_view_case_and_part_from_its_name_and_list(ddsm: Path, run: Run, lake: Lake) -> None:
    manifest = run(config(ddsm))
    catalog = load_catalog(lake, manifest)
    sources = load_sources(lake, manifest)
    assert (catalog.task, catalog.labels, len(catalog)) == ("multiclass", ["normal", "benign", "cancer"], 20)
    assert (manifest.facts["groups"], manifest.facts["studies"]) == (5, 5)
    assert set(manifest.facts["left_out"].values()) == {0}
    allowed = {"train": {"fit", "probe"}, "val": {"select", "verify"}, "test": {"test"}}
    group_of: dict[str, str] = {}
    for image_id, view, role, group, y in zip(
        catalog.image_ids, catalog.views, catalog.roles, catalog.groups, catalog.y, strict=True
    ):
        name = sources[image_id].key.removeprefix("ddsm_raw/")
        case = name.partition("_1.")[0]
        assert view == name.split(".")[1]
        assert role in allowed[CASES[case]]
        assert catalog.labels[int(y.argmax())] == name.partition("_")[0]
        assert group_of.setdefault(case, group) == group
    assert len(set(group_of.values())) == 5
    assert manifest.facts["published_counts"]["images"] == 10420


def test_a_patch_has_the_class_of_its_list_and_its_place(ddsm: Path, run: Run, lake: Lake) -> None:
    """In the names x is the row and y the column; what a case is called says nothing about one patch of it."""
    manifest = run(config(ddsm, ddsm={"what": "patches"}))
    whole = load_catalog(lake, run(config(ddsm)))
    table = lake.tables(manifest, "images-").to_pylist()
    assert len(table) == 40
    assert {(row["row"], row["width"], row["height"]) for row in table} == {(1750, 700, 600)}
    assert {row["column"] for row in table} == {350, 700}
    assert all(row["label:normal"] for row in table if row["column"] == 350)
    assert {name: counts["present"] for name, counts in manifest.facts["label_counts"].items()} == {
        **{"normal": 20 + 10 + 2, "benign": 4, "cancer": 4}
    }
    place = {image_id: at for at, image_id in enumerate(whole.image_ids)}
    for row in table:
        at = place[row["whole"]]
        assert (row["view"], row["group"], row["study"]) == (whole.views[at], whole.groups[at], whole.studies[at])


def test_the_class_of_a_film_can_be_that_of_its_own_patches(ddsm: Path, run: Run, lake: Lake) -> None:
    """The other breast of a cancer case shows no cancer."""
    catalog = load_catalog(lake, run(config(ddsm, ddsm={"truth": "film"})))
    right = np.char.startswith(catalog.views, "RIGHT")
    assert catalog.y[right, 0].all()
    assert catalog.y[~right].sum(axis=0).tolist() == [2, 4, 4]
    (ddsm / "ddsm_labels" / "3class" / "train.txt").unlink(missing_ok=True)
    (ddsm / "ddsm_3class" / "train.txt").unlink(missing_ok=True)
    facts = run(config(ddsm, ddsm={"truth": "film"})).facts
    assert facts["label_counts"]["cancer"]["unlabelled"] == 12


def test_masks_and_names_stay_below_phi_root(ddsm: Path, run: Run, lake: Lake) -> None:
    for what, count in (("images", 8), ("patches", 16)):
        manifest = run(config(ddsm, ddsm={"what": what}))
        masks = [row["masks"] for row in lake.tables(manifest, "sources-").to_pylist() if row["masks"]]
        assert len(masks) == count
        assert all((ddsm / mask).is_file() for mask in masks)
        outside = str(lake.tables(manifest, "images-").to_pydict()) + manifest.model_dump_json()
        assert "B_3134" not in outside
        assert "LJPEG" not in outside


def test_a_case_in_two_lists_is_refused(ddsm: Path, run: Run) -> None:
    for folder in ("ddsm_raw_image_lists",):
        train, test = ddsm / folder / "train.txt", ddsm / folder / "test.txt"
        first, rest = train.read_text().split("\n", 1)
        train.write_text(rest)
        test.write_text(f"{test.read_text()}{first}\n")
        with pytest.raises(LeakageError, match="1 of 5 groups") as caught:
            run(config(ddsm))
        assert "3134" not in caught.value.message
        train.write_text(f"{first}\n{rest}")
        with pytest.raises(LeakageError, match="same film or patch") as caught:
            run(config(ddsm))
        assert "3134" not in caught.value.message
        assert run(config(ddsm, split="hash")).facts["images"] == 20


def test_names_that_say_nothing_and_films_of_no_list_are_counted(ddsm: Path, run: Run) -> None:
    for junk in (
        "README",
        "scan0001.jpg",
        "cancer_09-B_3134_1.TOP_CC.LJPEG.1.jpg",
        "._cancer_09-B_3134_1.LEFT_CC.LJPEG.1.jpg",
    ):
        put(ddsm, f"ddsm_raw/{junk}", "x")
    put(ddsm, "ddsm_raw/cancer_01-A_0001_1.LEFT_CC.LJPEG.1.jpg", film(1))
    put(ddsm, "ddsm_raw/copy/cancer_09-B_3134_1.LEFT_CC.LJPEG.1.jpg", film(1))
    (ddsm / "ddsm_raw/normal_11-D_4001_1.LEFT_CC.LJPEG.1.jpg").unlink()
    facts = run(config(ddsm)).facts
    counts = {"junk": 4, "unlisted": 1, "twice": 1, "missing": 1, "class": 0, "view": 0}
    assert (facts["images"], facts["left_out"]) == (19, counts)
    assert run(config(ddsm, split="hash")).facts["images"] == 20
    facts = run(config(ddsm, views=["LEFT_CC"], labels=["benign", "cancer"])).facts
    assert (facts["images"], facts["left_out"]["class"], facts["left_out"]["view"]) == (4, 3, 12)


def test_patches_without_lists_and_damaged_lists_are_refused(ddsm: Path, run: Run) -> None:
    lists = [path for path in ddsm.glob("ddsm_*/**/*.txt") if "raw" not in str(path)]
    lists[0].write_text("images/0/cancer_09-B_3134_1.LEFT_CC.LJPEG.1-x1_y1_w1_h1_imgfrac0.25_stridefrac0.5.jpg 7\n")
    with pytest.raises(InputError, match="damaged") as caught:
        run(config(ddsm, ddsm={"what": "patches"}))
    assert "3134" not in caught.value.message
    for path in lists:
        path.unlink()
    with pytest.raises(InputError, match="labels from lists"):
        run(config(ddsm, ddsm={"what": "patches"}))
    with pytest.raises(InputError, match="there are none"):
        run(config(ddsm, ddsm={"truth": "film"}))
    with pytest.raises(InputError, match="ddsm_raw"):
        run(config(ddsm / "ddsm_masks"))
