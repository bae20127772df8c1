"""Parquet as the norm has it: equal tables, equal bytes; readable by pyarrow, pandas and DuckDB without us."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Shaped

ROW_GROUP = 4096


def to_parquet(table: pa.Table) -> bytes:
    """The bytes of a table: zstd, row groups of 4,096, schema metadata kept."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=ROW_GROUP)
    return sink.getvalue()


def from_parquet(data: bytes, columns: list[str] | None = None) -> pa.Table:
    """Read back :func:`to_parquet`."""
    return pq.read_table(pa.BufferReader(data), columns=columns)


def tensor_column(rows: Shaped[np.ndarray, "n ..."]) -> pa.ExtensionArray:
    """An Arrow column of the standard type ``arrow.fixed_shape_tensor``, one tensor a row."""
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(rows))


def tensor_rows(column: pa.ChunkedArray) -> Shaped[np.ndarray, "n ..."]:
    """The rows of a tensor column as one array."""
    array: Any = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    rows: Shaped[np.ndarray, "n ..."] = array.to_numpy_ndarray()
    return rows
