"""The pixels of a DICOM file: which decoder, within which bounds, and as which colours."""

import struct
from typing import Any, Literal

import numpy as np
import pydicom
from jaxtyping import Integer, UInt8
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from neuroconcepts_ray.imaging.bounds import check_bytes, check_size, grey_if_equal, to_8_bits
from neuroconcepts_ray.imaging.dicom import number_of, open_dicom, text_of
from neuroconcepts_ray.imaging.grey import Display, Lut, Window, shown
from neuroconcepts_ray.imaging.jpeg import jpeg2000_frame, jpeg_frame
from neuroconcepts_ray.imaging.quiet import quiet
from neuroconcepts_ray.imaging.undecodable import Undecodable

_COLOURS = [
    f"{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")
] + [f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
_SHOWN = (
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
)
TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    *_GROUPS,
    *_SHOWN,
    *_COLOURS,
)
"""All that is parsed of a file for its pixels: no name, date or number of a patient."""

_NATIVE = {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
_JPEG_LS = {uid.JPEGLSLossless, uid.JPEGLSNearLossless}
_JPEG_2000 = {uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
_JPEG = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1}
# One decoder a syntax, so that pixels do not change with what else is installed.
_PLUGINS: dict[str, tuple[str, str]] = {
    uid.JPEGBaseline8Bit: ("pillow", ""),
    uid.JPEGExtended12Bit: ("pylibjpeg", "JPEG of 12 bits"),
    uid.JPEGLossless: ("pylibjpeg", "JPEG lossless"),
    uid.JPEGLosslessSV1: ("pylibjpeg", "JPEG lossless"),
    uid.RLELossless: ("pydicom", ""),
    **dict.fromkeys(_JPEG_LS, ("pyjpegls", "JPEG-LS")),
    **dict.fromkeys(_JPEG_2000, ("pylibjpeg", "JPEG 2000")),
}


def decode_dicom(data: bytes) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """Decode the first frame of a DICOM file.

    Grey is shown as :func:`grey.shown` says. Palettes are looked up, YBR becomes RGB, colour deeper than 8 bits is
    scaled by BitsStored; a colour space of a profile (ICC) is not applied, nor are overlays drawn.

    Args:
        data: The file's bytes.

    Returns:
        uint8 [h, w] or [h, w, 3].

    Raises:
        Undecodable: No DICOM, no pixels, too large, damaged, or coded in a way that is not read.
    """
    found = open_dicom(data, TAGS, pixels=True)
    if "FloatPixelData" in found or "DoubleFloatPixelData" in found:
        raise Undecodable("no declared range")
    if not all(tag in found for tag in ("PixelData", "Rows", "Columns")):
        raise Undecodable("DICOM without pixels")
    check_size(_whole(found, "Columns"), _whole(found, "Rows"))
    with quiet():
        try:
            plugin = _plugin(found)
            _check(found)
            pixels = pixel_array(found, index=0, decoding_plugin=plugin)
            return _coloured(pixels, found)
        except (Undecodable, MemoryError):
            raise
        except Exception as error:  # its text may quote a tag, so neither it nor its traceback goes on
            cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
            raise Undecodable("truncated" if cut else "damaged") from None


def _whole(found: pydicom.Dataset, tag: str) -> int:
    value = number_of(found, tag)
    if value is None:
        raise Undecodable("damaged", value=f"no {tag}")
    return value


def _plugin(found: pydicom.Dataset) -> str:
    syntax = found.file_meta.TransferSyntaxUID
    if syntax in _NATIVE:
        return ""
    if syntax not in _PLUGINS:
        raise Undecodable("unsupported compression", value=syntax if syntax.is_transfer_syntax else None)
    plugin, name = _PLUGINS[syntax]
    if syntax == uid.JPEGExtended12Bit and _whole(found, "BitsAllocated") == 8:
        return "pillow"
    if plugin not in get_decoder(syntax).available_plugins:
        raise Undecodable(
            f"{name} needs the extra 'dicom'", remedy="Install it: pip install 'neuroconcepts-ray[dicom]'"
        )
    return plugin


def _check(found: pydicom.Dataset) -> None:
    """Refuse what would not fit, before a decoder reserves memory for it."""
    width, height, samples = _whole(found, "Columns"), _whole(found, "Rows"), _whole(found, "SamplesPerPixel")
    bits = _whole(found, "BitsAllocated")
    if samples not in (1, 3) or bits not in (1, 8, 16, 32):
        raise Undecodable("damaged", value=f"{samples} samples of {bits} bits")
    frames = _whole(found, "NumberOfFrames") if "NumberOfFrames" in found else 1
    size = -(-width * height * samples * bits // 8)
    check_bytes(size)
    syntax, stored = found.file_meta.TransferSyntaxUID, found.PixelData
    if syntax in _NATIVE:
        if text_of(found, "PhotometricInterpretation") == "YBR_FULL_422":
            size = size // 3 * 2
        if len(stored) < size * frames:
            raise Undecodable("truncated")
        return
    tables = (found.get("ExtendedOffsetTable"), found.get("ExtendedOffsetTableLengths"))
    offsets = tables if all(tables) else None
    first = get_frame(stored, 0, number_of_frames=frames, extended_offsets=offsets)
    if syntax == uid.RLELossless:
        _check_rle(first, width * height)
        return
    frame = jpeg2000_frame(first) if syntax in _JPEG_2000 else jpeg_frame(first)
    check_size(frame.width, frame.height)
    if (frame.width, frame.height, frame.components) != (width, height, samples):
        raise Undecodable("damaged", value=f"{frame.width}×{frame.height}", limit=f"{width}×{height}")


def _check_rle(frame: bytes, pixels: int) -> None:
    """Refuse a run-length frame whose segments would expand to more than a byte a pixel (PS3.5 §G.3)."""
    segments, *offsets = struct.unpack("<16I", frame[:64])
    if not 0 < segments < 16:
        raise Undecodable("damaged")
    ends = [*offsets[1:segments], len(frame)]
    for start, end in zip(offsets, ends, strict=False):
        at, length = start, 0
        while at < min(end, len(frame)) and length <= pixels:
            head = frame[at]
            at += 2 if head > 128 else 1 if head == 128 else head + 2
            length += 257 - head if head > 128 else 0 if head == 128 else head + 1
        if length > pixels + 1:  # a segment is padded to an even length
            raise Undecodable("damaged", value="a run-length segment larger than its image")


def _coloured(pixels: Any, found: pydicom.Dataset) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    photometric = text_of(found, "PhotometricInterpretation")
    if photometric == "PALETTE COLOR":
        looked_up = apply_color_lut(pixels, found)
        return grey_if_equal(to_8_bits(looked_up, (1 << 8 * looked_up.dtype.itemsize) - 1))
    if pixels.ndim == 3:
        top = (1 << _whole(found, "BitsStored")) - 1
        return grey_if_equal(to_8_bits(pixels.clip(0, top), top))
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Undecodable("damaged", value="grey pixels of no grey photometric interpretation")
    return as_grey(pixels, read_display(found, inverted=photometric == "MONOCHROME1"))


def as_grey(stored: Integer[np.ndarray, "h w"], display: Display) -> UInt8[np.ndarray, "h w"]:
    """Stored values as grey.

    Args:
        stored: As the decoder gives them.
        display: How they are to be shown.
    """
    low, high = int(stored.min()), int(stored.max())
    if high - low < 1 << 16:
        at = stored.astype(np.int32 if stored.itemsize < 4 else np.int64) - low
        counts = np.bincount(at.ravel(), minlength=high - low + 1)
        levels = np.arange(low, high + 1, dtype=np.int64)
    else:
        levels, at, counts = np.unique(stored, return_inverse=True, return_counts=True)
        levels = levels.astype(np.int64)
    grey: UInt8[np.ndarray, "h w"] = shown(levels, counts.astype(np.int64), display)[at].reshape(stored.shape)
    return grey


def read_display(found: pydicom.Dataset, *, inverted: bool) -> Display:
    """How a header wants its grey values shown; of an enhanced object, as its first frame is.

    Args:
        found: With the tags of :data:`TAGS`.
        inverted: Whether it is MONOCHROME1.
    """
    tags = _with_groups(found)
    padding = number_of(found, "PixelPaddingValue")
    limit = number_of(found, "PixelPaddingRangeLimit")
    ends = None if padding is None else sorted((padding, padding if limit is None else limit))
    return Display(
        bits=_whole(found, "BitsStored"),
        signed=number_of(found, "PixelRepresentation") == 1,
        slope=_real(tags.get("RescaleSlope"), 1.0),
        intercept=_real(tags.get("RescaleIntercept"), 0.0),
        modality=_lut(tags.get("ModalityLUTSequence"), found),
        voi=_lut(tags.get("VOILUTSequence"), found),
        window=_window(tags),
        padding=None if ends is None else (ends[0], ends[1]),
        inverted=inverted,
    )


def _with_groups(found: pydicom.Dataset) -> dict[str, Any]:
    tags: dict[str, Any] = {}
    for sequence in _GROUPS:
        for group in (found.get(sequence) or [])[:1]:
            for inner in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in (group.get(inner) or [])[:1]:
                    for tag in _SHOWN:
                        if tag in item:
                            tags.setdefault(tag, item.get(tag))
    return {**tags, **{tag: found.get(tag) for tag in _SHOWN if tag in found}}


def _real(value: Any, absent: float) -> float:
    if isinstance(value, pydicom.multival.MultiValue):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return absent
    number = float(value)
    if not np.isfinite(number):
        raise Undecodable("damaged", value="a number that is not finite")
    return number


def _window(tags: dict[str, Any]) -> Window | None:
    centre, width = (_real(tags.get(tag), np.nan) for tag in ("WindowCenter", "WindowWidth"))
    if np.isnan(centre) or np.isnan(width):
        return None
    told = str(tags.get("VOILUTFunction") or "LINEAR").strip().upper()
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"
    if told == "SIGMOID":
        function = "SIGMOID"
    elif told == "LINEAR_EXACT":
        function = "LINEAR_EXACT"
    if width < (1 if function == "LINEAR" else np.finfo(np.float64).tiny):
        return None
    return Window(centre, width, function)


def _lut(sequence: Any, found: pydicom.Dataset) -> Lut | None:
    if not sequence:
        return None
    item = sequence[0]
    count, first, bits = (int(part) for part in item.LUTDescriptor)
    count = count or 1 << 16
    stored = item.LUTData
    if isinstance(stored, bytes):
        order = "<" if found.file_meta.TransferSyntaxUID.is_little_endian else ">"
        kind = "u1" if len(stored) < 2 * count else f"{order}u2"
        entries = np.frombuffer(stored, kind, count).astype(np.int64)
    else:
        entries = np.atleast_1d(np.asarray(stored, dtype=np.int64))[:count]
    if not 1 <= bits <= 16 or not len(entries):
        raise Undecodable("damaged", value=f"a look-up table of {bits} bits")
    return Lut(entries, first, bits)
