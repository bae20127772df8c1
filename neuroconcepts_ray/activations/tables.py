"""Activations as Parquet and back."""

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Shaped

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.table import tensor_rows


def activations_table(image_ids: list[str], x: Float[np.ndarray, "n d"]) -> pa.Table:
    """``image_id`` and ``activation``, a column of the standard type ``arrow.fixed_shape_tensor``; n may be 0."""
    values = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1), pa.float32()), x.shape[1])
    column = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), (x.shape[1],)), values)
    return pa.table({"image_id": pa.array(image_ids, pa.string()), "activation": column})


def load_activations(lake: Lake, manifest: Manifest) -> tuple[Shaped[np.ndarray, " m"], Float[np.ndarray, "m d"]]:
    """All rows of one tap, in the catalog's order; quarantined images have none.

    Args:
        lake: The lake.
        manifest: Of kind ``activations``.

    Returns:
        image_ids and the float32 matrix X.
    """
    width = int(manifest.facts["d"])
    ids: list[str] = []
    x = np.empty((sum(part.rows for part in manifest.parts), width), dtype=np.float32)
    for part in manifest.parts:
        table = lake.table(part)
        if table.num_rows:
            x[len(ids) : len(ids) + table.num_rows] = tensor_rows(table["activation"])
            ids += table["image_id"].to_pylist()
    return np.array(ids, dtype=np.str_), x
