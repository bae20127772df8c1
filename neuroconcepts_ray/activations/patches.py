"""Patches: windows of the classifier's size over images that were fitted to a larger square, the frame."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from neuroconcepts_ray.activations.config import PatchConfig
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.imaging.config import LARGEST, LARGEST_RESIZE, PixelConfig


def frame(pixels: PixelConfig, patches: PatchConfig) -> PixelConfig:
    """How an image is fitted to the frame: as to the classifier's square, so much larger.

    Args:
        pixels: How the classifier sees an image.
        patches: A patch's size, and the stride.

    Raises:
        ConfigError: The frame would be too large.
    """
    side = round(pixels.size / patches.size)
    largest = LARGEST if pixels.resize is None else min(LARGEST, LARGEST_RESIZE * pixels.size // pixels.resize)
    if side > largest:
        raise ConfigError(
            "patches of this size need too large a frame",
            value=f"{pixels.size} / {patches.size:g} = {side} pixels",
            limit=f"{largest} pixels",
            where="activations.patches.size",
            remedy=f"Take {math.ceil(1000 * pixels.size / largest) / 1000:g} or more",
        )
    resize = None if pixels.resize is None else round(pixels.resize * side / pixels.size)
    return pixels.model_copy(update={"size": side, "resize": resize})


def decoded(recipe: Mapping[str, Any], pixels: PixelConfig) -> PixelConfig:
    """What an image is decoded to for an artifact.

    Args:
        recipe: The config in the artifact's recipe.
        pixels: How the classifier sees an image.
    """
    return frame(pixels, validate(PatchConfig, recipe["patches"])) if "patches" in recipe else pixels


def starts(side: int, size: int, stride: float) -> list[int]:
    """Where windows begin along a side: evenly, from edge to edge, as few as lie no further apart than the stride.

    Args:
        side: Of the frame, in pixels.
        size: Of a window.
        stride: From one window to the next, as a share of its size.
    """
    gaps = math.ceil((side - size) / max(1, round(stride * size)))
    return [round(number * (side - size) / gaps) for number in range(gaps + 1)] if gaps else [0]


class Windows:
    """All windows of some images, image by image and row by row, cut out when a batch asks for them.

    Args:
        images: Images fitted to the frame.
        size: Side of a window, in pixels.
        at: :func:`starts`.
    """

    def __init__(self, images: UInt8[np.ndarray, "n c r r"], size: int, at: list[int]) -> None:
        self.images, self.size = images, size
        self.corners = [(top, left) for top in at for left in at]

    @property
    def count(self) -> int:
        """p, of one image."""
        return len(self.corners)

    def __len__(self) -> int:
        return len(self.images) * self.count

    def __getitem__(self, rows: slice) -> UInt8[np.ndarray, "b c s s"]:
        found = []
        for row in range(*rows.indices(len(self))):
            image, number = divmod(row, self.count)
            top, left = self.corners[number]
            found.append(self.images[image, :, top : top + self.size, left : left + self.size])
        return np.stack(found)

    @property
    def boxes(self) -> Float[np.ndarray, "p 4"]:
        """Left, top, right and bottom of each window, as shares of the frame's side."""
        corners = np.array(self.corners, dtype=np.float64)[:, ::-1]
        found = np.concatenate([corners, corners + self.size], axis=1) / self.images.shape[-1]
        boxes: Float[np.ndarray, "p 4"] = found.astype(np.float32)
        return boxes


def joined(
    batches: Iterable[tuple[slice, Mapping[str, Mapping[str, Shaped[np.ndarray, "b d"]]]]],
    boxes: Float[np.ndarray, "p 4"],
    stored: str,
) -> Iterator[tuple[slice, dict[str, dict[str, Shaped[np.ndarray, "m p _"]]]]]:
    """What is kept of windows, put together image by image.

    Args:
        batches: Rows of windows, and by entry the column ``activation``.
        boxes: Of an image's windows.
        stored: ``float16`` or ``float32``.

    Yields:
        Rows of images, and by entry ``activation`` [m, p, d] and ``box`` [m, p, 4].
    """
    p, done = len(boxes), 0
    waiting: dict[str, list[Shaped[np.ndarray, "b d"]]] = {}
    for rows, found in batches:
        for name, columns in found.items():
            with np.errstate(over="ignore"):  # told by name where it is checked
                waiting.setdefault(name, []).append(columns["activation"].astype(stored))
        whole = rows.stop // p
        m, cut = whole - done, (whole - done) * p
        if m:
            ready = {name: np.concatenate(some) for name, some in waiting.items()}
            yield (
                slice(done, whole),
                {
                    name: {"activation": x[:cut].reshape(m, p, -1), "box": np.tile(boxes, (m, 1, 1))}
                    for name, x in ready.items()
                },
            )
            waiting = {name: [x[cut:]] for name, x in ready.items()}
            done = whole
