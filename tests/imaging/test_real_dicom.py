"""47 real DICOM files: 35 decode, and each of the others says the right cause."""

import csv
import logging
from pathlib import Path

import numpy as np
import pytest

from neuroconcepts_ray.imaging.decode import Undecodable, decode
from neuroconcepts_ray.imaging.dicom import read_header
from tests.conftest import ROOT

FOLDER = ROOT.parent / "shared" / "data" / "dicom"

CAUSES = {
    "JPEG-lossy.dcm": "damaged",  # its scan ends at 0, which the standard forbids; 12 bits, so Pillow cannot either
    "MR_truncated.dcm": "truncated",
    "OT-PAL-8-face.dcm": "DICOM without file meta",
    "badVR.dcm": "damaged",  # "1A" frames
    "chrJapMulti.dcm": "DICOM without pixels",
    "chrKoreanMulti.dcm": "DICOM without pixels",
    "meta_missing_tsyntax.dcm": "DICOM without transfer syntax",
    "nested_priv_SQ.dcm": "DICOM without pixels",
    "no_meta.dcm": "DICOM without file meta",
    "no_meta_group_length.dcm": "DICOM without pixels",
    "reportsi.dcm": "DICOM without pixels",
    "test-SR.dcm": "DICOM without pixels",
}


def files() -> list[dict[str, str]]:
    if not FOLDER.is_dir():
        return []
    with (FOLDER / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_folder_holds_what_the_list_says(shared_data: Path) -> None:  # noqa: ARG001 - skips where it is absent
    listed = files()
    assert len(listed) == 47
    assert {row["file"] for row in listed if row["pixels_with_pylibjpeg"].startswith("ERR")} == set(CAUSES)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the real DICOM files (shared/data) are not on this machine")
@pytest.mark.parametrize("row", files(), ids=lambda row: row["file"])
def test_a_real_dicom_file_decodes_or_says_why_not(row: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("openjpeg", reason="the extra 'dicom' is not installed")
    data = (FOLDER / row["file"]).read_bytes()
    with caplog.at_level(logging.DEBUG):
        if row["file"] in CAUSES:
            with pytest.raises(Undecodable) as caught:
                decode(data)
            assert caught.value.cause == CAUSES[row["file"]]
            assert caught.value.exit_code == 3
        else:
            decoded = decode(data)
            header = read_header(data)
            assert decoded.shape[:2] == (header["Rows"], header["Columns"])
            assert decoded.std() > 5  # something is to be seen
            assert f"{decoded.shape[0]}, {decoded.shape[1]}" in row["pixels_with_pylibjpeg"]
    assert not caplog.records


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the real DICOM files (shared/data) are not on this machine")
def test_a_film_and_its_copy_called_monochrome1_are_negatives() -> None:
    film = decode((FOLDER / "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm").read_bytes())
    copy = decode((FOLDER / "Fake_MONOHR1.dcm").read_bytes())
    assert np.array_equal(copy, 255 - film)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the real DICOM files (shared/data) are not on this machine")
def test_one_film_in_five_codings_is_one_film() -> None:
    films = [
        decode((FOLDER / f"MR_small{coding}.dcm").read_bytes())
        for coding in ("", "_RLE", "_bigendian", "_implicit", "_padded", "_jpeg_ls_lossless")
    ]
    assert all(np.array_equal(film, films[0]) for film in films)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the real DICOM files (shared/data) are not on this machine")
def test_a_chest_film_of_monochrome1_has_dark_air_beside_a_bright_mediastinum() -> None:
    pytest.importorskip("openjpeg", reason="the extra 'dicom' is not installed")
    film = decode((FOLDER / "RG1_J2KI.dcm").read_bytes())
    height, width = film.shape
    spine = film[height // 2 :, width // 2 - 50 : width // 2 + 50].mean()
    lung = film[height // 4 : height // 2, width // 4 - 50 : width // 4 + 50].mean()
    assert spine > lung
