"""Any table that names image files becomes a catalog by the mapping of its columns; every mistake names its column."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.tables import load_catalog, load_reports, load_sources
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError, InputError, LeakageError
from neuroconcepts_ray.lake.lake import Lake

from .archives import put, table
from .conftest import Run, film

COLUMNS = ("Path", "MRN", "Accession", "View", "Fold", "Text", "File", "Edema", "Mass", "Kind", "Age", "Gender")

MAPPING = {
    "file": "films.csv",
    "image": "Path",
    "patient": "MRN",
    "study": "Accession",
    "view": "View",
    "split": "Fold",
    "report": "Text",
    "labels": ["Edema", "Mass"],
    "columns": {"age": "Age", "sex": "Gender"},
}


def rows_of(patients: int = 12) -> list[dict[str, Any]]:
    """A study of two views a patient."""
    return [
        {
            "Path": f"mrn-{patient}/{view}.png" if view == "PA" else f"mrn-{patient}\\{view}.png",
            "MRN": f"mrn-{patient}",
            "Accession": f"acc-{patient}",
            "View": view,
            "Fold": ("train", "TRAINING", "val", "Test")[patient % 4],
            "Text": f"a report,\nof {patient}",
            "File": f"{patient}.txt",
            "Edema": ("1", "0.0", "-1", "")[patient % 4],
            "Mass": "0",
            "Kind": ("benign", "cancer", "")[patient % 3],
            "Age": "" if patient == 5 else str(40 + patient),
            "Gender": ("F", "M")[patient % 2],
        }
        for patient in range(patients)
        for view in ("PA", "LL")
    ]


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return rows_of()


@pytest.fixture
def root(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    for number, row in enumerate(rows):
        put(tmp_path / "films" / row["Path"].replace("\\", "/"), film(number))
    table(tmp_path / "films/films.csv", COLUMNS, rows)
    return tmp_path / "films"


def config(root: Path, mapping: dict[str, Any] | None = None, /, **fields: object) -> CatalogConfig:
    return validate(CatalogConfig, {"root": str(root), "adapter": "csv", "csv": MAPPING | (mapping or {}), **fields})


def test_every_row_is_an_image_with_all_that_is_mapped(root: Path, run: Run, lake: Lake) -> None:
    manifest = run(config(root))
    catalog = load_catalog(lake, manifest)
    sources = load_sources(lake, manifest)
    patients = [int(sources[image_id].key.split("/")[0].removeprefix("mrn-")) for image_id in catalog.image_ids]
    assert len(catalog) == 24
    assert (catalog.task, catalog.labels) == ("multilabel", ["Edema", "Mass"])
    np.testing.assert_array_equal(catalog.y[:, 0], [(1, 0, np.nan, 0)[n % 4] for n in patients])
    np.testing.assert_array_equal(catalog.columns["age"], [np.nan if n == 5 else 40 + n for n in patients])
    assert catalog.columns["sex"].tolist() == [("F", "M")[n % 2] for n in patients]
    assert sorted(catalog.views) == ["LL"] * 12 + ["PA"] * 12
    for n, role in zip(patients, catalog.roles, strict=True):
        assert role in ({"fit", "probe"}, {"fit", "probe"}, {"select", "verify"}, {"test"})[n % 4]
    reports = load_reports(lake, manifest)
    assert [reports[study] for study in catalog.studies] == [f"a report,\nof {n}" for n in patients]
    assert (manifest.facts["studies"], manifest.facts["groups"], manifest.facts["grouped_by"]) == (12, 12, "patient")


def test_nothing_outside_phi_root_tells_a_patient(root: Path, run: Run, lake: Lake) -> None:
    manifest = run(config(root))
    outside = str(lake.tables(manifest, "images-").to_pydict()) + manifest.model_dump_json()
    for secret in ("mrn", "acc-", "report,", "films.csv", str(root)):
        assert secret not in outside


def test_the_least_is_a_column_of_images(root: Path, run: Run, lake: Lake) -> None:
    bare = {"file": "films.csv", "image": "Path"}
    manifest = run(validate(CatalogConfig, {"root": str(root), "adapter": "csv", "csv": bare, "split": "hash"}))
    catalog = load_catalog(lake, manifest)
    assert (len(set(catalog.groups)), catalog.labels, manifest.facts["grouped_by"]) == (24, [], "image")
    with pytest.raises(InputError, match=r"without a part.*split: hash"):
        run(validate(CatalogConfig, {"root": str(root), "adapter": "csv", "csv": bare}))


def test_the_table_may_lie_elsewhere_be_zipped_latin_or_of_semicolons(
    root: Path, run: Run, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    first = run(config(root))
    text = (root / "films.csv").read_bytes()
    (root / "films.csv").unlink()
    put(tmp_path / "else/where.csv.gz", gzip.compress(b"\xef\xbb\xbf" + text))
    assert run(config(root, {"file": str(tmp_path / "else/where.csv.gz")})).content == first.content
    table(tmp_path / "semi.csv", COLUMNS, rows, ";")
    semi = {"file": f"file://{tmp_path}/semi.csv", "separator": ";"}
    assert run(config(root, semi)).content == first.content
    put(tmp_path / "latin.csv", text.replace(b",F\n", ",Fräulein\n".encode("latin-1")))
    facts = run(config(root, {"file": str(tmp_path / "latin.csv")})).facts
    assert facts["columns"]["sex"]["words"] == {"Fräulein": 12, "M": 12}


def test_a_class_column_makes_a_multiclass_or_binary_task_and_blanks_are_masked(
    root: Path, run: Run, lake: Lake
) -> None:
    kinds = {"labels": [], "class_column": "Kind"}
    catalog = load_catalog(lake, run(config(root, kinds)))
    assert (catalog.task, catalog.labels) == ("multiclass", ["benign", "cancer"])
    assert int(np.isnan(catalog.y).all(axis=1).sum()) == 8
    binary = load_catalog(lake, run(config(root, kinds, positive="cancer")))
    assert (binary.task, binary.labels) == ("binary", ["cancer"])
    assert int(np.nansum(binary.y)) == 8
    only = run(config(root, kinds, labels=["cancer"]))
    assert (only.facts["left_out"]["class"], only.facts["images"]) == (8, 16)
    one = load_catalog(lake, run(config(root, {"labels": ["Edema"]}, uncertain="ones", blank="mask")))
    assert one.task == "binary"
    assert int(np.nansum(one.y)) == 12
    assert int(np.isnan(one.y).sum()) == 6


def test_reports_may_be_files_and_those_not_there_are_counted(root: Path, run: Run, lake: Lake, tmp_path: Path) -> None:
    for patient in range(11):
        put(tmp_path / "texts" / f"{patient}.txt", f"film of {patient}".encode())
    manifest = run(config(root, {"report": None, "report_file": "File"}, reports=str(tmp_path / "texts")))
    assert sorted(load_reports(lake, manifest).values()) == sorted(f"film of {n}" for n in range(11))
    assert manifest.facts["left_out"]["report"] == 2


def test_rows_without_a_file_and_files_without_a_row_are_counted(root: Path, run: Run) -> None:
    (root / "mrn-3/PA.png").unlink()
    put(root / "mrn-3/extra.png", film(1))
    facts = run(config(root, views=["PA"])).facts
    assert facts["left_out"] == {"view": 12, "missing": 1, "unlisted": 1, "class": 0, "report": 0}


@pytest.mark.parametrize("role", ["image", "image_id", "patient", "study", "view", "split", "report", "report_file"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(root: Path, run: Run, role: str) -> None:
    other = {"report": None} if role == "report_file" else {}
    with pytest.raises(ConfigError, match=rf"no such column \(got Nope; allowed: Path, MRN.*catalog\.csv\.{role}"):
        run(config(root, {**other, role: "Nope"}))


def test_of_a_table_without_a_header_no_value_is_quoted(root: Path, run: Run) -> None:
    text = (root / "films.csv").read_text().replace("mrn-", "10007").split("\n", 1)[1]
    (root / "films.csv").write_text(text)
    with pytest.raises(ConfigError, match="no such column") as caught:
        run(config(root))
    assert "10007" not in caught.value.message
    assert "report" not in caught.value.message


def test_a_label_or_column_that_is_not_there_is_named(root: Path, run: Run) -> None:
    with pytest.raises(ConfigError, match=r"Hernia.*catalog\.csv\.labels"):
        run(config(root, {"labels": ["Hernia"]}))
    with pytest.raises(ConfigError, match=r"Site.*catalog\.csv\.columns\.site"):
        run(config(root, {"columns": {"site": "Site"}}))


def test_values_that_do_not_fit_are_counted_and_never_quoted(root: Path, run: Run, rows: list[dict[str, Any]]) -> None:
    def refused(change: dict[str, Any], match: str, mapping: dict[str, Any] | None = None) -> None:
        table(root / "films.csv", COLUMNS, [rows[0] | change, *rows[1:]])
        with pytest.raises(InputError, match=match) as caught:
            run(config(root, mapping))
        assert "Jane" not in caught.value.message

    refused({"Edema": "Jane"}, "holds other values: Edema.*1 of 24 rows")
    refused({"Fold": "Jane"}, "column Fold.*1 of 24 rows")
    refused({"Path": "../Jane.png"}, "column Path.*1 of 24 rows")
    refused({"Path": ""}, "column Path.*1 of 24 rows")
    refused({"MRN": ""}, "without a patient, a study or an image_id.*1")
    refused({"MRN": "Jane"}, "studies belong to more than one patient")
    refused({"Text": "Jane"}, "1 studies.*one report a study")
    refused({"Path": rows[1]["Path"]}, "more than once")


def test_a_column_of_many_words_is_not_shown_everywhere(root: Path, run: Run, rows: list[dict[str, Any]]) -> None:
    many = [row | {"Gender": f"Jane {number}"} for number, row in enumerate(rows * 5)]
    table(root / "films.csv", COLUMNS, [row | {"Path": rows[n % 24]["Path"]} for n, row in enumerate(many)])
    with pytest.raises(InputError, match=r"may tell who a patient is.*Gender.*120 words") as caught:
        run(config(root))
    assert "Jane" not in caught.value.message


@pytest.mark.parametrize(
    ("mapping", "match"),
    [
        ({"class_column": "Kind"}, "labels and class_column exclude"),
        ({"report_file": "File"}, "report and report_file exclude"),
        ({"columns": {"role": "Age"}}, "'role' is taken"),
        ({"columns": {"id": "MRN"}}, "'MRN' may tell who a patient is"),
        ({"colour": "Age"}, "colour"),
        ({"separator": "é"}, "separator"),
        ({"separator": ", "}, "separator"),
        ({"separator": "\n"}, "separator"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(root: Path, mapping: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        config(root, mapping)


def test_a_patient_in_two_parts_is_a_leak(root: Path, run: Run, rows: list[dict[str, Any]]) -> None:
    table(root / "films.csv", COLUMNS, [rows[0] | {"Fold": "test"}, *rows[1:]])
    with pytest.raises(LeakageError, match="1 of 12 groups"):
        run(config(root))


def test_five_roles_may_be_the_parts(root: Path, run: Run, lake: Lake, rows: list[dict[str, Any]]) -> None:
    roles = ["fit", "probe", "select", "verify", "test"]
    table(root / "films.csv", COLUMNS, [row | {"Fold": roles[int(row["MRN"][4:]) % 5]} for row in rows])
    manifest = run(config(root))
    catalog = load_catalog(lake, manifest)
    sources = load_sources(lake, manifest)
    patients = [int(sources[image_id].key.split("/")[0].removeprefix("mrn-")) for image_id in catalog.image_ids]
    assert catalog.roles.tolist() == [roles[n % 5] for n in patients]


def test_a_damaged_or_empty_table_is_refused_without_quoting_it(root: Path, run: Run) -> None:
    table_file = root / "films.csv"
    whole = table_file.read_bytes()
    for data, match in (
        (whole + b"Jane,of,too,few\n", "damaged"),
        (gzip.compress(whole)[:50], "damaged"),
        (b"", "empty"),
        (b"Path,Path\na,b\n", "same name"),
    ):
        table_file.write_bytes(data)
        with pytest.raises(InputError, match=match) as caught:
            run(config(root))
        assert "Jane" not in caught.value.message
    table_file.write_bytes(whole.replace(b"of 0", b"of" + b" many words" * 500_000))
    assert run(config(root)).facts["reports"] == 12
    with pytest.raises(ConfigError, match="leaves the archive's root"):
        run(config(root, {"file": "../films.csv"}))
    table_file.unlink()
    with pytest.raises(ConfigError, match=r"no such file.*catalog\.csv\.file"):
        run(config(root))


@pytest.mark.parametrize(("before", "after"), [(["", "", ""], ["", "", "F"]), (["1", "2", "2"], ["1", "2", "2b"])])
def test_a_column_that_was_unknown_or_numbers_may_hold_words_later(
    tmp_path: Path, run: Run, lake: Lake, before: list[str], after: list[str]
) -> None:
    def write(sites: list[str]) -> CatalogConfig:
        rows = [{"Path": f"{at}.png", "MRN": f"p{at}", "Site": site} for at, site in enumerate(sites)]
        for at in range(len(rows)):
            put(tmp_path / f"{at}.png", film(at))
        table(tmp_path / "films.csv", ("Path", "MRN", "Site"), rows)
        mapping = {"file": "films.csv", "image": "Path", "patient": "MRN", "columns": {"site": "Site"}}
        return validate(CatalogConfig, {"root": str(tmp_path), "adapter": "csv", "split": "hash", "csv": mapping})

    first = run(write(before[:2]))
    second = run(write(after))
    assert second.inputs["parent"] == first.content
    catalog = load_catalog(lake, second)
    assert sorted(catalog.columns["site"].tolist()) == sorted(after)
    assert run(write(after)) == second


def test_blank_image_ids_are_refused(tmp_path: Path, run: Run) -> None:
    rows = [{"Path": f"{at}.png", "Name": name} for at, name in enumerate(("a", ""))]
    for at in range(2):
        put(tmp_path / f"{at}.png", film(at))
    table(tmp_path / "films.csv", ("Path", "Name"), rows)
    mapping = {"file": "films.csv", "image": "Path", "image_id": "Name"}
    fields = {"root": str(tmp_path), "adapter": "csv", "split": "hash", "csv": mapping}
    with pytest.raises(InputError, match="image_id"):
        run(validate(CatalogConfig, fields))
