"""TIFF, PGM, PPM and NPZ, each by its bytes and by the range that its header declares."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray.imaging.decode import Undecodable, decode

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (21, 34), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (21, 34)).astype(np.uint16)
COLOUR = RNG.integers(0, 256, (21, 34, 3), dtype=np.uint8)


def rounded(values: np.ndarray, top: int) -> np.ndarray:
    return np.floor(values / top * 255 + 0.5).astype(np.uint8)


def saved(image: Image.Image, form: str = "TIFF", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def tiff(
    width: int, height: int, bits: int, body: bytes, *, order: str = "<", big: bool = False, **tags: Sequence[int]
) -> bytes:
    """A grey TIFF of one strip, written by hand; further tags by number, as ``t262=[0]``."""
    entries = {256: [width], 257: [height], 258: [bits], 259: [1], 262: [1], 277: [1], 278: [height], 279: [len(body)]}
    entries |= {int(name[1:]): list(values) for name, values in tags.items()}
    head = 16 if big else 8
    count, one, offset, inline = ("Q", 20, "Q", 8) if big else ("H", 12, "I", 4)
    start = head + struct.calcsize(count) + one * (len(entries) + 1) + struct.calcsize(offset)
    entries[273] = [start]
    mark = b"II" if order == "<" else b"MM"
    file = mark + (struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8))
    file += struct.pack(order + count, len(entries))
    for tag, values in sorted(entries.items()):
        file += struct.pack(order + "HH" + offset, tag, 4, len(values))
        file += struct.pack(order + f"{len(values)}I", *values).ljust(inline, b"\0")
    return file + struct.pack(order + offset, 0) + body


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_tiff_of_eight_bits_comes_back_as_it_is(compression: str) -> None:
    assert np.array_equal(decode(saved(Image.fromarray(GREY), compression=compression)), GREY)
    assert np.array_equal(decode(saved(Image.fromarray(COLOUR), compression=compression)), COLOUR)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_a_tiff_of_sixteen_bits_is_scaled_by_its_whole_range(compression: str) -> None:
    assert np.array_equal(decode(saved(Image.fromarray(DEEP), compression=compression)), rounded(DEEP, 65535))


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_a_tiff_is_read_in_both_byte_orders_and_sizes(order: str, big: bool) -> None:
    body = DEEP.astype(f"{order}u2").tobytes()
    assert np.array_equal(decode(tiff(34, 21, 16, body, order=order, big=big)), rounded(DEEP, 65535))


def test_of_a_tiff_of_twelve_bits_4095_is_white() -> None:
    values = RNG.integers(0, 4096, (20, 32))
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
    assert np.array_equal(decode(tiff(32, 20, 12, packed.astype(np.uint8).tobytes())), rounded(values, 4095))


def test_a_tiff_whose_zero_is_white_is_inverted() -> None:
    assert np.array_equal(decode(tiff(34, 21, 8, GREY.tobytes(), t262=[0])), 255 - GREY)
    wide = decode(tiff(34, 21, 16, DEEP.astype("<u2").tobytes(), t262=[0]))
    assert np.array_equal(wide, 255 - rounded(DEEP, 65535))


def test_a_signed_tiff_has_the_range_of_its_type() -> None:
    values = DEEP.view(np.int16)
    decoded = decode(tiff(34, 21, 16, values.astype("<i2").tobytes(), t339=[2]))
    assert np.array_equal(decoded, rounded(values.astype(np.int64) + 32768, 65535))


def test_a_tiled_tiff_is_put_together() -> None:
    tall = RNG.integers(0, 256, (32, 48), dtype=np.uint8)
    tiles = [tall[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16, 32)]
    # Offsets and lengths of six tiles stand after the directory, the tiles after them.
    start = 8 + 2 + 12 * 10 + 4
    entries = {256: 48, 257: 32, 258: 8, 259: 1, 262: 1, 277: 1, 322: 16, 323: 16, 324: start, 325: start + 24}
    file = b"II" + struct.pack("<HI", 42, 8) + struct.pack("<H", len(entries))
    for tag, value in entries.items():
        file += struct.pack("<HHII", tag, 4, 6 if tag > 323 else 1, value)
    file += struct.pack("<I", 0) + struct.pack("<6I", *(start + 48 + 256 * i for i in range(6)))
    file += struct.pack("<6I", *[256] * 6) + b"".join(tiles)
    assert np.array_equal(decode(file), tall)


def test_of_several_pages_the_first_is_taken() -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    assert np.array_equal(decode(saved(pages[0], save_all=True, append_images=pages[1:])), GREY)


@pytest.mark.parametrize(
    ("cause", "data"),
    [
        ("too many pixels", tiff(60_000, 60_000, 8, b"")),
        ("too many pixels", tiff(34, 21, 8, GREY.tobytes(), t322=[60_000], t323=[60_000])),
        ("no pixels", tiff(0, 21, 8, b"")),
        ("no declared range", saved(Image.fromarray(GREY.astype(np.float32)))),
        ("no declared range", saved(Image.fromarray(GREY.astype(np.int32)))),
        ("truncated", tiff(34, 21, 8, GREY.tobytes())[:20]),
        ("truncated", tiff(34, 21, 8, GREY.tobytes())[:-100]),
        ("truncated", b"II*\0\xff\xff\xff\xff"),
        ("damaged", b"II*\0\x08\0\0\0\0\0"),
    ],
)
def test_a_tiff_that_will_never_decode_says_why(cause: str, data: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(data)
    assert caught.value.cause == cause


HEADERS = [b"P5\n34 21\n255\n", b"P5 34\t21 255\n", b"P5\n# by hand\n34 # columns\n21\n#\n255\n"]


@pytest.mark.parametrize("header", HEADERS)
def test_a_raw_pgm_comes_back_as_it_is(header: bytes) -> None:
    assert np.array_equal(decode(header + GREY.tobytes()), GREY)


@pytest.mark.parametrize("top", [1, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("colour", [False, True])
def test_the_largest_value_of_a_netpbm_header_is_white(top: int, plain: bool, colour: bool) -> None:
    values = RNG.integers(0, top + 1, (21, 34, 3) if colour else (21, 34))
    form = {(False, False): 5, (False, True): 6, (True, False): 2, (True, True): 3}[plain, colour]
    header = f"P{form}\n34 21\n{top}\n".encode()
    if plain:
        body = "\n# a row\n".join(" ".join(map(str, row.ravel())) for row in values).encode()
    else:
        body = values.astype(">u2" if top > 255 else "u1").tobytes()
    assert np.array_equal(decode(header + body), rounded(values, top))


@pytest.mark.parametrize(
    ("cause", "data"),
    [
        ("too many pixels", b"P5\n65535 65535\n255\n"),
        ("no pixels", b"P5\n0 5\n255\n"),
        ("damaged", b"P5\n1 1\n65536\n\0\0\0"),
        ("damaged", b"P5\n2 1\n9\n\x03\x0a"),
        ("damaged", b"P2\n2 1\n9\n1 x"),
        ("damaged", b"P2\n2 1\n9\n1 99999999999999999999"),
        ("truncated", b"P5\n34 21\n255\n" + GREY.tobytes()[:-1]),
        ("truncated", b"P2\n2 2\n9\n1 2 3    "),
        ("truncated", b"P3\n8000 8000\n255\n1 2 3"),
        ("not an image", b"P5 is a protein, said the text that somebody called x.pgm"),
    ],
)
def test_a_pgm_that_will_never_decode_says_why(cause: str, data: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(data)
    assert caught.value.cause == cause


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    sink = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(sink, **arrays)
    return sink.getvalue()


META = {"md": np.float64(-3.1), "tds": np.arange(52.0), "age": np.float64(61), "note": np.array("words")}


@pytest.mark.parametrize("compressed", [False, True])
def test_a_fundus_image_is_found_by_its_name(compressed: bool) -> None:
    other = np.zeros((5, 5), np.uint8)
    assert np.array_equal(decode(npz(compressed, slo_fundus=GREY, rnflt=other, **META)), GREY)


def test_the_only_array_of_an_image_needs_no_name() -> None:
    assert np.array_equal(decode(npz(picture=COLOUR, **META)), COLOUR)
    assert np.array_equal(decode(npz(a=np.moveaxis(COLOUR, -1, 0))), COLOUR)
    assert np.array_equal(decode(npz(a=GREY[None])), GREY)
    assert np.array_equal(decode(npz(a=np.asfortranarray(GREY))), GREY)


def test_numbers_of_an_array_are_taken_by_their_type() -> None:
    assert np.array_equal(decode(npz(a=DEEP)), rounded(DEEP, 65535))
    assert np.array_equal(decode(npz(a=DEEP.astype(">u2"))), rounded(DEEP, 65535))
    assert np.array_equal(decode(npz(a=GREY > 99)), np.where(GREY > 99, 255, 0))
    assert np.array_equal(decode(npz(a=GREY.astype(np.float64))), GREY)  # whole and in 0…255: nothing to guess


def bomb() -> bytes:
    """A zip whose member claims a small array, and inflates to far more than that."""
    import zipfile

    sink = io.BytesIO()
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (4, 4)})
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", head.getvalue() + bytes(1 << 24))
    return sink.getvalue()


def claims(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    import zipfile

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": kind, "fortran_order": False, "shape": shape})
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a.npy", head.getvalue())
    return sink.getvalue()


def test_of_a_member_that_inflates_without_end_only_the_array_is_read() -> None:
    assert np.array_equal(decode(bomb()), np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize(
    ("cause", "data"),
    [
        ("no array that is an image", npz(**META)),
        ("no array that is an image", npz(a=np.zeros((2, 3, 4, 5)))),
        ("no array that is an image", npz(a=np.zeros((21, 34), complex))),
        ("several arrays", npz(a=GREY, b=GREY)),
        ("no declared range", npz(a=GREY / 255)),
        ("no declared range", npz(a=np.full((3, 3), np.nan))),
        ("no declared range", npz(a=GREY.astype(np.int16) - 100)),
        ("too many pixels", claims((65535, 65535))),
        ("too many bytes", claims((8000, 8000, 3), "<f8")),
        ("truncated", claims((21, 34))),
        ("truncated", npz(a=GREY)[:-60]),
        ("no pixels", npz(a=np.zeros((0, 5), np.uint8))),
    ],
)
def test_an_archive_that_will_never_decode_says_why(cause: str, data: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(data)
    assert caught.value.cause == cause


def test_a_pickle_in_an_archive_is_never_loaded(tmp_path: Any) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "marker"), "w"))

    data = npz(slo_fundus=np.array([[Trap(), 1]], dtype=object))
    with pytest.raises(Undecodable) as caught:
        decode(data)
    assert caught.value.cause == "no array that is an image"
    assert not (tmp_path / "marker").exists()
