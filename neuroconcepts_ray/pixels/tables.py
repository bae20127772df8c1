"""Packed pixels as Parquet and back, at little more than the cost of copying them."""

import io
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from neuroconcepts_ray.lake.table import from_parquet

SHAPE = b"shape"
"""Key of the schema's metadata: JSON list of channels, rows and columns."""


def to_part(image_ids: Sequence[str], pixels: UInt8[np.ndarray, "n c s s"]) -> bytes:
    """The bytes of a part: ``image_id``, and ``pixels``, the c·s·s bytes of a film in this order; n may be 0.

    Not a tensor column and not compressed, unlike other tables: Parquet has no integer of 8 bits, so a list of them
    takes eight times as long to read, and zstd twice as long for an eighth fewer bytes (docs/mining.md).
    """
    count, *shape = pixels.shape
    width = int(np.prod(shape))
    data = pa.py_buffer(np.ascontiguousarray(pixels).reshape(-1))
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, [None, data])
    schema = pa.schema(
        {"image_id": pa.string(), "pixels": pa.binary(width)}, metadata={SHAPE: json.dumps(shape).encode()}
    )
    table = pa.Table.from_arrays([pa.array(image_ids, pa.string()), column], schema=schema)
    sink = io.BytesIO()
    pq.write_table(
        table, sink, compression="none", use_dictionary=False, write_statistics=False, row_group_size=max(1, count)
    )
    return sink.getvalue()


def of_part(data: bytes) -> tuple[list[str], UInt8[np.ndarray, "n c s s"]]:
    """Read back :func:`to_part`; the pixels are a view that cannot be written to."""
    table = from_parquet(data)
    shape = json.loads(table.schema.metadata[SHAPE])
    column = table["pixels"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    width = int(np.prod(shape))
    start = column.offset * width
    flat = np.frombuffer(column.buffers()[1], dtype=np.uint8)[start : start + len(column) * width]
    return table["image_id"].to_pylist(), flat.reshape(len(column), *shape)
