"""What an image looks like when it reaches the network."""

from typing import Literal

from pydantic import Field, model_validator

from neuroconcepts_ray.config import StrictModel

LARGEST, LARGEST_RESIZE = 4096, 8192
"""Most pixels of the square's side, and of a film's short side before the square is cut out."""

ALGORITHM = 2
"""Raised by hand whenever the same bytes and the same config would give other pixels."""


class PixelConfig(StrictModel):
    """Size, channels and fit of the pixels; part of the recipe of everything computed from them."""

    size: int = Field(default=224, ge=8, le=LARGEST)
    """Side of the square that an image is fitted to, in pixels."""
    channels: Literal[1, 3] = 1
    """1: grey (colour becomes ITU-R 601 luma). 3: RGB (grey is repeated)."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How a rectangle becomes a square: its central square, all of it between black bars, or distorted."""
    jpeg_margin: float = Field(default=4.0, ge=0, le=64)
    """A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, the least that is still so many times the square's, which
    spares time; 0: always in full. With 4 the black box's logits and the nearest images stay what they are; 2 and 1
    keep real films within 52 and 45 dB of a full decode, which a small black box notices (benchmarks/precision.py)."""
    resize: int | None = Field(default=None, ge=8, le=LARGEST_RESIZE)
    """With fit crop: length of the short side before the central square is cut out, such as 256 for size 224; done in
    whole pixels, as torchvision's Resize and CenterCrop do it."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Pillow's filter; both widen with the reduction."""

    @model_validator(mode="after")
    def _resize_crops(self) -> "PixelConfig":
        if self.resize is not None and (self.fit != "crop" or self.resize < self.size):
            raise ValueError("resize goes with fit: crop, and is at least size")
        return self
