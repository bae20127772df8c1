"""Codes with the statistics of a chest film archive: neurons as popular as Zipf has it, films alike, patients alike.

A film is a mixture of *looks* (a few thousand common constellations of neurons), of what is its patient's own, and of
chance; its k strongest neurons fire. What matters to a search is kept: the most popular neurons fire in a third of all
films, half of the neurons in a few hundred or fewer, a film's patient is often among its nearest, and the twentieth
neighbour has a cosine of about 0.7.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import sparse

IMAGES_PER_PATIENT = 5.77
"""MIMIC-CXR: 377,110 films of 65,379 patients."""

LOOKS = 2_000
OF_A_LOOK, OF_A_PATIENT, OF_CHANCE = 60, 16, 20
BATCH = 16_384


@dataclass(frozen=True)
class Archive:
    """Codes and the images that they are of.

    Attributes:
        codes: [m, n], k values a row, neurons ascending.
        patients: [m], number of each image's patient.
        table: The catalog's rows.
    """

    codes: sparse.csr_array
    patients: np.ndarray
    table: pa.Table

    def part(self, first: int, last: int) -> "Archive":
        """Some of the images."""
        return Archive(self.codes[first:last], self.patients[first:last], self.table.slice(first, last - first))


def make(images: int, n: int = 16_384, k: int = 32, seed: int = 7) -> Archive:
    """Make an archive.

    Args:
        images: Number of images.
        n: Neurons.
        k: Neurons that fire in an image.
        seed: Equal seeds, equal archives.
    """
    rng = np.random.default_rng(seed)
    popularity = _zipf(n, 12)
    order = rng.permutation(n).astype(np.int32)

    def neurons(*shape: int) -> np.ndarray:
        return order[np.searchsorted(popularity, rng.random(shape), side="right")]

    def strengths(*shape: int) -> np.ndarray:
        return rng.gamma(2.0, 0.5, shape).astype(np.float32)

    looks, look_strengths = neurons(LOOKS, OF_A_LOOK), strengths(LOOKS, OF_A_LOOK)
    look_popularity = _zipf(LOOKS, 20)
    patients = np.sort(rng.integers(0, max(1, round(images / IMAGES_PER_PATIENT)), images))
    count = int(patients[-1]) + 1
    own, own_strengths = neurons(count, OF_A_PATIENT), 0.7 * strengths(count, OF_A_PATIENT)
    usual = np.searchsorted(look_popularity, rng.random(count), side="right")
    columns, values = np.empty((images, k), np.int32), np.empty((images, k), np.float32)
    for first in range(0, images, BATCH):
        whose = patients[first : first + BATCH]
        m = len(whose)
        any_look = np.searchsorted(look_popularity, rng.random((2, m)), side="right")
        look = np.where(rng.random(m) < 0.6, usual[whose], any_look[0])
        second = rng.random((m, 1)).astype(np.float32) * 0.5
        drawn = np.concatenate([looks[look], looks[any_look[1]], own[whose], neurons(m, OF_CHANCE)], axis=1)
        strength = np.concatenate(
            [
                look_strengths[look] * _jitter(rng, m, OF_A_LOOK),
                second * look_strengths[any_look[1]] * _jitter(rng, m, OF_A_LOOK),
                own_strengths[whose] * _jitter(rng, m, OF_A_PATIENT),
                0.6 * strengths(m, OF_CHANCE),
            ],
            axis=1,
        )
        columns[first : first + m], values[first : first + m] = _strongest(drawn, strength, k)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    shuffled = rng.permutation(images)
    codes = sparse.csr_array(
        (values[shuffled].ravel(), columns[shuffled].ravel(), np.arange(0, images * k + 1, k)), shape=(images, n)
    )
    return Archive(codes, patients[shuffled], _table(patients[shuffled], rng))


def _zipf(count: int, offset: int) -> np.ndarray:
    share = 1.0 / (np.arange(count) + offset)
    cumulated = np.cumsum(share / share.sum())
    cumulated[-1] = 1.0
    return cumulated


def _jitter(rng: np.random.Generator, m: int, width: int) -> np.ndarray:
    return np.exp(0.35 * rng.standard_normal((m, width), dtype=np.float32))


def _strongest(drawn: np.ndarray, strength: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k strongest distinct neurons of each row, ascending; one that was drawn twice counts once, at its best."""
    best_first = np.argsort(-strength, axis=1)
    drawn = np.take_along_axis(drawn, best_first, axis=1)
    strength = np.take_along_axis(strength, best_first, axis=1)
    by_neuron = np.argsort(drawn, axis=1, kind="stable")
    together = np.take_along_axis(drawn, by_neuron, axis=1)
    again = np.zeros_like(drawn, bool)
    np.put_along_axis(again, by_neuron[:, 1:], together[:, 1:] == together[:, :-1], axis=1)
    rank = np.where(again, drawn.shape[1], np.arange(drawn.shape[1]))
    kept = np.sort(np.argsort(rank, axis=1, kind="stable")[:, :k], axis=1)
    neurons = np.take_along_axis(drawn, kept, axis=1)
    ascending = np.argsort(neurons, axis=1)
    found = np.take_along_axis(np.take_along_axis(strength, kept, axis=1), ascending, axis=1)
    return np.take_along_axis(neurons, ascending, axis=1), found


def _table(patients: np.ndarray, rng: np.random.Generator) -> pa.Table:
    m = len(patients)
    roles = rng.choice(
        ["fit", "probe", "select", "verify", "test"], patients.max() + 1, p=[0.8, 0.1, 0.05, 0.036, 0.014]
    )
    rare = np.where(rng.random(m) < 0.001, "yes", "no")
    rarest = np.full(m, "no", "U3")
    rarest[rng.choice(m, max(1, round(m * 1e-5)), replace=False)] = "yes"
    return pa.table(
        {
            "image_id": [f"image{row:09d}" for row in rng.permutation(m)],
            "study": [f"s{patient}-{half}" for patient, half in zip(patients, rng.integers(0, 2, m), strict=True)],
            "group": [f"g{patient}" for patient in patients],
            "view": rng.choice(["AP", "PA", "LATERAL"], m, p=[0.38, 0.32, 0.30]),
            "role": roles[patients],
            "rare": rare,
            "rarest": rarest,
        }
    )
