"""The header of a DICOM file: opened within bounds, and read by an allow-list."""

import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from neuroconcepts_ray.imaging import bounds
from neuroconcepts_ray.imaging.quiet import quiet
from neuroconcepts_ray.imaging.undecodable import Undecodable

OLDEST = 90.0
"""Ages above are told as this one: with a date they would single out a person (HIPAA safe harbour says 90)."""

HEADER = (
    "Modality",
    "PhotometricInterpretation",
    "BodyPartExamined",
    "ViewPosition",
    "Laterality",
    "ImageLaterality",
    "PatientSex",
    "PatientAge",
    "Rows",
    "Columns",
    "BitsStored",
    "NumberOfFrames",
    "BurnedInAnnotation",
    "Manufacturer",
)
"""The only tags that :func:`read_header` looks at."""

IDENTITY = ("PatientID", "StudyInstanceUID", "SOPInstanceUID", "SeriesInstanceUID")

_PREFIX = slice(128, 132)
_META = 1 << 16  # more than any file meta takes
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_AGE = re.compile(r"(\d{3})([DWMY])")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
# Near the start of a file without preamble: a tag of group 0008 (or 0002) with its VR, or the first tag without one.
_BARE = re.compile(rb"(?s).{0,160}?[\x02\x08]\x00.\x00(?:CS|UI|UL|DA|TM)|\x08\x00.\x00..\x00\x00")


@dataclass(frozen=True)
class Identity:
    """Whom and what a file is of; for phi_root alone. An empty string where the file does not say.

    Attributes:
        patient_id: Patient ID.
        study_uid: Study Instance UID.
        sop_uid: SOP Instance UID.
        series_uid: Series Instance UID.
    """

    patient_id: str = field(repr=False)
    study_uid: str = field(repr=False)
    sop_uid: str = field(repr=False)
    series_uid: str = field(repr=False)


def is_dicom(data: bytes) -> bool:
    """Whether bytes have the prefix of a DICOM file (PS3.10 §7.1)."""
    return data[_PREFIX] == b"DICM"


def looks_bare(data: bytes) -> bool:
    """Whether bytes look like a DICOM data set without preamble and file meta, whose coding can only be guessed."""
    return _BARE.match(data) is not None


def open_dicom(data: bytes, tags: Sequence[str], *, pixels: bool = False) -> pydicom.Dataset:
    """Parse the given tags of a DICOM file, and no others.

    Args:
        data: The file's bytes.
        tags: Keywords of the tags.
        pixels: Read on to the pixel data; otherwise stop before.

    Returns:
        A data set with ``file_meta``; of a deflated file, as if it had been stored plainly.

    Raises:
        Undecodable: Not a DICOM file, without transfer syntax, damaged, or too large once inflated.
    """
    if not is_dicom(data):
        raise Undecodable("DICOM without file meta" if looks_bare(data) else "not an image")
    bounds.check_bytes(len(data))
    with quiet():
        try:
            meta = _file_meta(data)
            syntax = meta.get("TransferSyntaxUID")
            if not syntax:
                raise Undecodable("DICOM without transfer syntax")
            if syntax == DeflatedExplicitVRLittleEndian:
                return _inflated(data, meta, tags, pixels)
            return pydicom.dcmread(io.BytesIO(data), specific_tags=list(tags), stop_before_pixels=not pixels)
        except (Undecodable, MemoryError):
            raise
        except EOFError:
            raise Undecodable("truncated") from None
        except Exception:  # hostile bytes raise whatever pydicom happens to meet; its text may quote a tag
            raise Undecodable("damaged") from None


def _file_meta(data: bytes) -> FileMetaDataset:
    group = read_dataset(
        io.BytesIO(data[_PREFIX.stop : _PREFIX.stop + _META]),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, *_: tag.group != 2,
    )
    return FileMetaDataset(group)


