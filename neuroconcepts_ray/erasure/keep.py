"""The parts of each kind without the rows of some images, in the bytes that making them without these would give."""

from collections.abc import Callable

import numpy as np

from neuroconcepts_ray.activations.tables import activations_table, some_rows
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.lake.table import tensor_rows, to_parquet
from neuroconcepts_ray.neurons.tables import codes_of, codes_table
from neuroconcepts_ray.pixels.tables import of_part, to_part

Keep = Callable[[Lake, Part, Manifest, set[str]], tuple[bytes, int]]
"""The bytes of a part without the victims' rows, and how many rows that leaves; through the function that writes such
parts at first."""


def _kept(ids: list[str], names: set[str]) -> tuple[list[str], np.ndarray]:
    rows = np.array([row for row, one in enumerate(ids) if one not in names], dtype=np.int64)
    return [ids[row] for row in rows.tolist()], rows


def pixels(lake: Lake, part: Part, _: Manifest, names: set[str]) -> tuple[bytes, int]:
    """Of kind ``pixels``."""
    every, films = of_part(lake.read(part))
    ids, rows = _kept(every, names)
    return to_part(ids, films[rows]), len(ids)


def activations(lake: Lake, part: Part, manifest: Manifest, names: set[str]) -> tuple[bytes, int]:
    """Of kind ``activations``."""
    table = lake.table(part)
    ids, rows = _kept(table["image_id"].to_pylist(), names)
    if "keep" in manifest.recipe_body["config"]:
        return to_parquet(some_rows(table, rows.tolist())), len(ids)
    x = tensor_rows(table["activation"])[rows] if len(rows) else np.empty((0, int(manifest.facts["d"])), np.float32)
    return to_parquet(activations_table(ids, x)), len(ids)


def codes(lake: Lake, part: Part, manifest: Manifest, names: set[str]) -> tuple[bytes, int]:
    """Of kind ``codes``."""
    table = lake.table(part)
    ids, rows = _kept(table["image_id"].to_pylist(), names)
    kept = codes_table(ids, codes_of([table], int(manifest.facts["n"])).matrix[rows])
    return to_parquet(kept), len(ids)
