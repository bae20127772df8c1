"""A stub of mining for the tests of the engine: without torch, so that its actors start at once."""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.reading import Patience
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Receipt
from neuroconcepts_ray.lake.recipe import plan_from_json
from neuroconcepts_ray.lake.shards import Row, Shard, Slip, shard_of


def find(slip: Slip, spec: dict[str, Any]) -> Shard:  # noqa: ARG001 - every find is called alike
    first = slip.start.row
    return Shard(slip.key, [Row(f"i{n}", f"s{n}") for n in range(first, first + slip.size)], slip.start)


def mark(spec: dict[str, Any], name: str) -> int:
    """Count a thing of the test; how often it was counted before."""
    folder = Path(spec["lake"]).with_name("marks")
    folder.mkdir(exist_ok=True)
    with (folder / name).open("a") as file:
        file.write("x")
    return (folder / name).stat().st_size - 1


def die(spec: dict[str, Any], where: str, image_id: str) -> None:
    """End this process for the first so many times that it meets the image there."""
    times = spec.get(where, {}).get(image_id, 0)
    if times and mark(spec, f"{where}-{image_id}") < times:
        os.kill(os.getpid(), signal.SIGSEGV if where == "kills_load" else signal.SIGKILL)
        time.sleep(60)


def read(spec: dict[str, Any], image_id: str) -> int:
    """The number of an image; some reads fail, some never end."""
    if image_id in spec.get("changed", ()):
        raise InputError("a source changed", where=image_id)
    if image_id in spec.get("fails", {}) and mark(spec, f"read-{image_id}") < spec["fails"][image_id]:
        raise OSError(5, "Input/output error", "/secret/patient/path")
    if image_id in spec.get("hangs", ()):
        mark(spec, f"hung-{image_id}")
        time.sleep(3600)
    time.sleep(spec.get("slow_s", 0.0))
    return int(image_id[1:])


def load(shard: Shard, spec: dict[str, Any]) -> Block:
    start = time.perf_counter()
    patience = Patience(**spec["patience"])
    numbers = np.zeros((len(shard.rows), spec.get("width", 1)), dtype=np.int64)
    for at, number in enumerate(shard.live):
        image_id = shard.rows[number].image_id
        die(spec, "kills_load", image_id)
        numbers[at] = patience.read(lambda image_id=image_id: read(spec, image_id), sleep=lambda _: None)
    if "count_loads" in spec:
        mark(spec, "loaded")
    return Block(numbers[: len(shard.live)], shard.live, [], {"read": time.perf_counter() - start, "decode": 0.5})


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Every file that is synced meets a full disk."""

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real, os.fsync = os.fsync, refuse
    try:
        yield
    finally:
        os.fsync = real


class Doubler:
    """Writes twice the numbers of a shard; a row that is masked is zero while it computes."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.lake = Lake.open(spec["lake"], spec["phi"])
        self.plan = plan_from_json(spec["plan"])

    def compute(self, shard: Shard, block: Block) -> np.ndarray:
        for number in block.kept:
            die(self.spec, "kills_work", shard.rows[number].image_id)
        batch = np.zeros(len(shard.rows), dtype=np.int64)
        batch[block.kept] = block.array[:, 0]
        return batch * 2

    def probe(self, shard: Shard, block: Block) -> None:
        self.compute(shard, block)

    def __call__(self, shard: Shard, block: Block) -> dict[str, float]:
        assert shard_of(shard.rows, self.plan.recipe.digest).key == shard.key
        if "count_loads" in self.spec:
            marks = Path(self.spec["lake"]).with_name("marks")
            ahead = (marks / "loaded").stat().st_size - mark(self.spec, "worked")
            (marks / f"ahead-{ahead}").touch()
        mark(self.spec, "begun")
        time.sleep(self.spec.get("work_s", 0.0))
        if self.spec.get("full"):
            with full_disk():
                self.lake.store.write("a/key", b"")
        found = self.compute(shard, block)[block.kept]
        part = self.lake.put_part(self.plan, f"{shard.key}.bin", found.tobytes(), rows=len(found))
        receipt = Receipt(shard=shard.key, part=part, quarantined=block.quarantined, seconds=block.seconds)
        self.lake.commit_receipt(self.plan, receipt)
        return {**block.seconds, "infer": 2.0, "write": 0.25}


class Stillborn(Doubler):
    """Dies while it is built."""

    def __init__(self, spec: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(spec)


class Doomed(Doubler):
    """Dies of every shard, even of one without a row."""

    def compute(self, shard: Shard, block: Block) -> np.ndarray:  # noqa: ARG002 - as its parent's
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
        raise AssertionError
