"""The stored values of a grey DICOM image as a screen would show them: Modality LUT, VOI LUT or window, then polarity.

The order is that of PS3.3 C.11.1 and C.11.2 and of PS3.4 N.2. Everything here works on the levels that can occur and
how often each does, not on pixels: an image of 16 bits has at most 65,536 of them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64, UInt8

SHARE = 0.005
"""Of the pixels of an image without a window, so many may be clipped at either end."""


@dataclass(frozen=True)
class Lut:
    """A look-up table (PS3.3 C.11.1.1.1).

    Attributes:
        entries: What comes out.
        first: The value that the first entry is for.
        bits: Bits that an entry may use.
    """

    entries: Int64[np.ndarray, " n"]
    first: int
    bits: int

    def __call__(self, values: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
        """Look values up; those outside take the nearest entry, and those between two levels the nearer."""
        at = np.rint(values).astype(np.int64) - self.first
        found: Float64[np.ndarray, " m"] = self.entries[at.clip(0, len(self.entries) - 1)].astype(np.float64)
        return found


@dataclass(frozen=True)
class Window:
    """A window (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Attributes:
        centre: In modality units.
        width: The same; at least 1 for LINEAR, above 0 for the others.
        function: How values become grey.
    """

    centre: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"

    def __call__(self, x: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
        """Values as shares of white, 0 to 1."""
        if self.function == "SIGMOID":
            power = np.clip(-4 * (x - self.centre) / self.width, -700, 700)
            return 1 / (1 + np.exp(power))
        if self.function == "LINEAR_EXACT":
            return np.clip((x - self.centre) / self.width + 0.5, 0, 1)
        if self.width == 1:
            return (x > self.centre - 0.5).astype(np.float64)
        return np.clip((x - (self.centre - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True)
class Display:
    """How an image's header wants it shown.

    Attributes:
        bits: BitsStored.
        signed: Whether stored values are two's complement.
        slope: RescaleSlope, where there is no Modality LUT.
        intercept: RescaleIntercept.
        modality: Modality LUT.
        voi: VOI LUT.
        window: The first window.
        padding: Stored values, from and to, that are no part of the image.
        inverted: MONOCHROME1: the lowest value is white.
    """

    bits: int
    signed: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    modality: Lut | None = None
    voi: Lut | None = None
    window: Window | None = None
    padding: tuple[int, int] | None = None
    inverted: bool = False


def shown(
    levels: Int64[np.ndarray, " n"], counts: Int64[np.ndarray, " n"], display: Display
) -> UInt8[np.ndarray, " n"]:
    """The grey of each level, 0 black to 255 white.

    A VOI LUT goes before a window, and the first window before the others. Where the header has neither, an image of up
    to 8 bits is shown by the whole range of its bits, for 8 bits are made to be looked at. A deeper one is shown from
    its 0.5th to its 99.5th percentile, padding left out: its bits are those of the detector, of which an exposure uses
    a part that nobody declared (425 of 4,095 levels of one MR, 2,000 of 65,536 of a CT), and the whole range
    would leave a film a few greys of the 256. Percentiles and not the extremes, so that a lead marker or a dead pixel
    does not set the contrast; and of the exposure nothing is lost that means anything, for plate readers scale it
    film by film. MONOCHROME1 is inverted last, because its polarity is that of what the VOI step gives.

    Args:
        levels: Stored values, ascending.
        counts: Pixels that have each.
        display: The header.
    """
    values = _modality(levels.astype(np.float64), display)
    if display.voi is not None:
        share = np.clip(display.voi(values) / ((1 << display.voi.bits) - 1), 0, 1)
    elif display.window is not None:
        share = display.window(values)
    else:
        low, high = _declared(display) if display.bits <= 8 else _used(levels, values, counts, display)
        share = np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(len(values))
    if display.inverted:
        share = 1 - share
    return np.floor(share * 255 + 0.5).astype(np.uint8)


def _modality(stored: Float64[np.ndarray, " m"], display: Display) -> Float64[np.ndarray, " m"]:
    if display.modality is not None:
        return display.modality(stored)
    return stored * display.slope + display.intercept


def _declared(display: Display) -> tuple[float, float]:
    first = -(1 << (display.bits - 1)) if display.signed else 0
    every = _modality(np.arange(first, first + (1 << display.bits), dtype=np.float64), display)
    return float(every.min()), float(every.max())


def _used(
    levels: Int64[np.ndarray, " n"],
    values: Float64[np.ndarray, " n"],
    counts: Int64[np.ndarray, " n"],
    display: Display,
) -> tuple[float, float]:
    if display.padding is not None:
        inside = (levels < display.padding[0]) | (levels > display.padding[1])
        if counts[inside].any():
            values, counts = values[inside], counts[inside]
    order = np.argsort(values, kind="stable")
    below = np.cumsum(counts[order])
    last = int(below[-1])
    # The value of the pixel that so many lie below, and of the one that so many lie above.
    low, high = (values[order[np.searchsorted(below, rank, side="right")]] for rank in _ranks(last))
    if low == high:
        low, high = values[counts > 0].min(), values[counts > 0].max()
    return float(low), float(high)


def _ranks(count: int) -> tuple[int, int]:
    outside = int(count * SHARE)
    return outside, count - 1 - outside
