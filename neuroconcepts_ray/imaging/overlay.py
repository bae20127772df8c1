"""A map over the image that it is of, as a PNG."""

import io

import numpy as np
from jaxtyping import Float, Float64, UInt8
from PIL import Image

# Points of matplotlib's "inferno": dark to bright, and told apart by those who do not see red and green.
_COLOURS = np.array(
    [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], np.float64
)


def resize(values: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float64[np.ndarray, "H W"]:
    """A map at another size, bilinearly.

    Args:
        values: The map.
        size: Height and width.
    """
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR)).astype(np.float64)


def colours(share: Float[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w 3"]:
    """Colours of values in 0…1, each channel in 0…255."""
    at = np.linspace(0, 1, len(_COLOURS))
    return np.stack([np.interp(share, at, _COLOURS[:, channel]) for channel in range(3)], axis=-1)


def overlay(
    pixels: UInt8[np.ndarray, "c h w"],
    values: Float[np.ndarray, "a b"],
    *,
    top: float | None = None,
    opacity: float = 0.6,
) -> bytes:
    """The bytes of a PNG: the image in grey, and over it where the map is above 0, the more opaque the higher it is.

    Args:
        pixels: The image, grey or RGB.
        values: The map, of any size; what is below 0 speaks against and stays transparent.
        top: Value that is shown brightest; the map's own largest where None. Give one to compare two maps.
        opacity: Of the brightest, 0 to 1.
    """
    grey = pixels.astype(np.float64).mean(axis=0)
    highest = float(values.max()) if top is None else top
    share = np.clip(resize(values, grey.shape) / highest, 0, 1) if highest > 0 else np.zeros(grey.shape)
    alpha = opacity * share[..., None]
    mixed = (1 - alpha) * grey[..., None] + alpha * colours(share)
    sink = io.BytesIO()
    Image.fromarray(np.round(mixed).astype(np.uint8)).save(sink, "PNG")
    return sink.getvalue()
