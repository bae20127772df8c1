"""The engine alone: a catalog of N stub images through shards, receipts and commit, nothing decoded, nothing inferred.

What is measured is what the engine adds to every image: the driver's memory, wall and CPU time, and how long a run that
is 99 % done takes to finish. ``python -m benchmarks.engine`` prints it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neuroconcepts_ray.activations.tables import activations_table
from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Receipt
from neuroconcepts_ray.lake.recipe import Plan, Recipe, plan_from_json, plan_to_json
from neuroconcepts_ray.lake.shards import Shard
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.pixels.load import films, find, open_manifest
from neuroconcepts_ray.pixels.shards import image_slips

SIZES = (10_000, 100_000, 377_110)
PARTITION, SHARD_ROWS = 65_536, 512
PLAN = Plan(Recipe("activations", 0, {"tap": "stub"}), {})
DIMENSION = 16


def load(shard: Shard, spec: dict[str, Any]) -> Block:
    """What a loader does for its sources, and zeros for pixels."""
    if shard.start is None:
        raise ValueError("a shard of no catalog")
    films(spec).some(shard.start, shard.size)
    side = spec["side"]
    return Block(np.zeros((len(shard.live), 3, side, side), np.uint8), shard.live, [], {"read": 0.0, "decode": 0.0})


class Writer:
    """Writes vectors of zeros."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.lake = Lake.open(spec["lake"], spec["phi"])
        self.plan = plan_from_json(spec["plan"])

    def __call__(self, shard: Shard, block: Block) -> dict[str, float]:
        start = time.perf_counter()
        ids = [shard.rows[number].image_id for number in block.kept]
        data = to_parquet(activations_table(ids, np.zeros((len(ids), DIMENSION), np.float32)))
        part = self.lake.put_part(self.plan, f"{shard.key}.parquet", data, rows=len(ids))
        self.lake.commit_receipt(self.plan, Receipt(shard=shard.key, part=part, seconds=block.seconds))
        return {**block.seconds, "infer": 0.0, "write": time.perf_counter() - start}


def catalogue(folder: Path, images: int) -> list[str]:
    """Commit a catalog as that of a large archive: ids, keys and digests of its lengths, fourteen labels."""
    lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
    plan = Plan(Recipe("catalog", 0, {}), {"archive": str(images)})
    random = np.random.default_rng(0)
    parts, partitions = [], []
    for number, first in enumerate(range(0, images, PARTITION)):
        rows = min(PARTITION, images - first)
        ids = [bytes(some).hex() for some in random.integers(0, 256, (rows, 20), np.uint8)]
        hashes = [bytes(some).hex() for some in random.integers(0, 256, (rows, 32), np.uint8)]
        short = [one[:16] for one in hashes]
        labels = {f"label:{label}": pa.array(random.integers(0, 2, rows), pa.int8()) for label in range(14)}
        tables = {
            "images": {"study": short, "group": short, "view": ["AP"] * rows, "role": ["fit"] * rows, **labels},
            "sources": {
                "key": [f"files/p{one[:2]}/p{one[:8]}/s{one[8:16]}/{one}.jpg" for one in ids],
                "size": pa.array([1_500_000] * rows, pa.int64()),
                "sha256": hashes,
                "patient": [one[:8] for one in ids],
                "study_id": [one[8:16] for one in ids],
            },
        }
        for kind, columns in tables.items():
            data = to_parquet(pa.table({"image_id": ids, **columns}))
            root = "phi" if kind == "sources" else "lake"
            parts.append(lake.put_part(plan, f"{kind}-{number:04}.parquet", data, rows=rows, root=root))
        partitions.append(rows)
    made = lake.commit_manifest(plan, "catalog", parts, facts={"labels": [], "partitions": partitions})
    return [made.kind, made.recipe, made.artifact]


