"""A catalog learns from a DICOM header what is on the list, and nothing else."""

import io
import logging
import warnings
import zlib
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

from neuroconcepts_ray.imaging import bounds
from neuroconcepts_ray.imaging.dicom import read_header, read_identity
from neuroconcepts_ray.imaging.undecodable import Undecodable


def file_of(syntax: str = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    data = Dataset()
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = "1.2.3.4"
    for name, value in tags.items():
        setattr(data, name, value)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    sink = io.BytesIO()
    data.save_as(sink, enforce_file_format=True)
    return sink.getvalue()


PERSON = {
    "PatientName": "Doe^Jane",
    "PatientID": "MRN-4711",
    "PatientBirthDate": "19310203",
    "StudyDate": "20260102",
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.1",
    "InstitutionName": "St. Elsewhere",
    "ReferringPhysicianName": "House^G",
    "ImageComments": "seen by J. Doe",
}
FILM = {
    "Modality": "DX",
    "PhotometricInterpretation": "MONOCHROME1",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PatientSex": "F",
    "PatientAge": "045Y",
    "Rows": 3,
    "Columns": 4,
    "BitsStored": 12,
    "BurnedInAnnotation": "YES",
    "Manufacturer": "Acme Rays",
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_the_header_holds_what_is_listed_and_nothing_of_the_person(syntax: str) -> None:
    found = read_header(file_of(syntax, **PERSON, **FILM))
    assert found == {**FILM, "PatientAge": 45.0, "Laterality": None, "NumberOfFrames": 1}
    assert not set(map(str, found.values())) & set(PERSON.values())


def test_identity_is_read_apart_and_never_printed() -> None:
    found = read_identity(file_of(**PERSON, **FILM))
    assert (found.patient_id, found.study_uid, found.series_uid) == ("MRN-4711", "1.2.3", "1.2.3.1")
    assert found.sop_uid == "1.2.3.4"
    assert repr(found) == "Identity()"


def test_what_the_file_does_not_say_is_none_or_empty() -> None:
    found = read_header(file_of())
    assert {key for key, value in found.items() if value is not None} == {"NumberOfFrames"}
    assert read_identity(file_of()).patient_id == ""


@pytest.mark.parametrize(
    ("age", "years"),
    [("045Y", 45.0), ("089Y", 89.0), ("090Y", 90.0), ("104Y", 90.0), ("006M", 0.5), ("026W", 26 * 7 / 365.25)],
)
def test_an_age_is_in_years_and_the_very_old_are_ninety(age: str, years: float) -> None:
    assert read_header(file_of(PatientAge=age))["PatientAge"] == pytest.approx(years)


@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")  # the writer says so, too
def test_words_in_a_field_of_codes_stay_in_the_file() -> None:
    found = read_header(file_of(ViewPosition="Mrs. Doe", PatientSex="Jane", PatientAge="forty", Modality="dx"))
    assert {found[key] for key in ("ViewPosition", "PatientSex", "PatientAge", "Modality")} == {None}


def test_the_side_of_the_image_goes_before_the_side_of_the_series() -> None:
    assert read_header(file_of(Laterality="L"))["Laterality"] == "L"
    assert read_header(file_of(Laterality="L", ImageLaterality="R"))["Laterality"] == "R"


def test_the_number_of_frames_is_told() -> None:
    assert read_header(file_of(NumberOfFrames=30))["NumberOfFrames"] == 30


@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")
def test_what_pydicom_complains_of_reaches_neither_warnings_nor_logs(caplog: pytest.LogCaptureFixture) -> None:
    data = file_of(PatientID="MRN-4711\\MRN-4712", StudyInstanceUID="Doe^Jane", PatientAge="Doe^Jane")
    caplog.clear()
    with warnings.catch_warnings(record=True) as heard, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        read_header(data)
        read_identity(data)
    assert not heard
    assert not caplog.records


@pytest.mark.parametrize("read", [read_header, read_identity])
@pytest.mark.parametrize(
    ("cause", "data"),
    [
        ("not an image", b"a text that somebody called x.dcm"),
        ("DICOM without file meta", file_of(**PERSON)[132 + 12 :]),
        ("truncated", file_of(DeflatedExplicitVRLittleEndian, **PERSON)[:-40]),
    ],
)
def test_what_has_no_header_says_why(read: Any, cause: str, data: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        read(data)
    assert caught.value.cause == cause
    assert not any(str(value) in caught.value.message for value in PERSON.values())


def test_a_deflated_header_is_not_inflated_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_BYTES", 1 << 20)
    whole = file_of(DeflatedExplicitVRLittleEndian, **PERSON)
    start = 132 + 12 + int.from_bytes(whole[140:144], "little")
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = whole[:start] + engine.compress(bytes(1 << 24)) + engine.flush()
    assert len(bomb) < 1 << 16
    with pytest.raises(Undecodable) as caught:
        read_header(bomb)
    assert caught.value.cause == "too many bytes"


def test_uids_may_be_of_any_length_that_the_standard_allows() -> None:
    uid = generate_uid()
    assert read_identity(file_of(StudyInstanceUID=uid)).study_uid == uid
