"""FairVLMed becomes one row a subject, from its tables where they are and from the npz files where they are not."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.catalog.npz import MOST_BYTES, read_values
from neuroconcepts_ray.catalog.tables import load_catalog, load_reports
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake.lake import Lake

from .archives import fair, npz, put, subject
from .conftest import Run, film


def config(root: Path, **fields: object) -> CatalogConfig:
    return validate(CatalogConfig, {"root": str(root), "adapter": "fairvlmed", **fields})


def check(lake: Lake, manifest: object) -> None:
    catalog = load_catalog(lake, manifest)  # type: ignore[arg-type]
    numbers = [int(image_id.removeprefix("data_")) for image_id in catalog.image_ids]
    assert sorted(numbers) == list(range(20))
    assert (catalog.task, catalog.labels) == ("binary", ["glaucoma"])
    assert catalog.y[:, 0].tolist() == [n % 2 for n in numbers]
    assert catalog.columns["age"].tolist() == [50 + n for n in numbers]
    assert catalog.columns["sex"].tolist() == [("female", "male")[n % 2] for n in numbers]
    assert catalog.columns["race"].tolist() == [("asian", "black", "white")[n % 3] for n in numbers]
    assert catalog.columns["ethnicity"].tolist() == [("non-hispanic", "hispanic", "")[n % 3] for n in numbers]
    assert catalog.columns["language"].tolist() == [("english", "spanish", "other")[n % 3] for n in numbers]
    for n, role in zip(numbers, catalog.roles, strict=True):
        assert role in ({"fit", "probe"} if n < 14 else {"select", "verify"} if n < 16 else {"test"})


def test_tables_and_npz_files_say_the_same(tmp_path: Path, run: Run, lake: Lake) -> None:
    root = fair(tmp_path / "fair")
    manifest = run(config(root))
    check(lake, manifest)
    assert (manifest.facts["grouped_by"], manifest.facts["groups"], manifest.facts["reports"]) == ("file", 20, 20)
    assert set(load_reports(lake, manifest).values()) == {f"summary, of {n}" for n in range(20)}
    (root / "data_summary.csv").unlink()
    (root / "gpt-4_summarized_notes.csv").unlink()
    with pytest.raises(ConfigError, match=r"gpt-4_summarized_notes.csv.*notes: original"):
        run(config(root))
    bare = run(config(root, notes="original"))
    check(lake, bare)
    assert set(load_reports(lake, bare).values()) == {f"original note {n}" for n in range(20)}
    assert run(config(root, notes="none")).facts["reports"] == 0


def test_original_notes_come_from_their_table_where_it_is(tmp_path: Path, run: Run, lake: Lake) -> None:
    root = fair(tmp_path / "fair")
    put(root / "original_notes.csv", b'file,n,note\ndata_00003.npz,1,"of the table,\nin two lines"\n')
    assert list(load_reports(lake, run(config(root, notes="original"))).values()) == ["of the table,\nin two lines"]


def test_exported_images_stand_for_their_npz_and_copies_and_damage_are_counted(
    tmp_path: Path, run: Run, lake: Lake
) -> None:
    root = fair(tmp_path / "fair")
    (root / "Training/data_00003.npz").unlink()
    put(root / "Training/slo_fundus_00003.jpg", film(1))
    put(root / "Training/slo_fundus_00004.jpg", film(1))
    put(root / "Training/data_77777.npz", b"PK of nothing")
    put(root / "readme.txt", b"")
    (root / "Test/data_00019.npz").unlink()
    manifest = run(config(root))
    assert manifest.facts["left_out"] == {"view": 0, "junk": 1, "duplicate": 1, "damaged": 1, "missing": 1}
    catalog = load_catalog(lake, manifest)
    assert catalog.y[catalog.image_ids == "data_00003"].tolist() == [[1]]


def test_codes_that_mean_nothing_are_unknown(tmp_path: Path, run: Run, lake: Lake) -> None:
    root = tmp_path / "fair"
    odd = subject(1, glaucoma=np.nan, age=np.inf, race=99, gender=-1, language=0.5)
    put(root / "Training/data_00001.npz", npz(**odd))
    put(root / "Training/data_00002.npz", npz(**subject(2)))
    catalog = load_catalog(lake, run(config(root, notes="none")))
    at = catalog.image_ids.tolist().index("data_00001")
    assert np.isnan([catalog.y[at, 0], catalog.columns["age"][at]]).all()
    assert [catalog.columns[name][at] for name in ("race", "sex", "language")] == [""] * 3


def test_numbers_and_texts_of_an_npz_are_read() -> None:
    found = read_values(npz(**subject(7)), ["age", "gender", "note", "nothing", "md"])
    assert found == {"age": 57.0, "gender": 1.0, "note": "original note 7", "md": -3.5}


def member(header: bytes, body: bytes = b"") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("age.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body)
    return sink.getvalue()


HOSTILE = {
    "pickle": npz(age=np.array([{"a": 1}], dtype=object)),
    "claims 8 TB": member(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n", bytes(8)),
    "a bomb": member(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000,), }\n", bytes(8 * MOST_BYTES)),
    "a long header": member(
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (), }" + b" " * 60000 + b"\n", bytes(8)
    ),
    "a header that no parser ends": member(b"{'descr': ((((", bytes(8)),
    "a header with a dent": member(b"  x\n y", bytes(8)),
    "a header without hashes": member(b"{[]: 1}", bytes(8)),
    "a header of Python 2": member(b"{'descr': '<f8', 'fortran_order': False, 'shape': (2L,), }\n", bytes(8)),
    "code for a header": member(b"__import__('os').system('true')\n", bytes(8)),
    "empty": member(b"{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }\n"),
    "no npy": b"PK\x03\x04",
    "no zip": b"film",
    "nothing": b"",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_npz_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"npz|npy"):
        read_values(data, ["age"])
