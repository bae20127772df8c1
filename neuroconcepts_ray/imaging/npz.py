"""The image inside a NumPy archive, as FairVLMed keeps its fundus photographs."""

import io
import zipfile
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy.lib import format as npy

from neuroconcepts_ray.imaging.bounds import check_bytes, check_size, grey_if_equal, to_8_bits
from neuroconcepts_ray.imaging.undecodable import Undecodable

NAMED = "slo_fundus"
"""The array that is taken where there are several: FairVLMed's scanning laser image."""

_ZIP = b"PK\x03\x04"
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    kind: np.dtype


def is_zip(data: bytes) -> bool:
    """Whether bytes begin as a zip, as every NPZ does."""
    return data.startswith(_ZIP)


def decode_npz(data: bytes) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """Decode the array ``slo_fundus``, or else the only one that is shaped like an image.

    Shaped like an image is [h, w], and [h, w, c] or [c, h, w] with 1 or 3 channels. Values of uint8 are taken as they
    are, bool as black and white, uint16 by the whole range of its type; other numbers only if all are whole and in
    0…255, because nothing says what their range means. Pickled objects are never read.

    Args:
        data: The file's bytes.

    Returns:
        uint8 [h, w] or [h, w, 3].

    Raises:
        Undecodable: No such array, or several; too large; truncated or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name, header = _choose(archive)
            return _as_image(_read(archive, name, header))
    except (Undecodable, MemoryError):
        raise
    except Exception as error:  # of a zip that was cut off the directory, which stands at its end, is missing
        raise Undecodable("truncated" if b"PK\x05\x06" not in data[-66_000:] else "damaged") from error


def _choose(archive: zipfile.ZipFile) -> tuple[str, _Header]:
    arrays = [name for name in archive.namelist() if name.endswith(".npy")]
    if f"{NAMED}.npy" in arrays:
        arrays = [f"{NAMED}.npy"]
    found = [(name, header) for name in arrays if (header := _header(archive, name)) and _shaped(header.shape)]
    found = [(name, header) for name, header in found if header.kind.kind in "biuf"]
    if not found:
        raise Undecodable("no array that is an image")
    if len(found) > 1:
        raise Undecodable("several arrays", value=len(found), limit=f"1, or one called {NAMED}")
    return found[0]


def _shaped(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and (shape[2] in (1, 3) or shape[0] in (1, 3)))


def _header(archive: zipfile.ZipFile, name: str) -> _Header | None:
    with archive.open(name) as file:
        reader = _READERS.get(npy.read_magic(file))
        return None if reader is None else _Header(*reader(file))


def _read(archive: zipfile.ZipFile, name: str, header: _Header) -> np.ndarray:
    height, width = header.shape[-2:] if len(header.shape) == 2 or header.shape[2] not in (1, 3) else header.shape[:2]
    check_size(width, height)
    count = int(np.prod(header.shape)) * header.kind.itemsize
    check_bytes(count)
    with archive.open(name) as file:
        _READERS[npy.read_magic(file)](file)
        body = file.read(count)  # no more, whatever the zip would inflate to
    if len(body) < count:
        raise Undecodable("truncated")
    return np.frombuffer(body, header.kind).reshape(header.shape, order="F" if header.fortran else "C")


def _as_image(array: np.ndarray) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    if array.ndim == 3 and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.dtype == bool:
        pixels = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.newbyteorder("=") == np.uint16:
        pixels = to_8_bits(array, 65535)
    else:
        if array.dtype != np.uint8 and not ((array >= 0) & (array <= 255) & (array == np.floor(array))).all():
            raise Undecodable("no declared range", value=str(array.dtype))
        pixels = array.astype(np.uint8)
    pixels = np.ascontiguousarray(pixels)
    return pixels if pixels.ndim == 2 else grey_if_equal(pixels)
