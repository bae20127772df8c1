"""DICOM files become rows by what their headers say, wherever they lie and whatever they are called."""

import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.headers import FIRST, read_head, read_headers
from neuroconcepts_ray.catalog.sources import read_source
from neuroconcepts_ray.catalog.tables import load_catalog, load_sources
from neuroconcepts_ray.catalog.trees import Entry, LocalTree, RemoteTree
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.imaging.decode import decode
from neuroconcepts_ray.imaging.dicom import HEADER, read_header, read_identity
from neuroconcepts_ray.imaging.undecodable import Undecodable
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest

from .conftest import Run
from .dicoms import PR, SR, dicom

Rows = dict[str, dict[str, object]]


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def config(root: Path, **fields: object) -> CatalogConfig:
    return validate(CatalogConfig, {"root": str(root), "adapter": "dicom", "split": "hash", **fields})


def rows(lake: Lake, manifest: Manifest) -> Rows:
    """Rows of a catalog by the file they come from."""
    table = {row["image_id"]: row for row in lake.tables(manifest, "images-").to_pylist()}
    return {source.key: table[image_id] for image_id, source in load_sources(lake, manifest).items()}


def test_what_a_file_is_stands_in_its_header_not_in_its_name(tmp_path: Path, run: Run, lake: Lake) -> None:
    said = {"PatientID": "7", "StudyInstanceUID": "1.2.1", "PatientAge": "018M", "PatientSex": "F"}
    chest = {
        **said,
        "ViewPosition": "PA",
        "BodyPartExamined": "CHEST",
        "Manufacturer": "Acme",
        "BurnedInAnnotation": "NO",
    }
    breast = {**said, "Modality": "MG", "ViewPosition": "CC", "ImageLaterality": "L", "StudyInstanceUID": "1.2.2"}
    files = {
        "a/IM0001": dicom("1.1", **chest),  # type: ignore[arg-type]
        "export/1.2.2/1.3/1.2": dicom("1.2", **breast),  # type: ignore[arg-type]
        "export/1.2.2/1.3/metadata.json": b"[]",
        "b/photo.jpg": dicom("1.3", PatientID="8", StudyInstanceUID="1.2.3"),
    }
    manifest = run(config(write(tmp_path, files)))
    found = rows(lake, manifest)
    assert set(found) == set(files) - {"export/1.2.2/1.3/metadata.json"}
    first, second, third = (found[key] for key in ("a/IM0001", "export/1.2.2/1.3/1.2", "b/photo.jpg"))
    assert [row["view"] for row in (first, second, third)] == ["PA", "LEFT_CC", ""]
    assert first["group"] == second["group"] != third["group"]
    assert len({row["study"] for row in found.values()}) == 3
    columns = ("modality", "body_part", "age", "sex", "manufacturer", "frames", "photometric", "burned_in")
    assert [first[name] for name in columns] == ["CR", "CHEST", 1.5, "F", "Acme", 1, "MONOCHROME2", "NO"]
    assert [third[name] for name in columns] == ["CR", None, None, None, None, 1, "MONOCHROME2", "unknown"]
    assert manifest.facts["labels"] == []
    assert manifest.facts["left_out"]["sidecar"] == 1


def test_every_file_is_a_row_or_counted_by_the_reason_why_not(tmp_path: Path, run: Run) -> None:
    film = dicom("1.1", PatientID="7")
    files = {
        "film": film,
        "copy": film,
        "recompressed": dicom("1.1", PatientID="7", shape=(4, 4)),
        "report": dicom("1.2", shape=None, SOPClassUID=SR, Modality="SR"),
        "state": dicom("1.3", shape=None, SOPClassUID=PR, Modality="PR"),
        "header": dicom("1.4", shape=None),
        "named": dicom("1.5", shape=None, Modality="DOE"),
        "notes.txt": b"text",
        "empty": b"",
        "a.xml": b"<a/>",
        "damaged": film[:132] + b"\xff" * 400,
        "cut": film[:300],
        "folder\\unpacked.dcm": dicom("1.6"),
        os.fsdecode(b"M\xfcller.dcm"): dicom("1.7"),
    }
    facts = run(config(write(tmp_path, files))).facts
    assert facts["left_out"] == {
        **{"junk": 2, "sidecar": 1, "twice": 1, "no_pixels_SR": 1, "no_pixels_PR": 1, "no_pixels": 2},
        **{"modality": 0, "body_part": 0, "view": 0, "burned_in": 0, "misnamed": 2},
    }
    assert facts["images"] + sum(facts["left_out"].values()) == len(files)
    assert (facts["images"], facts["counted"]["shared_uid"], facts["counted"]["unreadable_header"]) == (4, 1, 2)


