"""Parquet as the norm has it: equal tables, equal bytes; readable by pyarrow, pandas and DuckDB without us."""

import io
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Shaped

ROW_GROUP = 4096

MAX_GROUP_BYTES = 64 * 1024 * 1024
"""Of the tensors of a row group, so that a table of large ones can be written and read piece by piece."""


def group_rows(schema: pa.Schema) -> int:
    """Rows of a row group: 4,096, or fewer where so many tensors would take more than 64 MiB."""
    kinds = [kind for kind in schema.types if isinstance(kind, pa.FixedShapeTensorType)]
    row = sum(int(kind.value_type.bit_width // 8 * math.prod(kind.shape)) for kind in kinds)
    return min(ROW_GROUP, max(1, MAX_GROUP_BYTES // max(1, row)))


def to_parquet(table: pa.Table) -> bytes:
    """The bytes of a table: zstd, row groups of :func:`group_rows`, schema metadata kept."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=group_rows(table.schema))
    return sink.getvalue()


class Gathering:
    """:func:`to_parquet` of a table that comes in pieces, of which no more than a row group waits to be compressed.

    Args:
        schema: Of all pieces; the bytes do not depend on where they were cut.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._group = group_rows(schema)
        self._sink = io.BytesIO()
        self._writer = pq.ParquetWriter(self._sink, schema, compression="zstd")
        self._waiting = schema.empty_table()

    def add(self, table: pa.Table) -> None:
        """Take some more rows."""
        self.rows += len(table)
        self._waiting = pa.concat_tables([self._waiting, table])
        while len(self._waiting) > self._group:
            self._write(self._waiting.slice(0, self._group))
            self._waiting = self._waiting.slice(self._group)

    def finish(self) -> bytes:
        """The bytes of all rows."""
        self._write(self._waiting)
        self._writer.close()
        return self._sink.getvalue()

    def _write(self, table: pa.Table) -> None:
        self._writer.write_table(table.combine_chunks(), row_group_size=self._group)


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
