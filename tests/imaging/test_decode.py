"""Every JPEG and PNG becomes uint8 grey or RGB by rules that are written down, or says why it never will."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid

from neuroconcepts_ray.errors import InputError, from_fields
from neuroconcepts_ray.imaging.bounds import MAX_PIXELS
from neuroconcepts_ray.imaging.decode import Undecodable, decode
from neuroconcepts_ray.imaging.raster import to_uint8
from neuroconcepts_ray.imaging.undecodable import CAUSES

from .dicoms import film

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (7, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (7, 5), dtype=np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def on_black(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Independent of the decoder: exact arithmetic, then rounding."""
    return np.floor(colour.astype(np.float64) * alpha.astype(np.float64) / 255 + 0.5).astype(np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(pixels: np.ndarray, colour_type: int, *extra: bytes) -> bytes:
    """A PNG written by hand: what Pillow cannot write, it must still read."""
    height, width = pixels.shape[:2]
    depth = pixels.dtype.itemsize * 8
    lines = b"".join(b"\0" + row.astype(pixels.dtype.newbyteorder(">")).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_grey_png_comes_back_as_it_is() -> None:
    assert np.array_equal(decode(encoded(Image.fromarray(GREY))), GREY)


def test_rgb_png_comes_back_as_it_is() -> None:
    assert np.array_equal(decode(encoded(Image.fromarray(COLOUR))), COLOUR)


def test_colour_with_equal_channels_counts_as_grey() -> None:
    decoded = decode(encoded(Image.fromarray(np.repeat(GREY[..., None], 3, axis=2))))
    assert decoded.shape == GREY.shape
    assert np.array_equal(decoded, GREY)


def test_bilevel_is_black_and_white() -> None:
    bits = Image.fromarray(GREY).convert("1", dither=Image.Dither.NONE)
    assert np.array_equal(decode(encoded(bits)), np.where(GREY >= 128, 255, 0))


def test_alpha_is_composited_on_black() -> None:
    decoded = decode(encoded(Image.fromarray(np.dstack([COLOUR, ALPHA]))))
    assert np.array_equal(decoded, on_black(COLOUR, ALPHA[..., None]))


def test_grey_with_alpha_stays_grey() -> None:
    decoded = decode(encoded(Image.fromarray(np.dstack([GREY, ALPHA]), "LA")))
    assert np.array_equal(decoded, on_black(GREY, ALPHA))


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_alpha_is_on_black_already(mode: str) -> None:
    straight = Image.fromarray(np.dstack([COLOUR, ALPHA])).convert("LA" if mode == "La" else "RGBA")
    premultiplied = straight.convert(mode)
    stored = [np.asarray(premultiplied.getchannel(i)) for i in range(len(mode) - 1)]
    assert np.array_equal(to_uint8(premultiplied), np.dstack(stored).squeeze())


def test_palette_is_looked_up() -> None:
    image = Image.fromarray(GREY % 4, "P")
    palette = RNG.integers(0, 256, (4, 3), dtype=np.uint8)
    image.putpalette(palette.tobytes())
    assert np.array_equal(decode(encoded(image)), palette[GREY % 4])


def test_a_transparent_palette_entry_is_black() -> None:
    image = Image.fromarray(GREY % 4, "P")
    palette = RNG.integers(1, 256, (4, 3), dtype=np.uint8)
    image.putpalette(palette.tobytes())
    opaque = np.array([255, 0, 128, 255], dtype=np.uint8)
    decoded = decode(encoded(image, transparency=opaque.tobytes()))
    assert np.array_equal(decoded, on_black(palette[GREY % 4], opaque[GREY % 4][..., None]))


def test_a_transparent_grey_level_is_black() -> None:
    assert np.array_equal(decode(encoded(Image.fromarray(GREY), transparency=int(GREY[2, 2])))[2, 2], 0)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_16_bits_are_scaled_by_the_full_range_of_their_container(mode: str) -> None:
    wide = RNG.integers(0, 4096, (6, 4)).astype(np.uint16)  # a 12-bit film: dark, never stretched by its own maximum
    wide[0, :2] = 0, 65535
    if mode == "I":
        image = Image.fromarray(wide.astype(np.int32))
    else:
        order = ">u2" if mode.endswith("B") else "<u2"
        image = Image.frombytes(mode, (4, 6), wide.astype(order).tobytes())
    assert image.mode == mode
    assert np.array_equal(to_uint8(image), np.floor(wide / 65535 * 255 + 0.5).astype(np.uint8))


def test_a_16_bit_grey_png_is_read_in_the_right_byte_order() -> None:
    wide = np.array([[0, 1, 255, 256], [257, 32768, 65534, 65535]], dtype=np.uint16)
    assert np.array_equal(decode(png(wide, 0)), np.array([[0, 0, 1, 1], [1, 128, 255, 255]]))


def test_16_bit_colour_keeps_its_high_byte() -> None:
    wide = RNG.integers(0, 65536, (6, 4, 3)).astype(np.uint16)
    assert np.array_equal(decode(png(wide, 2)), wide >> 8)


def test_16_bit_colour_with_alpha_is_composited_on_black() -> None:
    wide = RNG.integers(0, 65536, (6, 4, 4)).astype(np.uint16)
    high = (wide >> 8).astype(np.uint8)
    assert np.array_equal(decode(png(wide, 6)), on_black(high[..., :3], high[..., 3:]))


def test_a_transparent_16_bit_grey_level_is_black() -> None:
    wide = np.array([[1000, 40000]], dtype=np.uint16)
    transparent = chunk(b"tRNS", struct.pack(">H", 40000))
    assert np.array_equal(decode(png(wide, 0, transparent)), [[4, 0]])


def test_grey_and_colour_jpeg_are_what_pillow_decodes() -> None:
    smooth = np.add.outer(np.arange(32), np.arange(24)).astype(np.uint8) * 4
    for pixels in (smooth, np.dstack([smooth, smooth[::-1], smooth[:, ::-1]])):
        data = encoded(Image.fromarray(pixels), "JPEG", quality=95)
        assert np.abs(decode(data).astype(int) - pixels).mean() < 3


def inks(data: bytes, transform: int) -> bytes:
    """Say in the Adobe marker that the four planes are CMYK (0) or YCCK (2)."""
    at = data.index(b"Adobe")
    return data[: at + 11] + bytes([transform]) + data[at + 12 :]


@pytest.mark.parametrize("ink", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (40, 90, 200, 60)])
def test_cmyk_jpeg_becomes_rgb(ink: tuple[int, int, int, int]) -> None:
    decoded = decode(inks(encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100), 0))
    expected = [(255 - value) * (255 - ink[3]) / 255 for value in ink[:3]]
    flat = decoded if decoded.ndim == 3 else np.dstack([decoded] * 3)
    assert np.abs(flat[8, 8] - np.array(expected)).max() <= 2