def test_ids_are_those_of_the_objects_wherever_the_files_move(tmp_path: Path, run: Run, lake: Lake) -> None:
    key = tmp_path / "key"
    key.write_bytes(bytes(32))
    here = write(tmp_path / "here", {"x/1": dicom("1.1"), "x/2": dicom("1.2")})
    there = write(tmp_path / "there", {"2.dcm": dicom("1.2"), "1.dcm": dicom("1.1")})
    catalogs = [load_catalog(lake, run(config(root, hash_key_file=str(key)))) for root in (here, there)]
    assert set(catalogs[0].image_ids) == set(catalogs[1].image_ids)


def test_new_films_are_a_partition_more(tmp_path: Path, run: Run) -> None:
    films = {f"{number}": dicom(f"1.1.{number}", PatientID=f"{number % 3}") for number in range(12)}
    root = write(tmp_path, dict(list(films.items())[:9]))
    assert run(config(root)).facts["partitions"] == [9]
    assert run(config(write(root, films))).facts["partitions"] == [9, 3]
    assert run(config(root)).facts["partitions"] == [9, 3]


def test_a_file_without_patient_is_grouped_by_its_study_and_counted(tmp_path: Path, run: Run, lake: Lake) -> None:
    files = {
        "1": dicom("1.1", StudyInstanceUID="1.9"),
        "2": dicom("1.2", StudyInstanceUID="1.9"),
        "3": dicom("1.3"),
        "4": dicom("1.4", PatientID="7", StudyInstanceUID="1.8"),
    }
    manifest = run(config(write(tmp_path, files)))
    found = rows(lake, manifest)
    assert found["1"]["group"] == found["2"]["group"]
    assert (manifest.facts["groups"], manifest.facts["ungrouped"]) == (3, 3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_patients_that_share_a_study_are_one_person(order: tuple[int, ...], tmp_path: Path, run: Run) -> None:
    """A corrected or merged Patient ID must not put one person into two roles."""
    of = [("7", "1.1"), ("9", "1.1"), ("9", "1.2")]
    files = {
        str(number): dicom(f"1.5.{number}", PatientID=of[place][0], StudyInstanceUID=of[place][1])
        for number, place in enumerate(order)
    }
    files["other"] = dicom("1.5.9", PatientID="8", StudyInstanceUID="1.3")
    manifest = run(config(write(tmp_path, files)))
    assert (manifest.facts["groups"], manifest.facts["studies"]) == (2, 3)
    assert manifest.facts["counted"]["patients_joined"] == 1


def test_modality_body_part_view_and_burned_in_text_are_filters(tmp_path: Path, run: Run) -> None:
    files = {
        "1": dicom("1.1", BodyPartExamined="CHEST", ViewPosition="AP", BurnedInAnnotation="YES"),
        "2": dicom("1.2", BodyPartExamined="CHEST", Modality="DX"),
        "3": dicom("1.3", BodyPartExamined="HAND", ViewPosition="AP", BurnedInAnnotation="NO"),
        "4": dicom("1.4", Modality="CT"),
        "5": dicom("1.5", Modality=""),
    }
    root = write(tmp_path, files)

    def counts(**fields: object) -> tuple[int, dict[str, int]]:
        facts = run(config(root, **fields)).facts
        return facts["images"], {name: count for name, count in facts["left_out"].items() if count}

    assert counts() == (5, {})
    assert counts(dicom={"modalities": ["CR", "DX"]}) == (3, {"modality": 2})
    assert counts(dicom={"modalities": ["CR", ""], "body_parts": ["CHEST", ""]}) == (2, {"modality": 2, "body_part": 1})
    assert counts(views=["AP"]) == (2, {"view": 3})
    assert counts(dicom={"burned_in": "drop"}) == (4, {"burned_in": 1})
    assert run(config(root)).facts["counted"]["burned_in_yes"] == 1
    assert run(config(root)).facts["counted"]["burned_in_unknown"] == 3


@pytest.mark.parametrize(
    ("column", "kinds"), [("SOPInstanceUID", "1-x"), ("StudyInstanceUID", "11x"), ("PatientID", "11x")]
)
def test_labels_join_on_object_study_or_patient(column: str, kinds: str, tmp_path: Path, run: Run, lake: Lake) -> None:
    of = [("1.1", "1.8", "7"), ("1.2", "1.8", "7"), ("1.3", "1.9", "8")]
    films = {uid: dicom(uid, StudyInstanceUID=study, PatientID=patient) for uid, study, patient in of}
    root, table = write(tmp_path / "films", films), tmp_path / "labels.csv"
    place = ["SOPInstanceUID", "StudyInstanceUID", "PatientID"].index(column)
    cells = ["1,{},", "0,{},-1"]
    some = list(dict.fromkeys(ids[place] for ids in of))[:-1]
    lines = [cell.format(name) for cell, name in zip(cells, some, strict=False)]
    table.write_text("\n".join([f"Edema,{column},Mass", *lines, "0,nobody,0"]))
    manifest = run(config(root, labels_file=str(table)))
    found = rows(lake, manifest)
    expected = {"1": (1, 0), "-": (0, None), "x": (None, None)}
    got = [(found[uid]["label:Edema"], found[uid]["label:Mass"]) for uid, _, _ in of]
    assert got == [expected[kind] for kind in kinds]
    assert manifest.facts["counted"]["label_rows_unmatched"] == 1


def test_a_label_table_that_fits_nothing_is_refused_unquoted(tmp_path: Path, run: Run) -> None:
    root, table = write(tmp_path / "films", {"1": dicom("1.1", PatientID="7")}), tmp_path / "labels.csv"
    for text, match, error in (
        ("PatientID,Edema\n0007Doe,1\n", "knows none", InputError),
        ("PatientID,Edema\n7,Doe\n", "Edema", InputError),
        ("PatientID,Edema\n7,1\n7,0\n", "twice", InputError),
        ("subject,Edema\n7,1\n", "no column of ids", ConfigError),
    ):
        table.write_text(text)
        with pytest.raises(error, match=match) as caught:
            run(config(root, labels_file=str(table)))
        assert "Doe" not in caught.value.message
    with pytest.raises(ConfigError, match="have no labels"):
        run(config(root, labels=["Edema"]))


class Counting(LocalTree):
    """A tree that knows how much of it was read."""

    taken = 0

    def head(self, key: str, size: int) -> bytes:
        data = super().head(key, size)
        self.taken += len(data)
        return data


def test_pixels_are_not_read(tmp_path: Path) -> None:
    files = {str(i): dicom(f"1.{i}", shape=(1000, 1000)) for i in range(5)}
    files["long header"] = dicom("1.9", shape=(1000, 1000), ICCProfile=bytes(5 * FIRST))
    tree = Counting(write(tmp_path, files))
    headers = read_headers(tree, sorted(tree.walk(), key=lambda file: file.key))
    assert all(header is not None and header.pixels and header.identity is not None for header in headers)
    assert tree.taken == 5 * FIRST + 9 * FIRST


def test_a_header_read_in_part_is_that_of_the_whole_file(tmp_path: Path) -> None:
    """However long the header is, and on both sides of every block's edge."""
    for length in range(FIRST - 700, FIRST + 100, 26):
        data = dicom("1.1", PatientID="7", ICCProfile=bytes(length), shape=(300, 300))
        tree = LocalTree(write(tmp_path, {"film": data}))
        (header,) = read_headers(tree, list(tree.walk()))
        assert header is not None
        assert (header.pixels, header.tags["Rows"]) == (True, 300)
        assert header.identity is not None
        assert header.identity.patient_id == "7"


def test_the_header_of_every_real_file_is_that_of_the_whole_file(shared_data: Path) -> None:
    tree = LocalTree(shared_data / "dicom")
    files = sorted(tree.walk(), key=lambda file: file.key)
    for file, header in zip(files, read_headers(tree, files), strict=True):
        data = tree.read(file.key)
        try:
            expected = read_header(data), read_identity(data)
        except Undecodable:
            assert header is None or header.identity is None, file.key
        else:
            assert header is not None
            assert (header.tags, header.identity) == expected, file.key


def test_a_deflated_file_is_read_whole(tmp_path: Path) -> None:
    for shape, pixels in (((200, 200), True), (None, False)):
        dataset = pydicom.dcmread(io.BytesIO(dicom("1.1", PatientID="7", shape=shape)))
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(tmp_path / "film", enforce_file_format=True)
        (header,) = read_headers(LocalTree(tmp_path), list(LocalTree(tmp_path).walk()))
        assert header is not None
        assert header.identity is not None
        assert (header.identity.patient_id, header.pixels) == ("7", pixels)


def test_a_head_behind_a_url_is_fetched_by_range(tmp_path: Path) -> None:
    import fsspec

    tree = object.__new__(RemoteTree)
    tree.fs, tree.path, tree.field = fsspec.filesystem("file"), str(tmp_path), "catalog.root"
    data = dicom("1.1", shape=(1000, 1000))
    write(tmp_path, {"film": data})
    assert tree.head("film", 100) == data[:100]
    assert tree.head("film", 10**8) == data
    head = read_head(tree, Entry("film", len(data), ""))
    assert head.found is not None
    assert (len(head.data), head.end) == (FIRST, 0x7FE00010)
    with pytest.raises(FileNotFoundError):
        tree.head("none", 1)


CHARACTERS = {
    "ISO_IR 100": "Müller^Jürgen",
    "ISO_IR 144": "Люксембург^Роза",
    "ISO_IR 127": "قباني^لنزار",
    "ISO_IR 126": "Διονυσιος^Σολωμος",
    "GB18030": "Wang^XiaoDong=王^小东",
    "ISO_IR 192": "Hong^Gildong=洪^吉洞=홍^길동",
    "ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
}
IDENTIFYING = (
    *("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyInstanceUID", "SOPInstanceUID"),
    *("SeriesInstanceUID", "InstitutionName", "ReferringPhysicianName", "AccessionNumber", "PatientAddress"),
    *("OperatorsName", "StudyID", "PatientComments", "RequestingPhysician", "StationName", "OtherPatientIDs"),
)


def secrets(data: bytes) -> Iterator[str]:
    """Every string of some length in the identifying tags of a file, and the parts of its names."""
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    for tag in IDENTIFYING:
        text = str(dataset.get(tag, ""))
        for word in (text, *text.replace("=", "^").split("^")):
            # A short number or hexadecimal word may stand in any keyed hash by chance.
            least = 8 if re.fullmatch("[0-9a-f]*", word) else 4 if word.isascii() else 2
            if len(word.strip()) >= least:
                yield word.strip()


@pytest.mark.filterwarnings("ignore")  # pydicom talks in the test's own reading of the real files
def test_nothing_that_tells_who_it_is_leaves_phi_root(
    tmp_path: Path,
    run: Run,
    lake: Lake,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    files = {}
    for number, (characters, name) in enumerate(CHARACTERS.items()):
        identifying = {
            "SpecificCharacterSet": characters if "2022" not in characters else ["", characters],
            "PatientName": name,
            "PatientID": f"MRN{number:06}",
            "PatientBirthDate": f"1950010{number + 1}",
            "StudyDate": f"2019020{number + 1}",
            "InstitutionName": "St. Elsewhere",
            "ReferringPhysicianName": f"House^{number}Gregory",
            "AccessionNumber": f"ACC{number:06}",
            "StudyInstanceUID": f"1.2.826.0.1.{number}",
            # What belongs elsewhere, typed into fields that the catalog does read:
            "BodyPartExamined": "Mr Doe, John",
            "PatientSex": "Doe",
        }
        files[f"{name.split('^')[0]}/{number}"] = dicom(f"1.2.826.0.2.{number}", **identifying)
    whole = files["Müller/0"]
    files["Müller/cut"] = whole[: len(whole) // 2]
    files["Müller/damaged"] = whole.replace(b"\x10\x00\x10\x00PN", b"\x10\x00\x10\x00P\xff")
    write(tmp_path, files)
    del files["Müller/cut"], files["Müller/damaged"]
    shared = Path(str(request.config.rootpath)).parent / "shared" / "data" / "dicom"
    for path in shared.glob("*") if shared.is_dir() else ():
        (tmp_path / path.name).write_bytes(path.read_bytes())
        files[path.name] = path.read_bytes()
    words = {word for data in files.values() if data[128:132] == b"DICM" for word in secrets(data)}
    assert {"Müller", "やまだ", "吉洞", "Люксембург", "MRN000003"} <= words
    caplog.clear()
    capfd.readouterr()

    manifest = run(config(tmp_path))
    with pytest.raises(InputError) as caught:
        run(config(tmp_path, views=["no such view"]))
    images = lake.tables(manifest, "images-").to_pylist()
    outside = [
        str(images),
        manifest.model_dump_json(),
        str([*lake.store.list("catalog"), *lake.store.list("refs")]),
        caught.value.message,
    ]
    outside += [caplog.text, *capfd.readouterr()]
    outside += [str(value) for row in images for value in row.values()]
    makers = str([row["manufacturer"] for row in images])  # of which one stands as an institution, too
    leaked = {word for word in words for text in outside if word in text and word not in makers}
    assert not leaked
    assert not any("Doe" in text or "Elsewhere" in text for text in outside)


def test_the_real_folder_is_accounted_for(shared_data: Path, run: Run, lake: Lake) -> None:
    """47 DICOM files and their manifest: 35 films that decode, 7 that never will, 6 that are none; nothing lost."""
    root = shared_data / "dicom"
    manifest = run(config(root))
    left_out = {name: count for name, count in manifest.facts["left_out"].items() if count}
    assert left_out == {"junk": 1, "no_pixels": 3, "no_pixels_SR": 2}
    assert manifest.facts["images"] == 42 == len(list(root.iterdir())) - sum(left_out.values())
    assert manifest.facts["counted"]["unreadable_header"] == 3
    assert manifest.facts["counted"]["shared_uid"] == 8  # pydicom's test files were recompressed under one UID
    causes: Counter[str] = Counter()
    for source in load_sources(lake, manifest).values():
        try:
            decode(read_source(str(root), source))
        except Undecodable as error:
            causes[error.cause] += 1
    assert causes == {
        "truncated": 1,
        "damaged": 2,
        "DICOM without file meta": 2,
        "DICOM without transfer syntax": 1,
        "DICOM without pixels": 1,  # two bytes of them, and no size
    }


@pytest.mark.filterwarnings("error")
def test_no_damage_to_a_header_stops_the_catalog_or_speaks(caplog: pytest.LogCaptureFixture) -> None:
    class One:
        """A tree of one file."""

        uri, data = "", b""

        def head(self, key: str, size: int) -> bytes:  # noqa: ARG002 - one file has one name
            return self.data[:size]

    tree, random = One(), np.random.default_rng(0)
    whole = dicom("1.1", PatientID="MRN000001", PatientName="Doe^John", PatientAge="040Y", ViewPosition="PA")
    caplog.clear()
    for _ in range(300):
        data = bytearray(whole[: random.integers(1, len(whole))] if random.random() < 0.3 else whole)
        for place in random.integers(0, len(data), random.integers(1, 8)):
            data[place] = random.integers(256)
        tree.data = bytes(data)
        (header,) = read_headers(tree, [Entry("film", len(data), "")])  # type: ignore[arg-type]
        assert header is None or header.identity is None or set(header.tags) <= set(HEADER)
    assert not caplog.text


def test_headers_that_lie_are_no_numbers(tmp_path: Path, run: Run, lake: Lake) -> None:
    files = {"1": dicom("1.1", shape=(4, 4)), "2": dicom("1.2", PatientAge="120Y")}
    found = rows(lake, run(config(write(tmp_path, files))))
    assert found["2"]["age"] == 90
    assert np.isfinite(float(str(found["1"]["frames"])))
