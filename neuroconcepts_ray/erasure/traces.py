"""Where a lake names a patient: every table and record is looked into, whatever its kind."""

import io
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Root
from neuroconcepts_ray.lake.survey import PART, Survey, each

Place = tuple[Root, str]
"""An object: its root and key."""


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner))


def may_name(column: str) -> bool:
    """Whether a column of that name may hold a name of somebody, and not a finding that happens to read the same."""
    return column not in ("view", "role", "text") and not column.startswith("label:")


def table_names(source: Path | bytes, names: Collection[str]) -> bool:
    """Whether a Parquet file has one of these strings in a column, or in a list of one.

    Args:
        source: The file or its bytes.
        names: The strings.
    """
    file = pq.ParquetFile(source if isinstance(source, Path) else io.BytesIO(source))
    columns = [field.name for field in file.schema_arrow if _is_text(field.type) and may_name(field.name)]
    wanted = pa.array(sorted(names), pa.string())
    if not columns:
        return False
    for batch in file.iter_batches(columns=columns):
        for column in batch.columns:
            flat = column.flatten() if not pa.types.is_string(column.type) else column
            if pc.any(pc.is_in(flat.cast(pa.string()), wanted)).as_py():
                return True
    return False


def text_names(data: bytes, names: Collection[str]) -> bool:
    """Whether a JSON record has one of these strings as a value."""
    return any(f'"{name}"'.encode() in data for name in names)


def parts_naming(lake: Lake, survey: Survey, names: Collection[str]) -> set[Place]:
    """All parts, whether or not anything refers to them, that name somebody.

    Args:
        lake: The lake.
        survey: Its listing.
        names: Every name of theirs.
    """
    found: set[Place] = set()
    places: dict[str, Place] = {
        f"{root}:{key}": (root, key)
        for root, blobs in survey.blobs.items()
        for key in blobs
        if PART.match(key) and key.endswith((".parquet", ".json"))
    }

    def look(at: str) -> None:
        root, key = places[at]
        store = lake.root(root)
        try:
            if key.endswith(".json"):
                holds = text_names(store.read(key), names)
            else:
                holds = table_names(store.local_path(key) or store.read(key), names)
        except FileNotFoundError:
            return
        except pa.ArrowInvalid:
            raise InputError(
                "a table of the lake cannot be read, so that nobody knows whom it names",
                where=key,
                remedy="Restore it from a copy, or delete it, and run the same command again",
            ) from None
        if holds:
            found.add((root, key))

    each(look, list(places))
    return found
