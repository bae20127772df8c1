"""What is known of each neuron: how often it fires, how strongly, and for which images most."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.sparse import csc_array, csr_array


@dataclass(frozen=True)
class NeuronStatistics:
    """Statistics of n neurons.

    Attributes:
        density: Share of images for which it fires.
        mean: Mean value over the images for which it fires; 0 where there is none.
        max: Largest value; 0 where it never fires.
        top_images: Images with the largest values, largest first, ties by image_id.
        top_values: Their values.
    """

    density: Float[np.ndarray, " n"]
    mean: Float[np.ndarray, " n"]
    max: Float[np.ndarray, " n"]
    top_images: list[list[str]]
    top_values: list[list[float]]


def statistics(
    codes: csr_array,
    image_ids: Shaped[np.ndarray, " m"],
    counted: Bool[np.ndarray, " m"],
    shown: Bool[np.ndarray, " m"],
    top: int,
) -> NeuronStatistics:
    """Statistics of each neuron.

    Args:
        codes: Codes [m, n].
        image_ids: The images.
        counted: Images that density, mean and max are taken over (all roles but test).
        shown: Images that may be among the top ones (role probe).
        top: How many top images.
    """
    some = csc_array(codes[np.flatnonzero(counted)])
    firing = np.diff(some.indptr)
    total, largest = np.zeros(codes.shape[1]), np.zeros(codes.shape[1])
    columns = np.repeat(np.arange(codes.shape[1]), firing)
    np.add.at(total, columns, some.data.astype(np.float64))
    np.maximum.at(largest, columns, some.data)

    # Sorting images by id beforehand makes a stable sort by value break ties by image_id.
    candidates = np.flatnonzero(shown)
    candidates = candidates[np.argsort(image_ids[candidates], kind="stable")]
    ranked = csc_array(codes[candidates])
    ranked.sort_indices()
    top_images, top_values = [], []
    for j in range(codes.shape[1]):
        at = slice(ranked.indptr[j], ranked.indptr[j + 1])
        best = np.argsort(-ranked.data[at], kind="stable")[:top]
        top_images.append([str(i) for i in image_ids[candidates[ranked.indices[at][best]]]])
        top_values.append(ranked.data[at][best].tolist())
    return NeuronStatistics(
        density=(firing / max(1, int(counted.sum()))).astype(np.float32),
        mean=(total / np.maximum(1, firing)).astype(np.float32),
        max=largest.astype(np.float32),
        top_images=top_images,
        top_values=top_values,
    )
