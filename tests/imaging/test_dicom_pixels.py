"""DICOM pixels come out as the header says, whatever they are coded in."""

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from neuroconcepts_ray.imaging import bounds, dicom_pixels
from neuroconcepts_ray.imaging.decode import Undecodable, decode

from .dicoms import film, lut

RNG = np.random.default_rng(2)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
DEEP = RNG.integers(0, 4096, (6, 9), dtype=np.uint16)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def windowed(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    share = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    return np.floor(share * 255 + 0.5).astype(np.uint8)


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
)
def test_plain_pixels_are_read_in_every_byte_order(syntax: str) -> None:
    assert np.array_equal(decode(film(GREY, syntax)), GREY)
    deep = film(DEEP, syntax, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
    assert np.array_equal(decode(deep), windowed(DEEP, 2048, 4096))
    assert np.array_equal(decode(film(COLOUR, syntax)), COLOUR)


def test_signed_values_are_rescaled_and_windowed() -> None:
    values = RNG.integers(-1500, 1500, (6, 9)).astype(np.int16)
    tags = {"RescaleSlope": "2", "RescaleIntercept": "-100", "WindowCenter": ["40", "400"], "WindowWidth": ["700", "9"]}
    assert np.array_equal(decode(film(values, **tags)), windowed(2.0 * values - 100, 40, 700))


def test_monochrome1_is_inverted_after_the_window() -> None:
    tags = {"BitsStored": 12, "WindowCenter": "1000", "WindowWidth": "1500"}
    plain = decode(film(DEEP, **tags)).astype(int)
    assert np.abs(decode(film(DEEP, PhotometricInterpretation="MONOCHROME1", **tags)) - (255 - plain)).max() <= 1
    assert np.array_equal(decode(film(GREY, PhotometricInterpretation="MONOCHROME1")), 255 - GREY)


def test_tables_of_modality_and_voi_are_applied_in_this_order() -> None:
    modality, voi = [(7 * i) % 256 for i in range(256)], [255 - i for i in range(256)]
    data = film(GREY, ModalityLUTSequence=lut(0, 8, modality), VOILUTSequence=lut(0, 8, voi), WindowCenter=1)
    assert np.array_equal(decode(data), np.array(voi)[np.array(modality)[GREY]])


def test_a_table_of_eight_bits_may_be_longer_than_256_entries() -> None:
    entries = [i // 16 for i in range(4096)]
    assert np.array_equal(decode(film(DEEP, BitsStored=12, VOILUTSequence=lut(0, 8, entries))), DEEP // 16)


def test_an_enhanced_object_is_shown_as_its_first_frame_is() -> None:
    frames = RNG.integers(0, 4096, (3, 6, 9), dtype=np.uint16)
    first, second = Dataset(), Dataset()
    for group, centre in ((first, "1000"), (second, "10")):
        group.FrameVOILUTSequence = [Dataset()]
        group.FrameVOILUTSequence[0].WindowCenter, group.FrameVOILUTSequence[0].WindowWidth = centre, "800"
    shared = Dataset()
    shared.PixelValueTransformationSequence = [Dataset()]
    shared.PixelValueTransformationSequence[0].RescaleSlope = "0.5"
    shared.PixelValueTransformationSequence[0].RescaleIntercept = "10"
    data = film(
        frames,
        PerFrameFunctionalGroupsSequence=[first, second, second],
        SharedFunctionalGroupsSequence=[shared],
    )
    assert np.array_equal(decode(data), windowed(0.5 * frames[0] + 10, 1000, 800))


def test_of_several_frames_the_first_is_taken() -> None:
    frames = RNG.integers(0, 256, (4, 6, 9), dtype=np.uint8)
    assert np.array_equal(decode(film(frames)), frames[0])


def test_a_palette_is_looked_up() -> None:
    palettes = RNG.integers(0, 256, (3, 256), dtype=np.uint16)
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, palette in zip(("Red", "Green", "Blue"), palettes, strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = (palette * 257).astype("<u2").tobytes()
    assert np.array_equal(decode(film(GREY, **tags)), np.moveaxis(palettes[:, GREY], 0, -1))


def test_ybr_becomes_rgb() -> None:
    y, cb, cr = (COLOUR[..., channel].astype(float) for channel in range(3))
    rgb = (y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128))
    decoded = decode(film(COLOUR, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(decoded - np.clip(np.stack(rgb, axis=-1), 0, 255)).max() <= 1


def test_colour_may_lie_plane_by_plane() -> None:
    planes = np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0))
    assert np.array_equal(decode(film(COLOUR, PlanarConfiguration=1, PixelData=planes.tobytes())), COLOUR)


def test_run_lengths_are_read() -> None:
    striped = np.repeat(GREY, 8, axis=1)
    padded = b"\0"  # an even number of bytes a segment
    body = b"".join(bytes([257 - 8, value]) for value in GREY.ravel())
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + body + padded * (len(body) % 2)
    assert np.array_equal(decode(film(striped, uid.RLELossless, [frame])), striped)


def jpeg(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def test_a_jpeg_inside_is_what_the_jpeg_outside_is() -> None:
    smooth = np.add.outer(np.arange(32), np.arange(24)).astype(np.uint8) * 4
    data = jpeg(Image.fromarray(smooth), quality=95)
    assert np.array_equal(decode(film(smooth, uid.JPEGBaseline8Bit, [data])), decode(data))
    colour = np.dstack([smooth, smooth[::-1], smooth[:, ::-1]])
    data = jpeg(Image.fromarray(colour), quality=95)
    inside = decode(film(colour, uid.JPEGBaseline8Bit, [data], PhotometricInterpretation="YBR_FULL_422"))
    assert np.abs(inside.astype(int) - decode(data)).max() <= 2


def test_jpeg_2000_is_read_by_the_extra() -> None:
    pytest.importorskip("openjpeg")
    data = jpeg(Image.fromarray(GREY), "JPEG2000", no_jp2=True)
    assert np.array_equal(decode(film(GREY, uid.JPEG2000Lossless, [data])), GREY)


@pytest.mark.parametrize(
    ("syntax", "cause"),
    [
        (uid.JPEGLosslessSV1, "JPEG lossless needs the extra 'dicom'"),
        (uid.JPEGExtended12Bit, "JPEG of 12 bits needs the extra 'dicom'"),
        (uid.JPEGLSLossless, "JPEG-LS needs the extra 'dicom'"),
        (uid.JPEG2000, "JPEG 2000 needs the extra 'dicom'"),
    ],
)
def test_without_the_extra_the_cause_names_it(syntax: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        available_plugins = ()

    monkeypatch.setattr(dicom_pixels, "get_decoder", lambda _: Bare)
    with pytest.raises(Undecodable) as caught:
        decode(film(DEEP, syntax, [b"\xff\xd8"]))
    assert caught.value.cause == cause
    assert "neuroconcepts-ray[dicom]" in caught.value.message


@pytest.mark.parametrize(
    ("cause", "data"),
    [
        ("DICOM without pixels", film(Modality="SR")),
        ("DICOM without pixels", film(GREY, Rows=None)),
        ("no declared range", film(GREY, FloatPixelData=bytes(4 * GREY.size))),
        ("truncated", film(GREY, PixelData=GREY.tobytes()[:-10])),
        ("truncated", film(GREY)[:-20]),
        ("no pixels", film(GREY, Rows=0)),
        ("too many pixels", film(GREY, Rows=65535, Columns=65535)),
        ("too many bytes", film(COLOUR, Rows=8192, Columns=8192, BitsAllocated=32)),
        ("damaged", film(GREY, SamplesPerPixel=7)),
        ("damaged", film(GREY, PhotometricInterpretation="DOE JANE")),
        ("unsupported compression", film(GREY, uid.MPEG2MPML, [b"\0\0"])),
        ("damaged", film(GREY, uid.JPEGBaseline8Bit, [b"Doe^Jane"])),
        ("damaged", film(GREY, uid.JPEGBaseline8Bit, [jpeg(Image.fromarray(np.zeros((60, 90), np.uint8)))])),
    ],
)
def test_what_will_never_decode_says_why(cause: str, data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Undecodable) as caught:
            decode(data)
    assert caught.value.cause == cause
    assert "DOE" not in caught.value.message.upper()


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.JPEGLosslessSV1])
def test_a_stream_that_claims_another_size_than_its_header_is_refused_unread(syntax: str) -> None:
    if syntax == uid.JPEG2000Lossless:
        stream = bytearray(jpeg(Image.fromarray(GREY), "JPEG2000", no_jp2=True))
        stream[8:16] = struct.pack(">II", 60_000, 60_000)
    else:
        stream = bytearray(jpeg(Image.fromarray(GREY)))
        at = stream.index(b"\xff\xc0") + 5
        stream[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    pytest.importorskip("libjpeg")
    with pytest.raises(Undecodable) as caught:
        decode(film(GREY, syntax, [bytes(stream)]))
    assert caught.value.cause == "too many pixels"


def test_run_lengths_that_expand_beyond_their_image_are_refused_unread() -> None:
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([129, 0]) * 50_000  # 128 bytes of each two
    with pytest.raises(Undecodable) as caught:
        decode(film(GREY, uid.RLELossless, [frame]))
    assert caught.value.cause == "damaged"


def test_a_file_of_two_personalities_is_read_as_dicom() -> None:
    data = b"II*\0" + film(GREY)[4:]
    assert np.array_equal(decode(data), GREY)


def test_more_bytes_than_the_bound_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_BYTES", 100)
    with pytest.raises(Undecodable) as caught:
        decode(film(GREY))
    assert caught.value.cause == "too many bytes"
