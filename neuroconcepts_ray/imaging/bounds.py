"""What is too large to decode, asked before memory is reserved; and depths beyond 8 bits brought to 8."""

import numpy as np
from jaxtyping import Integer, UInt8

from neuroconcepts_ray.imaging.undecodable import Undecodable

MAX_PIXELS = 1 << 26
"""Largest image that is decoded, 8192×8192: more than any film or mammogram, and below Pillow's own alarm."""

MAX_BYTES = 1 << 29
"""Largest file that is decoded, and the most that a compressed member of one may become: 512 MiB."""


def check_bytes(count: int) -> None:
    """Refuse more bytes than :data:`MAX_BYTES`."""
    if count > MAX_BYTES:
        raise Undecodable("too many bytes", value=count, limit=MAX_BYTES)


def check_size(width: int, height: int) -> None:
    """Refuse an image without pixels, or with more than :data:`MAX_PIXELS`.

    Args:
        width: As the header claims it.
        height: The same.
    """
    if width <= 0 or height <= 0:
        raise Undecodable("no pixels", value=f"{width}×{height}")
    if width * height > MAX_PIXELS:
        raise Undecodable("too many pixels", value=f"{width}×{height}", limit=f"{MAX_PIXELS} pixels")


def to_8_bits(values: Integer[np.ndarray, "*shape"], top: int) -> UInt8[np.ndarray, "*shape"]:
    """Values 0…top as 0…255, rounded, halves up: by the range that is declared, never by the values that occur.

    Args:
        values: From 0 to ``top``.
        top: The largest value that the file's header admits, at most 65,535.
    """
    if top == 255:
        return np.ascontiguousarray(values.astype(np.uint8))
    table = ((np.arange(top + 1, dtype=np.int64) * 510 + top) // (2 * top)).astype(np.uint8)
    looked_up: UInt8[np.ndarray, "*shape"] = table[values]
    return looked_up


def grey_if_equal(colour: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """Colour, or grey where all channels are equal everywhere."""
    first = colour[..., 0]
    if (colour[0] != colour[0, :, :1]).any():  # most colour shows in its first row, sooner
        return colour
    if all(np.array_equal(first, colour[..., channel]) for channel in range(1, colour.shape[-1])):
        return np.ascontiguousarray(first)
    return colour
