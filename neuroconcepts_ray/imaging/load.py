"""The bytes of a file as the pixels that the network sees."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import MAX_PIXELS, Undecodable, decode


def load_pixels(data: bytes, pixels: PixelConfig) -> UInt8[np.ndarray, "c h w"]:
    """Decode a file and fit it to the square of a :class:`PixelConfig`.

    Args:
        data: The file's bytes.
        pixels: Size S, channels C and fit.

    Returns:
        uint8 [C, S, S].

    Raises:
        Undecodable: The bytes will never decode.
    """
    return fit_pixels(decode(data), pixels)


def fit_pixels(
    decoded: UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"], pixels: PixelConfig
) -> UInt8[np.ndarray, "c s s"]:
    """Fit decoded pixels to a square by antialiased resampling.

    Pillow's filter widens with the reduction, so a small square shows averages, not a sample, of a large film; it
    computes in integers, so equal pixels give equal bytes on every machine.

    Args:
        decoded: uint8 grey [h, w] or RGB [h, w, 3].
        pixels: Size S, channels C and fit.

    Returns:
        uint8 [C, S, S].

    Raises:
        Undecodable: A sliver that ``resize`` would make too large.
    """
    image = Image.fromarray(np.ascontiguousarray(decoded))
    if pixels.channels == 1 and image.mode != "L":
        image = image.convert("L")
    square = np.asarray(_fit(image, pixels))
    channels = square[None] if square.ndim == 2 else square.transpose(2, 0, 1)
    if channels.shape[0] < pixels.channels:
        channels = np.repeat(channels, pixels.channels, axis=0)
    return np.ascontiguousarray(channels)


def _fit(image: Image.Image, pixels: PixelConfig) -> Image.Image:
    size, kind = pixels.size, Image.Resampling[pixels.interpolation.upper()]
    width, height = image.size
    if pixels.fit == "stretch":
        return image.resize((size, size), kind)
    if pixels.resize is not None:
        short = min(width, height)
        wide, high = (int(pixels.resize * side / short) for side in (width, height))
        if wide * high > MAX_PIXELS:  # of a sliver of an image
            raise Undecodable("too many pixels", value=f"{wide}×{high}", limit=f"{MAX_PIXELS} pixels")
        x, y = (round((side - size) / 2) for side in (wide, high))
        return image.resize((wide, high), kind).crop((x, y, x + size, y + size))
    if pixels.fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((size, size), kind, box=(left, top, left + side, top + side))
    longest = max(width, height)
    inner = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
    square = Image.new(image.mode, (size, size))
    square.paste(image.resize(inner, kind), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return square
