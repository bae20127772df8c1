"""Codes and neurons as Parquet and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped
from safetensors.numpy import load, save
from scipy.sparse import csr_array

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.neurons.normalisation import Normalisation
from neuroconcepts_ray.neurons.statistics import NeuronStatistics

NEURONS = "neurons.parquet"
NORMALISATION = "normalisation.safetensors"


@dataclass(frozen=True)
class Codes:
    """Codes of m images over n neurons.

    Attributes:
        image_ids: The images, in the catalog's order; quarantined ones have no row.
        matrix: Row i is image i's code, float32.
    """

    image_ids: Shaped[np.ndarray, " m"]
    matrix: csr_array


def codes_table(image_ids: Sequence[str], codes: csr_array) -> pa.Table:
    """``image_id``, ``neurons`` (ascending) and ``values``; the number of neurons goes into the schema's metadata."""
    codes.sort_indices()
    offsets = pa.array(codes.indptr, pa.int32())
    neurons = pa.ListArray.from_arrays(offsets, pa.array(codes.indices.astype(np.uint32)))
    values = pa.ListArray.from_arrays(offsets, pa.array(codes.data.astype(np.float32)))
    table = pa.table({"image_id": pa.array(image_ids, pa.string()), "neurons": neurons, "values": values})
    return table.replace_schema_metadata({"n": str(codes.shape[1])})


def codes_of(tables: Sequence[pa.Table], n: int) -> Codes:
    """Read back tables of :func:`codes_table`, one after the other.

    Args:
        tables: The tables.
        n: Number of neurons.
    """
    image_ids: list[str] = []
    neurons, values, counts = [np.empty(0, np.uint32)], [np.empty(0, np.float32)], [np.zeros(1, np.int64)]
    for table in tables:
        image_ids += table["image_id"].to_pylist()
        for chunk in table["neurons"].chunks:
            counts.append(chunk.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64))
            neurons.append(chunk.flatten().to_numpy(zero_copy_only=False))
        values += [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table["values"].chunks]
    starts = np.cumsum(np.concatenate(counts))
    indices = np.concatenate(neurons).astype(np.int64)
    matrix = csr_array((np.concatenate(values), indices, starts), shape=(len(image_ids), n))
    return Codes(np.array(image_ids, dtype=np.str_), matrix)


def load_codes(lake: Lake, manifest: Manifest) -> Codes:
    """The codes of a space: every image that has activations.

    Args:
        lake: The lake.
        manifest: Of kind ``codes``.
    """
    parts = [part for part in manifest.parts if part.name not in (NEURONS, NORMALISATION)]
    return codes_of([lake.table(part) for part in parts], int(manifest.facts["n"]))


def neurons_table(stats: NeuronStatistics) -> pa.Table:
    """One row per neuron."""
    return pa.table(
        {
            "neuron": pa.array(np.arange(len(stats.density), dtype=np.uint32)),
            "density": pa.array(stats.density),
            "mean": pa.array(stats.mean),
            "max": pa.array(stats.max),
            "top_images": pa.array(stats.top_images, pa.list_(pa.string())),
            "top_values": pa.array(stats.top_values, pa.list_(pa.float32())),
        }
    )


def load_neurons(lake: Lake, manifest: Manifest) -> NeuronStatistics:
    """The statistics of a space's neurons.

    Args:
        lake: The lake.
        manifest: Of kind ``codes``.
    """
    table = lake.table(manifest.part(NEURONS))
    return NeuronStatistics(
        density=table["density"].to_numpy(),
        mean=table["mean"].to_numpy(),
        max=table["max"].to_numpy(),
        top_images=table["top_images"].to_pylist(),
        top_values=table["top_values"].to_pylist(),
    )


def write_normalisation(normalisation: Normalisation) -> bytes:
    """The bytes of a normalisation."""
    return save({"mean": normalisation.mean, "std": normalisation.std})


def read_normalisation(data: bytes) -> Normalisation:
    """Read back :func:`write_normalisation`."""
    return Normalisation(**load(data))


def load_normalisation(lake: Lake, manifest: Manifest) -> Normalisation:
    """The normalisation of a space of units."""
    return read_normalisation(lake.read(manifest.part(NORMALISATION)))