def test_ycck_jpeg_becomes_rgb() -> None:
    stored = Image.new("CMYK", (16, 16), (100, 120, 140, 30))  # Pillow stores 255 − ink
    y, cb, cr, key = (255.0 - value for value in (100, 120, 140, 30))
    rgb = y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)
    # libjpeg turns YCC to RGB and takes 255 − RGB as CMY; Adobe stores inks inverted, so they are inverted once more.
    expected = [np.clip(255 - value, 0, 255) * key / 255 for value in rgb]
    decoded = decode(inks(encoded(stored, "JPEG", quality=100, subsampling=0), 2))
    assert np.abs(decoded[8, 8] - np.array(expected)).max() <= 3


FILM = encoded(Image.fromarray(np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)), "JPEG")
DRAWING = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64), dtype=np.uint8)))
HUGE = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)


def jpeg_of_size(width: int, height: int) -> bytes:
    at = FILM.index(b"\xff\xc0") + 5
    return FILM[:at] + struct.pack(">HH", height, width) + FILM[at + 4 :]


@pytest.mark.parametrize("told", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_that_exif_tells_is_applied(told: int, form: str, order: str) -> None:
    """As the standard words it: what row 0 and column 0 of the stored pixels are of the upright image."""
    shown = np.zeros((48, 32), np.uint8)
    shown[:16, :16], shown[:16, 16:], shown[16:, :16] = 250, 160, 80  # top left brightest, bottom right black
    rows_are = {1: "top", 2: "top", 3: "bottom", 4: "bottom", 5: "left", 6: "right", 7: "right", 8: "left"}[told]
    columns_are = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}[told]
    stored = shown if rows_are in ("top", "bottom") else shown.T
    stored = stored[::-1] if rows_are in ("bottom", "right") else stored
    stored = stored[:, ::-1] if columns_are in ("bottom", "right") else stored
    exif = Image.Exif()
    exif.endian = order
    exif[0x0112] = told
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif)
    assert np.abs(decode(data).astype(int) - shown).max() <= 8


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\1", b"junk"]
)
def test_damaged_exif_harms_no_film(exif: bytes) -> None:
    at = FILM.index(b"\xff\xdb")
    data = FILM[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + FILM[at:]  # and no JFIF before it
    assert np.array_equal(decode(data), decode(FILM))


@pytest.mark.parametrize(
    ("cause", "data"),
    [
        ("empty file", b""),
        ("not an image", b"a text that somebody called x.jpg"),
        ("not an image", encoded(Image.fromarray(GREY), "GIF")),
        ("not an image", encoded(Image.fromarray(GREY), "BMP")),
        ("truncated", FILM[: len(FILM) // 2]),
        ("truncated", FILM[:100]),
        ("truncated", DRAWING[: len(DRAWING) // 2]),
        ("truncated", DRAWING[:12]),
        ("damaged", DRAWING[:16] + b"\0\0\0\x40\0\0\0\x41" + DRAWING[24:]),  # its checksum is wrong now
        ("too many pixels", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", HUGE) + chunk(b"IDAT", zlib.compress(bytes(100)))),
        ("too many pixels", jpeg_of_size(65_000, 65_000)),
        ("no pixels", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(4) + HUGE[4:])),
        ("no pixels", jpeg_of_size(0, 64)),
    ],
)
def test_what_will_never_decode_says_why(cause: str, data: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(data)
    assert caught.value.cause == cause
    assert caught.value.exit_code == 3


def test_an_image_of_exactly_the_largest_size_is_decoded() -> None:
    film = encoded(Image.new("L", (8192, MAX_PIXELS // 8192)), "JPEG")
    assert decode(film).size == MAX_PIXELS


def test_floating_point_pixels_have_no_declared_range() -> None:
    with pytest.raises(Undecodable):
        to_uint8(Image.fromarray(GREY.astype(np.float32)))


def test_the_error_crosses_a_process_boundary() -> None:
    error = Undecodable("too many pixels", value="9×9", limit="3 pixels")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert isinstance(again, Undecodable)
    assert (again.cause, again.message) == (error.cause, error.message)
    assert isinstance(from_fields(error.fields()), InputError)


def samples() -> list[bytes]:
    grey = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)
    archive = io.BytesIO()
    np.savez_compressed(archive, slo_fundus=grey)
    deep = film(grey.astype(np.uint16) * 16, BitsStored=12, WindowCenter="500", WindowWidth="900")
    pictures = [encoded(Image.fromarray(grey), "TIFF", compression=way) for way in ("raw", "tiff_lzw")]
    inside = film(grey, uid.JPEGBaseline8Bit, [FILM], Rows=64, Columns=64)
    run = film(np.zeros((2, 128), np.uint8), uid.RLELossless, [struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 2])
    deflated = film(grey, uid.DeflatedExplicitVRLittleEndian)
    return [FILM, DRAWING, archive.getvalue(), deep, inside, run, deflated, *pictures, b"P5 40 30 999 " + bytes(2400)]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(samples()), st.data())
def test_damaged_bytes_give_an_image_or_a_cause_but_never_another_error(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=4)):
        if damaged:
            damaged[at] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(damaged))
    except Undecodable as error:
        assert error.cause in CAUSES
    else:
        assert decoded.dtype == np.uint8
