"""What packed pixels cost: ways to store them, reading as the product does against its floor, and decoding beside both.

Films: real ones where they are beside the project (their noise is what does not compress), else phantom films. CPU
time of one thread in milliseconds a film, the best of goes that take turns, for the machine may be busy. The floor is
what no reader is spared that checks digests: the file, SHA-256, one copy.

make bench-packing
"""

import argparse
import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import measure
from benchmarks.decode import OUT, SHARED, cpu_ms, phantoms
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.load import load_pixels
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.shards import Row, Shard
from neuroconcepts_ray.lake.table import tensor_column, tensor_rows
from neuroconcepts_ray.pixels import packed
from neuroconcepts_ray.pixels.tables import of_part, to_part

CODECS = ("none", "zstd", "lz4", "snappy")


def files(count: int) -> Iterator[bytes]:
    if SHARED.is_dir():
        for path in sorted((SHARED / "mimic_cxr_jpg").rglob("*.jpg"))[:count]:
            yield path.read_bytes()
    else:
        yield from (data for _, data in phantoms(count))


def stored(names: list[str], x: np.ndarray, column: str, codec: str) -> bytes:
    if column == "bytes":
        flat = pa.FixedSizeBinaryArray.from_buffers(pa.binary(x[0].size), len(x), [None, pa.py_buffer(x.tobytes())])
    else:
        flat = tensor_column(x)
    sink = io.BytesIO()
    level = {"compression_level": 1} if codec == "zstd" else {}
    table = pa.table({"image_id": names, "pixels": flat})
    pq.write_table(table, sink, compression=codec, use_dictionary=column == "tensor", **level)
    return sink.getvalue()


def opened(data: bytes, column: str) -> object:
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    return tensor_rows(table["pixels"]) if column == "tensor" else table["pixels"].combine_chunks().buffers()


def ways_to_store(names: list[str], x: np.ndarray, goes: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for column, codec in [("tensor", "none"), ("tensor", "zstd"), *(("bytes", codec) for codec in CODECS)]:
        data = stored(names, x, column, codec)
        ways: dict[str, Callable[[], object]] = {
            "write": lambda column=column, codec=codec: stored(names, x, column, codec),
            "read": lambda data=data, column=column: (hashlib.sha256(data).digest(), opened(data, column)),
        }
        spent = {name: ms / len(x) for name, ms in cpu_ms(ways, goes).items()}
        rows.append({"column": column, "codec": codec, "bytes": len(data) / len(x), **spent})
    return rows


def reading(names: list[str], x: np.ndarray, goes: int) -> dict[str, float]:
    shard = Shard(key="of-the-benchmark", rows=[Row(image_id=name, source="-") for name in names])
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake.open(f"{folder}/lake", f"{folder}/phi")
        data = to_part(names, x)
        part = lake.put_part(Plan(Recipe("pixels", 1, {}), {}), "part.parquet", data, rows=len(x), root="phi")
        told = {"parts": {shard.key: [part.model_dump()]}, "causes": {}, "profile": {}}
        spec = {"lake": f"{folder}/lake", "phi": f"{folder}/phi", "packed": told}
        copy = np.empty_like(x)

        def load() -> object:
            packed._last.cache_clear()
            return packed.load_packed(shard, spec, "activations")

        ways: dict[str, Callable[[], object]] = {
            "load": load,
            "file": lambda: lake.phi.read(part.key),
            "sha256": lambda: hashlib.sha256(data).digest(),
            "copy": lambda: np.copyto(copy, x),
            "parquet": lambda: of_part(data),
        }
        spent = {name: ms / len(x) for name, ms in cpu_ms(ways, goes).items()}
    return spent | {"floor": spent["file"] + spent["sha256"] + spent["copy"]}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--films", type=int, default=256)
    options.add_argument("--goes", type=int, default=5)
    asked = options.parse_args()
    pa.set_cpu_count(1)
    films = list(files(asked.films))
    names = [f"{number:044}" for number in range(len(films))]
    result: dict[str, Any] = {"load": measure.load(), "films": "real" if SHARED.is_dir() else "phantom", "squares": {}}
    for size in (224, 384):
        x = np.stack([load_pixels(data, PixelConfig(size=size)) for data in films])
        rows, spent = ways_to_store(names, x, asked.goes), reading(names, x, asked.goes)
        print(f"\n{len(films)} films of {size}×{size} grey, {x[0].nbytes} bytes each; CPU ms a film")
        print("| column | codec | bytes | write | read with SHA-256 |\n|---|---|---|---|---|")
        for row in rows:
            print(f"| {row['column']} | {row['codec']} | {row['bytes']:.0f} | {row['write']:.3f} | {row['read']:.3f} |")
        print(", ".join(f"{name} {ms:.4f}" for name, ms in spent.items()))
        print(f"reading a shard: {spent['load']:.3f} ms a film, {spent['load'] / spent['floor']:.2f} × the floor")
        result["squares"][size] = {"ways": rows, "reading": spent}
    OUT.mkdir(exist_ok=True)
    (OUT / "packing.json").write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
