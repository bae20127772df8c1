"""MIMIC-CXR-JPG as it lies on disk becomes one row an image."""

import gzip
import hashlib
import hmac
from pathlib import Path

import numpy as np
import pytest

from neuroconcepts_ray.catalog.tables import load_catalog, load_reports, load_sources
from neuroconcepts_ray.errors import ConfigError, InputError, LeakageError
from neuroconcepts_ray.lake.lake import Lake

from .conftest import LABELS, Mimic, Run


def test_every_film_is_one_row_with_its_study_group_view_and_role(mimic: Mimic, run: Run, lake: Lake) -> None:
    manifest = run(mimic.config())
    catalog = load_catalog(lake, manifest)
    assert sorted(catalog.image_ids) == sorted(row["dicom_id"] for row in mimic.films)
    by_id = {row["dicom_id"]: row for row in mimic.films}
    rows = [by_id[image_id] for image_id in catalog.image_ids]
    for column, hashes in (("subject_id", catalog.groups), ("study_id", catalog.studies)):
        pairs = {(row[column], mark) for row, mark in zip(rows, hashes, strict=True)}
        assert len(pairs) == len({row[column] for row in rows}) == len(set(hashes))
    assert list(catalog.views) == [row["ViewPosition"] for row in rows]
    allowed = {"train": {"fit", "probe"}, "validate": {"select", "verify"}, "test": {"test"}}
    assert all(mark in allowed[row["split"]] for row, mark in zip(rows, catalog.roles, strict=True))
    assert (catalog.task, catalog.labels, len(catalog)) == ("multilabel", LABELS, 160)
    assert manifest.facts["images"] == 160
    assert manifest.facts["studies"] == 80
    assert manifest.facts["groups"] == 40
    assert sum(manifest.facts["roles"].values()) == 160


def test_hashes_are_hmac_sha256_under_the_key_file(mimic: Mimic, run: Run, lake: Lake, tmp_path: Path) -> None:
    secret = b"sixteen bytes it is, or more"
    (tmp_path / "key").write_bytes(secret)
    catalog = load_catalog(lake, run(mimic.config(hash_key_file=str(tmp_path / "key"))))
    expected = {
        hmac.new(secret, b"group:" + str(10000000 + i).encode(), hashlib.sha256).hexdigest()[:16] for i in range(40)
    }
    assert set(catalog.groups) == expected


