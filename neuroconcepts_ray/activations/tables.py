"""Activations as Parquet and back."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Shaped

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.table import tensor_rows


def tensors(x: Shaped[np.ndarray, "n ..."]) -> pa.ExtensionArray:
    """A column of the standard type ``arrow.fixed_shape_tensor``, one tensor a row; n may be 0."""
    kind = pa.from_numpy_dtype(x.dtype)
    values = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1), kind), math.prod(x.shape[1:]))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(kind, x.shape[1:]), values)


def activations_table(image_ids: list[str], x: Float[np.ndarray, "n d"]) -> pa.Table:
    """``image_id`` and ``activation`` float32; n may be 0."""
    return kept_table(image_ids, {"activation": x.astype(np.float32, copy=False)}, {})


def kept_table(
    image_ids: list[str], columns: Mapping[str, Shaped[np.ndarray, "n ..."]], about: Mapping[str, int]
) -> pa.Table:
    """``image_id`` and what is kept of each image.

    Args:
        image_ids: The images.
        columns: A tensor a row each; where there are ``neurons``, lists without the entries whose value is 0.
        about: What goes into the schema's metadata.
    """
    made: dict[str, Any] = {"image_id": pa.array(image_ids, pa.string())}
    if "neurons" in columns:
        fires = columns["values"] > 0
        offsets = pa.array(np.concatenate([[0], np.cumsum(fires.sum(axis=1))]), pa.int32())
        made |= {name: pa.ListArray.from_arrays(offsets, pa.array(x[fires])) for name, x in columns.items()}
    else:
        made |= {name: tensors(x) for name, x in columns.items()}
    return pa.table(made, metadata={name: str(value) for name, value in about.items()} or None)


def some_rows(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    """Some rows of a table of :func:`kept_table`, as it would have made them."""
    chosen = table.take(pa.array(rows, pa.int64())).combine_chunks()
    for number, kind in enumerate(chosen.schema.types):
        if pa.types.is_list(kind):  # whose element has another name once it was read from Parquet
            name, plain = chosen.column_names[number], pa.list_(kind.value_type)
            chosen = chosen.set_column(number, name, chosen[name].cast(plain))
    return chosen


def facts_of(schema: pa.Schema) -> dict[str, Any]:
    """What a manifest says of a part's schema: ``d``, the shapes, the neurons of codes, the patches of an image.

    Args:
        schema: Of a part.
    """
    about = {name.decode(): int(value) for name, value in (schema.metadata or {}).items() if name in _ABOUT}
    facts: dict[str, Any] = {"grid": [about["h"], about["w"]]} if "h" in about else {}
    if "activation" in schema.names:
        kind = schema.field("activation").type
        shape = [int(side) for side in kind.shape]
        facts |= {"d": shape[-1]} | ({"shape": shape, "dtype": str(kind.value_type)} if len(shape) > 1 else {})
    return facts | {name: about[name] for name in ("n", "patches", "frame") if name in about}


_ABOUT = (b"h", b"w", b"n", b"patches", b"frame")


def load_activations(lake: Lake, manifest: Manifest) -> tuple[Shaped[np.ndarray, " m"], Float[np.ndarray, "m d"]]:
    """All rows of a tap of which one vector an image is kept, in the catalog's order; quarantined images have none.

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
