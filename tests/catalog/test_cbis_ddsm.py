"""CBIS-DDSM, by TCIA's Data Retriever, by the paths of its tables, or as Kaggle's jpegs, gives the same rows."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.tables import load_catalog, load_sources
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError, InputError, LeakageError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest

from .conftest import Run
from .dicoms import dicom

LAYOUTS = ("retriever", "paths", "kaggle")
WHOLE, CROP = (40, 30), (12, 10)
HEADERS = {
    "mass": ["patient_id", "breast_density", "mass shape", "mass margins"],
    "calc": ["patient_id", "breast density", "calc type", "calc distribution"],
}
COMMON = [
    *("left or right breast", "image view", "abnormality id", "abnormality type", "assessment", "pathology"),
    *("subtlety", "image file path", "cropped image file path", "ROI mask file path"),
]


def jpeg(shape: tuple[int, int], seed: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(sink, "JPEG")
    return sink.getvalue()


@dataclass
class Cbis:
    """An archive in one of its layouts that a test may change and write again."""

    root: Path
    layout: str
    tables: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    info: list[dict[str, str]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10**5, 10**6)))

    def add(
        self,
        patient: str,
        view: str = "LEFT_CC",
        number: int = 1,
        *,
        kind: str = "mass",
        part: str = "train",
        pathology: str = "BENIGN",
        **cells: str,
    ) -> str:
        """An abnormality, its mammogram where that is not there yet, crop and mask; the name of its crop."""
        image = f"{kind.title()}-{'Training' if part == 'train' else 'Test'}_{patient}_{view}"
        crop = f"{image}_{number}"
        rows = self.tables.setdefault(f"{kind}_case_description_{part}_set.csv", [])
        known = [row["image file path"] for row in rows if row["image file path"].startswith(f"{image}/")]
        path = known[0] if known else self._files(image, "full mammogram images", [(WHOLE, 16)])[0]
        # Crop and mask lie in one series, in either order, and the tables call them by the wrong names.
        pair = [(CROP, 16), (WHOLE, 8)] if len(rows) % 2 else [(WHOLE, 8), (CROP, 16)]
        first, second = self._files(crop, "ROI mask images", pair)
        side, _, position = view.partition("_")
        row = {
            **{"patient_id": patient, "breast_density": "3", "breast density": "3", "left or right breast": side},
            **{"image view": position, "abnormality id": str(number), "assessment": "4", "subtlety": "2"},
            **{"abnormality type": "mass" if kind == "mass" else "calcification", "pathology": pathology},
            **{"image file path": path, "cropped image file path": second + "\n", "ROI mask file path": first + "\n"},
        }
        rows.append(row | cells)
        return crop

    def _files(self, case: str, series: str, files: list[tuple[tuple[int, int], int]]) -> list[str]:
        study, number = f"1.3.6.{next(self.numbers)}", next(self.numbers)
        told = [f"{case}/{study}/1.3.6.{number}/{place:06}.dcm" for place in range(len(files))]
        for place, (shape, bits) in enumerate(files):
            here = {
                "retriever": f"CBIS-DDSM/{case}/07-20-2016-DDSM-NA-1/1.000000-{series}-{number}/1-{place + 1}.dcm",
                "paths": told[place],
                "kaggle": f"jpeg/1.3.6.{number}/{place + 1}-{number}.jpg",
            }[self.layout]
            seed = next(self.numbers)
            data = jpeg(shape, seed) if self.layout == "kaggle" else dicom(f"1.3.6.{seed}", shape=shape, bits=bits)
            (self.root / here).parent.mkdir(parents=True, exist_ok=True)
            (self.root / here).write_bytes(data)
            said = {"PatientID": case, "image_path": f"CBIS-DDSM/{here}", "SeriesDescription": series}
            self.info.append(
                said | {"Rows": str(shape[0]), "Columns": str(shape[1]), "BitsStored": str(bits), "PatientName": case}
            )
        return told

    def write(self) -> "Cbis":
        folder = self.root / ("csv" if self.layout == "kaggle" else "")
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            self._table(folder / name, [*HEADERS[name[:4]], *COMMON], rows)
        if self.layout == "kaggle":
            self._table(folder / "dicom_info.csv", list(self.info[0]), self.info)
        return self

    def _table(self, path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def config(self, **fields: object) -> CatalogConfig:
        return validate(CatalogConfig, {"root": str(self.root), "adapter": "cbis-ddsm", "split": "hash", **fields})


@pytest.fixture(params=LAYOUTS)
def cbis(request: pytest.FixtureRequest, tmp_path: Path) -> Cbis:
    """Four patients; P_00001 has two masses in one view, and in another view a mass and calcifications."""
    archive = Cbis(tmp_path / "archive", request.param)
    shape = {"mass shape": "IRREGULAR-ARCHITECTURAL_DISTORTION", "mass margins": "SPICULATED"}
    archive.add("P_00001", "LEFT_CC", 1, pathology="BENIGN", subtlety="5", assessment="2", **shape)
    archive.add("P_00001", "LEFT_CC", 2, pathology="MALIGNANT", assessment="5", **{"mass shape": "OVAL"})
    archive.add("P_00001", "LEFT_MLO", 1, pathology="BENIGN_WITHOUT_CALLBACK")
    archive.add("P_00001", "LEFT_MLO", 1, kind="calc", pathology="MALIGNANT", **{"calc type": "PUNCTATE-PLEOMORPHIC"})
    archive.add("P_00002", "RIGHT_CC", 1, kind="calc", pathology="BENIGN")
    archive.add("P_00003", "RIGHT_MLO", 1, pathology="BENIGN_WITHOUT_CALLBACK", breast_density="")
    archive.add("P_00004", "LEFT_CC", 1, part="test", pathology="MALIGNANT")
    return archive.write()


Key = tuple[object, ...]


def rows(lake: Lake, manifest: Manifest) -> dict[Key, dict[str, object]]:
    """Rows by patient, view and kind (and mask, for several crops)."""
    sources = {row["image_id"]: row for row in lake.tables(manifest, "sources-").to_pylist()}
    table = lake.tables(manifest, "images-").to_pylist()
    return {
        (sources[row["image_id"]]["patient"], row["view"], row["kind"]): row | sources[row["image_id"]] for row in table
    }


def test_a_mammogram_is_malignant_if_any_abnormality_of_that_view_is(cbis: Cbis, run: Run, lake: Lake) -> None:
    manifest = run(cbis.config())
    found = rows(lake, manifest)
    malignant = {key for key, row in found.items() if row["label:malignant"]}
    assert malignant == {
        ("P_00001", "LEFT_CC", "mass"),
        ("P_00001", "LEFT_MLO", "mass"),  # what its other copy, of the calcifications, shows
        ("P_00001", "LEFT_MLO", "calcification"),
        ("P_00004", "LEFT_CC", "mass"),
    }
    assert (len(found), manifest.facts["task"], manifest.facts["groups"]) == (6, "binary", 4)
    assert manifest.facts["counted"]["published_twice"] == 1
    assert set(manifest.facts["left_out"].values()) == {0}
    assert manifest.facts["published_counts"] == {"images": 3103, "groups": 1566}


def test_columns_are_as_published_and_of_several_the_highest(cbis: Cbis, run: Run, lake: Lake) -> None:
    found = rows(lake, run(cbis.config()))
    two = found["P_00001", "LEFT_CC", "mass"]
    assert [two[name] for name in ("abnormalities", "density", "assessment", "subtlety", "side")] == [
        2,
        3,
        5,
        5,
        "LEFT",
    ]
    assert two["mass_shape"] == "IRREGULAR-ARCHITECTURAL_DISTORTION; OVAL"
    assert two["mass_margins"] == "SPICULATED"
    assert found["P_00001", "LEFT_MLO", "calcification"]["calc_type"] == "PUNCTATE-PLEOMORPHIC"
    assert found["P_00003", "RIGHT_MLO", "mass"]["density"] is None
    assert len(json.loads(str(two["masks"]))) == 2


def size(cbis: Cbis, key: object) -> tuple[int, int]:
    """Rows and columns of a file."""
    import pydicom

    path = cbis.root / str(key)
    if path.suffix == ".dcm":
        film = pydicom.dcmread(path)
        return film.Rows, film.Columns
    with Image.open(path) as image:
        return image.size[1], image.size[0]


def test_films_crops_and_masks_are_not_taken_for_each_other(cbis: Cbis, run: Run, lake: Lake) -> None:
    images, patches = run(cbis.config()), run(cbis.config(cbis={"what": "patches"}))
    for manifest, shape, count in ((images, WHOLE, 6), (patches, CROP, 7)):
        sources = load_sources(lake, manifest)
        assert len(sources) == count
        assert {size(cbis, source.key) for source in sources.values()} == {shape}
        masks = [mask for row in lake.tables(manifest, "sources-").to_pylist() for mask in json.loads(row["masks"])]
        assert len(set(masks)) == 7
        assert {size(cbis, mask) for mask in masks} == {WHOLE}
        assert not set(masks) & {source.key for source in sources.values()}


def test_a_crop_has_its_own_class_and_knows_its_mammogram(cbis: Cbis, run: Run, lake: Lake) -> None:
    images = run(cbis.config())
    patches = run(cbis.config(cbis={"what": "patches", "classes": "pathology"}))
    table = lake.tables(patches, "images-").to_pylist()
    assert patches.facts["labels"] == ["benign_without_callback", "benign", "malignant"]
    assert {name: counts["present"] for name, counts in patches.facts["label_counts"].items()} == {
        "benign_without_callback": 2,
        "benign": 2,
        "malignant": 3,
    }
    assert {row["whole"] for row in table} == set(load_catalog(lake, images).image_ids)


def test_three_classes_take_the_gravest_and_can_be_chosen(cbis: Cbis, run: Run, lake: Lake) -> None:
    found = rows(lake, run(cbis.config(cbis={"classes": "pathology"})))
    assert {key[0]: row["label:malignant"] for key, row in found.items()} == {
        **{"P_00001": 1, "P_00002": 0, "P_00003": 0, "P_00004": 1}
    }
    assert found["P_00003", "RIGHT_MLO", "mass"]["label:benign_without_callback"] == 1
    facts = run(cbis.config(cbis={"classes": "pathology"}, labels=["benign", "malignant"])).facts
    assert (facts["images"], facts["left_out"]["class"]) == (5, 1)
    with pytest.raises(ConfigError, match="benign"):
        run(cbis.config(labels=["benign"]))


def test_a_patient_of_both_kinds_in_train_and_test_is_refused(cbis: Cbis, run: Run) -> None:
    """The two kinds were split apart: the same patient trains on masses and is tested on calcifications."""
    published = {"split": "published", "cbis": {"validate_share": 0.0}}
    assert run(cbis.config(**published)).facts["roles"]["test"] == 1
    cbis.add("P_00002", "RIGHT_CC", 1, part="test")
    with pytest.raises(LeakageError, match="1 of 4 groups") as caught:
        run(cbis.write().config(**published))
    assert "P_0" not in caught.value.message
    run(cbis.config())


def test_some_patients_of_train_are_for_choosing(tmp_path: Path, run: Run) -> None:
    archive = Cbis(tmp_path / "archive", "kaggle")
    (tmp_path / "key").write_bytes(bytes(32))
    for patient in range(60):
        archive.add(f"P_{patient:05}", part="test" if patient % 6 == 0 else "train")
    archive.write()
    fields = {"split": "published", "hash_key_file": str(tmp_path / "key")}
    roles = run(archive.config(**fields, cbis={"validate_share": 0.4})).facts["roles"]
    assert roles["test"] == 10
    assert 10 <= roles["select"] + roles["verify"] <= 30  # 20 expected of 50, ± 3 standard deviations
    assert min(roles.values()) > 0
    roles = run(archive.config(**fields, cbis={"validate_share": 0.0})).facts["roles"]
    assert (roles["select"], roles["verify"], roles["test"]) == (0, 0, 10)


def test_missing_unlisted_and_junk_are_counted(cbis: Cbis, run: Run, lake: Lake) -> None:
    sources = rows(lake, run(cbis.config()))
    (cbis.root / str(sources["P_00002", "RIGHT_CC", "calcification"]["key"])).unlink()
    folder = cbis.root / ("jpeg" if cbis.layout == "kaggle" else "CBIS-DDSM")
    (folder / "nobody").mkdir(parents=True)
    (folder / "nobody" / "1-1.jpg").write_bytes(jpeg(WHOLE, 1))
    (folder / "LICENSE").write_text("CC BY 3.0")
    facts = run(cbis.config()).facts
    assert facts["left_out"] == {**{"junk": 1, "unlisted": 1, "missing": 1}, **{"twice": 0, "class": 0, "view": 0}}
    assert facts["images"] == 5
    assert run(cbis.config(views=["LEFT_CC"])).facts["left_out"]["view"] == 4


def test_a_table_with_another_pathology_or_without_a_column_is_refused_unquoted(cbis: Cbis, run: Run) -> None:
    cbis.add("P_00009", pathology="UNPROVEN P_00009")
    with pytest.raises(InputError, match="pathology") as caught:
        run(cbis.write().config())
    assert "P_00009" not in caught.value.message
    for name in list(cbis.tables):
        path = next(cbis.root.rglob(name))
        path.write_text(path.read_text().replace("abnormality id", "abnormality"))
    with pytest.raises(InputError, match="abnormality id"):
        run(cbis.config())
    for name in list(cbis.tables):
        next(cbis.root.rglob(name)).unlink()
    with pytest.raises(InputError, match="none of the tables"):
        run(cbis.config())


def test_jpegs_without_their_table_are_refused(tmp_path: Path, run: Run) -> None:
    archive = Cbis(tmp_path, "kaggle")
    archive.add("P_00001")
    archive.write()
    (tmp_path / "csv" / "dicom_info.csv").unlink()
    with pytest.raises(InputError, match="lacks the table"):
        run(archive.config())


def test_ids_and_names_of_cases_do_not_leave_phi_root(cbis: Cbis, run: Run, lake: Lake) -> None:
    for what in ("images", "patches"):
        manifest = run(cbis.config(cbis={"what": what}))
        outside = str(lake.tables(manifest, "images-").to_pydict()) + manifest.model_dump_json()
        assert "P_0" not in outside
        assert "1.3.6" not in outside