def _inflated(data: bytes, meta: FileMetaDataset, tags: Sequence[str], pixels: bool) -> pydicom.Dataset:
    """A deflated file inflated within the bound (pydicom knows none), and read as the plain one that it then is."""
    length = meta.get("FileMetaInformationGroupLength")
    if length is None:
        raise Undecodable("damaged")
    # Preamble, prefix, and the element that holds the length of all the others (PS3.10 §7.1).
    start = 128 + 4 + 12 + int(length)
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    body = engine.decompress(data[start:], bounds.MAX_BYTES)
    if engine.unconsumed_tail:
        raise Undecodable("too many bytes", limit=bounds.MAX_BYTES)
    if not engine.eof:
        raise Undecodable("truncated")
    found = read_dataset(
        io.BytesIO(body),
        is_implicit_VR=False,
        is_little_endian=True,
        specific_tags=[pydicom.tag.Tag(tag) for tag in tags],
        stop_when=None if pixels else lambda tag, *_: tag >= 0x7FE00008,
    )
    found.file_meta = meta
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return found


def text_of(found: pydicom.Dataset, tag: str) -> str | None:
    """The value of a tag as text, or None where it is absent, empty or unreadable."""
    with quiet():
        try:
            value = found.get(tag)
        except Exception:
            return None
        if value is None or isinstance(value, pydicom.Sequence):
            return None
        if isinstance(value, pydicom.multival.MultiValue):
            value = value[0] if len(value) else ""
        return str(value).strip() or None


def number_of(found: pydicom.Dataset, tag: str) -> int | None:
    """The value of a tag as an integer, or None."""
    text = text_of(found, tag)
    return int(text) if text is not None and re.fullmatch(r"[+-]?\d{1,10}", text) else None


def years(age: str | None) -> float | None:
    """Years of an Age String (PS3.5 §6.2, nnnD, nnnW, nnnM, nnnY), at most :data:`OLDEST`; None if it is none."""
    match = _AGE.fullmatch(age or "")
    return min(OLDEST, int(match[1]) * _YEARS[match[2]]) if match else None


def read_header(data: bytes) -> dict[str, str | int | float | None]:
    """What a catalog may know of a DICOM file: the tags of :data:`HEADER`, and never another.

    Codes that are not codes (PS3.5 CS: capitals, digits, space, underscore, 16 at most) are left out, so that a name
    typed into the wrong field stays in its file.

    Args:
        data: The file's bytes; all up to the pixel data suffice, unless the file is deflated.

    Returns:
        One entry a keyword of :data:`HEADER` (Laterality is that of the image where the file tells it; there is no
        ImageLaterality), None where the file does not say. PatientAge in years, PatientSex one of F, M, O,
        NumberOfFrames 1 where absent.

    Raises:
        Undecodable: Not a DICOM file, or damaged.
    """
    return header_of(open_dicom(data, HEADER))


def header_of(found: pydicom.Dataset) -> dict[str, str | int | float | None]:
    """The same of a data set in which the tags of :data:`HEADER` were parsed."""
    code = {tag: text_of(found, tag) for tag in HEADER}
    code = {tag: value if value and _CODE.fullmatch(value) else None for tag, value in code.items()}
    frames = number_of(found, "NumberOfFrames")
    return {
        "Modality": code["Modality"],
        "PhotometricInterpretation": code["PhotometricInterpretation"],
        "BodyPartExamined": code["BodyPartExamined"],
        "ViewPosition": code["ViewPosition"],
        "Laterality": code["ImageLaterality"] or code["Laterality"],
        "PatientSex": code["PatientSex"] if code["PatientSex"] in ("F", "M", "O") else None,
        "PatientAge": years(code["PatientAge"]),
        "Rows": number_of(found, "Rows"),
        "Columns": number_of(found, "Columns"),
        "BitsStored": number_of(found, "BitsStored"),
        "NumberOfFrames": 1 if frames is None else frames,
        "BurnedInAnnotation": code["BurnedInAnnotation"],
        "Manufacturer": text_of(found, "Manufacturer"),
    }


def read_identity(data: bytes) -> Identity:
    """Whom a DICOM file is of: for phi_root, where the catalog makes keyed hashes of it.

    Args:
        data: The file's bytes; all up to the pixel data suffice, unless the file is deflated.

    Raises:
        Undecodable: Not a DICOM file, or damaged.
    """
    return identity_of(open_dicom(data, IDENTITY))


def identity_of(found: pydicom.Dataset) -> Identity:
    """The same of a data set in which the tags of :data:`IDENTITY` were parsed."""
    return Identity(*(text_of(found, tag) or "" for tag in IDENTITY))