def test_a_short_or_missing_key_file_is_refused(mimic: Mimic, run: Run, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    for name in ("key", "none"):
        with pytest.raises(ConfigError, match="hash_key_file"):
            run(mimic.config(hash_key_file=str(tmp_path / name)))


def test_each_policy_means_what_it_says(mimic: Mimic, run: Run, lake: Lake) -> None:
    mimic.add("10000000", "50009000", "uncertain", labels=("-1.0", "", "1.0"))
    mimic.add("10000000", "50009001", "unlabelled", labels=None)
    mimic.write()

    def rows(**fields: object) -> tuple[list[float], list[float]]:
        catalog = load_catalog(lake, run(mimic.config(**fields)))
        place = {image_id: row for row, image_id in enumerate(catalog.image_ids)}
        return catalog.y[place["uncertain"]].tolist(), catalog.y[place["unlabelled"]].tolist()

    nan = np.nan
    np.testing.assert_equal(rows(), ([nan, 0, 1], [nan] * 3))
    np.testing.assert_equal(rows(uncertain="zeros"), ([0, 0, 1], [nan] * 3))
    np.testing.assert_equal(rows(uncertain="ones"), ([1, 0, 1], [nan] * 3))
    np.testing.assert_equal(rows(blank="mask"), ([nan, nan, 1], [nan] * 3))


def test_labels_are_counted_as_the_archive_has_them(mimic: Mimic, run: Run) -> None:
    mimic.add("10000000", "50009000", "uncertain", labels=("-1.0", "", "1.0"))
    mimic.add("10000000", "50009001", "unlabelled", labels=None)
    facts = run(mimic.write().config()).facts
    zero = {"present": 0, "absent": 0, "uncertain": 0, "blank": 0, "unlabelled": 1}
    assert facts["label_counts"]["Atelectasis"] == {**zero, "present": 160, "uncertain": 1}
    assert facts["label_counts"]["Edema"] == {**zero, "blank": 161}
    assert facts["unlabelled_studies"] == 1
    assert facts["policy"] == {"blank": "zero", "uncertain": "mask"}


def test_labels_can_be_chosen_and_ordered(mimic: Mimic, run: Run, lake: Lake) -> None:
    catalog = load_catalog(lake, run(mimic.config(labels=["No Finding", "Atelectasis"])))
    assert catalog.labels == ["No Finding", "Atelectasis"]
    assert catalog.y[0].tolist() == [0, 1]
    with pytest.raises(ConfigError, match="Hernia"):
        run(mimic.config(labels=["Hernia"]))


def test_views_are_filtered_and_a_missing_view_only_by_its_own_name(mimic: Mimic, run: Run, lake: Lake) -> None:
    mimic.add("10000000", "50000000", "no-view", view="")
    mimic.write()
    manifest = run(mimic.config(views=["AP"]))
    assert set(load_catalog(lake, manifest).views) == {"AP"}
    assert manifest.facts["left_out"]["view"] == 81
    assert set(load_catalog(lake, run(mimic.config(views=["AP", ""]))).views) == {"AP", ""}
    assert len(load_catalog(lake, run(mimic.config()))) == 161
    with pytest.raises(InputError, match=r"no image is left.*view 161"):
        run(mimic.config(views=["PA"]))


def test_missing_films_unlisted_films_and_junk_are_counted(mimic: Mimic, run: Run) -> None:
    mimic.path("10000003", "50000006", "03-0-AP").unlink()
    mimic.path("10000003", "50000006", "nobody-knows-me").write_bytes(b"x")
    (mimic.root / "files/p10/index.html").write_text("junk")
    (mimic.root / "files/p10/._copy.jpg").write_text("junk")
    facts = run(mimic.config()).facts
    assert facts["left_out"] == {"missing": 1, "unlisted": 1, "junk": 2, "view": 0}
    assert facts["images"] == 159


def test_reports_are_one_text_a_study_under_phi_root_alone(mimic: Mimic, run: Run, lake: Lake) -> None:
    mimic.add("10000000", "50009000", "silent", report=None)
    (mimic.root / "reports/files/p10/p10000001/s50000002.txt").write_bytes("Größe".encode("latin-1"))
    manifest = run(mimic.write().config())
    reports = load_reports(lake, manifest)
    catalog = load_catalog(lake, manifest)
    study_of = dict(zip(catalog.image_ids, catalog.studies, strict=True))
    assert len(reports) == 80
    assert study_of["silent"] not in reports
    assert reports[study_of["01-0-AP"]] == "Größe"
    assert reports[study_of["00-0-AP"]] == "FINDINGS: none."
    assert manifest.facts["reports"] == 80
    assert manifest.facts["studies_without_report"] == 1
    assert not load_reports(lake, run(mimic.config(reports=None)))


def test_nothing_outside_phi_root_carries_a_patient_a_study_or_a_report(mimic: Mimic, run: Run, lake: Lake) -> None:
    manifest = run(mimic.config())
    images = lake.tables(manifest, "images-").to_pydict()
    outside = str(images) + manifest.model_dump_json() + "".join(lake.store.list("refs"))
    for secret in ("10000003", "50000006", "FINDINGS", "p10/", str(mimic.root)):
        assert secret not in outside
    assert all(part.root == "phi" for part in manifest.parts if not part.name.startswith("images-"))


def test_sources_know_key_size_and_digest(mimic: Mimic, run: Run, lake: Lake) -> None:
    sources = load_sources(lake, run(mimic.config()))
    data = mimic.path("10000003", "50000006", "03-0-AP").read_bytes()
    source = sources["03-0-AP"]
    assert source.key == "files/p10/p10000003/s50000006/03-0-AP.jpg"
    assert (source.size, source.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_published_split_that_tears_a_patient_is_refused(mimic: Mimic, run: Run) -> None:
    mimic.add("10000000", "50009000", "torn", split="test")
    with pytest.raises(LeakageError, match=r"1 of 40 groups") as caught:
        run(mimic.write().config())
    assert "10000000" not in caught.value.message
    assert run(mimic.config(split="hash")).facts["images"] == 161


def test_a_missing_root_is_a_matter_of_config(mimic: Mimic, run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"catalog\.root"):
        run(mimic.config(root=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match=r"catalog\.reports"):
        run(mimic.config(reports=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match=r"catalog\.root"):
        run(mimic.config(root="gopher://archive"))


def test_a_folder_that_is_no_such_archive_is_refused(mimic: Mimic, run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="metadata"):
        run(mimic.config(root=str(tmp_path)))


def test_a_contradictory_or_damaged_table_is_refused_without_quoting_it(mimic: Mimic, run: Run) -> None:
    table = mimic.root / "mimic-cxr-2.1.0-metadata.csv.gz"
    whole = table.read_bytes()
    table.write_bytes(gzip.compress(gzip.decompress(whole) + b"a,10000777\n"))
    with pytest.raises(InputError, match="damaged") as caught:
        run(mimic.config())
    assert "10000777" not in caught.value.message
    table.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        run(mimic.config())
    table.write_bytes(whole)
    mimic.labels["50000000"]["Edema"] = "2.0"
    with pytest.raises(InputError, match="Edema"):
        run(mimic.write().config())
    mimic.labels["50000000"]["Edema"] = "yes"
    with pytest.raises(InputError, match="Edema"):
        run(mimic.write().config())


def test_an_image_id_twice_or_a_study_of_two_patients_is_refused(mimic: Mimic, run: Run) -> None:
    mimic.films.append(dict(mimic.films[0]))
    with pytest.raises(InputError, match="more than once"):
        run(mimic.write().config())
    mimic.films.pop()
    mimic.add("10000001", "50000000", "shared", labels=None)
    with pytest.raises(InputError, match="more than one patient"):
        run(mimic.write().config())


def test_two_versions_of_the_tables_are_ambiguous(mimic: Mimic, run: Run) -> None:
    (mimic.root / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(gzip.compress(b"dicom_id\n"))
    with pytest.raises(InputError, match="exactly one table"):
        run(mimic.config())
