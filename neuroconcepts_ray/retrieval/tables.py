"""The image table of a segment: what a row number of the postings stands for, and what can be filtered by.

Rows are in ascending order of image_id: ties of scores fall the same way however the archive was cut into segments,
and an image is found by halving. Columns are read when they are first asked for.
"""

import functools
import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Int32, Int64

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.retrieval.postings import REDO

IMAGE_ID = "image_id"

LABEL = "label:"
"""Prefix of the label columns: "1" present, "0" absent, empty where masked."""

REQUIRED = (IMAGE_ID, "study", "group", "view", "role")

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def images_table(rows: pa.Table) -> pa.Table:
    """A catalog's rows as a segment keeps them: text columns, sorted by image_id; masked labels are empty.

    Args:
        rows: At least the columns of ``REQUIRED``; all others can be filtered by.
    """
    columns = {name: pc.fill_null(rows[name].cast(pa.string()), "") for name in rows.column_names}
    table = pa.table({name: column.combine_chunks() for name, column in columns.items()})
    return table.take(pc.sort_indices(table[IMAGE_ID]))


def bound(value: str) -> Callable[[str], bool] | None:
    """What a value such as ">60" or "<=7.5" asks of a column's text; None where it is no bound but a value itself."""
    match = re.fullmatch(r"(>=|<=|>|<)\s*([-+]?\d+(?:\.\d+)?)", value)
    if match is None:
        return None
    compare, limit = _COMPARE[match[1]], float(match[2])

    def holds(text: str) -> bool:
        try:
            return compare(float(text), limit)
        except ValueError:  # a word, or nothing: it is not known whether the bound holds
            return False

    return holds


def allows(values: frozenset[str]) -> Callable[[str], bool]:
    """Whether a column's text is allowed: it is one of the values, or all bounds among them hold."""
    bounds = [found for value in values if (found := bound(value)) is not None]
    return lambda text: text in values or (bool(bounds) and all(holds(text) for holds in bounds))


class Images:
    """The images of a segment, in row order.

    Args:
        source: A Parquet file of :func:`images_table`, or its bytes.
        rows: Images that it must be about.

    Raises:
        InputError: The file is no such table.
    """

    def __init__(self, source: bytes | Path, rows: int) -> None:
        self._source = source
        try:
            head = pq.read_metadata(self._open())
            schema, found = head.schema, head.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError("this is no table of images", remedy=REDO) from error
        self.columns: tuple[str, ...] = tuple(schema.names)
        missing = [name for name in REQUIRED if name not in self.columns]
        if missing or found != rows:
            raise InputError(
                "the table of images is not that of these codes", value=f"{found} rows", limit=rows, remedy=REDO
            )
        self._rows = rows
        self._dictionaries: dict[str, tuple[Int32[np.ndarray, " m"], list[str]]] = {}
        self._orders: dict[str, tuple[Int32[np.ndarray, " m"], Int32[np.ndarray, " v"], dict[str, int]]] = {}

    def __len__(self) -> int:
        return self._rows

    @functools.cached_property
    def ids(self) -> pa.Array:
        """image_id of each row, ascending."""
        array = self._read(IMAGE_ID).combine_chunks()
        return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array

    def table(self) -> pa.Table:
        """All columns."""
        return pq.read_table(self._open())

    def _place(self, image_id: str) -> int:
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.ids[middle].as_py() < image_id:
                low = middle + 1
            else:
                high = middle
        return low

    def find(self, image_id: str) -> int | None:
        """The row of an image, or None."""
        at = self._place(image_id)
        return at if at < len(self) and self.ids[at].as_py() == image_id else None

    def places(self, image_ids: Sequence[str]) -> Int64[np.ndarray, " i"]:
        """The row of each image, -1 where there is none."""
        at = pc.index_in(pa.array(image_ids, pa.string()), value_set=self.ids)
        found: Int64[np.ndarray, " i"] = pc.fill_null(at, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return found

    def names(self, rows: Int64[np.ndarray, " r"]) -> list[str]:
        """image_id of some rows."""
        starts, text = self._text
        spans = zip(starts[rows].tolist(), starts[rows + 1].tolist(), strict=True)
        return [str(text[first:last], "utf-8") for first, last in spans]

    @functools.cached_property
    def _text(self) -> tuple[Int32[np.ndarray, " m1"], memoryview]:
        """Where each image_id begins, and the bytes of all: what Arrow holds, without its objects."""
        _, starts, text = self.ids.buffers()
        if starts is None or text is None:
            return np.zeros(len(self) + 1, np.int32), memoryview(b"")
        first = self.ids.offset
        return np.frombuffer(starts, np.int32)[first : first + len(self) + 1], memoryview(text)

    def some(self, column: str, rows: Int64[np.ndarray, " r"]) -> list[str]:
        """The values of some rows."""
        codes, words = self._dictionary(column)
        return [words[code] for code in codes[rows].tolist()]

    def near(self, image_id: str, count: int = 50) -> list[str]:
        """Ids around the place where an id would stand: where a misspelt one is looked for."""
        at = self._place(image_id)
        ids: list[str] = self.ids[max(0, at - count) : at + count].to_pylist()
        return ids

    def values(self, column: str) -> list[str]:
        """The values that occur in a column, sorted."""
        return sorted(self._dictionary(column)[1])

    def value(self, column: str, row: int) -> str:
        """One value."""
        codes, words = self._dictionary(column)
        return words[int(codes[row])]

    def rows(self, column: str, value: str) -> Int32[np.ndarray, " r"]:
        """The rows with a value, ascending."""
        order, starts, place = self._order(column)
        at = place.get(value)
        return order[:0] if at is None else order[starts[at] : starts[at + 1]]

    def mask(self, column: str, values: frozenset[str]) -> Bool[np.ndarray, " m"]:
        """Whether each row has one of the values, or is within all bounds among them."""
        codes, words = self._dictionary(column)
        wanted = np.array(list(map(allows(values), words)), dtype=bool)
        found: Bool[np.ndarray, " m"] = wanted[codes] if len(wanted) else np.zeros(len(self), bool)
        return found

    def _read(self, column: str) -> pa.ChunkedArray:
        return pq.read_table(self._open(), columns=[column])[column]

    def _open(self) -> pa.BufferReader | pa.MemoryMappedFile:
        if isinstance(self._source, bytes):
            return pa.BufferReader(self._source)
        return pa.memory_map(str(self._source))

    def _dictionary(self, column: str) -> tuple[Int32[np.ndarray, " m"], list[str]]:
        if column not in self._dictionaries:
            encoded = self._read(column).combine_chunks().dictionary_encode()
            if isinstance(encoded, pa.ChunkedArray):
                encoded = encoded.unify_dictionaries().combine_chunks()
            codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
            self._dictionaries[column] = codes, encoded.dictionary.to_pylist()
        return self._dictionaries[column]

    def _order(self, column: str) -> tuple[Int32[np.ndarray, " m"], Int32[np.ndarray, " v"], dict[str, int]]:
        if column not in self._orders:
            codes, words = self._dictionary(column)
            order = np.argsort(codes, kind="stable").astype(np.int32)
            starts = np.searchsorted(codes[order], np.arange(len(words) + 1)).astype(np.int32)
            self._orders[column] = order, starts, {word: code for code, word in enumerate(words)}
        return self._orders[column]