def run(folder: Path, catalog: list[str], side: int) -> dict[str, float]:
    """One run of the stage, as ``activations/job.py`` makes it; its times and this process's memory."""
    from neuroconcepts_ray.distributed.shards import map_shards

    began, cpu = time.perf_counter(), time.process_time()
    lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
    slips = image_slips(Films(lake, open_manifest(lake, tuple(catalog))), PLAN.recipe.digest, PixelConfig(), SHARD_ROWS)
    cut = time.perf_counter()
    done = lake.done_shards(PLAN)
    summary = map_shards(
        [slip for slip in slips if slip.key not in done],
        worker="benchmarks.engine:Writer",
        spec={
            "lake": lake.store.uri,
            "phi": lake.phi.uri,
            "plan": plan_to_json(PLAN),
            "catalog": catalog,
            "side": side,
        },
        load=load,
        find=find,
        compute=ComputeConfig(),
        threads=1,
        label="engine",
    )
    mapped = time.perf_counter()
    made = assemble(lake, PLAN, "activations.stub", slips)
    ended = time.perf_counter()
    return {
        "images": float(made.images or 0),
        "done": float(summary.images),
        "rss_mb": _peak_mb(),
        "wall_s": ended - began,
        "cut_s": cut - began,
        "map_s": mapped - cut,
        "assemble_s": ended - mapped,
        "driver_cpu_s": time.process_time() - cpu,
        "cpu_s": _cpu_s(os.getpid()),
    }


def _peak_mb() -> float:
    """The most memory that this process ever had; the kernel's ru_maxrss would be its parent's from before exec."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process and of all that it started, Ray's among them."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        stats[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    family = {pid}
    while more := {child for child, (parent, _) in stats.items() if parent in family} - family:
        family |= more
    return sum(stats[one][1] for one in family if one in stats) / os.sysconf("SC_CLK_TCK")


def child(folder: Path, catalog: list[str], side: int = 1) -> dict[str, float]:
    """A run in a process of its own; ``total_s`` has its start-up in it."""
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "benchmarks.engine", str(folder), json.dumps(catalog), str(side)]
    for _ in range(3):  # where a machine is busy, Ray does not always come up in the time that it gives itself
        began = time.perf_counter()
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
        if not done.returncode:
            return {**json.loads(done.stdout.splitlines()[-1]), "total_s": time.perf_counter() - began}
    raise RuntimeError("the engine did not run")


def measure(sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """All figures.

    Returns:
        ``rss_mb`` by number of images, ``overhead_ms_per_image`` and ``cpu_ms_per_image`` at the largest,
        ``carry_ms_per_image`` (CPU time that 224² pixels in three channels add on their way), ``resume_s``, ``runs``.
    """
    runs: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="nc-engine-") as root:
        for images in sizes:
            folder = Path(root) / str(images)
            catalog = catalogue(folder, images)
            runs[str(images)] = child(folder, catalog)
        receipts = sorted((folder / "lake" / "activations" / PLAN.recipe.digest / "receipts").iterdir())
        for receipt in receipts[:: max(1, min(100, len(receipts) - 1))]:
            receipt.unlink()
        for manifest in (folder / "lake" / "activations" / PLAN.recipe.digest).glob("*.json"):
            manifest.unlink()
        runs["resume"] = child(folder, catalog)
        folder = Path(root) / "pixels"
        runs["pixels"] = child(folder, catalogue(folder, sizes[0]), side=224)
    last, first, pixels = runs[str(sizes[-1])], runs[str(sizes[0])], runs["pixels"]
    carried = pixels["cpu_s"] - first["cpu_s"]
    return {
        "rss_mb": {str(images): round(runs[str(images)]["rss_mb"], 1) for images in sizes},
        "overhead_ms_per_image": round(1e3 * last["wall_s"] / last["images"], 4),
        "cpu_ms_per_image": round(1e3 * last["cpu_s"] / last["images"], 4),
        "carry_ms_per_image": round(1e3 * carried / first["images"], 4),
        "resume_s": round(runs["resume"]["total_s"], 2),
        "runs": runs,
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]))))
    else:
        print(json.dumps(measure(), indent=1))
