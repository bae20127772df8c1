"""The bytes of a file as the pixels that the network sees."""

from functools import partial

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from neuroconcepts_ray.imaging.bounds import MAX_PIXELS
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import Undecodable, decode
from neuroconcepts_ray.imaging.raster import decode_scaled


def load_pixels(data: bytes, pixels: PixelConfig) -> UInt8[np.ndarray, "c h w"]:
    """Decode a file, a JPEG only as finely as its square needs, and fit it to the square of a :class:`PixelConfig`.

    Args:
        data: The file's bytes.
        pixels: Size S, channels C, fit and margin.

    Returns:
        uint8 [C, S, S].

    Raises:
        Undecodable: The bytes will never decode.
    """
    scaled = decode_scaled(data, partial(divisor, pixels), pixels.channels) if pixels.jpeg_margin else None
    return fit_pixels(decode(data), pixels) if scaled is None else fit_pixels(scaled[0], pixels, scaled[1])


def divisor(pixels: PixelConfig, width: int, height: int) -> int:
    """By how much a JPEG may be reduced while it is decoded: 1, 2, 4 or 8.

    Args:
        pixels: Size, fit and margin.
        width: Of the whole image.
        height: The same.
    """
    if not pixels.jpeg_margin:
        return 1
    side = max(width, height) if pixels.fit == "pad" else min(width, height)
    return next((by for by in (8, 4, 2) if side >= by * pixels.jpeg_margin * (pixels.resize or pixels.size)), 1)


def fit_pixels(
    decoded: UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"],
    pixels: PixelConfig,
    covered: tuple[float, float] | None = None,
) -> UInt8[np.ndarray, "c s s"]:
    """Fit decoded pixels to a square by antialiased resampling.

    Pillow's filter widens with the reduction, so a small square shows averages, not a sample, of a large film; it
    computes in integers, so equal pixels give equal bytes on every machine.

    Args:
        decoded: uint8 grey [h, w] or RGB [h, w, 3].
        pixels: Size S, channels C and fit.
        covered: Columns and rows that the image covers, where that is not all of them; it begins at the first.

    Returns:
        uint8 [C, S, S].

    Raises:
        Undecodable: A sliver that ``resize`` would make too large.
    """
    image = Image.fromarray(np.ascontiguousarray(decoded))
    if pixels.channels == 1 and image.mode != "L":
        image = image.convert("L")
    square = np.asarray(_fit(image, pixels, covered or (float(image.width), float(image.height))))
    channels = square[None] if square.ndim == 2 else square.transpose(2, 0, 1)
    if channels.shape[0] < pixels.channels:
        channels = np.repeat(channels, pixels.channels, axis=0)
    return np.ascontiguousarray(channels)


def _fit(image: Image.Image, pixels: PixelConfig, covered: tuple[float, float]) -> Image.Image:
    size, kind = pixels.size, Image.Resampling[pixels.interpolation.upper()]
    width, height = covered
    whole = (0, 0, width, height)
    if pixels.fit == "stretch":
        return image.resize((size, size), kind, box=whole)
    if pixels.resize is not None:
        short = min(width, height)
        wide, high = (int(pixels.resize * side / short) for side in (width, height))
        if wide * high > MAX_PIXELS:  # of a sliver of an image
            raise Undecodable("too many pixels", value=f"{wide}×{high}", limit=f"{MAX_PIXELS} pixels")
        x, y = (round((side - size) / 2) for side in (wide, high))
        return image.resize((wide, high), kind, box=whole).crop((x, y, x + size, y + size))
    if pixels.fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((size, size), kind, box=(left, top, left + side, top + side))
    longest = max(width, height)
    inner = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
    square = Image.new(image.mode, (size, size))
    square.paste(image.resize(inner, kind, box=whole), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return square
