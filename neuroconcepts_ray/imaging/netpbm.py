"""PGM and PPM, plain or raw, of 8 or 16 bits: netpbm's own description, read with NumPy.

Pillow reads them too, but value by value in Python wherever the largest value is not 255.
"""

import re

import numpy as np
from jaxtyping import UInt8

from neuroconcepts_ray.imaging.bounds import check_size, grey_if_equal, to_8_bits
from neuroconcepts_ray.imaging.undecodable import Undecodable

_GAP = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P([2356])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})\s")
_LONGEST = 1 << 16  # of a header, with its comments


def is_netpbm(data: bytes) -> bool:
    """Whether bytes begin with the whole header of a PGM or PPM."""
    return data[:1] == b"P" and _HEADER.match(data[:_LONGEST]) is not None


def decode_netpbm(data: bytes) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """Decode a PGM (P2, P5) or PPM (P3, P6); of several images in one file the first.

    Args:
        data: The file's bytes, for which :func:`is_netpbm` holds.

    Returns:
        uint8 [h, w] or [h, w, 3]; the largest value that the header admits becomes 255.

    Raises:
        Undecodable: Too large, truncated, or values beyond the header's.
    """
    match = _HEADER.match(data[:_LONGEST])
    if match is None:
        raise Undecodable("not an image")
    form, width, height, top = (int(field) for field in match.groups())
    check_size(width, height)
    if not 0 < top < 65536:
        raise Undecodable("damaged", value=f"largest value {top}")
    shape = (height, width) if form in (2, 5) else (height, width, 3)
    count = int(np.prod(shape))
    plain = form in (2, 3)
    values = _plain(data[match.end() :], count) if plain else _raw(data, match.end(), count, top)
    if values.max() > top:
        raise Undecodable("damaged", value=f"largest value {values.max()}", limit=top)
    pixels = to_8_bits(values.reshape(shape), top)
    return pixels if pixels.ndim == 2 else grey_if_equal(pixels)


def _raw(data: bytes, start: int, count: int, top: int) -> np.ndarray:
    kind = np.dtype(">u2" if top > 255 else "u1")
    if len(data) - start < count * kind.itemsize:
        raise Undecodable("truncated")
    return np.frombuffer(data, kind, count, start)


def _plain(body: bytes, count: int) -> np.ndarray:
    if len(body) < 2 * count - 1:  # a digit each, and a gap between two
        raise Undecodable("truncated")
    text = re.sub(rb"#[^\n]*", b"", body)
    if re.fullmatch(rb"[\d\s]*", text) is None or re.search(rb"\d{6}", text):
        raise Undecodable("damaged")
    values = np.fromstring(text.strip().decode("ascii"), np.int32, sep=" ") if text.strip() else np.zeros(0, np.int32)
    if len(values) < count:
        raise Undecodable("truncated")
    return values[:count]
