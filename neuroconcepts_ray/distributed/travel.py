"""How shards and blocks travel: plain columns, and the pixels as one value that nobody copies on the way."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.lake.manifest import Quarantined
from neuroconcepts_ray.lake.shards import Row, Shard, Slip, Start


def to_text(shard: Shard | Slip) -> str:
    """A shard or slip as text."""
    if isinstance(shard, Slip):
        return json.dumps({"key": shard.key, "size": shard.size, "images": shard.images, "start": shard.start})
    return json.dumps({"key": shard.key, "rows": shard.rows, "start": shard.start})


def from_text(text: str) -> Shard | Slip:
    """Read back :func:`to_text`."""
    raw: dict[str, Any] = json.loads(text)
    start = None if raw["start"] is None else Start(*raw["start"])
    if start is not None and "rows" not in raw:
        return Slip(raw["key"], raw["size"], raw["images"], start)
    return Shard(raw["key"], [Row(*row) for row in raw["rows"]], start)


def whole(text: str) -> Shard:
    """A shard's text read back.

    Raises:
        TypeError: It is a slip's.
    """
    shard = from_text(text)
    if isinstance(shard, Slip):
        raise TypeError("a slip where a shard belongs")
    return shard


def pack(shard: Shard, block: Block) -> pa.Table:
    """One row: shard, block. The array's memory is referred to, not copied."""
    array = np.ascontiguousarray(block.array)
    data = pa.py_buffer(array.reshape(-1).view(np.uint8)) if array.nbytes else pa.py_buffer(b"")
    ends = pa.py_buffer(np.array([0, array.nbytes], dtype=np.int64))
    meta = {
        "shape": array.shape,
        "dtype": array.dtype.str,
        "kept": block.kept,
        "quarantined": [bad.model_dump() for bad in block.quarantined],
        "seconds": block.seconds,
    }
    return _row(to_text(shard), json.dumps(meta), "", pa.LargeBinaryArray.from_buffers(_DATA, 1, [None, ends, data]))


def refusal(text: str, failure: str) -> pa.Table:
    """One row: a shard that did not load, and why."""
    return _row(text, "", failure, pa.array([b""], _DATA))


_DATA = pa.large_binary()


def _row(shard: str, meta: str, failure: str, data: pa.Array) -> pa.Table:
    return pa.table({"shard": [shard], "meta": [meta], "failure": [failure], "data": data})


def unpack(table: pa.Table, row: int) -> tuple[Shard, Block]:
    """Read back :func:`pack`; the array is a view of the table's memory, and read-only."""
    facts = json.loads(table["meta"][row].as_py())
    value = table["data"].slice(row, 1).chunk(0)  # the scalar of a binary column would be a copy
    _, ends, data = value.buffers()
    start = int(np.frombuffer(ends, dtype=np.int64)[value.offset])
    shape, dtype = facts["shape"], np.dtype(facts["dtype"])
    array = np.frombuffer(data, dtype, count=int(np.prod(shape)), offset=start).reshape(shape)
    quarantined = [Quarantined(**bad) for bad in facts["quarantined"]]
    return whole(table["shard"][row].as_py()), Block(array, facts["kept"], quarantined, facts["seconds"])
