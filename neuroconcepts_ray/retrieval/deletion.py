"""Whether a map points at what a neuron fires for: its brightest part is painted over, and so are random places."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, UInt8

from neuroconcepts_ray.imaging.overlay import resize
from neuroconcepts_ray.retrieval.maps import Mapper, mean_pixel

DELETED = 0.1
"""Share of an image that is painted over when a map is tried."""


def brightest(values: Float[np.ndarray, "h w"], size: int, share: float = DELETED) -> Bool[np.ndarray, "s s"]:
    """The part of an image where a map is highest.

    Args:
        values: The map.
        size: Side of the image.
        share: How much of the image.
    """
    full = resize(values, (size, size)).ravel()
    mask = np.zeros(size * size, bool)
    mask[np.argsort(-full, kind="stable")[: max(1, round(share * size * size))]] = True
    return mask.reshape(size, size)


def deletion(
    mapper: Mapper,
    pixels: UInt8[np.ndarray, "c s s"],
    neurons: Sequence[int],
    *,
    share: float = DELETED,
    elsewhere: int = 10,
    seed: int = 0,
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "k r"]]:
    """How far each neuron's pre-activation falls when its map's brightest part is painted over, and random places are.

    A random place is the same part moved around the image, what leaves at one edge coming in at the other.

    Args:
        mapper: What makes the maps.
        pixels: The image.
        neurons: Which neurons.
        share: How much of the image is painted over, with its mean.
        elsewhere: Random places.
        seed: Seed of the places.

    Returns:
        Fall by the map, and at each random place.
    """
    rng = np.random.default_rng(seed)
    size = pixels.shape[1]
    maps, _ = mapper.maps(pixels, neurons)
    fill = mean_pixel(pixels)
    before = mapper.activations(pixels[None], neurons)[0]
    mine, others = np.empty(len(neurons)), np.empty((len(neurons), elsewhere))
    for number in range(len(neurons)):
        mask = brightest(maps[number], size, share)
        moves: Int[np.ndarray, "r 2"] = rng.integers(0, size, (elsewhere, 2))
        masks = [mask, *(np.roll(mask, tuple(move), (0, 1)) for move in moves.tolist())]
        painted = np.stack([np.where(one, fill, pixels).astype(np.uint8) for one in masks])
        falls = before[number] - mapper.activations(painted, [neurons[number]])[:, 0]
        mine[number], others[number] = falls[0], falls[1:]
    return mine, others
